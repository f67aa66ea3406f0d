"""The frame of every page: the menu, where the reader is in it, and how they want pages to look."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from flask import request, url_for

from app.access.principal import principal
from app.access.roles import role_words
from app.console.kept import once
from app.console.places import view_named
from app.extensions import appbuilder, once_a_request
from app.i18n.language import language

# Each choice and its values, the first of which holds when nothing was chosen. A choice is kept in a cookie, so that
# the first paint is right, and in the account's preferences, so that another device knows it.
CHOICES = {"theme": ("system", "light", "dark"), "density": ("comfortable", "compact"), "side": ("full", "mini")}
FOLDED = "folded"  # the cookie with the numbers of the folded groups of the menu


@dataclass(frozen=True)
class Entry:
    """One screen in the menu."""

    label: str
    url: str
    icon: str
    here: bool


@dataclass(frozen=True)
class Group:
    """Screens under one title; without a title for those at the top."""

    label: str
    icon: str
    entries: tuple[Entry, ...]
    folded: bool

    @property
    def here(self) -> bool:
        return any(entry.here for entry in self.entries)


class Shell:
    """The frame of one request."""

    def __init__(self) -> None:
        self.theme = chosen("theme")
        self.density = chosen("density")
        self.side = chosen("side")
        self.language = language()
        known = principal()
        # All that the frame of a page depends on: pages with the same key share its HTML (app/console/kept.py).
        self.reader: tuple[Any, ...] = ()
        if known is not None:
            name = who()["name"]
            self.reader = (known.user.id, name, known.role_names, known.merchant_id, bool(known.acting))
        self.place = (_screen(), request.cookies.get(FOLDED, "")[:100])
        self.menu: tuple[Group, ...] = once(("menu", self.reader[2:], self.place), _menu)

    def crumbs(self, title: str) -> list[tuple[str, str | None]]:
        """(text, address) of the way to a page, the page itself last and without an address."""
        group, entry = self._here()
        if entry is None:
            home = next((found for group in self.menu for found in group.entries), None)
            return [(home.label, home.url), *_above(), (title, None)] if home and title else [(title, None)]
        way: list[tuple[str, str | None]] = [(group.label, None)] if group and group.label else []
        if not title or title == entry.label or request.path == entry.url:
            return [*way, (entry.label, None)]
        return [*way, (entry.label, entry.url), (title, None)]

    def _here(self) -> tuple[Group | None, Entry | None]:
        for group in self.menu:
            for entry in group.entries:
                if entry.here:
                    return group, entry
        return None, None


def shell() -> Shell:
    """The frame of this request, made once."""
    return once_a_request("shell", Shell)


def chosen(name: str) -> str:
    """How the reader wants a page: by this browser's cookie, else by their account."""
    values = CHOICES[name]
    known = principal()
    kept = (getattr(known.user, "preferences", None) or {}).get(name) if known else None
    return next((value for value in (request.cookies.get(name), kept) if value in values), values[0])


def _above() -> list[tuple[str, str | None]]:
    """What stands between the first screen and a page that no screen of the menu leads to: its view's `above`."""
    text, endpoint = getattr(view_named(request.blueprint or ""), "above", ("", ""))
    return [(text, url_for(endpoint))] if endpoint and endpoint != request.endpoint else []


def _screen() -> str:
    """The screen of the menu that the page belongs to: its own, or that which its view says it is `under`."""
    here = request.blueprint or ""
    return str(getattr(view_named(here), "under", here))


def _menu() -> tuple[Group, ...]:
    known = principal()
    if known is None:
        return ()
    folded = set(re.findall(r"\d+", request.cookies.get(FOLDED, "")))
    here = _screen()
    allowed = appbuilder().sm.has_access
    groups = []
    for number, item in enumerate(appbuilder().menu.get_list()):
        if not allowed("menu_access", item.name):
            continue
        children = item.childs or [item]
        entries = tuple(_entry(child, here) for child in children if allowed("menu_access", child.name))
        title = item.label if item.childs else ""
        groups.append(Group(title, item.icon, entries, bool(title) and str(number) in folded))
    return tuple(groups)


def _entry(item: Any, here: str) -> Entry:
    endpoint = item.baseview.endpoint if item.baseview else item.href.partition(".")[0]
    icon = icon_of(item.baseview) if item.baseview else item.icon
    return Entry(item.label, item.get_url(), icon or "point", endpoint == here)


def icon_of(view: Any) -> str:
    """The icon of a screen; a dot where it has none."""
    return getattr(view, "icon", "") or "point"


def initials(name: str) -> str:
    """What stands in for a picture of somebody: the last two letters of a Chinese name, the first of any other."""
    words = name.split()
    if not words:
        return "?"
    if re.search(r"[\u4e00-\u9fff]", name):
        return name[-2:]
    return "".join(word[0] for word in words[:2]).upper()


def who() -> dict[str, str]:
    """The user in the frame: name, roles in words, initials."""
    known = principal()
    if known is None:
        return {"name": "", "roles": "", "initials": ""}
    name = known.user.get_full_name() or known.user.username
    return {"name": name, "roles": role_words(known.role_names), "initials": initials(name)}
