"""What operations did (操作记录)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import flash, jsonify, redirect, request, url_for
from flask_appbuilder import expose, has_access
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from app.access.principal import current_actor
from app.access.roles import WATCHED
from app.console import cells
from app.console.base import READ, PlatformView
from app.console.form.forms import ConsoleForm
from app.console.frame.palette import EACH, LONG_NUMBER, hit
from app.console.operate.actions import answer_lines, answer_words, may_operate, run_json, run_url
from app.console.places import page_for, subject_words
from app.console.query.filters import condition
from app.console.query.interface import ScopedInterface
from app.console.words import word
from app.data.keys import parse_key
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import Foreign, ours, said, say
from app.models import OperationRun, RunState, Template
from app.models.kit.operation import Door
from app.operations import fleet, registry, runs
from app.operations.perform import resolve
from app.operations.registry import operation_title

NUMBERED = re.compile(r"#(\d{1,18})")


def run_subject(row: OperationRun) -> str:
    """What a run is about: the mini-program by name, anything else by its kind and number."""
    if row.mini_program:
        return Foreign(row.mini_program)
    return say("{kind} #{number}", kind=ours(subject_words(row.subject_type)), number=row.subject_id)


def subject_cell(row: OperationRun) -> Any:
    return cells.link(page_for(row.subject_type, row.subject_id), run_subject(row))


def result_cell(row: OperationRun) -> Any:
    text = said(row.message or row.advice) or answer_words(row)
    return Markup('<span class="clip" title="{0}">{0}</span>').format(text) if text else cells.DASH


def found_cell(row: OperationRun) -> Any:
    """What a run found or did, as its operation reads it; else the result as it is kept."""
    found = {label: value for _name, label, value in answer_lines(row)}
    return cells.pairs(found, {label: label for label in found}) if found else cells.pairs(row.result)


def params_cell(row: OperationRun) -> Any:
    """A run's parameters under the labels of the operation's form; a template by its version, too."""
    op = registry.OPERATIONS.get(row.operation)
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

    roles = WATCHED
    nouns = {"operation_run": "操作记录"}
    icon = "list-check"
    datamodel = ScopedInterface(OperationRun, eager=("mini_program",))
    palette_key = "r"
    palette_text = re.compile(r"#.*")
    include_route_methods = READ | {"progress", "resolve", "retry"}
    noun = list_title = "操作记录"
    list_columns = ["id", "operation", "subject", "state", "message", "actor_name", "door", "created_at", "finished_at"]
    label_columns = {"subject": "对象", "door": "入口", "operation_name": "操作代码"}
    search_columns = [
        "operation",
        "state",
        "door",
        "created_at",
        "mini_program",
        "actor_name",
        "message",
        "batch_id",
        "err_no",
    ]
    chip_column = "state"
    empty_hint = "在小程序或模板上执行的每个操作都会记在这里。"
    quick_columns = ["appid", "actor_name", "log_id", "message"]
    order_columns = ["id", "created_at"]
    base_order = ("id", "desc")
    export_columns = [
        "id",
        "operation",
        "subject",
        "appid",
        "state",
        "message",
        "advice",
        "err_no",
        "log_id",
        "actor_name",
        "door",
        "attempts",
        "batch_id",
        "created_at",
        "started_at",
        "finished_at",
    ]
    export_cells = {"operation": lambda row: operation_title(row.operation), "subject": run_subject}
    flags = {"failed": ("24 小时内失败", condition("24 小时内失败", fleet.lately_failed))}
    cells = {
        "operation": lambda row: operation_title(row.operation),
        "subject": subject_cell,
        "message": result_cell,
        "batch_id": batch_cell,
        "params": params_cell,
        "result": found_cell,
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
    def column_words(self) -> Mapping[str, Mapping[Any, str]]:
        return {"operation": {name: op.title for name, op in registry.OPERATIONS.items()}}

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By `#` and its number, or by Douyin's log id."""
        number = NUMBERED.fullmatch(text)
        key = parse_key(number[1]) if number else None
        if key is None and (number or not LONG_NUMBER.fullmatch(text)):
            return
        wanted = OperationRun.id == key if key is not None else OperationRun.log_id.in_({text, text.upper()})
        loaded = select(OperationRun).where(wanted).options(joinedload(OperationRun.mini_program)).limit(EACH)
        for row in db.session.scalars(loaded):
            parts = (str(row.mini_program or ""), said(word(row.state)), row.log_id)
            hint = " · ".join(part for part in parts if part)
            title = f"#{row.id} {said(operation_title(row.operation))}"
            yield hit("操作记录", title, hint, url_for("OperationRunView.show", pk=row.id), "list-check")

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
        run = self.found(pk)
        try:
            row = runs.row_of(db.session(), run)
            if row is None or run.state != RunState.FAILED or not may_operate(run.operation):
                raise Refused("只有失败的操作可以重试")
            again = runs.request(db.session(), run.operation, row, actor=current_actor(), door=Door.ROW, **run.params)
            return redirect(run_url(again.id))
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
            return redirect(run_url(run.id))
