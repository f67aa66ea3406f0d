"""What the system did: operation runs, pushes, calls, jobs, and the audit log."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from typing import Any

from flask import flash, jsonify, redirect, request, url_for
from flask_appbuilder import expose, has_access
from markupsafe import Markup
from sqlalchemy import select

from app import operations
from app.errors import Refused
from app.extensions import db
from app.i18n import language, say
from app.models import ApiCall, AuditEntry, InboundEvent, OperationRun, RefusedPush, RunState, Template, User
from app.models.audit import record
from app.models.operation import Door
from app.models.user import via_words
from app.operations import call_log, fleet, inbound, refusals
from app.operations.connection import application
from app.operations.perform import resolve
from app.security import current_actor
from app.views import cells
from app.views.base import READ, PlatformView
from app.views.changes import Reader, label_of, model_of
from app.views.forms import ConsoleForm
from app.views.interface import SHANGHAI, ScopedInterface, condition, parse_key
from app.views.operate import may_operate, operation_title, run_json, run_url
from app.views.places import page_for, subject_words, subjects, view_named
from app.views.words import ACTION_WORDS, DOORS, OUTCOME_WORDS, PUSH_WORDS, RECEIVER_WORDS


def run_subject(row: OperationRun) -> str:
    """What a run is about: the mini-program by name, anything else by its kind and number."""
    return str(row.mini_program) if row.mini_program else f"{say(subject_words(row.subject_type))} #{row.subject_id}"


def subject_cell(row: OperationRun) -> Any:
    return cells.link(page_for(row.subject_type, row.subject_id), run_subject(row))


def result_cell(row: OperationRun) -> Any:
    text = say(row.message or row.advice)
    return Markup('<span class="clip" title="{0}">{0}</span>').format(text) if text else cells.DASH


def params_cell(row: OperationRun) -> Any:
    """A run's parameters under the labels of the operation's form; a template by its version, too."""
    op = operations.OPERATIONS.get(row.operation)
    fields = dataclasses.fields(op.params) if op else ()
    values = dict(row.params)
    if values.get("template_id"):
        values["template_id"] = template_words(str(values["template_id"]))
    return cells.pairs(values, {item.name: item.metadata.get("label", item.name) for item in fields})


def template_words(template_id: str) -> str:
    """A template's number with its version and what it brings: 1.0.2 修复若干问题（7301…）."""
    found = db.session.scalars(select(Template).where(Template.template_id == template_id).limit(1)).first()
    if found is None:
        return template_id
    return f"{found.version} {found.description[:40]}".strip() + f"（{template_id}）"


def batch_cell(row: OperationRun) -> Any:
    return (
        cells.link(url_for("BatchView.batch", batch_id=row.batch_id), row.batch_id[:8]) if row.batch_id else cells.DASH
    )


