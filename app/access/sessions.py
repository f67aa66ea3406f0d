"""Server-side sessions: the cookie, or the API's tokens, hold 256 random bits, the database their hash and the data.

What there is to keep of a visitor (the form's token on the log-in page, the language) is in a signed cookie, so that
whoever comes by writes nothing; only who has given a password has a row. A user's session ends with its row: at
log-out, at a change of password, when the user is disabled. A log-in of the API is a row like a browser's, and ended
by the same acts; its tokens name it, and each of its refresh tokens counts once.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from flask import Flask, Request, Response, g, request, session
from flask.sessions import SessionInterface, SessionMixin
from flask_appbuilder.security.sqla.models import Role, assoc_user_role
from itsdangerous import BadSignature, TimestampSigner
from sqlalchemy import Connection, Select, bindparam, delete, insert, join, select, update
from sqlalchemy.orm import Session, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value
from werkzeug.local import LocalProxy

from app.data.clock import utcnow
from app.data.engine import reading, rows_changed, writing
from app.extensions import db
from app.i18n.tags import SentenceSerializer
from app.models import Merchant
from app.models.kit.user import ConsoleUser
from app.models.records import WebSession

ANONYMOUS_LIFE = timedelta(hours=1)
API_LIFE = timedelta(days=30)  # of a log-in whose access tokens are renewed; no refresh makes it longer
TOUCH_EVERY = timedelta(minutes=5)
BROWSER, API = "web", "api"
LISTED = 50  # sessions of one user that a page shows
COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
FLASHES = 5  # messages that wait to be shown, at most
VISITOR = "v."  # begins the cookie of a visitor
CARRIED = frozenset({"csrf_token", "locale", "_flashes"})  # what such a cookie may hold
# Addresses that never look at a session: machines call them, or they are files.
WITHOUT_SESSION = ("/static/", "/mp/", "/douyin/callback/", "/healthz", "/readyz", "/metrics", "/favicon.ico")
_table = WebSession.__table__


class ServerSession(dict[str, Any], SessionMixin):
    """A session's data, and what is known of its row."""

    def __init__(self, cookie: str = "", stored: bytes = b"", data: dict[str, Any] | None = None) -> None:
        super().__init__(data or {})
        self.cookie = cookie  # empty: there is no row yet
        self.stored = stored
        self.seen_at: datetime | None = None
        self.expires_at: datetime | None = None
        self.kept = True  # False: an address that has no session
        self.renewed = False
        self.new = not cookie

    def renew(self) -> None:
        """Give the session a new id: at log-in and whenever its power changes."""
        self.renewed = True


def hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()


def has_session(path: str) -> bool:
    return not path.startswith(WITHOUT_SESSION)


class ServerSessions(SessionInterface):
    """Flask's sessions, kept in `web_session`, over a connection of their own held for a moment."""

    serializer = SentenceSerializer()

    def open_session(self, app: Flask, request: Request) -> ServerSession:
        found = ServerSession()
        found.kept = has_session(request.path)
        cookie = request.cookies.get(self.get_cookie_name(app), "")
        if found.kept and cookie.startswith(VISITOR):
            return self._visitor(app, cookie)
        if not found.kept or not COOKIE.fullmatch(cookie):
            return found
        held = _found(hashed(cookie))
        if held is None or held[0].expires_at <= utcnow():
            return found
        row, g.session_user = held
        found = ServerSession(cookie, row.data, self.serializer.loads(row.data.decode()))
        found.seen_at, found.expires_at = row.seen_at, row.expires_at
        return found

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not isinstance(session, ServerSession) or not session.kept:
            return
        response.vary.add("Cookie")
        data = {key: value for key, value in session.items() if not _is_default(app, key, value)}
        if not session.cookie and not session.stored and not _worth_keeping(data):
            return
        if "_flashes" in data:  # every refused address leaves one: a cookie holds 4 KB, a row's column 64
            data["_flashes"] = data["_flashes"][-FLASHES if session.cookie else -1 :]
        payload = self.serializer.dumps(data).encode()
        if not data:
            self._end(app, session, response)
        elif not session.cookie and data.keys() <= CARRIED:
            self._carry(app, session, response, payload)
        elif not session.cookie or session.renewed:
            self._begin(app, session, response, payload)
        elif payload != session.stored or _is_stale(session):
            self._update(app, session, response, payload)

    def _visitor(self, app: Flask, cookie: str) -> ServerSession:
        try:
            payload = self._signer(app).unsign(cookie[len(VISITOR) :], max_age=int(ANONYMOUS_LIFE.total_seconds()))
            data = self.serializer.loads(base64.urlsafe_b64decode(payload).decode())
        except (BadSignature, ValueError):
            return ServerSession()
        if not data.keys() <= CARRIED:
            return ServerSession()
        return ServerSession("", base64.urlsafe_b64decode(payload), data)

    def _carry(self, app: Flask, session: ServerSession, response: Response, payload: bytes) -> None:
        if payload != session.stored:
            signed = self._signer(app).sign(base64.urlsafe_b64encode(payload)).decode()
            self._give(app, response, VISITOR + signed)

    def _signer(self, app: Flask) -> TimestampSigner:
        return TimestampSigner(app.secret_key or "", salt="visitor")

    def _begin(self, app: Flask, session: ServerSession, response: Response, payload: bytes) -> None:
        cookie = secrets.token_urlsafe(32)
        now = utcnow()
        values = {
            "id_hash": hashed(cookie),
            "user_id": _user_id(session),
            "data": payload,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + _life(app, session),
            **_visitor_facts(),
        }
        with _writing() as connection:
            if session.cookie:
                connection.execute(delete(_table).where(_table.c.id_hash == hashed(session.cookie)))
            connection.execute(insert(_table).values(values))
        self._give(app, response, cookie)

    def _give(self, app: Flask, response: Response, cookie: str) -> None:
        response.set_cookie(
            self.get_cookie_name(app),
            cookie,
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            httponly=True,
            samesite=self.get_cookie_samesite(app),
        )

    def _update(self, app: Flask, session: ServerSession, response: Response, payload: bytes) -> None:
        change = update(_table).where(_table.c.id_hash == hashed(session.cookie))
        with _writing() as connection:
            kept = connection.execute(change.values(data=payload, seen_at=utcnow(), user_id=_user_id(session))).rowcount
        if not kept:  # ended by another request in the meantime: it is not brought back
            self._forget(app, response)

    def _end(self, app: Flask, session: ServerSession, response: Response) -> None:
        if session.cookie:
            with _writing() as connection:
                connection.execute(delete(_table).where(_table.c.id_hash == hashed(session.cookie)))
        self._forget(app, response)

    def _forget(self, app: Flask, response: Response) -> None:
        response.delete_cookie(
            self.get_cookie_name(app),
            path=self.get_cookie_path(app),
            secure=self.get_cookie_secure(app),
            httponly=True,
            samesite=self.get_cookie_samesite(app),
        )


