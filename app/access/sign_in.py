"""Logging in: the password, then a code where the second factor is on; and proving oneself again (step-up).

Between the two steps a browser is nobody: its server-side session holds only whose password was right, for a few
minutes. Attempts at either step count together; nothing about a device or an address spares anyone a step.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from flask import current_app, request, session
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload
from werkzeug import Response

from app.access import accounts, passwords, sessions, throttle, two_factor
from app.access.browser import prove, sign_in
from app.access.principal import WEB, login_session, may_enter
from app.data.clock import utcnow
from app.data.secrets import keyring
from app.errors import Refused
from app.models.kit.audit import Actor, record
from app.models.kit.user import ConsoleUser

HALF_LIFE = timedelta(minutes=5)
HALF = "half"  # where the session keeps whose password was right
LINK = "link"  # and by which link a password is about to be set
DEVICE_COOKIE = "douzhou_device"
DEVICE_LIFE = timedelta(days=180)
LONGEST_NAME = 128


class CodeNeeded(Exception):
    """The password was right and the user's second factor is on: a code is needed too."""

    def __init__(self, user: ConsoleUser) -> None:
        super().__init__()
        self.user = user


def by_password(user_name: str, password: str, *, code: str | None = None) -> ConsoleUser | None:
    """The user, or None alike for an unknown name, a wrong password or code, and a user who may not enter.

    Raises TooManyAttempts after too many failures of the user or of the address; CodeNeeded when no code was given
    where one is needed.
    """
    name = user_name.strip().replace("\0", "").encode(errors="replace").decode()[:LONGEST_NAME]
    with login_session() as own:
        throttle.begin(own, name, _address(), device=_device_of(name))
        user = _found(own, ConsoleUser.username.in_({name, name.lower()}))
        own.commit()  # no transaction is open while the hash is worked out
        if user is not None and user.username not in {name, name.lower()}:
            user = None  # MariaDB finds `admin` under `ádmin` too, and each spelling would have its own count
        right = passwords.matches(password, user.password if user else None)
        if user is None or not right or not may_enter(user):
            _failed(own, user)
            return None
        if two_factor.is_on(own, user.id):
            if code is None:
                own.commit()
                own.expunge_all()
                raise CodeNeeded(user)
            if not two_factor.check(own, user, code):
                _failed(own, user)
                return None
        return _welcome(own, user)


def begin_half(user: ConsoleUser, target: str) -> None:
    """Remember, under a new session id, whose password was right; a code must follow."""
    until = utcnow() + HALF_LIFE
    _begin_step(HALF, {"id": user.id, "gen": user.credential_generation, "until": until.isoformat(), "next": target})


def _begin_step(name: str, held: dict[str, Any]) -> None:
    locale = session.get("locale")
    session.clear()
    if locale:
        session["locale"] = locale
    session[name] = held
    sessions.renew()


def half() -> dict[str, Any] | None:
    """Whose code is awaited: `id`, `gen`, `until` and `next`; None when nobody's is, or no longer."""
    held: dict[str, Any] | None = session.get(HALF)
    if held is None or datetime.fromisoformat(held["until"]) <= utcnow():
        session.pop(HALF, None)
        return None
    return held


def by_code(code: str) -> ConsoleUser | None:
    """The user whose code was awaited; None for a wrong code. Raises TooManyAttempts, with the password's count."""
    held = half()
    if held is None:
        return None
    with login_session() as own:
        user = _found(own, ConsoleUser.id == held["id"])
        if user is None or not may_enter(user) or user.credential_generation != held["gen"]:
            session.pop(HALF, None)
            return None
        throttle.begin(own, user.username, _address(), device=_device_of(user.username))
        if not two_factor.check(own, user, code):
            _failed(own, user)
            return None
        return _welcome(own, user)


def begin_link(token: str) -> bool:
    """Remember, under a new session id, by which link a password is about to be set; False for one that is none."""
    with login_session() as own:
        link = accounts.find_link(own, token=token)
        user = _found(own, ConsoleUser.id == link.user_id) if link is not None else None
        if link is None or not may_enter(user):
            return False
        _begin_step(LINK, {"hash": link.token_hash})
        return True


