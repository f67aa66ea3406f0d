"""Saved views (保存的视图): a list's conditions, order and columns under a name, one's own or shared."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import abort, flash, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from werkzeug.datastructures import MultiDict

from app.access.principal import current_role_names, principal
from app.access.roles import ADMIN, ALL_WRITE, OWNER
from app.console.filter.unread import unread
from app.data import phones, texts
from app.data.keys import parse_key
from app.errors import Refused
from app.extensions import appbuilder, db
from app.i18n.sentence import ours, say
from app.models.kit.audit import record
from app.models.kit.saved_view import SavedView
from app.models.kit.user import User
from app.redaction import redact

LONGEST_NAME = 64
LONGEST_QUERY = 4000
MOST = 50  # of one person on one list
SHOWN = 200
PREFERENCE = "views"  # in the account's preferences: the query that each list opens with
PERSONAL = "条件里有手机号，不能保存在视图里：请先去掉这个条件"
PLAIN = frozenset({"q", "order", "way", "cols", "size", "psize"})


def default_query(endpoint: str) -> str:
    """The query that a list opens with for this user, from the account: it costs no statement."""
    known = principal()
    if known is None or known.acting:
        return ""
    held = (known.user.preferences or {}).get(PREFERENCE) or {}
    return str(held.get(endpoint, ""))


def view_named(endpoint: str) -> Any:
    """A list by its endpoint; 404 when there is none that the user may open."""
    for view in appbuilder().baseviews:
        if view.endpoint == endpoint and hasattr(view, "list_context") and view.may("list"):
            return view
    return abort(404)


def kept(view: Any, query: str) -> str:
    """The part of a query that makes a view: conditions, search, order, columns; never the page."""
    known = PLAIN | set(view.search_columns) | set(view.flags)
    pairs = [
        (name, value)
        for name, value in parse_qsl(query[:LONGEST_QUERY])
        if name in known or name.startswith("_flt_") or _orders(view, name, value)
    ]
    return urlencode(pairs, safe=",.!:=")


def _orders(view: Any, name: str, value: str) -> bool:
    """Whether it is an order that the list has: any other is refused when the view is opened."""
    return (name == f"_oc_{view.endpoint}" and value in view.order_columns) or (
        name == f"_od_{view.endpoint}" and value in {"asc", "desc"}
    )


def is_personal(query: str) -> bool:
    """Whether a condition holds what is never kept in the clear: a phone number, or the like."""
    return any(redact(value) != value or phones.one(value) is not None for _name, value in parse_qsl(query))


def _fault(view: Any, query: str) -> str:
    """Why a query is not kept; empty where it is."""
    if is_personal(query):
        return PERSONAL
    for about, value, _whole in unread(view, MultiDict(parse_qsl(query))):
        return say("条件「{about}：{value}」无法识别，不能保存在视图里：请改正或去掉", about=ours(about), value=value)
    return ""


def note_shared(row: SavedView, *, gone: bool = False) -> None:
    """Write into the audit log what colleagues see of a view; one's own views are nobody else's matter."""
    record(db.session(), "view_share", subject=row, view=row.view, query=row.query, shared=row.shared and not gone)


class SavedViewsView(BaseView):
    """The menu of saved views that every list has."""

    roles = ALL_WRITE  # each their own, of lists that they may open
    nouns = {"saved_view": "保存的视图"}
    route_base = "/savedviews"
    default_view = "of"

    @expose("/of/<view>", methods=["GET"])
    @has_access
    @permission_name("list")
    def of(self, view: str) -> Any:
        """The views of one list, and what can be done with the present one."""
        found = view_named(view)
        rows = list(db.session.scalars(visible().where(SavedView.view == view).order_by(SavedView.name).limit(SHOWN)))
        asked = request.query_string.decode()
        return self.render_template(
            "console/list/saved.html",
            view=found,
            query=kept(found, asked),
            names=_names(rows),
            chosen=parse_key(request.args.get("saved", "")),
            own=[row for row in rows if _is_own(row)],
            shared=[row for row in rows if not _is_own(row)],
            may_default=_may_default(),
            may_share=may_share(),
            may_tidy=may_tidy(),
            address=address,
        )

    @expose("/save", methods=["POST"])
    @has_access
    def save(self) -> Any:
        """Keep a list as it is now, under a name."""
        view, form = view_named(request.form.get("view", "")), request.form
        row = SavedView(user_id=_user_id(), view=view.endpoint, query=kept(view, form.get("query", "")))
        row.merchant_id = _merchant_id()
        return self._done(
            row, view, lambda: self._named(row, form.get("name", ""), shared="shared" in form), "已保存视图"
        )

    @expose("/change/<pk>", methods=["POST"])
    @has_access
    @permission_name("save")
    def change(self, pk: str) -> Any:
        """Another name, shared or not, opened with the list or not."""
        row, form = _own(pk), request.form
        view = view_named(row.view)
        return self._done(
            row, view, lambda: self._named(row, form.get("name", ""), shared="shared" in form), "已修改视图"
        )

    @expose("/update/<pk>", methods=["POST"])
    @has_access
    @permission_name("save")
    def update(self, pk: str) -> Any:
        """The conditions, order and columns that the list has now."""
        row = _own(pk)
        view = view_named(row.view)
        query = kept(view, request.form.get("query", ""))
        if why := _fault(view, query):
            flash(why, "danger")
            return redirect(address(row))
        row.query = query
        if row.is_default:
            _open_with(row)
        if row.shared:
            note_shared(row)
        db.session.commit()
        flash(say("已用当前条件更新视图「{name}」", name=row.name), "success")
        return redirect(address(row))

    @expose("/default/<pk>", methods=["POST"])
    @has_access
    @permission_name("save")
    def default(self, pk: str) -> Any:
        """Open the list with this view, or no longer."""
        row = _own(pk)
        if not _may_default():
            abort(404)
        others = select(SavedView).where(SavedView.user_id == row.user_id, SavedView.view == row.view)
        wanted = not row.is_default
        for item in db.session.scalars(others):
            item.is_default = wanted and item.id == row.id
        _open_with(row if wanted else None, row.view)
        db.session.commit()
        flash(say("打开列表时将使用视图「{name}」", name=row.name) if wanted else "已取消默认视图", "success")
        return redirect(address(row))

    @expose("/delete/<pk>", methods=["POST"])
    @has_access
    @permission_name("save")
    def delete(self, pk: str) -> Any:
        row = _removable(pk)
        endpoint = row.view
        if row.is_default and _is_own(row):
            _open_with(None, endpoint)
        if row.shared:
            note_shared(row, gone=True)
        db.session.delete(row)
        db.session.commit()
        flash(say("已删除视图「{name}」", name=row.name), "success")
        return redirect(url_for(f"{view_named(endpoint).endpoint}.list"))

    def _done(self, row: SavedView, view: Any, do: Any, words: str) -> Any:
        back = f"{url_for(f'{view.endpoint}.list')}?{kept(view, request.form.get('query', ''))}"
        try:
            do()
            db.session.commit()
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
            return redirect(back)
        flash(say("{what}「{name}」", what=ours(words), name=row.name), "success")
        return redirect(address(row))

    def _named(self, row: SavedView, name: str, *, shared: bool) -> None:
        name = texts.checked(name, "视图名称")
        if not name or len(name) > LONGEST_NAME:
            raise Refused(say("请填写视图名称，最多 {longest_name} 个字", longest_name=LONGEST_NAME))
        if shared and not may_share():
            raise Refused("登录商户期间不能共享视图：商户无法删除它")
        if why := _fault(view_named(row.view), row.query):
            raise Refused(why)
        with db.session.no_autoflush:
            mine = select(func.count(SavedView.id)).where(SavedView.user_id == row.user_id, SavedView.view == row.view)
            if db.session.scalar(mine.where(SavedView.name == name, SavedView.id != (row.id or 0))):
                raise Refused(say("已有名为「{name}」的视图：请换一个名称", name=name))
            if row.id is None and (db.session.scalar(mine) or 0) >= MOST:
                raise Refused(say("一个列表最多保存 {most} 个视图：请先删除不用的", most=MOST))
        was_shared, row.name, row.shared = row.shared, name, shared
        db.session.add(row)
        try:
            db.session.flush()
        except IntegrityError:  # the same form sent twice at once
            db.session.rollback()
            raise Refused(say("已有名为「{name}」的视图：请换一个名称", name=name)) from None
        if shared or was_shared:
            note_shared(row)


def visible() -> Any:
    """The views that the user may open: their own, and those that colleagues share."""
    side = SavedView.merchant_id == _merchant_id() if _merchant_id() else SavedView.merchant_id.is_(None)
    return select(SavedView).where(side, or_(SavedView.user_id == _user_id(), SavedView.shared.is_(True)))


def address(row: SavedView) -> str:
    """The list as a view shows it."""
    return url_for(f"{row.view}.list") + f"?{row.query}{'&' if row.query else ''}saved={row.id}"


def _own(pk: str) -> SavedView:
    """One of the user's own views; 404 alike for foreign and absent ones."""
    key = parse_key(pk)
    row: SavedView | None = db.session.scalars(visible().where(SavedView.id == key)).first() if key else None
    return row if row is not None and _is_own(row) else abort(404)


