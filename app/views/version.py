"""Versions (版本) of mini-programs, and what happened to them."""

from __future__ import annotations

from typing import Any

from flask import url_for
from markupsafe import Markup
from sqlalchemy import select

from app.extensions import db
from app.models import Version, VersionEvent
from app.views import cells
from app.views.base import MerchantFace, PlatformView
from app.views.interface import ScopedInterface
from app.views.mini_program import event_view, remarks_of
from app.views.operate import OperationActions, page_for


def app_cell(row: Version) -> Any:
    """The mini-program of a version, linked where the reader may go."""
    return cells.link(page_for("mini_program", row.mini_program_id), row.mini_program)


def screenshots_cell(row: Version) -> Any:
    return links([(f"截图 {number}", url) for number, url in enumerate(row.screenshots or [], 1)])


def attachments_cell(row: Version) -> Any:
    return links([(f"附件 {name}", url) for name, url in remarks_of(row.attachments or {})[1]])


def links(items: list[tuple[str, str]]) -> Any:
    """Links out to Douyin's files; anything but https is not made a link."""
    made = [
        Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>').format(url, text)
        for text, url in items
        if url.startswith(("https://", "http://"))
    ]
    return Markup(" ").join(made) or cells.DASH


def details_cell(row: Version) -> Any:
    texts, guides = remarks_of(row.reason_detail or {})
    lines = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
    if not texts and not guides:
        return cells.DASH
    return Markup("<ul>{}</ul>{}").format(lines, links([("整改指引", url) for _name, url in guides]) if guides else "")


CELLS = {
    "mini_program": app_cell,
    "screenshots": screenshots_cell,
    "attachments": attachments_cell,
    "reason_detail": details_cell,
    "ext_json": lambda row: Markup("<pre class='code'>{}</pre>").format(row.ext_json) if row.ext_json else cells.DASH,
}
LABELS = {"screenshots": "截图", "attachments": "审核附件", "reason_detail": "驳回详情"}


def merchant_of(row: Version) -> Any:
    merchant = row.mini_program.merchant
    return cells.link(url_for("MerchantView.show", pk=merchant.id), merchant) if merchant else cells.DASH


class VersionView(OperationActions, PlatformView):
    """All versions of all mini-programs; the buttons act on the version's mini-program."""

    datamodel = ScopedInterface(Version, eager=("mini_program", "mini_program.merchant"))
    noun = list_title = "版本"
    list_columns = [
        "number", "mini_program", "merchant", "state", "reason", "submitted_at", "released_at", "uploaded_at",
    ]  # fmt: skip
    label_columns = dict(LABELS)
    search_columns = ["state", "mini_program", "template_id", "submitted_at"]
    quick_columns = ["number", "description", "reason"]
    order_columns = ["number", "state", "uploaded_at", "submitted_at", "released_at"]
    base_order = ("uploaded_at", "desc")
    operations = ["submit_audit", "withdraw_audit", "release", "rollback", "upload_code"]
    batched = False
    cells = {**CELLS, "merchant": merchant_of}
    show_template = "console/version.html"
    show_sections = [
        ("版本", ["mini_program", "number", "state", "taken_down", "description", "template_id"]),
        ("审核", ["hosts", "audit_note", "reason", "reason_detail", "attachments", "screenshots"]),
        ("时间", ["uploaded_at", "submitted_at", "decided_at", "released_at"]),
        ("ext.json", ["ext_json"]),
    ]

    def target_id(self, row: Any) -> int:
        return int(row.mini_program_id)

    def show_context(self, row: Any) -> dict[str, Any]:
        found = select(VersionEvent).where(VersionEvent.version_id == row.id).order_by(VersionEvent.id.desc()).limit(40)
        return {
            "events": [event_view(event) for event in db.session.scalars(found)],
            "operations": self.operation_links(row),
        }


class MyVersionView(MerchantFace):
    """A merchant's own versions, read only."""

    datamodel = ScopedInterface(Version, eager=("mini_program",))
    noun = list_title = "版本"
    list_columns = ["number", "mini_program", "state", "description", "reason", "submitted_at", "released_at"]
    label_columns = dict(LABELS)
    search_columns = ["state"]
    quick_columns = ["number", "description"]
    order_columns = ["number", "submitted_at", "released_at"]
    base_order = ("uploaded_at", "desc")
    cells = CELLS
    show_sections = [
        ("版本", ["mini_program", "number", "state", "description"]),
        ("审核", ["reason", "reason_detail", "attachments", "screenshots"]),
        ("时间", ["uploaded_at", "submitted_at", "decided_at", "released_at"]),
    ]
