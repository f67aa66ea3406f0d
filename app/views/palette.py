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
from sqlalchemy.orm import joinedload

from app import jobs
from app.extensions import db
from app.i18n import say
from app.models import (
    ApiCall,
    Merchant,
    MiniProgram,
    OperationRun,
    Template,
    TemplateApp,
    ThirdPartyApp,
    User,
    Version,
)
from app.secrets import keyring
from app.views import places
from app.views.interface import LONGEST_VALUE, parse_key
from app.views.operate import operation_title
from app.views.own import account_pages
from app.views.places import view_named
from app.views.search import found_by_index, holds
from app.views.shell import icon_of, shell
from app.views.words import word

MOST = 20
EACH = 6  # of one kind
FEW = 5  # of a screen whose table is small
LISTS = 2  # to look further in; the others stand behind one line
LONG_NUMBER = re.compile(r"[0-9A-Za-z_-]{12,64}")
PHONE = re.compile(r"1[3-9]\d{9}")
RUN = re.compile(r"#(\d{1,18})")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_WIDE_SIGNS = {code: wide for code, wide in _WIDE.items() if not chr(code).isalnum()}
# `g`, then the letter.
LETTERS = {
    "DashboardView.index": "h", "MerchantView.list": "m", "AuthorizationView.list": "a", "MiniProgramView.list": "p",
    "MyMiniProgramView.list": "p", "UnclaimedMiniProgramView.list": "u", "VersionView.list": "v",
    "MyVersionView.list": "v", "TemplateView.list": "t", "OperationRunView.list": "r", "InboundEventView.list": "e",
    "ApiCallView.list": "c", "JobView.list": "j", "SystemView.index": "s", "AuditEntryView.list": "l",
}  # fmt: skip
ADDS = (
    ("新建商户", "MerchantView", "building-store"), ("生成授权链接", "AuthorizationView", "link-plus"),
    ("新建用户", "UserView", "user-plus"),
)  # fmt: skip


def may(name: str, method: str) -> Any:
    """A screen, when there is one of that name and the user may use the method; else None."""
    view = view_named(name)
    return view if view is not None and hasattr(view, "may") and view.may(method) else None


# What is offered without a search.


def screens() -> list[dict[str, Any]]:
    """The menu as the user has it, then the pages of one's own account."""
    letters = {url_for(endpoint): letter for endpoint, letter in LETTERS.items() if _is_route(endpoint)}
    return [
        {"title": say(entry.label), "group": say(group.label), "url": entry.url, "icon": entry.icon,
         "key": letters.get(entry.url, "")}
        for group in shell().menu for entry in group.entries
    ] + [
        {"title": say(title), "group": say("我的账号"), "url": url, "icon": icon, "key": ""}
        for title, url, icon in account_pages()
    ]  # fmt: skip


def _is_route(endpoint: str) -> bool:
    return view_named(endpoint.partition(".")[0]) is not None


def actions() -> list[dict[str, Any]]:
    """What can be begun from anywhere: a form to open (`url`), or a request to send (`post`)."""
    found = [
        {"title": say(title), "url": url_for(f"{name}.add"), "icon": icon}
        for title, name, icon in ADDS
        if may(name, "add")
    ]
    view = view_named("JobView")
    if view is not None and view.appbuilder.sm.has_access("can_run", "JobView"):
        found += [
            {
                "title": f"{say('立即执行')}：{say(job.title)}",
                "post": url_for("JobView.run", job_id=job_id),
                "icon": "bolt",
            }
            for job_id, job in jobs.SCHEDULE.items()
        ]
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
    texts = [*{text: None, text.lower(): None}] if whole else spellings(text)
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
    return model.id.in_({*found.keys, *(first.keys if first else ())})  # type: ignore[attr-defined,no-any-return]


def spellings(text: str) -> list[str]:
    """A text in narrow letters and signs, as it may be kept: with wide signs, as Chinese is typed, or all wide."""
    wide = (text.lower().translate(_WIDE), text.upper().translate(_WIDE))  # no database folds the case of these
    return [*dict.fromkeys((text, text.translate(_WIDE_SIGNS), *wide))]


def merchants(text: str) -> Iterator[dict[str, Any]]:
    view = may("MerchantView", "show")
    if view is None:
        return
    if PHONE.fullmatch(text):
        known = select(Merchant).where(Merchant.phone_hash == keyring().fingerprint(text)).limit(EACH)
        rows = list(db.session.scalars(known))
    else:
        rows = matching(Merchant, [Merchant.name, *_plain(text, Merchant.key), Merchant.contact], text)
    for row in rows:
        yield _row("商户", row, view, row.name, (row.contact, row.phone_masked, row.key))


def mini_programs(text: str) -> Iterator[dict[str, Any]]:
    view = may("MiniProgramView", "show") or may("MyMiniProgramView", "show")
    if view is None:
        return
    columns = [MiniProgram.name, *_plain(text, MiniProgram.appid), MiniProgram.subject_name]
    for row in matching(MiniProgram, columns, text):
        yield _row("小程序", row, view, str(row), (row.appid, say(word(row.state)), row.subject_name))


def templates(text: str) -> Iterator[dict[str, Any]]:
    view = may("TemplateView", "show")
    if view is None or not text.isascii():
        return
    for row in matching(Template, [Template.version, Template.template_id], text):
        yield _row("模板", row, view, row.version or row.template_id, (row.template_id, row.description))


def third_party_apps(text: str) -> Iterator[dict[str, Any]]:
    """The third-party apps and their template mini-programs: a few each, so one look is enough."""
    for model, name in ((ThirdPartyApp, "ThirdPartyAppView"), (TemplateApp, "TemplateAppView")):
        view = may(name, "show")
        if view is None:
            continue
        found = or_(*(holds(column, spelt) for column in (model.name, model.appid) for spelt in spellings(text)))
        for row in db.session.scalars(select(model).where(found).order_by(model.id.desc()).limit(FEW)):
            yield _row(str(view.noun), row, view, row.name or row.appid, (row.appid,))


