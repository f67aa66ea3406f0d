"""The search over everything (Ctrl-K): screens and actions of the menu, rows by name or number, within one's scope.

Each look walks along one index and ends at a few rows, so that a hundred thousand rows cost some milliseconds. What
the user may not open is not looked for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from flask import jsonify, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import ColumnElement, case, or_, select, true

from app.access.roles import ALL_READ
from app.console import places
from app.console.frame.own import account_pages
from app.console.frame.shell import icon_of, shell
from app.console.query.filters import LONGEST_VALUE
from app.console.query.search import found_by_index, holds
from app.data import phones, texts
from app.data.names import folded
from app.extensions import appbuilder, db
from app.i18n.sentence import ours, said, say

MOST = 20
EACH = 6  # of one kind
FEW = 5  # of a screen whose table is small
LISTS = 2  # to look further in; the others stand behind one line
LONG_NUMBER = re.compile(r"[0-9A-Za-z_-]{12,64}")
PHONE = re.compile(r"1[3-9]\d{9}")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_WIDE_SIGNS = {code: wide for code, wide in _WIDE.items() if not chr(code).isalnum()}


# What is offered without a search.


def screens() -> list[dict[str, Any]]:
    """The menu as the user has it, then the pages of one's own account."""
    letters = {url_for(f"{view.endpoint}.{view.default_view}"): view.palette_key for view in _with("palette_key")}
    return [
        {
            "title": said(entry.label),
            "group": said(group.label),
            "url": entry.url,
            "icon": entry.icon,
            "key": letters.get(entry.url, ""),
        }
        for group in shell().menu
        for entry in group.entries
    ] + [
        {"title": said(title), "group": said("我的账号"), "url": url, "icon": icon, "key": ""}
        for title, url, icon in account_pages()
    ]


def _with(name: str) -> Iterator[Any]:
    """The registered screens that declare something, in the menu's order."""
    return (view for view in appbuilder().baseviews if getattr(view, name, None))


def actions() -> list[dict[str, Any]]:
    """What can be begun from anywhere: a form to open (`url`), or a request to send (`post`)."""
    found = []
    for view in _with("palette_add"):
        title, icon = view.palette_add
        if view.may("add"):
            found.append({"title": said(title), "url": url_for(f"{view.endpoint}.add"), "icon": icon})
    for view in _with("palette_actions"):
        found += view.palette_actions()
    return found


# Rows.


def matching(model: type[Any], columns: Iterable[Any], text: str, *options: Any) -> list[Any]:
    """A few rows: those that have the text in a column, then those where a column begins with it, then holds it."""
    columns, found = list(columns), dict[int, None]()
    for wanted in _looks(model, columns, text):
        if len(found) < EACH:
            found |= dict.fromkeys(db.session.scalars(wanted.limit(EACH)))
    keys = list(found)[:EACH]
    if not keys:
        return []
    rows = {row.id: row for row in db.session.scalars(select(model).where(model.id.in_(keys)).options(*options))}
    return [rows[key] for key in keys if key in rows]


def _looks(model: type[Any], columns: list[Any], text: str) -> Iterator[Any]:
    """One look by the columns' indexes, then one along each of them: it holds no more than the column."""
    whole = LONG_NUMBER.fullmatch(text)  # a number is looked for from its start only
    texts = [*{text: None, text.lower(): None}] if whole else [*spellings(text), folded(text)]
    yield select(model.id).where(or_(*(column.in_(texts) for column in columns)))
    held = _held(model, columns, texts)
    for column in columns:
        begins = or_(*(column.startswith(spelt, autoescape=True) for spelt in texts))
        found = begins if whole else or_(*(holds(column, spelt) for spelt in texts))
        yield select(model.id).where(found, held).order_by(case((begins, 0), else_=1), column)


def _held(model: type[Any], columns: list[Any], texts: list[str]) -> ColumnElement[bool]:
    """The rows that the text index names; of very many, those that begin with a text and some others."""
    names = [column.key for column in columns]
    found = found_by_index(db.session, model, names, texts)
    if found is None:
        return true()
    first = None if found.whole else found_by_index(db.session, model, names, [f"\n{spelt}" for spelt in texts])
    named: ColumnElement[bool] = model.id.in_({*found.keys, *(first.keys if first else ())})
    return named


def spellings(text: str) -> list[str]:
    """A text in narrow letters and signs, as it may be kept: with wide signs, as Chinese is typed, all wide, or as it
    was typed just now, some signs wide and some not."""
    wide = (text.lower().translate(_WIDE), text.upper().translate(_WIDE))  # no database folds the case of these
    as_it_is = [typed] if _narrow(typed := _typed()) == text else []
    return [*dict.fromkeys((text, *as_it_is, text.translate(_WIDE_SIGNS), *wide))]


