"""What the pages of one's own account share: the tabs, the user's row, and proving oneself first (step-up)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import current_app, flash, g, redirect, request, url_for

from app.extensions import db
from app.models import User
from app.roles import may_have_keys
from app.security import PROOF_MINUTES, recently_proved

TABS = (
    ("资料", "ProfileView.profile"),
    ("安全", "ProfileView.security"),
    ("API 密钥", "ApiKeyView.list"),
    ("偏好", "ProfileView.preferences"),
    ("通知设置", "NoticeSettingsView.settings"),
)

ICONS = {
    "资料": "user-circle", "安全": "shield-check", "API 密钥": "key", "偏好": "adjustments-horizontal",
    "通知设置": "bell",
}  # fmt: skip


def own_row() -> User:
    """The asking user's row in the request's session."""
    row: User = db.session.get_one(User, g.user.id)
    return row


def tabs() -> list[tuple[str, str, bool]]:
    """(title, address, active) of the pages of one's own account that there are for this user."""
    here = request.endpoint or ""
    return [
        (title, url_for(endpoint), endpoint.split(".")[0] == here.split(".")[0] != "ProfileView" or endpoint == here)
        for title, endpoint in TABS
        if endpoint in current_app.view_functions
        and (endpoint != "ApiKeyView.list" or may_have_keys(g.principal.role_names))
    ]


def account_pages() -> list[tuple[str, str, str]]:
    """(title, address, icon) of the tabs, and of what people look for by its own name."""
    return [
        *((title, url, ICONS[title]) for title, url, _active in tabs()),
        ("修改密码", url_for("ProfileView.password"), "password"),
        ("两步验证", url_for("ProfileView.security"), "shield-lock"),
    ]


# How a browser and a system name themselves in User-Agent: the first that is found counts.
BROWSERS = (
    ("DingTalk", "钉钉"), ("Lark", "飞书"), ("Feishu", "飞书"), ("wxwork", "企业微信"), ("MicroMessenger", "微信"),
    ("aweme", "抖音"), ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS", "Firefox"),
    ("Chrome/", "Chrome"), ("CriOS", "Chrome"), ("Safari/", "Safari"),
)  # fmt: skip
SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("HarmonyOS", "HarmonyOS"), ("Android", "Android"), ("Windows", "Windows"),
    ("Macintosh", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def device_words(agent: str) -> str:
    """A browser and its system in two words; what is known of it where it names neither."""
    found = (next((words for mark, words in marks if mark in agent), "") for marks in (BROWSERS, SYSTEMS))
    return " · ".join(filter(None, found)) or agent[:40] or "未知设备"


def local_path(target: str | None) -> str:
    """Where to go on: a path of this site, whatever was asked for."""
    home = "/"
    if not target or any(ord(letter) < 33 or letter == "\\" for letter in target):
        return home
    try:
        parts = urlsplit(target)
    except ValueError:
        return home
    if parts.netloc and (parts.netloc != request.host or parts.scheme not in {"http", "https"}):
        return home
    if (parts.scheme and not parts.netloc) or not parts.path.startswith("/"):
        return home
    if parts.path.startswith(("//", "/login", "/logout")):
        return home
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def prove_first(back: str = "") -> Any:
    """A way to the page that asks for the password again, unless it was asked lately; None then.

    A form that was opened in time may be sent for as long again. `back`: where to go on, else here.
    """
    sending = request.method != "GET"
    if recently_proved(PROOF_MINUTES * 2 if sending else PROOF_MINUTES):
        return None
    if sending:
        flash("请先确认是您本人，然后再提交一次", "warning")
    here = request.full_path if request.query_string else request.path
    return redirect(url_for("ProfileView.confirm", next=back or here))
