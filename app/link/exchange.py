"""The exchange of an authorisation code for a mini-program's tokens: once a code, stored in one commit."""

from __future__ import annotations

import random
import re
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

from app.data.clock import utcnow
from app.data.engine import insert_missing, reading
from app.data.tenancy import PLATFORM, app_scope
from app.douyin import authorization as auth
from app.douyin.contract import Token
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.i18n.sentence import say
from app.link import holds
from app.link.connection import bind_app
from app.link.tokens import Slot, claim_code, code_hash, credential_row, grant_of, sealed_values
from app.models import (
    AuthorizationCode,
    AuthorizationState,
    Credential,
    MiniProgram,
    ThirdPartyApp,
    VersionEvent,
)
from app.models.mini_program import PERMISSION_WORDS

T = TypeVar("T")
PATIENCE = 5.0
OURSELVES = 0  # stands where Douyin's number would when it was we who refused
_TRIES = 6
_UNSPENT = frozenset({ErrorKind.SYSTEM, ErrorKind.RATE, ErrorKind.PLATFORM, ErrorKind.LINK, ErrorKind.TOKEN})
_UNCERTAIN = frozenset({ErrorKind.ANSWER, ErrorKind.UNKNOWN})  # of these nobody can say whether the code was spent
_KEPT = re.compile(r"(-?\d+) (.*)", re.DOTALL)
_SILENCE = "? "


class CodeTaken(Refused):
    """Another began to exchange the code and has not found its mini-program.

    `err_no` is what Douyin refused it with (OURSELVES: we did), and then it is over; None: there was no answer.
    `under_way`: the answer may still come.
    """

    def __init__(self, message: str, *, err_no: int | None = None, under_way: bool = False) -> None:
        super().__init__(message)
        self.err_no = err_no
        self.under_way = under_way


@dataclass(frozen=True)
class Exchanged:
    """What a code stood for. `fresh`: this call made the exchange, not an earlier one."""

    appid: str
    permissions: list[int]
    fresh: bool
    mini_program_id: int


def is_unspent(error: Refused | DouyinError | NoAnswer) -> bool:
    """Whether what the exchange of a code ended with leaves the code good for another try."""
    if isinstance(error, NoAnswer):
        return not error.sent
    if isinstance(error, DouyinError):
        return error.kind in _UNSPENT
    return not isinstance(error, CodeTaken)


def is_uncertain(error: DouyinError) -> bool:
    """Whether an answer leaves open what became of the code."""
    return error.kind in _UNCERTAIN


def exchange_code(app: Flask, third_party_app_id: int, code: str, *, patience: float = PATIENCE) -> Exchanged:
    """Exchange an authorisation code and mark its mini-program authorised; a code is exchanged once, ever.

    When another has taken the code, waits `patience` seconds for what it found; then CodeTaken. Raises Refused,
    DouyinError, NoAnswer.
    """
    if not claim_code(app, third_party_app_id, code):
        return _found_by_another(app, third_party_app_id, code, patience)
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


def retrieve(app: Flask, third_party_app_id: int, appid: str) -> int:
    """找回授权码 and its exchange; the mini-program's id. Raises Refused, DouyinError, NoAnswer."""
    reply = bind_app(app, third_party_app_id).send(auth.RetrieveAuthCode(authorization_appid=appid))
    return exchange_code(app, third_party_app_id, reply.authorization_code).mini_program_id


def _found_by_another(app: Flask, third_party_app_id: int, code: str, patience: float) -> Exchanged:
    until = time.monotonic() + patience
    while True:
        found = _claimed(app, code_hash_in(app, third_party_app_id, code))
        if isinstance(found, Exchanged):
            return found
        if not found.under_way or time.monotonic() >= until:
            raise found
        time.sleep(random.uniform(0.05, 0.15))


def code_hash_in(app: Flask, third_party_app_id: int, code: str) -> str:
    """`code_hash` for callers without an application's context."""
    with app.app_context():
        return code_hash(third_party_app_id, code)


def _claimed(app: Flask, hashed: str) -> Exchanged | CodeTaken:
    """What is known of a code that another has taken."""
    with app_scope(app, PLATFORM) as session, reading():
        claim = session.get(AuthorizationCode, hashed)
        if claim is None:  # given back this moment, unspent
            return CodeTaken(say("授权码正在处理中：请稍后再试"), under_way=True)
        if claim.failure:
            return _failed(claim.failure)
        found = session.scalar(select(MiniProgram).where(MiniProgram.appid == claim.appid)) if claim.appid else None
        if found is not None:
            return Exchanged(found.appid, list(found.permissions or []), False, found.id)
        # Longer than an exchange can take, tokens and pace included: whoever had it is gone.
        alive = utcnow() - claim.claimed_at < timedelta(seconds=4 * float(app.config["DOUYIN_TIMEOUT"]) + 5)
        return CodeTaken(say("授权正在处理中：请稍后在小程序列表查看"), under_way=alive)


def _failed(kept: str) -> CodeTaken:
    if match := _KEPT.fullmatch(kept):
        return CodeTaken(match[2], err_no=int(match[1]))
    return CodeTaken(kept.removeprefix(_SILENCE))


def mark_code(app: Flask, third_party_app_id: int, code: str, *, appid: str = "", refusal: str = "") -> None:
    """What became of a code whose exchange had no answer: its mini-program, or why there is none.

    So that the page the merchant still has open goes on.
    """
    values = {"appid": appid, "failure": ""} if appid else {"failure": f"{OURSELVES} {refusal}"[:255]}
    _change_claim(app, third_party_app_id, code, update(AuthorizationCode).values(**values))


def _note_failure(app: Flask, third_party_app_id: int, code: str, error: Refused | DouyinError | NoAnswer) -> None:
    """A code that surely was not spent may be exchanged again; of any other the failure is kept."""
    answered = isinstance(error, DouyinError) and not is_uncertain(error)
    kept = str(error) if answered else f"{_SILENCE}{error.message}"
    statement: Any = delete(AuthorizationCode) if is_unspent(error) else update(AuthorizationCode)
    if not is_unspent(error):
        statement = statement.values(failure=kept[:255])
    _change_claim(app, third_party_app_id, code, statement)


def _change_claim(app: Flask, third_party_app_id: int, code: str, statement: Any) -> None:
    this = AuthorizationCode.code_hash == code_hash_in(app, third_party_app_id, code)
    changed = statement.where(this).execution_options(synchronize_session=False)
    in_one_commit(app, lambda session: session.execute(changed))


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

    try:
        return in_one_commit(app, store)
    except Refused as refused:
        mark_code(app, third_party_app_id, code, refusal=refused.message)
        raise CodeTaken(refused.message, err_no=OURSELVES) from None


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
    grant = grant_of(reply)
    row.refresh_expires_at, row.token_fault, row.held_at = grant.lapses_at, grant.fault, None
    session.flush()
    holds.release(session, holds.of_mini_program(row.id))
    words = "、".join(permission_words(row.permissions)) or "未说明"
    note(session, row, "authorized", f"授权成功，权限集：{words}")
    return row


def _mini_program(session: Session, appid: str, owner: ThirdPartyApp) -> MiniProgram:
    # A new one is nobody's: it waits to be claimed (待认领) unless the browser returns with a merchant's link.
    pending = AuthorizationState.PENDING
    made = {"third_party_app_id": owner.id, "state": pending, "permissions": [], "info": {}}
    return insert_missing(session, MiniProgram, {"appid": appid}, **made)[0]


def _put_tokens(session: Session, slot: Slot, reply: auth.AuthorizerTokens, sent_at: datetime) -> None:
    row = credential_row(session, slot)
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