def rows(text: str) -> Iterator[dict[str, Any]]:
    """Rows of every screen that the reader may open and that finds some: in the menu's order, by its `palette_rows`, or
    where it declares `in_palette` by the columns of its search box. A text of a form that a screen says is its own
    (`palette_text`) is looked for there only."""
    open_to = [view for view in places.screens() if view.may("show")]
    own = [view for view in open_to if _says_its_own(view, text)]
    for view in own or open_to:
        if hasattr(view, "palette_rows"):
            yield from view.palette_rows(text)
        elif view.in_palette and view.quick_columns:
            for row in few_rows(view, view.quick_columns, text):
                url = url_for(f"{view.endpoint}.show", pk=row.id)
                yield hit(view.noun, said(view.name_of(row)), "", url, icon_of(view))


def _says_its_own(view: Any, text: str) -> bool:
    return view.palette_text is not None and view.palette_text.fullmatch(text) is not None


def few_rows(view: Any, columns: Iterable[str], text: str) -> Any:
    """The newest rows of a small table that hold the text in a column: one look."""
    model = view.datamodel.obj
    found = or_(*(holds(getattr(model, name), spelt) for name in columns for spelt in spellings(text)))
    wanted = view.datamodel.apply_filters(select(model).where(found), view._base_filters)
    return db.session.scalars(wanted.order_by(model.id.desc()).limit(FEW))


def lists(text: str, here: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where to look further: the list that one is on, those of what was found; the others behind one line."""
    if text.startswith("#"):
        return []
    known = [view for view in places.screens() if view.quick_columns and view.may("list")]

    def rank(view: Any) -> tuple[bool, int]:
        base = f"{view.route_base}/"
        at = next((at for at, hit in enumerate(found) if hit["url"].startswith(base)), len(found))
        return not here.startswith(base), at

    known.sort(key=rank)
    lines = [
        hit(
            "在列表中搜索",
            said(say("在{list}列表中搜索「{text}」", list=ours(view.list_title), text=text)),
            "",
            url_for(f"{view.endpoint}.list", q=text),
            "search",
        )
        for view in known
    ]
    if len(lines) <= LISTS + 1:
        return lines
    rest = [{"title": line["title"], "url": line["url"], "danger": False} for line in lines[LISTS:]]
    more = hit("在列表中搜索", said(f"在其他 {len(rest)} 个列表中搜索"), "", "", "search", actions=rest)
    return [*lines[:LISTS], more]


def plain(text: str, *columns: Any) -> tuple[Any, ...]:
    """Columns that never hold Chinese are not looked at for it."""
    return columns if text.isascii() else ()


def hit(group: str, title: str, hint: str, url: str, icon: str, **more: Any) -> dict[str, Any]:
    """One line of what was found. `group` is ours; title and hint stand as they are: what is ours in them is said."""
    return {"group": said(group), "title": title, "hint": hint, "url": url, "icon": icon, **more}


def row_hit(view: Any, row: Any, title: str, hints: Iterable[str]) -> dict[str, Any]:
    """A row of a screen with all that may be done to it."""
    hint = " · ".join(part for part in hints if part)
    url = url_for(f"{view.endpoint}.show", pk=row.id)
    return hit(view.noun, title, hint, url, icon_of(view), actions=_actions(view, row))


def _actions(view: Any, row: Any) -> list[dict[str, Any]]:
    """What the reader may do to a row, as its page offers it, whatever the row's state."""
    links = view.operation_links(row) if hasattr(view, "operation_links") else view.page_actions(row)
    if view.may("edit"):
        links = [*links, ("编辑", url_for(f"{view.endpoint}.edit", pk=row.id))]
    return [{"title": said(link[0]), "url": link[1], "danger": len(link) > 2 and link[2]} for link in links]


def wanted() -> str:
    """What is looked for, in narrow letters; a mobile number in the form that it is kept in."""
    text = _narrow(_typed())
    phone = phones.one(text)
    return str(phone) if phone is not None and phone.is_mobile else text


def _typed() -> str:
    return texts.cleaned(request.args.get("q", "").replace("\x00", ""))[:LONGEST_VALUE]


def _narrow(text: str) -> str:
    return unicodedata.normalize("NFKC", text)[:LONGEST_VALUE]  # of a text that was cut, it may be longer


class PaletteView(BaseView):
    """What the palette's script asks for; both answers are the asking user's own."""

    roles = ALL_READ  # finds only what its user may open
    route_base = "/palette"
    default_view = "start"

    @expose("/start", methods=["GET"])
    @has_access
    @permission_name("list")
    def start(self) -> Any:
        """Screens with their keys, and actions: asked for once, when the palette is first opened on a page."""
        return jsonify(screens=screens(), actions=actions())

    @expose("/search", methods=["GET"])
    @has_access
    @permission_name("list")
    def search(self) -> Any:
        """`?q=`: at most twenty rows, and the lists to look further in, that at the path `?at=` first."""
        text = wanted()
        if not text:
            return jsonify(items=[])
        found = [*rows(text)][:MOST]
        return jsonify(items=[*found, *lists(text, request.args.get("at", ""), found)])
