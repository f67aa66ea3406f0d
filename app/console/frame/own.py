"""What the pages of one's own account share: the tabs, the user's row, and proving oneself first (step-up)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import g, request, url_for

from app.access import accounts
from app.access.roles import level
from app.errors import Refused
from app.extensions import appbuilder, db
from app.i18n.sentence import Foreign
from app.models.kit.user import User


@dataclass(frozen=True)
class Tab:
    """A page of one's own account, which the view that has it declares in `account_tabs`."""

    place: int  # among the tabs
    title: str
    method: str
    icon: str


def own_row() -> User:
    """The asking user's row in the request's session."""
    row: User = db.session.get_one(User, g.user.id)
    return row


def tabs() -> list[tuple[str, str, bool]]:
    """(title, address, active) of the pages of one's own account that there are for this user."""
    here = request.endpoint or ""
    return [(tab.title, url_for(endpoint), _is_on(view, endpoint, here)) for view, tab, endpoint in _tabs()]


def _is_on(view: Any, endpoint: str, here: str) -> bool:
    """Whether a tab's page is open; the one tab of a view is that of all its pages."""
    return endpoint == here or (len(view.account_tabs) == 1 and here.partition(".")[0] == view.endpoint)


def _tabs() -> list[tuple[Any, Tab, str]]:
    """The tabs of the views that this user may open, in their order, with their endpoints."""
    found = [
        (view, tab, f"{view.endpoint}.{tab.method}")
        for view in appbuilder().baseviews
        for tab in getattr(view, "account_tabs", ())
        if level(g.principal.role_names, view.class_permission_name)
    ]
    return sorted(found, key=lambda item: item[1].place)


def account_pages() -> list[tuple[str, str, str]]:
    """(title, address, icon) of the tabs, and of what people look for by its own name."""
    found = [(tab.title, url_for(endpoint), tab.icon) for _view, tab, endpoint in _tabs()]
    for view in appbuilder().baseviews:
        found += [(title, url_for(f"{view.endpoint}.{name}"), icon) for title, name, icon in _pages_of(view)]
    return found


def _pages_of(view: Any) -> tuple[tuple[str, str, str], ...]:
    return getattr(view, "palette_pages", ())


# How a browser and a system name themselves in User-Agent: the first that is found counts.
BROWSERS = (
    ("DingTalk", "钉钉"),
    ("Lark", "飞书"),
    ("Feishu", "飞书"),
    ("wxwork", "企业微信"),
    ("MicroMessenger", "微信"),
    ("aweme", "抖音"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("HarmonyOS", "HarmonyOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def device_words(agent: str) -> str:
    """A browser and its system in two words; what is known of it where it names neither."""
    found = (next((words for mark, words in marks if mark in agent), "") for marks in (BROWSERS, SYSTEMS))
    return " · ".join(filter(None, found)) or Foreign(agent[:40]) or "未知设备"


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


def refuse_marked(why: str, *, after: Collection[str] = (accounts.RESET,)) -> None:
    """Refused while everything done says by whose link the password was set (重置, 开通): what another reset of the
    account would not end must not be made while it may be in somebody else's hands."""
    if g.user.via.partition(":")[0] in after:
        raise Refused(why)