def may_tidy() -> bool:
    """Whether the reader may delete what colleagues share, who may long have left: as their side's administrator."""
    return bool({ADMIN, OWNER} & current_role_names()) and may_share()


def _removable(pk: str) -> SavedView:
    """One of the user's own views or, for an administrator, a shared one; 404 alike for all others and absent ones."""
    key = parse_key(pk)
    row: SavedView | None = db.session.scalars(visible().where(SavedView.id == key)).first() if key else None
    return row if row is not None and (_is_own(row) or may_tidy()) else abort(404)


def _is_own(row: SavedView) -> bool:
    return row.user_id == _user_id()


def _user_id() -> int:
    known = principal() or abort(404)
    number: int = known.user.id
    return number


def _merchant_id() -> int | None:
    known = principal()
    return known.merchant_id if known else None


def _may_default() -> bool:
    """Whoever is at work as a merchant does not change what their own account opens with."""
    known = principal()
    return known is not None and known.acting is None


def may_share() -> bool:
    """Whoever is at work as a merchant leaves nothing among its people that only the platform could take away."""
    return _may_default()


def _open_with(row: SavedView | None, endpoint: str = "") -> None:
    """Write what a list opens with into the account."""
    user = db.session.get(User, _user_id())
    if user is None or not _may_default():
        return
    held = dict((user.preferences or {}).get(PREFERENCE) or {})
    held.pop(endpoint or (row.view if row else ""), None)
    if row is not None:
        held[row.view] = f"{row.query}{'&' if row.query else ''}saved={row.id}"
    user.preferences = {**(user.preferences or {}), PREFERENCE: held}


def _names(rows: list[SavedView]) -> dict[int, str]:
    """Who made the shared views, in one query."""
    keys = {row.user_id for row in rows if not _is_own(row)}
    if not keys:
        return {}
    return {
        user.id: str(user.first_name or user.username)
        for user in db.session.scalars(select(User).where(User.id.in_(keys)))
    }
