"""The token keeper: one refresher for all threads and processes, by a lease committed before the call.

The lease is a compare-and-set on the row. A refresh token is single use: whoever cannot say whether it was
spent leaves the lease behind, and the next one goes to 找回授权码 instead of spending it twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import structlog
from flask import Flask
from sqlalchemy import bindparam, case, select, update
from sqlalchemy.orm import Session

from app.data.claims import Claims
from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.tenancy import PLATFORM, app_scope, platform_look
from app.data.types import UtcDateTime, words_of
from app.douyin import authorization as auth
from app.douyin.client import Douyin, DouyinClient
from app.douyin.contract import Token
from app.errors import DouyinError, DouzhouError, ErrorKind, Held, NoAnswer, Refused
from app.i18n.sentence import ours, say
from app.link import holds
from app.link.tokens import Grant, Lease, Slot, Stored, claim_code, credential_row, grant_of, sealed_values
from app.models import (
    AuthorizationState,
    Credential,
    MiniProgram,
    ThirdPartyApp,
)
from app.models.mini_program import lacks

log = structlog.get_logger(__name__)

CLAIMS = Claims(Credential, owner="lease_owner")
TABLE = CLAIMS.table
LEFT = 60.0  # seconds a token must still live to be handed out
REFRESH_REFUSED = 40021
V1 = frozenset({Token.COMPONENT_V1, Token.AUTHORIZER_V1})
OF_AN_APP = frozenset({Token.AUTHORIZER, Token.AUTHORIZER_V1, Token.CLIENT})
_PAST = timedelta(seconds=1)
_PASSING = frozenset({ErrorKind.SYSTEM, ErrorKind.RATE, ErrorKind.PLATFORM, ErrorKind.ANSWER})
_COMPONENT: dict[Token, Any] = {
    Token.COMPONENT: auth.GetComponentAccessToken,
    Token.COMPONENT_V1: auth.GetComponentAccessTokenV1,
}
_PAIR: dict[Token, tuple[Any, Any, Token]] = {
    Token.AUTHORIZER: (auth.GetAuthorizerAccessToken, auth.RetrieveAuthCode, Token.COMPONENT),
    Token.AUTHORIZER_V1: (auth.GetAuthorizerAccessTokenV1, auth.RetrieveAuthCodeV1, Token.COMPONENT_V1),
}


def _looks() -> tuple[Any, Any]:
    """The two statements by which a token is looked at, made once: every call to Douyin begins with one. What is
    stored of the token, why its third-party app is held, and whether the merchant lets us."""
    app, mini = ThirdPartyApp.__table__, MiniProgram.__table__
    columns = (TABLE.c.id, TABLE.c.generation, TABLE.c.expires_at, TABLE.c.lease_owner, TABLE.c.row_uid)
    sealed = (TABLE.c.access_token_sealed, TABLE.c.refresh_token_sealed)
    fault = case((holds.app_is_held(bindparam("oldest", type_=UtcDateTime)), app.c.fault)).label("fault")
    owner, stored = app.c.id == bindparam("owner"), TABLE.c.key == bindparam("key")
    component = select(*columns, *sealed, fault).select_from(app.outerjoin(TABLE, stored)).where(owner)
    about = (mini.c.id.label("mini_program_id"), mini.c.state, mini.c.held_at)
    joined = mini.outerjoin(app, owner).outerjoin(TABLE, stored)
    its_own = select(*columns, *sealed, fault, *about).select_from(joined).where(mini.c.appid == bindparam("appid"))
    return component, its_own


class _Elsewhere(Exception):
    """Someone else has got, or is getting, these tokens: look again."""


OF_THE_COMPONENT, OF_ITS_APP = _looks()


class AppTokens:
    """The `Tokens` of one third-party app and, if `appid` is set, of one app that authorised it."""

    def __init__(
        self,
        keeper: Keeper,
        third_party_app_id: int,
        component_appid: str,
        appid: str | None = None,
        granted: frozenset[int] | None = None,
    ) -> None:
        self.keeper = keeper
        self.third_party_app_id = third_party_app_id
        self.component_appid = component_appid
        self.appid = appid
        self.granted = granted

    def slot(self, token: Token) -> Slot:
        appid = self.appid if token in OF_AN_APP else None
        if token in OF_AN_APP and appid is None:
            raise Refused("此操作需要一个已授权的小程序")
        return Slot(token, self.third_party_app_id, self.component_appid, appid)

    def get(self, token: Token) -> str:
        return self.keeper.get(self.slot(token))

    def refused(self, token: Token, value: str) -> None:
        self.keeper.refused(self.slot(token), value)


class Keeper:
    """Reads tokens and refreshes them, single-flight over threads and processes. One per application."""

    def __init__(self, app: Flask, client: DouyinClient) -> None:
        self.app = app
        self.client = client
        self.timeout = client.timeout
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    def douyin(self, slot: Slot) -> Douyin:
        """Douyin with the credentials of the slot's third-party app (and app)."""
        return self.client.bind(AppTokens(self, slot.third_party_app_id, slot.component_appid, slot.appid))

    def get(self, slot: Slot, *, left: float = LEFT) -> str:
        """A token that lives `left` more seconds. Raises Refused, DouyinError, or NoAnswer(sent=False)."""
        held = self._read(slot)
        if held.lasts(left) and held.access:
            return held.access
        return self._obtain(slot, lambda found: found.lasts(left))

    def renew(self, slot: Slot) -> str:
        """A token newer than the one there is now, whatever its age."""
        seen = self._read(slot).generation
        return self._obtain(slot, lambda found: found.generation > seen and found.lasts(0))

    def refused(self, slot: Slot, value: str) -> None:
        """Douyin does not take `value`: if it is still the stored one, it counts as expired."""
        with app_scope(self.app, PLATFORM) as session:
            row = session.scalar(select(Credential).where(Credential.key == slot.key))
            if row is not None and row.access_token == value:
                same = update(Credential).where(Credential.id == row.id, Credential.generation == row.generation)
                rows_changed(session, same.values(expires_at=utcnow() - _PAST))
            session.commit()

    # Reading

    def _read(self, slot: Slot) -> Stored:
        held = self._look(slot)
        if held is None:
            with app_scope(self.app, PLATFORM) as session:
                credential_row(session, slot)
                session.commit()
            held = self._look(slot)
        if held is None:
            raise NoAnswer("凭据记录刚被删除，请求没有发出", sent=False)
        return held

    def _look(self, slot: Slot) -> Stored | None:
        named = {"key": slot.key, "owner": slot.third_party_app_id, "oldest": utcnow() - holds.TICKET_LIFE}
        with platform_look(self.app) as asks:
            if slot.kind in OF_AN_APP:
                found = asks.execute(OF_ITS_APP, named | {"appid": slot.appid}).first()
            else:
                found = asks.execute(OF_THE_COMPONENT, named).first()
            _permit(slot, found, v1=bool(self.app.config.get("DOUYIN_V1_TOKENS")))
            if found is None or found.id is None:
                return None
            opened = [
                sealed.opened(TABLE.name, found.row_uid, getattr(found, sealed.column))
                for sealed in (Credential.access_token, Credential.refresh_token)
            ]
            return Stored(found.id, found.generation, found.expires_at, found.lease_owner, *opened)

    # Refreshing

    def _obtain(self, slot: Slot, good: Callable[[Stored], bool]) -> str:
        """Read, refresh or wait until there is a good token; one thread of a process at a time looks."""
        until = time.monotonic() + 3 * self.timeout
        lock = self._lock(slot.key)
        if not lock.acquire(timeout=3 * self.timeout):
            raise NoAnswer("等待凭据刷新超时，请求没有发出", sent=False)
        try:
            while True:
                held = self._read(slot)
                if good(held) and held.access:
                    return held.access
                refreshed = self._try(slot, held)
                if refreshed is not None:
                    return refreshed
                if time.monotonic() >= until:
                    raise NoAnswer("等待凭据刷新超时，请求没有发出", sent=False)
                time.sleep(random.uniform(0.02, 0.1))
        finally:
            lock.release()

    def _lock(self, key: str) -> threading.Lock:
        with self._locks_lock:
            return self._locks.setdefault(key, threading.Lock())

    def _try(self, slot: Slot, held: Stored) -> str | None:
        """Refresh, if the lease can be had; None when another has it or was quicker."""
        lease = self._take_lease(slot, held)
        if lease is None:
            return None
        try:
            grant = self._fetch(lease)
            self._store(lease, grant)
        except _Elsewhere:
            self._give_up(lease, None)
            return None
        except Held as waiting:
            self._give_up(lease, waiting)
            raise
        except NoAnswer as silence:
            self._give_up(lease, silence)
            # What the caller wanted to send was never sent, whatever became of the refresh.
            raise NoAnswer(say("刷新凭据时{what}", what=ours(silence.message)), sent=False) from None
        except DouzhouError as error:
            self._give_up(lease, error)
            raise
        return grant.access

    def _span(self) -> timedelta:
        """Longer than one call can take effect: an effect never comes after its lease."""
        return timedelta(seconds=2 * self.timeout + 5)

    def _take_lease(self, slot: Slot, held: Stored) -> Lease | None:
        """The right to refresh what was read, if nothing of it has changed. An owner whose time ran out is the sign
        that its refresh token may be spent."""
        free = CLAIMS.owner.is_(None)
        if held.lease_owner is not None:
            free = (CLAIMS.owner == held.lease_owner) & (CLAIMS.until < utcnow())
        same = (CLAIMS.key == held.id, CLAIMS.table.c.generation == held.generation)
        with app_scope(self.app, PLATFORM) as session:
            mark = CLAIMS.take(session, *same, free, span=self._span())
            session.commit()
        return None if mark is None else Lease(slot, held, mark, spent=held.lease_owner is not None)

    def _extend(self, lease: Lease) -> None:
        """Before each call: the lease must still be ours, and outlast the call."""
        with app_scope(self.app, PLATFORM) as session:
            ours = CLAIMS.lengthen(session, lease.held.id, lease.owner, self._span())
            session.commit()
        if not ours:
            raise _Elsewhere

    def _fetch(self, lease: Lease) -> Grant:
        match lease.slot.kind:
            case Token.COMPONENT | Token.COMPONENT_V1:
                return self._component(lease)
            case Token.CLIENT:
                return self._client(lease)
            case _:
                return self._authorizer(lease)

    def _component(self, lease: Lease) -> Grant:
        slot = lease.slot
        with app_scope(self.app, PLATFORM) as session, reading():
            owner = session.get_one(ThirdPartyApp, slot.third_party_app_id)
            secret, ticket = owner.secret, owner.ticket
            fresh = owner.ticket_at is not None and utcnow() - owner.ticket_at < holds.TICKET_LIFE
        if not owner.active:
            raise Refused(say("第三方应用「{name}」已停用", name=str(owner)))
        if not secret:
            raise Refused(say("第三方应用「{name}」没有填写 AppSecret：请先在第三方应用页面补上", name=str(owner)))
        if not ticket or not fresh:
            self._without_ticket(owner)
        kind: Any = _COMPONENT[slot.kind]
        call = kind(component_appid=slot.component_appid, component_appsecret=secret, component_ticket=ticket)
        reply: auth.ComponentToken = self.douyin(slot).send(call)
        return Grant(reply.component_access_token, reply.expires_in)

    def _without_ticket(self, owner: ThirdPartyApp) -> NoReturn:
        """All of this third-party app waits for its next ticket: there is nothing to try before."""
        text = (
            "没有可用的 component_ticket（3 小时内未收到推送）："
            "请检查授权事件接收 URL、消息校验 Token 和消息加密密钥；收到后自动继续"
        )
        with app_scope(self.app, PLATFORM) as session:
            holds.hold_app(session, owner.id, holds.TICKET, text)
        raise Held(say("第三方应用「{name}」{what}", name=str(owner), what=ours(text)), hold=holds.of_app(owner.id))

    def _client(self, lease: Lease) -> Grant:
        """The client token's secret is the app's authorizer token; a refused one is renewed once."""
        slot = lease.slot
        douyin = self.douyin(slot)
        secret = douyin.tokens.get(Token.AUTHORIZER)
        for last in (False, True):
            self._extend(lease)
            try:
                reply = douyin.send(auth.ClientToken(client_key=slot.appid or "", client_secret=secret))
            except DouyinError as error:
                if last or error.kind is not ErrorKind.TOKEN:
                    raise
                douyin.tokens.refused(Token.AUTHORIZER, secret)
                secret = douyin.tokens.get(Token.AUTHORIZER)
            else:
                break
        return Grant(reply.access_token, reply.expires_in)

    def _authorizer(self, lease: Lease) -> Grant:
        """By the refresh token; by 找回授权码 when there is none, it is refused, or may have been spent."""
        get, _, component = _PAIR[lease.slot.kind]
        douyin = self.douyin(lease.slot)
        douyin.tokens.get(component)  # first, so that its own refresh does not use up our lease
        if lease.spent or not lease.held.refresh:
            return self._recover(lease, douyin)
        self._extend(lease)
        try:
            call = get(grant_type=auth.GrantType.REFRESH, authorizer_refresh_token=lease.held.refresh)
            return _grant(douyin.send(call), lease.slot)
        except DouyinError as error:
            if error.err_no != REFRESH_REFUSED:
                raise
        except NoAnswer as silence:
            if not silence.sent:
                raise
        return self._recover(lease, douyin)

    def _recover(self, lease: Lease, douyin: Douyin) -> Grant:
        """找回授权码 and exchange it; twice, because the answer to an exchange may be lost too."""
        get, retrieve, _ = _PAIR[lease.slot.kind]
        lease.spent = True
        silence = NoAnswer("等待抖音答复超时")
        for _ in range(2):
            self._extend(lease)
            code = douyin.send(retrieve(authorization_appid=lease.slot.appid)).authorization_code
            if not claim_code(self.app, lease.slot.third_party_app_id, code, appid=lease.slot.appid):
                self._await_generation(lease)
                raise _Elsewhere
            self._extend(lease)
            try:
                call = get(grant_type=auth.GrantType.CODE, authorization_code=code)
                return _grant(douyin.send(call), lease.slot)
            except NoAnswer as error:
                silence = error
        raise silence

    def _await_generation(self, lease: Lease) -> None:
        """The push with the same code was quicker; give its exchange a moment before trying again."""
        until = time.monotonic() + 5
        while time.monotonic() < until and self._read(lease.slot).generation == lease.held.generation:
            time.sleep(random.uniform(0.05, 0.1))
        lease.spent = False

    # Storing

    def _store(self, lease: Lease, grant: Grant) -> None:
        """Tokens, lease and the app's copy in one commit; _Elsewhere when the lease was no longer ours."""
        with app_scope(self.app, PLATFORM) as session:
            row = session.get_one(Credential, lease.held.id)
            same = CLAIMS.table.c.generation == lease.held.generation
            if CLAIMS.end(session, row.id, lease.owner, same, **sealed_values(row, grant)):
                _copy_to_app(session, lease.slot, grant)
                session.commit()
                return
            # An exchange came between, and nobody knows which pair is the living one: the next one recovers.
            session.rollback()
            CLAIMS.write(session, lease.held.id, lease.owner, expires_at=utcnow() - _PAST)
            session.commit()
        lease.spent = lease.slot.kind in _PAIR
        raise _Elsewhere

    def _give_up(self, lease: Lease, error: DouzhouError | None) -> None:
        """End the lease; if its refresh token may be spent it stays, expired, as a sign for the next."""
        ended: dict[str, Any] = {"lease_until": utcnow() - _PAST} if lease.spent else {"lease_owner": None}
        if error is not None:
            ended["failure"] = str(getattr(error, "message", error))[:255]
        with app_scope(self.app, PLATFORM) as session:
            CLAIMS.write(session, lease.held.id, lease.owner, **ended)
            lasting = isinstance(error, DouyinError) and error.kind not in _PASSING
            if lasting and lease.slot.kind is Token.AUTHORIZER:
                fault = {"token_fault": ended["failure"]}
                session.execute(_update_app().where(MiniProgram.appid == lease.slot.appid).values(**fault))
            session.commit()
        if error is not None:
            slot = lease.slot
            log.warning("token_refresh_failed", kind=str(slot.kind), appid=slot.appid, error=str(error))