def _found(id_hash: str) -> tuple[Any, ConsoleUser | None] | None:
    """The session's row, and its user with roles and merchant, in one statement; the user is detached."""
    with reading(), db.engine.connect() as connection:
        rows = connection.execute(_opening(), {"id_hash": id_hash}).all()
    return (rows[0], _user_in(rows)) if rows else None


# The user's objects are made of plain columns: asked for as mapped ones they take twice as long and more.


@cache
def _opening() -> Select[Any]:
    user, merchant, role, given = ConsoleUser.__table__, Merchant.__table__, Role.__table__, assoc_user_role
    roles = join(given, role, role.c.id == given.c.role_id)
    held = (
        _table.outerjoin(user, user.c.id == _table.c.user_id)
        .outerjoin(merchant, merchant.c.id == user.c.merchant_id)
        .outerjoin(roles, given.c.user_id == user.c.id)
    )
    brought = [column for model in (ConsoleUser, Merchant, Role) for column in _columns(model).values()]
    found = select(_table.c.data, _table.c.seen_at, _table.c.expires_at, *brought).select_from(held)
    return found.where(_table.c.id_hash == bindparam("id_hash"), _table.c.kind == BROWSER)


@cache
def _columns(model: Any) -> dict[str, Any]:
    return {item.key: item.columns[0] for item in model.__mapper__.column_attrs}


def _user_in(rows: Sequence[Any]) -> ConsoleUser | None:
    """The user of the rows that were found, each of which brings another role."""
    first = rows[0][3:]  # behind the session's own columns
    user: ConsoleUser | None = _detached(ConsoleUser, first)
    merchant_at = len(_columns(ConsoleUser))
    if user is not None:
        role_at = merchant_at + len(_columns(Merchant))
        roles = [_detached(Role, row[3 + role_at :]) for row in rows]
        set_committed_value(user, "merchant", _detached(Merchant, first[merchant_at:]))
        set_committed_value(user, "roles", [role for role in roles if role is not None])
    return user


def _detached(model: Any, values: Sequence[Any]) -> Any:
    """A mapped object of no session, of the values that a row begins with; None where an outer join found nothing."""
    held = dict(zip(_columns(model), values, strict=False))
    if held["id"] is None:
        return None
    made = model.__mapper__.class_manager.new_instance()
    made.__dict__.update(held)
    make_transient_to_detached(made)
    return made


def _visitor_facts() -> dict[str, str]:
    """From where a session is begun, and with what."""
    return {
        "address": (request.remote_addr or "")[:64],
        "agent": request.headers.get("User-Agent", "")[:255].replace("\0", ""),
    }


@contextmanager
def _writing() -> Iterator[Connection]:
    # What a view did not commit is not kept; on SQLite its open transaction would hold the only write lock.
    if db.session.registry.has() and db.session().in_transaction():
        db.session.rollback()
    with reading(), db.engine.begin() as connection:
        yield connection


