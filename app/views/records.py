"""What the system did: operation runs, pushes, calls, jobs, and the audit log."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

from flask import current_app, flash, jsonify, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_wtf import FlaskForm
from markupsafe import Markup
from sqlalchemy import ColumnElement, and_

from app import jobs, operations
from app.errors import Refused
from app.extensions import db
from app.models import ApiCall, AuditEntry, InboundEvent, OperationRun, RefusedPush, RunState
from app.models.base import utcnow
from app.models.operation import DOOR_WORDS, Door
from app.operations import call_log, inbound
from app.operations.perform import resolve
from app.security import current_actor
from app.views import cells
from app.views.base import READ, PlatformView
from app.views.interface import ScopedInterface, condition
from app.views.operate import may_operate, operation_title, page_for, run_json, run_url
from app.views.words import ACTION_WORDS, LABELS, OUTCOME_WORDS, PUSH_WORDS, RECEIVER_WORDS, SUBJECTS


def subject_cell(row: OperationRun) -> Any:
    """What a run is about: the mini-program by name, anything else by its kind and number."""
    text = str(row.mini_program) if row.mini_program else f"{SUBJECTS.get(row.subject_type, '')} #{row.subject_id}"
    return cells.link(page_for(row.subject_type, row.subject_id), text)


def result_cell(row: OperationRun) -> Any:
    text = row.message or row.advice
    return Markup('<span class="clip" title="{0}">{0}</span>').format(text) if text else cells.DASH


def params_cell(row: OperationRun) -> Any:
    """A run's parameters under the labels of the operation's form."""
    op = operations.OPERATIONS.get(row.operation)
    fields = dataclasses.fields(op.params) if op else ()
    return cells.pairs(row.params, {item.name: item.metadata.get("label", item.name) for item in fields})


def batch_cell(row: OperationRun) -> Any:
    return (
        cells.link(url_for("BatchView.batch", batch_id=row.batch_id), row.batch_id[:8]) if row.batch_id else cells.DASH
    )


def unknown() -> ColumnElement[bool]:
    """Runs whose outcome nobody knows yet."""
    return OperationRun.state == RunState.UNKNOWN


def lately_failed() -> ColumnElement[bool]:
    """Runs that failed within a day."""
    return and_(OperationRun.state == RunState.FAILED, OperationRun.created_at > utcnow() - timedelta(days=1))


class OperationRunView(PlatformView):
    """Every request to do something, with its outcome (操作记录)."""

    datamodel = ScopedInterface(OperationRun, eager=("mini_program",))
    include_route_methods = READ | {"progress", "resolve", "retry"}
    noun = list_title = "操作记录"
    list_columns = ["id", "operation", "subject", "state", "message", "actor_name", "door", "created_at", "finished_at"]
    label_columns = {"subject": "对象", "door": "入口", "operation_name": "操作代码"}
    search_columns = ["operation", "state", "door", "created_at", "batch_id", "err_no"]
    quick_columns = ["appid", "actor_name", "log_id", "message"]
    order_columns = ["id", "created_at", "finished_at", "state"]
    base_order = ("id", "desc")
    flags = {"failed": ("24 小时内失败", condition("24 小时内失败", lately_failed))}
    cells = {
        "operation": lambda row: operation_title(row.operation),
        "subject": subject_cell,
        "message": result_cell,
        "batch_id": batch_cell,
        "params": params_cell,
    }
    show_template = "console/run.html"
    show_sections = [
        (
            "请求",
            ["operation", "subject", "appid", "params", "actor_name", "actor_ip", "door", "batch_id", "created_at"],
        ),
        ("结果", ["attempts", "err_no", "log_id", "result", "started_at", "finished_at", "not_before"]),
    ]

    @property
    def choices(self) -> dict[str, Any]:  # type: ignore[override]
        return {"operation": {name: op.title for name, op in operations.OPERATIONS.items()}}

    def show_context(self, row: Any) -> dict[str, Any]:
        may_retry = row.state == RunState.FAILED and self.may("retry") and may_operate(row.operation)
        return {
            "progress": run_json(row),
            "heading": operation_title(row.operation),
            "form": FlaskForm(),
            "may_resolve": row.state == RunState.UNKNOWN and self.may("resolve"),
            "may_retry": may_retry,
            "message": row.message,
        }

    @expose("/progress/<pk>", methods=["GET"])
    @has_access
    def progress(self, pk: str) -> Any:
        return jsonify(run_json(self.found(pk)))

    @expose("/resolve/<pk>", methods=["POST"])
    @has_access
    def resolve(self, pk: str) -> Any:
        """A person says what became of a run whose outcome nobody could find out."""
        run = self.found(pk)
        try:
            resolve(db.session(), run, done=request.form.get("done") == "1", actor_name=current_actor().name)
            flash("已记录您的判断", "success")
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
        return redirect(run_url(int(pk)))

    @expose("/retry/<pk>", methods=["POST"])
    @has_access
    def retry(self, pk: str) -> Any:
        """The same again, as a new run."""
        from app.operations.perform import SUBJECTS as MODELS  # noqa: PLC0415

        run = self.found(pk)
        row = db.session.get(MODELS[run.subject_type], run.subject_id)
        try:
            if row is None or run.state != RunState.FAILED or not may_operate(run.operation):
                raise Refused("只有失败的操作可以重试")
            again = operations.request(
                db.session(), run.operation, row, actor=current_actor(), door=Door.ROW, **run.params
            )
            return redirect(run_url(again.id))
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
            return redirect(run_url(run.id))


def duration(row: Any) -> str:
    if row.started_at is None or row.finished_at is None:
        return ""
    return f"{(row.finished_at - row.started_at).total_seconds():.1f} 秒"


def push_cell(row: InboundEvent) -> str:
    """A push in words with Douyin's own name, which its documentation and the filter use."""
    words = PUSH_WORDS.get(row.event)
    return f"{words}（{row.event}）" if words else row.event


