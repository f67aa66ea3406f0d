"""Third-party apps (第三方小程序应用): what Douyin knows us by; their secrets are written, never shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from flask import current_app, flash, has_request_context, redirect, url_for
from flask_appbuilder import expose, has_access
from flask_appbuilder.security.decorators import permission_name
from markupsafe import Markup
from sqlalchemy import inspect

from app.access.roles import ADMIN, AUDITOR, OPERATOR, READS, WRITES
from app.console import cells
from app.console.base import CRUD, PlatformView
from app.console.form.prove import prove_first
from app.console.frame.palette import few_rows, row_hit
from app.console.operate.actions import OperationActions
from app.console.query.filters import condition
from app.console.query.interface import ScopedInterface
from app.console.row.tabs import Related
from app.data.clock import utcnow
from app.data.secrets import SealBroken
from app.errors import Refused
from app.extensions import db, the_app
from app.i18n.sentence import said
from app.link import holds
from app.models import ThirdPartyApp
from app.models.kit.audit import record
from app.operations import fleet, third_party_app
from app.operations.fleet import TICKET_ALARM, TICKET_WARN
from app.operations.inbound.self_test import run
from app.views import self_test


def ticket_cell(row: ThirdPartyApp) -> Markup:
    """How old the pushed ticket is: a warning after 30 minutes, an alarm after 60."""
    if row.ticket_at is None:
        return cells.label("从未收到", "bad" if row.active else "mute")
    age = utcnow() - row.ticket_at
    colour = "bad" if age >= TICKET_ALARM else "warn" if age >= TICKET_WARN else "good"
    return cells.label(f"{cells.span_words(age)}前", colour)


def callback_urls(row: ThirdPartyApp) -> list[tuple[str, str]]:
    """The addresses to enter at Douyin."""
    if not has_request_context():
        return []
    return addresses(row.appid)


def addresses(appid: str) -> list[tuple[str, str]]:
    """The two addresses of an AppID, by what Douyin calls them."""
    base = current_app.config["PUBLIC_URL"]
    return [
        ("授权事件接收 URL", base + url_for("callbacks.authorization", component_appid=appid)),
        ("消息与事件接收 URL", base + url_for("callbacks.message", component_appid=appid)),
    ]


def fault_cell(row: ThirdPartyApp) -> Any:
    return cells.label(row.fault, "bad") if row.fault else cells.label("正常", "good")


def secrets_cell(row: ThirdPartyApp) -> Markup:
    """Which secrets are there; those that can never work, from before they were checked, are bad."""
    found = []
    for name, words in (("secret", "应用密钥"), ("token", "令牌"), ("aes_key", "加解密密钥")):
        if not getattr(row, f"{name}_sealed"):
            found.append(cells.label(f"{words}未设置", "bad"))
        elif third_party_app.usable(name, opened(row, name)):
            found.append(cells.label(f"{words}已设置", "good"))
        else:
            found.append(cells.label(f"{words}格式不对", "bad"))
    return Markup(" ").join(found)


def opened(row: ThirdPartyApp, name: str) -> str | None:
    """A stored secret; None where its seal cannot be opened."""
    try:
        text: str | None = getattr(row, name)
    except SealBroken:
        return None
    return text


FLAGS = {"ailing": ("票据迟到或有故障", condition("票据迟到或有故障", fleet.ailing))}


class ThirdPartyAppView(OperationActions, PlatformView):
    """Our third-party apps. Whoever has their secrets can speak to Douyin as us: who changes one proves to be there."""

    roles = {ADMIN: WRITES, OPERATOR: READS, AUDITOR: READS}
    icon = "plug-connected"
    datamodel = ScopedInterface(ThirdPartyApp)
    include_route_methods = CRUD | {"self_test"}
    noun = list_title = "第三方应用"
    many = "多个第三方应用"
    list_columns = ["name", "appid", "active", "ticket", "fault", "secrets", "changed_at"]
    label_columns = {
        "name": "应用名称",
        "appid": "应用编号（AppID）",
        "ticket": "推送票据",
        "secrets": "密钥",
        "secret": "应用密钥（AppSecret）",
        "token": "消息校验 Token",
        "aes_key": "消息加解密 Key",
    }
    description_columns = {
        "appid": "抖音开放平台 → 第三方小程序应用 → 应用信息",
        "secret": "加密保存，保存后不再显示",
        "token": "与开放平台「消息校验 Token」一致",
        "aes_key": "43 个字符，与开放平台「消息加解密 Key」一致",
    }
    value_checks = {name: partial(third_party_app.checked, name) for name in third_party_app.NAMES}
    search_columns = ["active"]
    quick_columns = ["name", "appid"]
    flags = FLAGS
    order_columns = ["name", "changed_at"]
    add_columns = ["name", "appid", "secret", "token", "aes_key", "active"]
    edit_columns = ["name", "appid", "secret", "token", "aes_key", "active"]
    required_secrets = ("secret", "token", "aes_key")
    batched = False
    cells = {"active": cells.in_use, "ticket": ticket_cell, "fault": fault_cell, "secrets": secrets_cell}
    show_template = "console/third_party_app.html"
    form_template = "console/third_party_form.html"
    copied = "appid"
    form_sections = [("应用", ["name", "appid", "active"]), ("密钥", ["secret", "token", "aes_key"])]
    tabs = (
        Related("apps", "小程序", "MiniProgramView", "third_party_app"),
        Related("templates", "模板", "TemplateView", "third_party_app"),
        Related("pushes", "事件推送", "InboundEventView", "third_party_app"),
    )
    show_sections = [
        ("基本信息", ["name", "appid", "active", "secrets"]),
        ("运行状态", ["ticket", "ticket_at", "fault", "fault_at"]),
        ("其他", ["created_at", "changed_at"]),
    ]

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By name and AppID."""
        for row in few_rows(self, ("name", "appid"), text):
            yield row_hit(self, row, row.name or row.appid, (row.appid,))

    def states(self, row: Any) -> list[Any]:
        return [Markup("<span>{} {}</span>").format(said("推送票据"), ticket_cell(row)), fault_cell(row)]

    def show_context(self, row: Any) -> dict[str, Any]:
        return {
            "urls": [(text, cells.copyable(url)) for text, url in callback_urls(row)],
            "test": self_test.shown(row.self_test),
            "may_test": self.may("self_test"),
        }

    def address_patterns(self) -> list[tuple[str, str]]:
        """The addresses of an app that has no AppID yet: `{}` stands for it."""
        return [(text, url.replace("APPID", "{}")) for text, url in addresses("APPID")]

    def prefill_form(self, form: Any, pk: Any) -> None:
        """An AppID that something names is shown and not changed."""
        if words := third_party_app.held_by(db.session(), db.session.get_one(ThirdPartyApp, int(pk))):
            form.appid.render_kw = {"readonly": True}
            form.appid.description = f"已有{words}属于它，AppID 不能再改"

    def pre_update(self, item: ThirdPartyApp) -> None:
        if inspect(item).attrs.appid.history.deleted:
            third_party_app.rename(db.session(), item)
        if item.held == holds.APP:
            item.probe_at = utcnow()  # what was refused may be mended by this: it is tried at once

    def pre_delete(self, item: ThirdPartyApp) -> None:
        third_party_app.release(db.session(), item)

    def touched(self, row: ThirdPartyApp) -> list[tuple[str, int]]:
        return third_party_app.holders(db.session(), row)

    def gone_along(self, row: ThirdPartyApp) -> list[tuple[str, int]]:
        count = third_party_app.gone_along(db.session(), row)
        return [("已获取的凭据", count)] if count else []

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        return prove_first() or super().add()

    @expose("/edit/<pk>", methods=["GET", "POST"])
    @has_access
    def edit(self, pk: str) -> Any:
        return prove_first() or super().edit(pk)

    @expose("/delete/<pk>", methods=["GET", "POST"])
    @has_access
    def delete(self, pk: str) -> Any:
        return prove_first() or super().delete(pk)

    @expose("/revert/<pk>/<int:entry>", methods=["POST"])
    @has_access
    @permission_name("edit")
    def revert(self, pk: str, entry: int) -> Any:
        return prove_first(self.row_url(self.found(pk)) or "") or super().revert(pk, entry)

    @expose("/self_test/<pk>", methods=["POST"])
    @has_access
    def self_test(self, pk: str) -> Any:
        """自检: a push to ourselves and a token; the page then shows what came of it."""
        row = self.found(pk)
        key, path = row.id, url_for("callbacks.authorization", component_appid=row.appid)
        record(db.session(), "self_test", subject=row)
        db.session.commit()  # the push is a request of its own: nothing of this one may hold the database meanwhile
        try:
            flash(*self_test.verdict(run(the_app(), key, path)))
        except Refused as refused:
            flash(refused.message, "danger")
        return redirect(url_for("ThirdPartyAppView.show", pk=key))
