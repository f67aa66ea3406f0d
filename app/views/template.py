"""Templates (模板), and the template mini-programs whose drafts become templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import url_for

from app.access.roles import WATCHED
from app.console import cells
from app.console.base import PlatformView
from app.console.frame.palette import few_rows, matching, row_hit
from app.console.operate.actions import OperationActions
from app.console.query.interface import ScopedInterface
from app.extensions import db, once_a_request
from app.i18n.sentence import said
from app.models import Template, TemplateApp
from app.operations import template as operations


class TemplateAppView(OperationActions, PlatformView):
    """Template mini-programs, each with at most one draft."""

    roles = WATCHED
    nouns = {"template_app": "模板小程序"}
    icon = "package"
    datamodel = ScopedInterface(TemplateApp, eager=("third_party_app",))
    noun = list_title = "模板小程序"
    many = "多个模板小程序"
    intro = "开发者在模板小程序里上传的草稿，可以添加为模板。"
    list_columns = ["name", "appid", "draft_version", "draft_description", "draft_by", "draft_at", "third_party_app"]
    search_columns = ["third_party_app", "gone", "draft_version", "draft_at"]
    empty_hint = "模板小程序从第三方应用同步而来。"
    quick_columns = ["name", "appid", "draft_version"]
    order_columns = ["name", "draft_at"]
    base_order = ("draft_at", "desc")
    copied = "appid"
    show_sections = [
        ("模板小程序", ["name", "appid", "third_party_app", "gone"]),
        ("草稿", ["draft_id", "draft_version", "draft_description", "draft_by", "draft_at"]),
    ]
    label_columns = {"name": "模板小程序"}

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By name and appid."""
        for row in few_rows(self, ("name", "appid"), text):
            yield row_hit(self, row, row.name or row.appid, (row.appid,))


def running_cell(row: Any) -> Any:
    count = running().get(row.template_id, 0)
    return cells.link(url_for("MiniProgramView.list", _flt_1_live_template_id=row.template_id), said(f"{count} 个"))


def running() -> dict[str, int]:
    """How many mini-programs run each template, asked once a request."""
    return once_a_request("templates_running", lambda: operations.in_use(db.session()))


class TemplateView(OperationActions, PlatformView):
    """Templates, newest first, and how many mini-programs run each."""

    roles = WATCHED
    icon = "template"
    datamodel = ScopedInterface(Template, eager=("third_party_app",))
    palette_key = "t"
    noun = list_title = "模板"
    many = "多个模板"
    list_columns = ["version", "template_id", "description", "added_at", "running", "third_party_app", "gone"]
    label_columns = {"running": "线上使用"}
    number_columns = frozenset({"running"})
    search_columns = ["version", "third_party_app", "gone", "added_at"]
    chip_column = "gone"
    chip_words = {"0": "可用", "1": "已删除"}
    empty_hint = "把模板小程序的草稿添加为模板后，就可以上传到商户的小程序。"
    quick_columns = ["version", "template_id", "description"]
    order_columns = ["version", "added_at"]
    base_order = ("added_at", "desc")
    copied = "template_id"
    show_sections = [
        ("模板", ["version", "template_id", "description", "added_at", "running", "third_party_app", "gone"]),
    ]
    cells = {
        "gone": lambda row: cells.label("已删除", "mute") if row.gone else cells.DASH,
        "running": running_cell,
    }

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By version and number."""
        for row in matching(Template, [Template.version, Template.template_id], text) if text.isascii() else ():
            yield row_hit(self, row, row.version or row.template_id, (row.template_id, row.description))