class InboundEventView(PlatformView):
    """Pushes from Douyin with their verdict (事件推送)."""

    datamodel = ScopedInterface(InboundEvent, eager=("third_party_app",))
    include_route_methods = READ | {"replay"}
    noun = list_title = "事件推送"
    list_columns = ["id", "received_at", "event", "appid", "state", "verdict", "attempts", "copies"]
    search_columns = ["state", "event", "third_party_app", "received_at"]
    quick_columns = ["appid", "event", "verdict"]
    order_columns = ["id", "received_at", "state"]
    base_order = ("id", "desc")
    choices = {"receiver": RECEIVER_WORDS}
    cells = {"event": push_cell}
    show_template = "console/event.html"
    show_sections = [
        ("事件", ["event", "appid", "third_party_app", "receiver", "event_at", "received_at", "copies"]),
        ("处理", ["state", "verdict", "attempts", "processed_at"]),
        ("内容摘要（已脱敏）", ["summary"]),
    ]

    def show_context(self, row: Any) -> dict[str, Any]:
        return {"form": FlaskForm(), "may_replay": self.may("replay")}

    @expose("/replay/<pk>", methods=["POST"])
    @has_access
    def replay(self, pk: str) -> Any:
        row = self.found(pk)
        try:
            inbound.replay(db.session(), row)
            db.session.commit()
            flash("已重新排入处理", "success")
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
        return redirect(url_for("InboundEventView.show", pk=row.id))


class RefusedPushView(PlatformView):
    """Pushes that were refused: forged, stale or malformed."""

    datamodel = ScopedInterface(RefusedPush)
    noun = list_title = "拒绝的推送"
    intro = "签名、时间或格式不正确而被拒绝的推送，只保留最近一百条，不保存内容。"
    include_route_methods = frozenset({"list"})
    list_columns = ["at", "component_appid", "receiver", "reason", "remote", "size"]
    label_columns = {"reason": "拒绝原因"}
    search_columns = ["component_appid", "at"]
    order_columns = ["at"]
    base_order = ("at", "desc")
    choices = {"receiver": RECEIVER_WORDS}


class ApiCallView(PlatformView):
    """Every call to Douyin, redacted, with its log_id (接口调用)."""

    datamodel = ScopedInterface(ApiCall)
    noun = list_title = "接口调用"
    list_columns = ["at", "name", "appid", "outcome", "err_no", "ms", "log_id"]
    label_columns = {"name": "接口"}
    search_columns = ["name", "appid", "outcome", "err_no", "at"]
    quick_columns = ["appid", "log_id", "path", "name"]
    order_columns = ["at", "ms"]
    base_order = ("at", "desc")
    choices = {"outcome": OUTCOME_WORDS}
    cells = {"name": lambda row: call_log.title_of(row.name)}
    show_sections = [
        ("调用", ["name", "method", "host", "path", "at", "ms"]),
        ("结果", ["outcome", "http_status", "err_no", "log_id"]),
        ("对象", ["component_appid", "appid"]),
        ("内容（已脱敏）", ["request", "answer"]),
    ]


