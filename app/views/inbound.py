"""Pushes from Douyin (事件推送), and those that were refused."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, url_for
from flask_appbuilder import expose, has_access

from app.access.roles import WATCHED
from app.console.base import READ, PlatformView
from app.console.form.forms import ConsoleForm
from app.console.query.interface import ScopedInterface
from app.errors import Refused
from app.extensions import db, the_app
from app.models import InboundEvent, RefusedPush
from app.models.inbound import PUSH_WORDS
from app.models.kit.audit import record
from app.operations.inbound import process, refusals


def push_cell(row: InboundEvent) -> str:
    """A push in words with Douyin's own name, which its documentation and the filter use."""
    words = PUSH_WORDS.get(row.event.partition(":")[0])
    return f"{words}（{row.event}）" if words else row.event


class InboundEventView(PlatformView):
    """Pushes from Douyin with their verdict (事件推送)."""

    roles = WATCHED
    nouns = {"inbound_event": "事件推送"}
    icon = "webhook"
    datamodel = ScopedInterface(InboundEvent, eager=("third_party_app",))
    palette_key = "e"
    include_route_methods = READ | {"replay"}
    noun = list_title = "事件推送"
    list_columns = ["id", "received_at", "event", "appid", "state", "verdict", "attempts", "copies"]
    search_columns = ["state", "event", "appid", "third_party_app", "received_at"]
    chip_column = "state"
    empty_hint = "在抖音开放平台填写事件接收地址后，收到的推送会记在这里。"
    quick_columns = ["appid", "event", "verdict"]
    order_columns = ["id", "received_at"]
    base_order = ("id", "desc")
    export_columns = [
        "id",
        "received_at",
        "event",
        "appid",
        "third_party_app",
        "receiver",
        "state",
        "verdict",
        "attempts",
        "copies",
        "processed_at",
    ]
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
            process.replay(db.session(), row)
            record(db.session(), "replay", subject=row)
            db.session.commit()
            flash("已重新排入处理", "success")
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
        return redirect(url_for("InboundEventView.show", pk=row.id))


class RefusedPushView(PlatformView):
    """Pushes that were refused, forged, stale or malformed: why, how often, and what to do."""

    roles = WATCHED
    icon = "shield-x"
    datamodel = ScopedInterface(RefusedPush)
    noun = list_title = "被拒绝的推送"
    empty_title = "没有被拒绝的推送"
    empty_hint = "签名不对、时间过旧或格式有误的推送会记在这里。"
    intro = "签名、时间或格式不正确而被拒绝的推送，按原因计数；只保留最近一百条，不保存内容。"
    list_template = "console/refused.html"
    include_route_methods = frozenset({"list"})
    list_columns = ["at", "reason", "component_appid", "receiver", "remote", "size"]
    label_columns = {"reason": "拒绝原因"}
    search_columns = ["reason", "component_appid", "at"]
    order_columns = ["at"]
    base_order = ("number", "desc")
    column_words = {"reason": {str(name): words for name, (words, _) in refusals.WORDS.items()}}

    def list_context(self) -> dict[str, Any]:
        if refusals.flush(the_app()):
            db.session.rollback()  # on SQLite this request would go on seeing what stood before
        found = super().list_context()
        counts = refusals.counts(db.session())
        return found | {"reasons": [self._reason(*item) for item in counts.items()], "refused": sum(counts.values())}

    def _reason(self, reason: str, count: int) -> dict[str, Any]:
        words, advice = refusals.WORDS.get(reason, (reason, ""))
        url = self.link_with(reason=reason) if reason in refusals.WORDS else ""
        return {"words": words, "advice": advice, "count": count, "url": url}
