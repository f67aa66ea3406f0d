"""Third-party apps (第三方小程序应用): what Douyin knows us by; their secrets are written, never shown."""

from __future__ import annotations

from typing import Any

from flask import current_app, has_request_context, url_for
from markupsafe import Markup

from app.i18n import say
from app.models import ThirdPartyApp
from app.models.base import utcnow
from app.operations import fleet
from app.operations.fleet import TICKET_ALARM, TICKET_WARN
from app.views import cells
from app.views.base import CRUD, PlatformView
from app.views.interface import ScopedInterface, condition
from app.views.operate import OperationActions
from app.views.tabs import Related


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
    base = current_app.config["PUBLIC_URL"]
    return [
        ("授权事件接收 URL", base + url_for("callbacks.authorization", component_appid=row.appid)),
        ("消息与事件接收 URL", base + url_for("callbacks.message", component_appid=row.appid)),
    ]


def fault_cell(row: ThirdPartyApp) -> Any:
    return cells.label(row.fault, "bad") if row.fault else cells.label("正常", "good")


def secrets_cell(row: ThirdPartyApp) -> Markup:
    parts = (("应用密钥", row.secret_sealed), ("令牌", row.token_sealed), ("加解密密钥", row.aes_key_sealed))
    words = ((f"{name}已设置", "good") if held else (f"{name}未设置", "bad") for name, held in parts)
    return Markup(" ").join(cells.label(text, tone) for text, tone in words)


FLAGS = {"ailing": ("票据迟到或有故障", condition("票据迟到或有故障", fleet.ailing))}


class ThirdPartyAppView(OperationActions, PlatformView):
    """Our third-party apps."""

    datamodel = ScopedInterface(ThirdPartyApp)
    include_route_methods = CRUD
    noun = list_title = "第三方应用"
    list_columns = ["name", "appid", "active", "ticket", "fault", "secrets", "changed_at"]
    label_columns = {"name": "应用名称", "appid": "应用编号（AppID）", "ticket": "推送票据", "secrets": "密钥"}
    description_columns = {
        "appid": "抖音开放平台 → 第三方小程序应用 → 应用信息",
        "secret": "加密保存，保存后不再显示",
        "token": "与开放平台「消息校验 Token」一致",
        "aes_key": "43 位，与开放平台「消息加解密 Key」一致",
    }
    search_columns = ["active"]
    quick_columns = ["name", "appid"]
    flags = FLAGS
    order_columns = ["name", "changed_at"]
    add_columns = ["name", "appid", "secret", "token", "aes_key", "active"]
    edit_columns = ["name", "secret", "token", "aes_key", "active"]
    required_secrets = ("secret", "token", "aes_key")
    operations = ["sync_templates"]
    batched = False
    cells = {"active": cells.in_use, "ticket": ticket_cell, "fault": fault_cell, "secrets": secrets_cell}
    show_template = "console/third_party_app.html"
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

    def states(self, row: Any) -> list[Any]:
        return [Markup("<span>{} {}</span>").format(say("推送票据"), ticket_cell(row)), fault_cell(row)]

    def show_context(self, row: Any) -> dict[str, Any]:
        return {"urls": [(text, cells.copyable(url)) for text, url in callback_urls(row)]}
