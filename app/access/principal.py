"""Who asks: the user of a request with the roles that count now, and the scope of its session.

The user is loaded once a request, in a session of its own, and detached; the request's session gets its scope from
it, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import g, has_request_context, request
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.data.engine import reading
from app.data.tenancy import LOGIN, PLATFORM, merchant_scope, set_scope
from app.extensions import db
from app.models.kit.audit import SYSTEM, Actor
from app.models.kit.operation import Door
from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES, ConsoleUser
from app.models.merchant import MerchantState

WEB = "web"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Acting:
    """A platform user at work as a merchant (登录商户)."""

    merchant_id: int
    merchant_name: str
    until: datetime
    reason: str
    by: str


@dataclass(frozen=True)
class Principal:
    """Who asks in this request: a user with the roles that count now."""

    user: ConsoleUser
    role_names: frozenset[str]
    acting: Acting | None = None

    @property
    def merchant_id(self) -> int | None:
        return self.acting.merchant_id if self.acting else self.user.merchant_id

    def actor(self) -> Actor:
        return Actor(
            id=self.user.id,
            name=self.user.username,
            address=address(),
            merchant_id=self.merchant_id,
            on_behalf_of=self.acting.merchant_name[:64] if self.acting else "",
            via=self.user.via,
        )


def principal() -> Principal | None:
    """Who asks in this request; None for a visitor who is not known, and outside requests."""
    return g.get("principal") if has_request_context() else None


def current_actor() -> Actor:
    """Who asks, as operations and the audit log want it; the system outside requests."""
    known = principal()
    if known is not None:
        return known.actor()
    return Actor(None, "未登录", address()) if has_request_context() else SYSTEM


def current_role_names() -> frozenset[str]:
    """The roles that count in this request; while logged in as a merchant those of its owner."""
    known = principal()
    return known.role_names if known is not None else frozenset()


def acting() -> Acting | None:
    """As which merchant a platform user is at work, for the banner; None in ordinary sessions."""
    known = principal()
    return known.acting if known is not None else None


def face_of(user: ConsoleUser) -> str | None:
    """`platform` or `merchant`; None for a user that fits neither, who is let in nowhere."""
    names = user.role_names
    if names and names <= set(PLATFORM_ROLES) and user.merchant_id is None:
        return "platform"
    if names and names <= set(MERCHANT_ROLES) and user.merchant_id is not None:
        return "merchant"
    return None


def may_enter(user: ConsoleUser | None) -> bool:
    """Whether a user may work at all: active, of one face, its merchant not suspended."""
    if user is None or not user.active or face_of(user) is None:
        return False
    return user.merchant is None or user.merchant.state == MerchantState.ACTIVE


@contextmanager
def login_session(actor: Actor | None = None) -> Iterator[Session]:
    """A session of its own that may read what is needed to know who asks."""
    made = db.session.session_factory()
    set_scope(made, LOGIN)
    made.info["actor"] = (actor or current_actor()).info(WEB)
    try:
        yield made
    finally:
        made.close()


def _load(session: Session, *conditions: Any) -> ConsoleUser | None:
    statement = select(ConsoleUser).where(*conditions)
    statement = statement.options(joinedload(ConsoleUser.roles), joinedload(ConsoleUser.merchant))
    return session.scalars(statement).unique().first()


def user_of(pk: Any) -> ConsoleUser | None:
    """A user who may enter, detached; looked up once a request."""
    if not str(pk).isascii() or not str(pk).isdigit() or len(str(pk)) > 9:
        return None
    held = g.setdefault("users", {})
    if pk not in held:
        held[pk] = _loaded(int(pk))
    user: ConsoleUser | None = held[pk]
    return user if may_enter(user) else None


def _loaded(pk: int) -> ConsoleUser | None:
    """The user whom the browser's session brought along, else one that is asked for."""
    brought: ConsoleUser | None = g.get("session_user")
    if brought is not None and brought.id == pk:
        return brought
    with reading(), login_session(SYSTEM) as own:
        return _load(own, ConsoleUser.id == pk)


def address() -> str:
    return (request.remote_addr or "")[:64] if has_request_context() else ""


def has_bearer() -> bool:
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def adopt(known: Principal, door: Door | str) -> None:
    """Make a principal the request's: the scope of its session, once, and the actor of its audit rows."""
    scoped = db.session()
    set_scope(scoped, PLATFORM if known.merchant_id is None else merchant_scope(known.merchant_id))
    scoped.info["actor"] = known.actor().info(door)
    g.principal = known
    g.user = known.user