class OperationRunView(PlatformView):
    """Every request to do something, with its outcome (操作记录)."""

    datamodel = ScopedInterface(OperationRun, eager=("mini_program",))
    include_route_methods = READ | {"progress", "resolve", "retry"}
    noun = list_title = "操作记录"
    list_columns = ["id", "operation", "subject", "state", "message", "actor_name", "door", "created_at", "finished_at"]
    label_columns = {"subject": "对象", "door": "入口", "operation_name": "操作代码"}
    search_columns = [
        "operation", "state", "door", "created_at", "mini_program", "actor_name", "message", "batch_id", "err_no",
    ]  # fmt: skip
    chip_column = "state"
    empty_hint = "在小程序或模板上执行的每个操作都会记在这里。"
    quick_columns = ["appid", "actor_name", "log_id", "message"]
    order_columns = ["id", "created_at", "finished_at", "state"]
    base_order = ("id", "desc")
    export_columns = [
        "id", "operation", "subject", "appid", "state", "message", "advice", "err_no", "log_id", "actor_name", "door",
        "attempts", "batch_id", "created_at", "started_at", "finished_at",
    ]  # fmt: skip
    export_cells = {"operation": lambda row: operation_title(row.operation), "subject": run_subject}
    flags = {"failed": ("24 小时内失败", condition("24 小时内失败", fleet.lately_failed))}
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

    def states(self, row: Any) -> list[Any]:
        """None: the outcome below the name says it, and changes by itself."""
        return []

    def show_context(self, row: Any) -> dict[str, Any]:
        may_retry = row.state == RunState.FAILED and self.may("retry") and may_operate(row.operation)
        return {
            "progress": run_json(row),
            "heading": operation_title(row.operation),
            "form": ConsoleForm(),
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


def push_cell(row: InboundEvent) -> str:
    """A push in words with Douyin's own name, which its documentation and the filter use."""
    words = PUSH_WORDS.get(row.event.partition(":")[0])
    return f"{words}（{row.event}）" if words else row.event


class InboundEventView(PlatformView):
    """Pushes from Douyin with their verdict (事件推送)."""

    datamodel = ScopedInterface(InboundEvent, eager=("third_party_app",))
    include_route_methods = READ | {"replay"}
    noun = list_title = "事件推送"
    list_columns = ["id", "received_at", "event", "appid", "state", "verdict", "attempts", "copies"]
    search_columns = ["state", "event", "appid", "third_party_app", "received_at"]
    number_columns = frozenset({"attempts", "copies"})
    chip_column = "state"
    empty_hint = "在抖音开放平台填写事件接收地址后，收到的推送会记在这里。"
    quick_columns = ["appid", "event", "verdict"]
    order_columns = ["id", "received_at", "state"]
    base_order = ("id", "desc")
    choices = {"receiver": RECEIVER_WORDS}
    export_columns = [
        "id", "received_at", "event", "appid", "third_party_app", "receiver", "state", "verdict", "attempts", "copies",
        "processed_at",
    ]  # fmt: skip
    export_cells = {"event": push_cell}
    cells = {"event": push_cell}
    show_template = "console/event.html"
    show_sections = [
        ("事件", ["event", "appid", "third_party_app", "receiver", "event_at", "received_at", "copies"]),
        ("处理", ["state", "verdict", "attempts", "processed_at"]),
        ("内容摘要（已脱敏）", ["summary"]),
    ]

    def show_context(self, row: Any) -> dict[str, Any]:
        return {"form": ConsoleForm(), "may_replay": self.may("replay")}

    @expose("/replay/<pk>", methods=["POST"])
    @has_access
    def replay(self, pk: str) -> Any:
        row = self.found(pk)
        try:
            inbound.replay(db.session(), row)
            record(db.session(), "replay", subject=row)
            db.session.commit()
            flash("已重新排入处理", "success")
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
        return redirect(url_for("InboundEventView.show", pk=row.id))


class RefusedPushView(PlatformView):
    """Pushes that were refused, forged, stale or malformed: why, how often, and what to do."""

    datamodel = ScopedInterface(RefusedPush)
    noun = list_title = "被拒绝的推送"
    empty_title = "没有被拒绝的推送"
    empty_hint = "签名不对、时间过旧或格式有误的推送会记在这里。"
    intro = "签名、时间或格式不正确而被拒绝的推送，按原因计数；只保留最近一百条，不保存内容。"
    list_template = "console/refused.html"
    include_route_methods = frozenset({"list"})
    list_columns = ["at", "reason", "component_appid", "receiver", "remote", "size"]
    label_columns = {"reason": "拒绝原因"}
    number_columns = frozenset({"size"})
    search_columns = ["reason", "component_appid", "at"]
    order_columns = ["at"]
    base_order = ("number", "desc")
    choices = {"receiver": RECEIVER_WORDS, "reason": {str(name): words for name, (words, _) in refusals.WORDS.items()}}

    def list_context(self) -> dict[str, Any]:
        if refusals.flush(application()):
            db.session.rollback()  # on SQLite this request would go on seeing what stood before
        found = super().list_context()
        counts = refusals.counts(db.session())
        return found | {"reasons": [self._reason(*item) for item in counts.items()], "refused": sum(counts.values())}

    def _reason(self, reason: str, count: int) -> dict[str, Any]:
        words, advice = refusals.WORDS.get(reason, (reason, ""))
        url = self.link_with(reason=reason) if reason in refusals.WORDS else ""
        return {"words": words, "advice": advice, "count": count, "url": url}


def body_cell(text: Any) -> Any:
    """What was sent or answered, in lines when it is JSON."""
    if not text:
        return cells.DASH
    with suppress(ValueError):  # cut off, or no JSON: as it is
        text = json.dumps(json.loads(text) if isinstance(text, str) else text, ensure_ascii=False, indent=2)
    return Markup('<pre class="code">{}</pre>').format(text)


class ApiCallView(PlatformView):
    """Every call to Douyin, redacted, with its log_id (接口调用)."""

    datamodel = ScopedInterface(ApiCall)
    noun = list_title = "接口调用"
    list_columns = ["at", "name", "appid", "outcome", "err_no", "ms", "log_id"]
    label_columns = {"name": "接口"}
    number_columns = frozenset({"ms"})
    search_columns = ["name", "appid", "outcome", "err_no", "ms", "at"]
    chip_column = "outcome"
    chip_words = {name: OUTCOME_WORDS[name] for name in ("ok", "error", "no_answer")}
    empty_hint = "对抖音接口的每次调用都会记在这里，内容已脱敏。"
    quick_columns = ["appid", "log_id", "path", "name"]
    order_columns = ["at", "ms"]
    base_order = ("at", "desc")
    choices = {"outcome": OUTCOME_WORDS}
    export_columns = [
        "at", "name", "method", "host", "path", "component_appid", "appid", "outcome", "http_status", "err_no", "ms",
        "log_id",
    ]  # fmt: skip
    export_cells = {"name": lambda row: call_log.title_of(row.name)}
    cells = {
        "name": lambda row: call_log.title_of(row.name),
        "request": lambda row: body_cell(row.request),
        "answer": lambda row: body_cell(row.answer),
    }
    show_sections = [
        ("调用", ["name", "method", "host", "path", "at", "ms"]),
        ("结果", ["outcome", "http_status", "err_no", "log_id"]),
        ("对象", ["component_appid", "appid"]),
        ("内容（已脱敏）", ["request", "answer"]),
    ]


def changes_cell(row: AuditEntry) -> Any:
    """The names of what changed, in one line."""
    names = list(dict.fromkeys(label_of(row.subject_type, name) for name in {**row.before, **row.after}))
    comma = "、" if language() == "zh" else ", "
    return comma.join(str(say(name)) for name in names[:6]) + ("…" if len(names) > 6 else "")


def audited_cell(row: AuditEntry) -> str:
    """The kind and name of what changed; its number where the model has no name."""
    name = f"#{row.subject_id}" if row.subject_name.startswith("<") else row.subject_name
    kind = subject_words(row.subject_type)
    return name if kind and name.startswith(kind) else f"{kind} {name}".strip()


def audited_page(row: AuditEntry) -> str | None:
    """The page of what an entry is about, while that exists and the reader may open it."""
    model, key = model_of(row.subject_type), parse_key(row.subject_id)
    found = db.session.get(model, key) if model is not None and key is not None and row.action != "delete" else None
    if found is None:
        return None
    if isinstance(found, User):
        view = view_named("StaffView" if found.merchant_id else "UserView")
        url = view.row_url(found) if view is not None else None
    else:
        url = page_for(row.subject_type, key)
    return f"{url}?tab=history" if url else None


def exact_time(row: AuditEntry) -> Markup:
    """When an entry was written, to the second."""
    local = row.at.astimezone(SHANGHAI)
    return Markup('<time class="when" datetime="{}">{}</time>').format(
        local.isoformat(), local.strftime("%Y-%m-%d %H:%M:%S")
    )


def actor_cell(row: AuditEntry) -> Any:
    """Who did it; beside the name, whose link had let them in."""
    if not row.via:
        return row.actor_name
    return Markup("{} <span class='quiet'>{}</span>").format(cells.who(row.actor_name), say(via_words(row.via)))


class AuditEntryView(PlatformView):
    """Who changed what, when, from where, before and after (审计日志)."""

    datamodel = ScopedInterface(AuditEntry)
    noun = list_title = "审计日志"
    list_columns = ["at", "actor_name", "on_behalf_of", "action", "subject", "changes", "address"]
    label_columns = {
        "subject": "对象", "changes": "变更项", "subject_type": "对象类型", "subject_name": "对象名称",
        "subject_id": "对象编号",
    }  # fmt: skip
    search_columns = ["action", "actor_name", "subject_type", "subject_id", "door", "at"]
    quick_columns = ["actor_name", "subject_name", "address"]
    order_columns = ["at"]
    base_order = ("at", "desc")
    chip_column = "action"
    chip_words = {
        name: ACTION_WORDS[name] for name in ("create", "update", "delete", "login", "login_failed", "export")
    }
    cells = {
        "at": exact_time,
        "actor_name": actor_cell,
        "via": lambda row: say(via_words(row.via)),
        "action": lambda row: ACTION_WORDS.get(row.action, row.action),
        "subject": audited_cell,
        "changes": changes_cell,
        "door": lambda row: DOORS.get(row.door, row.door),
    }
    export_columns = ["at", "actor_name", "on_behalf_of", "via", "action", "subject", "changes", "door", "address"]
    export_cells = {
        "subject": audited_cell, "changes": changes_cell, "door": lambda row: DOORS.get(row.door, row.door),
        "via": lambda row: via_words(row.via),
    }  # fmt: skip
    state_columns = ()
    show_template = "console/audit.html"
    show_sections = [("记录", ["at", "actor_name", "on_behalf_of", "via", "address", "door", "action", "subject"])]

    @property
    def choices(self) -> dict[str, Any]:  # type: ignore[override]
        return {"action": ACTION_WORDS, "subject_type": subjects(), "door": DOORS}

    def show_context(self, row: Any) -> dict[str, Any]:
        return {
            "changes": Reader(db.session(), [row]).changes(row),
            "words": ACTION_WORDS.get(row.action, row.action),
            "subject": audited_cell(row),
            "subject_url": audited_page(row),
        }