def _update_app() -> Any:
    return update(MiniProgram).execution_options(synchronize_session=False)


def _permit(slot: Slot, found: Any, *, v1: bool) -> None:
    """Our own rules, before any call: the setting for the older tokens, and the merchant's authorisation."""
    if slot.kind in V1 and not v1:
        raise Refused("此功能需要旧版（V1）凭据，尚未启用：请在设置中打开 DOUYIN_V1_TOKENS")
    if slot.kind in OF_AN_APP:
        state = found.state if found is not None else None
        if state != AuthorizationState.AUTHORIZED:
            word = words_of(AuthorizationState)[state] if state else "未登记"
            raise Refused(
                say("小程序 {appid} 的授权状态为{word}：请先让商户完成授权", appid=slot.appid or "", word=ours(word))
            )
        if found.held_at is not None:
            raise Held("商户可能已经取消授权，正在向抖音核实", hold=holds.of_mini_program(found.mini_program_id))
    fault = found.fault if found is not None else None
    if fault is not None and not holds.is_passing():
        raise Held(say("第三方应用暂停：{fault}", fault=ours(fault)), hold=holds.of_app(slot.third_party_app_id))


def _grant(reply: auth.AuthorizerTokens, slot: Slot) -> Grant:
    if reply.authorizer_appid not in {None, slot.appid}:
        raise DouyinError(say("抖音返回了另一个小程序的凭据"), err_no=0, kind=ErrorKind.ANSWER, retry_after=30.0)
    return grant_of(reply)


def _copy_to_app(session: Session, slot: Slot, grant: Grant) -> None:
    if slot.kind is not Token.AUTHORIZER:
        return
    values: dict[str, Any] = {
        "refresh_expires_at": grant.lapses_at,
        "token_fault": grant.fault,
    }
    if grant.permissions is not None:
        values["permissions"] = sorted(grant.permissions)
        values["lacking"] = lacks(grant.permissions)
    session.execute(_update_app().where(MiniProgram.appid == slot.appid).values(**values))
