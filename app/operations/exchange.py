"""The exchange of an authorisation code for a mini-program's tokens: once a code, stored in one commit."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.douyin import authorization as auth
from app.douyin.contract import Token
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.models import (
    AuthorizationCode,
    AuthorizationState,
    Credential,
    CredentialKind,
    MiniProgram,
    ThirdPartyApp,
    VersionEvent,
)
from app.models.base import utcnow
from app.models.mini_program import PERMISSION_WORDS
from app.operations import holds
from app.operations.connection import bind_app
from app.operations.tokens import Slot, claim_code, code_hash, grant_of, sealed_values
from app.tenancy import PLATFORM, app_scope

T = TypeVar("T")
PATIENCE = 5.0
_TRIES = 6
_UNSPENT = frozenset({ErrorKind.SYSTEM, ErrorKind.RATE, ErrorKind.PLATFORM, ErrorKind.TOKEN})


@dataclass(frozen=True)
class Exchanged:
    """What a code stood for. `fresh`: this call made the exchange, not an earlier one."""

    appid: str
    permissions: list[int]
    fresh: bool
    mini_program_id: int


def exchange_code(app: Flask, third_party_app_id: int, code: str) -> Exchanged:
    """Exchange an authorisation code and mark its mini-program authorised; a code is exchanged once, ever.

    When another has taken the code, waits up to 5 s for what it found. Raises Refused, DouyinError, NoAnswer.
    """
    if not claim_code(app, third_party_app_id, code):
        return _found_by_another(app, third_party_app_id, code)
    douyin = bind_app(app, third_party_app_id)
    sent_at = utcnow()
    call = auth.GetAuthorizerAccessToken(grant_type=auth.GrantType.CODE, authorization_code=code)
    try:
        reply = douyin.send(call)
        if reply.authorizer_appid is None:
            raise NoAnswer("抖音的答复没有说明是哪个小程序")
    except (Refused, DouyinError, NoAnswer) as error:
        _note_failure(app, third_party_app_id, code, error)
        raise
    return _store(app, third_party_app_id, code, reply, sent_at)


def _found_by_another(app: Flask, third_party_app_id: int, code: str) -> Exchanged:
    until = time.monotonic() + PATIENCE
    while True:
        with app_scope(app, PLATFORM) as session:
            claim = session.get(AuthorizationCode, code_hash(third_party_app_id, code))
            if claim is not None and claim.failure:
                raise Refused(claim.failure)
            appid = claim.appid if claim is not None else None
            found = session.scalar(select(MiniProgram).where(MiniProgram.appid == appid)) if appid else None
            if found is not None:
                return Exchanged(found.appid, list(found.permissions or []), False, found.id)
        if time.monotonic() >= until:
            raise Refused("授权正在处理中：请稍后在小程序列表查看")
        time.sleep(random.uniform(0.05, 0.15))


def _note_failure(app: Flask, third_party_app_id: int, code: str, error: Refused | DouyinError | NoAnswer) -> None:
    """A code that surely was not spent may be exchanged again; of any other the failure is kept."""
    unspent = (
        isinstance(error, Refused)
        or (isinstance(error, NoAnswer) and not error.sent)
        or (isinstance(error, DouyinError) and error.kind in _UNSPENT)
    )
    failed = update(AuthorizationCode).values(failure=error.message[:255])
    statement: Any = delete(AuthorizationCode) if unspent else failed
    with app_scope(app, PLATFORM) as session:
        this = AuthorizationCode.code_hash == code_hash(third_party_app_id, code)
        session.execute(statement.where(this).execution_options(synchronize_session=False))
        session.commit()


def _store(
    app: Flask, third_party_app_id: int, code: str, reply: auth.AuthorizerTokens, sent_at: datetime
) -> Exchanged:
    """Tokens, mini-program, code and timeline in one commit."""

    def store(session: Session) -> Exchanged:
        found = _record(session, third_party_app_id, reply, sent_at)
        session.execute(
            update(AuthorizationCode)
            .where(AuthorizationCode.code_hash == code_hash(third_party_app_id, code))
            .values(appid=found.appid)
        )
        session.flush()
        return Exchanged(found.appid, list(found.permissions), True, found.id)

    return in_one_commit(app, store)


def in_one_commit(app: Flask, work: Callable[[Session], T], *, actor: str = "") -> T:
    """What `work` gives, once it is committed; again in a new session when another changed the rows meanwhile."""
    tries = 0
    while True:
        with app_scope(app, PLATFORM) as session:
            if actor:
                session.info["actor"] = {"name": actor}
            try:
                found = work(session)
                session.commit()
                return found
            except (StaleDataError, IntegrityError, OperationalError):
                session.rollback()
                tries += 1
                if tries == _TRIES:
                    raise
        time.sleep(random.uniform(0.02, 0.1) * tries)


def _record(session: Session, third_party_app_id: int, reply: auth.AuthorizerTokens, sent_at: datetime) -> MiniProgram:
    owner = session.get_one(ThirdPartyApp, third_party_app_id)
    row = _mini_program(session, reply.authorizer_appid or "", owner)
    ended = row.unauthorized_at
    if row.state == AuthorizationState.REVOKED and ended is not None and ended >= sent_at:
        raise Refused("处理期间商户取消了授权：请让商户重新授权")
    slot = Slot(Token.AUTHORIZER, owner.id, owner.appid, row.appid)
    _put_tokens(session, slot, reply, sent_at)
    row.move_to(AuthorizationState.AUTHORIZED)
    row.third_party_app_id = owner.id
    if reply.permissions is not None:
        row.permissions = sorted(reply.permissions)
    row.authorized_at = utcnow()
    row.refresh_expires_at = utcnow() + timedelta(seconds=reply.refresh_expires_in)
    row.token_fault, row.held_at = "", None
    session.flush()
    holds.release(session, holds.of_mini_program(row.id))
    words = "、".join(permission_words(row.permissions)) or "未说明"
    note(session, row, "authorized", f"授权成功，权限集：{words}")
    return row


def _mini_program(session: Session, appid: str, owner: ThirdPartyApp) -> MiniProgram:
    found = session.scalar(select(MiniProgram).where(MiniProgram.appid == appid))
    if found is None:
        # Nobody's yet: it waits to be claimed (待认领) unless the browser returns with a merchant's link.
        pending = AuthorizationState.PENDING
        found = MiniProgram(appid=appid, third_party_app_id=owner.id, state=pending, permissions=[], info={})
        session.add(found)
        session.flush()
    return found


def _put_tokens(session: Session, slot: Slot, reply: auth.AuthorizerTokens, sent_at: datetime) -> None:
    row = session.scalar(select(Credential).where(Credential.key == slot.key))
    if row is None:
        kind = CredentialKind.AUTHORIZER
        owner_id = slot.third_party_app_id
        row = Credential(key=slot.key, kind=kind, third_party_app_id=owner_id, appid=slot.appid)
        session.add(row)
        session.flush()
    values = sealed_values(row, grant_of(reply))
    now = utcnow()
    if row.obtained_at is not None and row.obtained_at > sent_at:
        # Two pairs were made side by side and one has ended the other; the next use recovers.
        values |= {"expires_at": now - timedelta(seconds=1), "lease_owner": "conflict", "lease_until": now}
    elif row.lease_until is not None and row.lease_until < now:
        values |= {"lease_owner": None, "lease_until": None}
    this = update(Credential).where(Credential.id == row.id).values(**values)
    session.execute(this.execution_options(synchronize_session=False))


def note(session: Session, mini_program: MiniProgram, kind: str, text: str, **detail: Any) -> None:
    """One line on the mini-program's timeline; the caller commits."""
    session.add(
        VersionEvent(
            merchant_id=mini_program.merchant_id,
            mini_program_id=mini_program.id,
            kind=kind,
            text=text,
            detail=detail,
            actor_name=str((session.info.get("actor") or {}).get("name", "系统"))[:64],
        )
    )


def permission_words(permissions: list[int]) -> list[str]:
    """Permission sets in words; one we have no word for by its number."""
    return [PERMISSION_WORDS.get(item, f"权限集 {item}") for item in permissions]