class JobView(BaseView):
    """Scheduled jobs: when they last ran, what came of it, and running one now (定时任务)."""

    route_base = "/jobs"
    default_view = "list"

    @expose("/", methods=["GET"])
    @has_access
    def list(self) -> Any:
        runs = jobs.last_runs(db.session())
        rows = [_job_row(job_id, job, runs.get(job_id)) for job_id, job in jobs.SCHEDULE.items()]
        may_run = self.appbuilder.sm.has_access("can_run", "JobView")
        return self.render_template("console/jobs.html", title="定时任务", rows=rows, may_run=may_run, form=FlaskForm())

    @expose("/<job_id>/run", methods=["POST"])
    @has_access
    def run(self, job_id: str) -> Any:
        try:
            jobs.find(job_id)
        except Refused as refused:
            flash(refused.message, "danger")
            return redirect(url_for("JobView.list"))
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        done = jobs.run_now(app, job_id, current_actor().name)
        title = jobs.SCHEDULE[job_id].title
        failed = done is None or done.outcome != "ok"
        words = f"「{title}」{'执行失败' if failed else '已执行'}：{done.result if done else ''}"
        flash(words, "danger" if failed else "success")
        return redirect(url_for("JobView.list"))


def _job_row(job_id: str, job: Any, run: Any) -> dict[str, Any]:
    return {
        "id": job_id, "title": job.title, "every": every_words(job.seconds), "next": jobs.next_slot(job, utcnow()),
        "run": run, "took": duration(run) if run else "",
        "state": cells.state(run.outcome, OUTCOME_WORDS) if run else cells.DASH,
    }  # fmt: skip


def every_words(seconds: int) -> str:
    if seconds % 3600 == 0:
        return f"每 {seconds // 3600} 小时"
    return f"每 {seconds // 60} 分钟" if seconds % 60 == 0 else f"每 {seconds} 秒"


def changes_cell(row: AuditEntry) -> Any:
    """The names of what changed, in one line."""
    names = [LABELS.get(name, name) for name in {**row.before, **row.after}]
    return "、".join(names[:6]) + ("…" if len(names) > 6 else "")


def audited_cell(row: AuditEntry) -> str:
    """The kind and name of what changed; its number where the model has no name."""
    name = f"#{row.subject_id}" if row.subject_name.startswith("<") else row.subject_name
    return f"{SUBJECTS.get(row.subject_type, row.subject_type)} {name}".strip()


class AuditEntryView(PlatformView):
    """Who changed what, when, from where, before and after (审计日志)."""

    datamodel = ScopedInterface(AuditEntry)
    noun = list_title = "审计日志"
    list_columns = ["at", "actor_name", "on_behalf_of", "action", "subject", "changes", "address"]
    label_columns = {"subject": "对象", "changes": "变更项", "subject_type": "对象类型", "subject_name": "对象名称"}
    search_columns = ["action", "subject_type", "actor_name", "at"]
    quick_columns = ["actor_name", "subject_name", "address"]
    order_columns = ["at"]
    base_order = ("at", "desc")
    choices = {"action": ACTION_WORDS, "subject_type": SUBJECTS, "door": DOOR_WORDS}
    cells = {
        "action": lambda row: ACTION_WORDS.get(row.action, row.action),
        "subject": audited_cell,
        "changes": changes_cell,
    }
    show_template = "console/audit.html"
    show_sections = [("记录", ["at", "actor_name", "on_behalf_of", "address", "door", "action", "subject"])]

    def show_context(self, row: Any) -> dict[str, Any]:
        names = sorted({**row.before, **row.after})
        before, after = row.before.get, row.after.get
        return {"changes": [(LABELS.get(name, name), plain(before(name)), plain(after(name))) for name in names]}


def plain(value: Any) -> str:
    if value is None or value == "":
        return "—"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
