"""Versions (版本) of mini-programs, and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from flask import url_for
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from app.access.roles import OWNER, READS, STAFF, WATCHED
from app.addresses import is_address
from app.console import cells
from app.console.base import ConsoleView, MerchantFace, PlatformView
from app.console.frame.palette import hit, matching
from app.console.operate.actions import OperationActions
from app.console.places import page_for
from app.console.query.interface import ScopedInterface
from app.console.words import word
from app.extensions import db
from app.i18n.sentence import said, say
from app.models import Version, VersionEvent
from app.views.mini_program import event_view, remarks_of


def screenshots_cell(row: Version) -> Any:
    return links([(f"截图 {number}", url) for number, url in enumerate(row.screenshots or [], 1)])


def attachments_cell(row: Version) -> Any:
    return links([(say("附件 {name}", name=name), url) for name, url in remarks_of(row.attachments or {})[1]])


def links(items: list[tuple[str, str]]) -> Any:
    """Links out to Douyin's files; what is no address (app/addresses.py) is not made a link."""
    made = [
        Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>').format(url, text)
        for text, url in items
        if is_address(url)
    ]
    return Markup(" ").join(made) or cells.DASH


def details_cell(row: Version) -> Any:
    texts, guides = remarks_of(row.reason_detail or {})
    lines = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
    if not texts and not guides:
        return cells.DASH
    return Markup("<ul>{}</ul>{}").format(lines, links([("整改指引", url) for _name, url in guides]) if guides else "")


NOT_LISTED = (
    "ext_json",
    "audit_ctime",
    "audit_note",
    "hosts",
    "reason_detail",
    "screenshots",
    "attachments",
    "changed_at",
)


def merchant_of(row: Version) -> Any:
    merchant = row.mini_program.merchant
    return cells.link(page_for("merchant", merchant.id), merchant) if merchant else cells.DASH


class _VersionPages(ConsoleView):
    """Versions as both faces have them."""

    icon = "versions"
    palette_key = "v"
    noun = list_title = "版本"
    many = "多个版本"
    label_columns = {"screenshots": "截图", "attachments": "审核附件", "reason_detail": "驳回详情"}
    chip_column = "state"
    base_order = ("uploaded_at", "desc")
    cells = {
        "screenshots": screenshots_cell,
        "attachments": attachments_cell,
        "reason_detail": details_cell,
        "ext_json": lambda row: (
            Markup("<pre class='code'>{}</pre>").format(row.ext_json) if row.ext_json else cells.DASH
        ),
        "merchant": merchant_of,
    }
    show_sections = [
        ("版本", ["mini_program", "number", "state", "taken_down", "description", "template_id"]),
        ("审核", ["hosts", "audit_note", "reason", "reason_detail", "attachments", "screenshots"]),
        ("时间", ["uploaded_at", "submitted_at", "decided_at", "released_at"]),
        ("ext.json", ["ext_json"]),
    ]


class VersionView(OperationActions, _VersionPages, PlatformView):
    """All versions of all mini-programs; the buttons act on the version's mini-program."""

    roles = WATCHED
    datamodel = ScopedInterface(Version, eager=("mini_program", "mini_program.merchant"), leave=NOT_LISTED)
    list_columns = [
        "number",
        "mini_program",
        "merchant",
        "state",
        "reason",
        "submitted_at",
        "released_at",
        "uploaded_at",
    ]
    search_columns = [
        "state",
        "mini_program",
        "number",
        "template_id",
        "hosts",
        "reason",
        "submitted_at",
        "uploaded_at",
    ]
    empty_hint = "在小程序列表选择模板并上传代码后，这里会有每个版本的进展。"
    quick_columns = ["number", "description", "reason"]
    order_columns = ["state", "uploaded_at", "submitted_at", "released_at"]
    export_columns = [
        "number",
        "mini_program",
        "appid",
        "merchant",
        "state",
        "description",
        "template_id",
        "reason",
        "uploaded_at",
        "submitted_at",
        "decided_at",
        "released_at",
    ]
    export_cells = {"appid": lambda row: row.mini_program.appid, "merchant": lambda row: row.mini_program.merchant}
    operations = ["submit_audit", "withdraw_audit", "release", "rollback", "upload_code"]
    batched = False
    show_template = "console/version.html"
    copied = "template_id"

    def show_context(self, row: Any) -> dict[str, Any]:
        found = select(VersionEvent).where(VersionEvent.version_id == row.id).order_by(VersionEvent.id.desc()).limit(40)
        return {"events": [event_view(event) for event in db.session.scalars(found)]}


class MyVersionView(_VersionPages, MerchantFace):
    """A merchant's own versions, read only."""

    roles = {OWNER: READS, STAFF: READS}
    datamodel = ScopedInterface(Version, eager=("mini_program",), leave=NOT_LISTED)
    open_columns = frozenset(
        {
            *("mini_program", "number", "state", "description"),
            *("reason", "reason_detail", "attachments", "screenshots"),
            *("uploaded_at", "submitted_at", "decided_at", "released_at"),
        }
    )
    list_columns = ["number", "mini_program", "state", "description", "reason", "submitted_at", "released_at"]
    search_columns = ["mini_program", "state", "submitted_at"]
    empty_hint = "服务商上传代码后，您可以在这里看到每个版本的审核进展。"
    quick_columns = ["number", "description"]
    order_columns = ["number", "submitted_at", "released_at"]
    exported = True

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By number; the platform finds versions under their mini-program."""
        loaded = joinedload(Version.mini_program)
        for row in matching(Version, [Version.number], text, loaded) if text.isascii() else ():
            hint = f"{row.mini_program} · {said(word(row.state))}"
            yield hit("版本", row.number, hint, url_for("MyVersionView.show", pk=row.id), "versions")


class VersionEventView(PlatformView):
    """Every line of every mini-program's timeline: what the workbench's days are counted from (版本动态)."""

    roles = WATCHED
    icon = "git-commit"
    datamodel = ScopedInterface(VersionEvent, eager=("mini_program",))
    include_route_methods = frozenset({"list"})
    noun = list_title = "版本动态"
    list_columns = ["at", "mini_program", "number", "kind", "text", "actor_name", "log_id"]
    card_columns: ClassVar[list[str]] = ["at", "mini_program", "kind", "number"]
    label_columns = {"kind": "动态", "text": "说明", "number": "版本号"}
    search_columns = ["kind", "at"]
    quick_columns = ["number", "actor_name", "log_id"]
    order_columns = ["at"]
    base_order = ("id", "desc")
    cells = {
        "text": lambda row: Markup('<span class="clip" title="{0}">{0}</span>').format(row.text) if row.text else "",
    }