def versions(text: str) -> Iterator[dict[str, Any]]:
    """A merchant's own versions by number; the platform finds them under their mini-program."""
    if may("MyVersionView", "show") is None or not text.isascii():
        return
    for row in matching(Version, [Version.number], text, joinedload(Version.mini_program)):
        hint = f"{row.mini_program} · {say(word(row.state))}"
        yield _hit("版本", row.number, hint, url_for("MyVersionView.show", pk=row.id), "versions")


def users(text: str) -> Iterator[dict[str, Any]]:
    if may("UserView", "show") is None:
        return
    for row in matching(User, [*_plain(text, User.username), User.first_name], text, joinedload(User.merchant)):
        name = "StaffView" if row.merchant_id else "UserView"
        if may(name, "show"):
            hint = " · ".join(part for part in (row.first_name, str(row.merchant or "")) if part)
            yield _hit("用户", row.username, hint, url_for(f"{name}.show", pk=row.id), "user")


def runs(text: str) -> Iterator[dict[str, Any]]:
    """A run by `#` and its number, or by Douyin's log id."""
    if may("OperationRunView", "show") is None:
        return
    number = RUN.fullmatch(text)
    key = parse_key(number[1]) if number else None
    if key is None and (number or not LONG_NUMBER.fullmatch(text)):
        return
    wanted = OperationRun.id == key if key is not None else OperationRun.log_id.in_({text, text.upper()})
    loaded = select(OperationRun).where(wanted).options(joinedload(OperationRun.mini_program)).limit(EACH)
    for row in db.session.scalars(loaded):
        hint = " · ".join(part for part in (str(row.mini_program or ""), say(word(row.state)), row.log_id) if part)
        url = url_for("OperationRunView.show", pk=row.id)
        yield _hit("操作记录", f"#{row.id} {say(operation_title(row.operation))}", hint, url, "list-check")


def calls(text: str) -> Iterator[dict[str, Any]]:
    """A call by Douyin's log id."""
    if may("ApiCallView", "show") is None or not LONG_NUMBER.fullmatch(text):
        return
    for row in db.session.scalars(select(ApiCall).where(ApiCall.log_id.in_({text, text.upper()})).limit(EACH)):
        yield _hit("接口调用", row.path, row.log_id, url_for("ApiCallView.show", pk=row.id), "api")


def declared(text: str) -> Iterator[dict[str, Any]]:
    """Rows of the screens that declare `in_palette`: one look each, by the columns of their search box."""
    for view in places.screens():
        if view.in_palette and view.quick_columns and view.may("show"):
            for row in _rows_of(view, text):
                url = url_for(f"{view.endpoint}.show", pk=row.id)
                yield _hit(view.noun, view.name_of(row), "", url, icon_of(view))


def _rows_of(view: Any, text: str) -> Any:
    model = view.datamodel.obj
    found = or_(*(holds(getattr(model, name), spelt) for name in view.quick_columns for spelt in spellings(text)))
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
        _hit("在列表中搜索", say(f"在{view.list_title}列表中搜索「{text}」"), "",
             url_for(f"{view.endpoint}.list", q=text), "search")
        for view in known
    ]  # fmt: skip
    if len(lines) <= LISTS + 1:
        return lines
    rest = [{"title": line["title"], "url": line["url"], "danger": False} for line in lines[LISTS:]]
    more = _hit("在列表中搜索", say(f"在其他 {len(rest)} 个列表中搜索"), "", "", "search", actions=rest)
    return [*lines[:LISTS], more]


SOURCES = (runs, merchants, mini_programs, templates, third_party_apps, versions, users, calls, declared)


def _plain(text: str, *columns: Any) -> tuple[Any, ...]:
    """Columns that never hold Chinese are not looked at for it."""
    return columns if text.isascii() else ()


def _hit(group: str, title: str, hint: str, url: str, icon: str, **more: Any) -> dict[str, Any]:
    return {"group": say(group), "title": title, "hint": hint, "url": url, "icon": icon, **more}


def _row(group: str, row: Any, view: Any, title: str, hints: Iterable[str]) -> dict[str, Any]:
    """A row with all that may be done to it."""
    hint = " · ".join(part for part in hints if part)
    url = url_for(f"{view.endpoint}.show", pk=row.id)
    return _hit(group, title, hint, url, icon_of(view), actions=_actions(view, row))


def _actions(view: Any, row: Any) -> list[dict[str, Any]]:
    """What the reader may do to a row, as its page offers it, whatever the row's state."""
    links = view.operation_links(row) if hasattr(view, "operation_links") else view.page_actions(row)
    if view.may("edit"):
        links = [*links, ("编辑", url_for(f"{view.endpoint}.edit", pk=row.id))]
    return [{"title": say(link[0]), "url": link[1], "danger": len(link) > 2 and link[2]} for link in links]


def wanted() -> str:
    """What is looked for, in narrow letters; a phone number without the blanks people type."""
    text = unicodedata.normalize("NFKC", request.args.get("q", "").replace("\x00", "")).strip()[:LONGEST_VALUE]
    number = re.sub(r"[\s-]", "", text)
    return number if PHONE.fullmatch(number) else text


class PaletteView(BaseView):
    """What the palette's script asks for; both answers are the asking user's own."""

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
        sources = (runs,) if text.startswith("#") else (merchants,) if PHONE.fullmatch(text) else SOURCES
        found = [hit for source in sources for hit in source(text)][:MOST]
        return jsonify(items=[*found, *lists(text, request.args.get("at", ""), found)])
