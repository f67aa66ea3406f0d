"""Templates (模板), and the template mini-programs whose drafts become templates."""

from __future__ import annotations

from typing import Any

from flask import g, url_for

from app.extensions import db
from app.i18n import say
from app.models import Template, TemplateApp
from app.operations import template as operations
from app.views import cells
from app.views.base import PlatformView
from app.views.interface import ScopedInterface
from app.views.operate import OperationActions


class TemplateAppView(OperationActions, PlatformView):
    """Template mini-programs, each with at most one draft."""

    datamodel = ScopedInterface(TemplateApp, eager=("third_party_app",))
    noun = list_title = "模板小程序"
    intro = "开发者在模板小程序里上传的草稿，可以添加为模板。"
    list_columns = ["name", "appid", "draft_version", "draft_description", "draft_by", "draft_at", "third_party_app"]
    search_columns = ["third_party_app", "gone", "draft_version", "draft_at"]
    empty_hint = "模板小程序从第三方应用同步而来。"
    quick_columns = ["name", "appid", "draft_version"]
    order_columns = ["name", "draft_at"]
    base_order = ("draft_at", "desc")
    operations = ["add_template"]
    copied = "appid"
    show_sections = [
        ("模板小程序", ["name", "appid", "third_party_app", "gone"]),
        ("草稿", ["draft_id", "draft_version", "draft_description", "draft_by", "draft_at"]),
    ]
    label_columns = {"name": "模板小程序"}


class TemplateView(OperationActions, PlatformView):
    """Templates, newest first, and how many mini-programs run each."""

    datamodel = ScopedInterface(Template, eager=("third_party_app",))
    noun = list_title = "模板"
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
    operations = ["delete_template"]
    show_sections = [
        ("模板", ["version", "template_id", "description", "added_at", "running", "third_party_app", "gone"]),
    ]

    cells = {"gone": lambda row: cells.label("已删除", "mute") if row.gone else cells.DASH}

    def cell(self, row: Any, name: str) -> Any:
        if name != "running":
            return super().cell(row, name)
        count = running().get(row.template_id, 0)
        return cells.link(url_for("MiniProgramView.list", _flt_1_live_template_id=row.template_id), say(f"{count} 个"))


def running() -> dict[str, int]:
    """How many mini-programs run each template, asked once a request."""
    if "templates_running" not in g:
        g.templates_running = operations.in_use(db.session())
    return g.templates_running  # type: ignore[no-any-return]