def _is_default(app: Flask, key: str, value: Any) -> bool:
    return key == "locale" and value == app.config["BABEL_DEFAULT_LOCALE"]  # FAB writes it at every visit


def _worth_keeping(data: dict[str, Any]) -> bool:
    return bool({"csrf_token", "_user_id", "locale", "half", "link"} & data.keys())


def _is_stale(session: ServerSession) -> bool:
    return session.seen_at is None or utcnow() - session.seen_at > TOUCH_EVERY


def _user_id(session: ServerSession) -> int | None:
    held = session.get("_user_id")
    return int(held) if held is not None else None


def _life(app: Flask, session: ServerSession) -> timedelta:
    return app.permanent_session_lifetime if "_user_id" in session else ANONYMOUS_LIFE


def _of_request() -> ServerSession | None:
    """The current request's session itself."""
    held = cast("LocalProxy[SessionMixin]", session)._get_current_object()
    return held if isinstance(held, ServerSession) else None


def renew() -> None:
    """Give the current request's session a new id."""
    held = _of_request()
    if held is not None:
        held.renew()


def current_hash() -> str | None:
    """How the database names the current request's session, if it has one."""
    held = _of_request()
    return hashed(held.cookie) if held is not None and held.cookie else None


def end_all(orm: Session, user_id: int, *, but: str | None = None) -> int:
    """End a user's sessions, all but one if its hash is given; how many. The caller commits."""
    return rows_changed(orm, delete(WebSession).where(WebSession.user_id == user_id, WebSession.id_hash != (but or "")))


def end_one(orm: Session, user_id: int, handle: str) -> int:
    """End the one of a user's sessions that a page named by the beginning of its hash; how many. The caller commits."""
    named = [held.id_hash for held in sessions_of(orm, user_id) if handle_of(held) == handle]
    return rows_changed(orm, delete(WebSession).where(WebSession.user_id == user_id, WebSession.id_hash.in_(named)))


def handle_of(held: WebSession) -> str:
    """How a page names a session."""
    return held.id_hash[:16]


def sessions_of(orm: Session, user_id: int) -> list[WebSession]:
    """A user's live sessions, of browsers and of the API, the latest seen first."""
    alive = select(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at > utcnow())
    return list(orm.scalars(alive.order_by(WebSession.seen_at.desc())))


# The API's.


@dataclass(frozen=True)
class ApiSession:
    """A log-in of the API as its tokens name it. `serial`: of the refresh token that counts; 0 without one."""

    id: str
    user_id: int
    serial: int
    expires_at: datetime


def begin_api(orm: Session, user_id: int, *, life: timedelta, refreshed: bool) -> ApiSession:
    """A row for a log-in of the API. The caller commits."""
    made = ApiSession(secrets.token_urlsafe(32), user_id, int(refreshed), utcnow() + life)
    orm.add(
        WebSession(
            id_hash=hashed(made.id),
            user_id=user_id,
            kind=API,
            serial=made.serial,
            data=b"",
            expires_at=made.expires_at,
            **_visitor_facts(),
        )
    )
    return made


def find_api(orm: Session, name: Any, user_id: int) -> ApiSession | None:
    """The user's log-in that a token names; None when it has ended. Notes that it was used, and commits that."""
    if not isinstance(name, str):
        return None
    id_hash = hashed(name)
    held = select(WebSession).where(WebSession.id_hash == id_hash, WebSession.kind == API)
    row = orm.scalars(held.where(WebSession.user_id == user_id, WebSession.expires_at > utcnow())).first()
    if row is None:
        return None
    found = ApiSession(name, user_id, row.serial, row.expires_at)
    if utcnow() - row.seen_at > TOUCH_EVERY:
        orm.rollback()
        with writing():
            _change(orm, id_hash, seen_at=utcnow())
            orm.commit()
    return found


def rotate(orm: Session, held: ApiSession, serial: Any) -> ApiSession | None:
    """Take the refresh token of this serial out of use for the next one; None when it was used before.

    Of two that come with the same token one gets the next. The caller commits, and ends a log-in of which a token was
    used twice.
    """
    if not isinstance(serial, int) or not serial:
        return None
    taken = _change(orm, hashed(held.id), WebSession.serial == serial, serial=serial + 1, seen_at=utcnow())
    return replace(held, serial=serial + 1) if taken else None


def end_api(orm: Session, held: ApiSession) -> bool:
    """End a log-in of the API; whether it was there. The caller commits."""
    return bool(rows_changed(orm, delete(WebSession).where(WebSession.id_hash == hashed(held.id))))


def _change(orm: Session, id_hash: str, *more: Any, **values: Any) -> bool:
    change = update(WebSession).where(WebSession.id_hash == id_hash, *more).values(**values)
    return bool(rows_changed(orm, change))


def init_app(app: Flask) -> None:
    """Keep this application's sessions in the database."""
    app.session_interface = ServerSessions()