def link_user() -> ConsoleUser | None:
    """Whose password is about to be set in this browser, detached; None when no link is open, or no longer."""
    with login_session() as own:
        link = accounts.find_link(own, token_hash=session[LINK]["hash"]) if LINK in session else None
        user = _found(own, ConsoleUser.id == link.user_id) if link is not None else None
        own.expunge_all()
        return user if may_enter(user) else None


def by_link(password: str) -> ConsoleUser:
    """The owner of an account, who sets a password by a link. Refused for a link that is gone and a weak password.

    Raises CodeNeeded where the second factor is on: no link spares anyone a code.
    """
    with login_session() as own:
        link = accounts.find_link(own, token_hash=session[LINK]["hash"]) if LINK in session else None
        user = _found(own, ConsoleUser.id == link.user_id) if link is not None else None
        if link is None or user is None or not may_enter(user):
            raise Refused(accounts.LINK_GONE)
        own.info["actor"] = Actor(user.id, user.username, _address(), via=f"{link.kind}:{link.by_name}").info(WEB)
        accounts.set_by_link(own, user, link, password)
        own.commit()
        if two_factor.is_on(own, user.id):
            own.commit()
            own.expunge_all()
            raise CodeNeeded(user)
        return _welcome(own, user)


def enter(user: ConsoleUser, answer: Response, *, second: bool = False) -> Response:
    """Begin the user's browser session; the browser is remembered as one that this user has used."""
    sign_in(user, second=second)
    mark = _serializer().dumps({"name": _name_mark(user.username), "device": secrets.token_urlsafe(9)})
    answer.set_cookie(
        DEVICE_COOKIE,
        str(mark),
        max_age=int(DEVICE_LIFE.total_seconds()),
        path="/login/",
        httponly=True,
        secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        samesite="Lax",
    )
    return answer


def prove_again(orm: Session, user: ConsoleUser, password: str, code: str) -> bool:
    """Password, and code where the second factor is on, once more. Commits. Raises TooManyAttempts."""
    attempt = throttle.begin_again(orm, user.username)  # commits: nothing is open meanwhile
    if not passwords.matches(password, user.password):
        return False
    if two_factor.is_on(orm, user.id) and not two_factor.check(orm, user, code):
        orm.commit()
        return False
    throttle.forgive(orm, attempt)
    orm.commit()
    prove()
    return True


def _found(own: Session, *conditions: Any) -> ConsoleUser | None:
    statement = select(ConsoleUser).where(*conditions)
    return (
        own.scalars(statement.options(joinedload(ConsoleUser.roles), joinedload(ConsoleUser.merchant))).unique().first()
    )


def _failed(own: Session, user: ConsoleUser | None) -> None:
    # The typed name of an unknown user is not kept: it is now and then a password.
    record(own, "login_failed", subject=user)
    if user is not None:
        user.fail_login_count = (user.fail_login_count or 0) + 1
    own.commit()


def _welcome(own: Session, user: ConsoleUser) -> ConsoleUser:
    throttle.forgive_user(own, user.username)
    own.info["actor"] = Actor(user.id, user.username, _address(), via=user.via).info(WEB)
    record(own, "login", subject=user)
    user.last_login = utcnow().replace(tzinfo=None)  # FAB's column is naive; kept in UTC
    user.login_count = (user.login_count or 0) + 1
    user.fail_login_count = 0
    own.commit()
    own.expunge_all()
    return user


def _address() -> str:
    return (request.remote_addr or "")[:64]


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt="device")


def _name_mark(name: str) -> str:
    return keyring().fingerprint(f"device:{name.strip().lower()}")[:24]


def _device_of(name: str) -> str:
    """The mark of a browser that has logged in under this name before; empty for any other."""
    try:
        held = _serializer().loads(request.cookies.get(DEVICE_COOKIE, ""))
    except BadSignature:
        return ""
    same = isinstance(held, dict) and held.get("name") == _name_mark(name)
    return str(held["device"])[:32] if same else ""
