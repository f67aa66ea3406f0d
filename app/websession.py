"""Server-side sessions: the cookie holds 256 random bits, the database their hash and the session's data.

An anonymous visitor gets a row only when there is something to keep (the form's token on the log-in page). A
session of a user ends with its row: at log-out, at a change of password, when the user is disabled.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Request, Response, request, session
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SessionInterface, SessionMixin
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.orm import Session

from app.database import reading
from app.extensions import db
from app.models.base import utcnow
from app.models.records import WebSession

ANONYMOUS_LIFE = timedelta(hours=1)
TOUCH_EVERY = timedelta(minutes=5)
COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")
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

    serializer = TaggedJSONSerializer()

    def open_session(self, app: Flask, request: Request) -> ServerSession:
        found = ServerSession()
        found.kept = has_session(request.path)
        cookie = request.cookies.get(self.get_cookie_name(app), "")
        if not found.kept or not COOKIE.fullmatch(cookie):
            return found
        columns = (_table.c.data, _table.c.seen_at, _table.c.expires_at)
        with reading(), db.engine.connect() as connection:
            row = connection.execute(select(*columns).where(_table.c.id_hash == hashed(cookie))).first()
        if row is None or row.expires_at <= utcnow():
            return found
        found = ServerSession(cookie, row.data, self.serializer.loads(row.data.decode()))
        found.seen_at, found.expires_at = row.seen_at, row.expires_at
        return found

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if not isinstance(session, ServerSession) or not session.kept:
            return
        response.vary.add("Cookie")
        data = {key: value for key, value in session.items() if not _is_default(app, key, value)}
        if not session.cookie and not _worth_a_row(data):
            return
        payload = self.serializer.dumps(data).encode()
        if not data:
            self._end(app, session, response)
        elif not session.cookie or session.renewed:
            self._begin(app, session, response, payload)
        elif payload != session.stored or _is_stale(session):
            self._update(app, session, response, payload)

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
            "address": (request.remote_addr or "")[:64],
            "agent": request.headers.get("User-Agent", "")[:255].replace("\0", ""),
        }
        with _writing() as connection:
            if session.cookie:
                connection.execute(delete(_table).where(_table.c.id_hash == hashed(session.cookie)))
            connection.execute(insert(_table).values(values))
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


@contextmanager
def _writing() -> Iterator[Connection]:
    # What a view did not commit is not kept; on SQLite its open transaction would hold the only write lock.
    if db.session.registry.has() and db.session().in_transaction():
        db.session.rollback()
    with reading(), db.engine.begin() as connection:
        yield connection


def _is_default(app: Flask, key: str, value: Any) -> bool:
    return key == "locale" and value == app.config["BABEL_DEFAULT_LOCALE"]  # FAB writes it at every visit


def _worth_a_row(data: dict[str, Any]) -> bool:
    return bool({"csrf_token", "_user_id", "locale"} & data.keys())


def _is_stale(session: ServerSession) -> bool:
    return session.seen_at is None or utcnow() - session.seen_at > TOUCH_EVERY


def _user_id(session: ServerSession) -> int | None:
    held = session.get("_user_id")
    return int(held) if held is not None else None


def _life(app: Flask, session: ServerSession) -> timedelta:
    return app.permanent_session_lifetime if "_user_id" in session else ANONYMOUS_LIFE


def renew() -> None:
    """Give the current request's session a new id."""
    held = session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(held, ServerSession):
        held.renew()


def current_hash() -> str | None:
    """How the database names the current request's session, if it has one."""
    held = session._get_current_object()  # type: ignore[attr-defined]
    return hashed(held.cookie) if isinstance(held, ServerSession) and held.cookie else None


def end_all(orm: Session, user_id: int, *, but: str | None = None) -> int:
    """End a user's sessions, all but one if its hash is given; how many. The caller commits."""
    ended = orm.execute(
        delete(WebSession)
        .where(WebSession.user_id == user_id, WebSession.id_hash != (but or ""))
        .execution_options(synchronize_session=False)
    )
    return int(ended.rowcount)  # type: ignore[attr-defined]


def sessions_of(orm: Session, user_id: int) -> list[WebSession]:
    """A user's live sessions, the latest seen first."""
    alive = select(WebSession).where(WebSession.user_id == user_id, WebSession.expires_at > utcnow())
    return list(orm.scalars(alive.order_by(WebSession.seen_at.desc())))


def init_app(app: Flask) -> None:
    """Keep this application's sessions in the database."""
    app.session_interface = ServerSessions()
