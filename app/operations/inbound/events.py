"""What each pushed event does: a table of names and functions. An event is a hint; the state is read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.secrets import keyring
from app.data.tenancy import PLATFORM, app_scope
from app.data.types import words_of
from app.douyin import inbound as pushed
from app.errors import DouyinError, ErrorKind, Refused
from app.i18n.sentence import Foreign, chained, ours, say
from app.link import exchange, holds
from app.link.exchange import CodeTaken, exchange_code, mark_code
from app.link.tokens import code_hash
from app.models import (
    AuthorizationCode,
    AuthorizationState,
    Credential,
    CredentialKind,
    InboundState,
    MiniProgram,
    ThirdPartyApp,
)
from app.operations import profile
from app.operations.onboarding import arrival, authorizations, ownership
from app.operations.release.sync import sync

UNAUTHORIZED = "UNAUTHORIZED"
URGENT = ("PUSH", UNAUTHORIZED)  # wait for no other event: tickets keep all alive, a revocation is at once
GONE = frozenset({40004, 40022})
S = InboundState


class Later(Exception):
    """Not yet: come back in so many seconds, without counting it as a failure."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True)
class Push:
    """One claimed event. `payload` is the decrypted JSON: it holds codes and tickets and is never shown."""

    id: int
    third_party_app_id: int
    name: str
    appid: str
    event_at: datetime | None
    received_at: datetime
    attempt: int
    payload: str = field(repr=False)


@dataclass(frozen=True)
class Result:
    """The event's final state, its verdict in words, and a line for the app's timeline, if one."""

    state: InboundState
    verdict: str
    note: str = ""


Handler = Callable[[Flask, Push, Any], Result]


def _app_of(session: Session, push: Push) -> MiniProgram | None:
    return session.scalar(select(MiniProgram).where(MiniProgram.appid == push.appid))


def _look(app: Flask, push: Push) -> MiniProgram | None:
    with app_scope(app, PLATFORM) as session, reading():
        return _app_of(session, push)


# Tickets


def on_ticket(app: Flask, push: Push, message: pushed.ComponentTicket) -> Result:
    """The newest ticket wins. A time ahead of ours counts as the time of arrival."""
    at = min(message.at or push.received_at, push.received_at)
    with app_scope(app, PLATFORM) as session:
        row = session.get_one(ThirdPartyApp, push.third_party_app_id)
        sealed = keyring().seal(message.ticket, ThirdPartyApp.ticket.bound_to(row))
        newer = or_(ThirdPartyApp.ticket_at.is_(None), ThirdPartyApp.ticket_at <= at)
        statement = (
            update(ThirdPartyApp).where(ThirdPartyApp.id == row.id, newer).values(ticket_sealed=sealed, ticket_at=at)
        )
        stored = rows_changed(session, statement) == 1
        session.commit()
        if stored and row.held == holds.TICKET:
            holds.lift_app(session, row.id)
        elif stored and row.held == holds.APP:
            # The ticket may be what was refused: it is tried at once.
            this = update(ThirdPartyApp).where(ThirdPartyApp.id == row.id).values(probe_at=utcnow())
            session.execute(this.execution_options(synchronize_session=False))
            session.commit()
    return Result(S.DONE, "已保存 ticket") if stored else Result(S.IGNORED, "已有更新的 ticket，未保存")


# Authorisation


def on_authorized(app: Flask, push: Push, message: pushed.Authorized) -> Result:
    """Exchange the code, unless the browser was quicker. A late push does not revive what ended since."""
    row = _look(app, push)
    if refusal := _not_to_be_revived(app, push, row):
        return refusal
    try:
        found = exchange_code(app, push.third_party_app_id, message.authorization_code)
    except (Refused, DouyinError) as error:
        return _code_useless(app, push, message.authorization_code, error)
    if found.fresh:
        arrival.sync_quietly(app, found.mini_program_id)
    return _settled(app, push, "已换取凭据" if found.fresh else "授权码已在页面跳转时换取")


def _settled(app: Flask, push: Push, verdict: str) -> Result:
    row = _look(app, push)
    waits = row is not None and row.merchant_id is None
    return Result(S.DONE, f"{verdict}，等待认领" if waits else verdict)


def _not_to_be_revived(app: Flask, push: Push, row: MiniProgram | None) -> Result | None:
    if row is None or row.state in {AuthorizationState.PENDING, AuthorizationState.AUTHORIZED}:
        return None
    ended = row.unauthorized_at
    if row.state == AuthorizationState.CLEARED:
        old = ended is not None and (push.event_at or push.received_at) <= ended
        return Result(S.IGNORED, "该事件早于清除授权，未处理") if old else None
    if not authorizations.is_listed(app, push.third_party_app_id, push.appid):
        return Result(S.IGNORED, "抖音的授权列表里已没有该小程序，未恢复授权")
    return None


def _code_useless(app: Flask, push: Push, code: str, error: Refused | DouyinError) -> Result:
    """The code was spent or lost: fine when there are newer tokens, else 找回授权码.

    Whoever else holds the code learns from here which app it was.
    """
    owner_id = push.third_party_app_id
    if isinstance(error, CodeTaken) and error.under_way:
        raise Later("授权码正在由授权页面换取", 5.0)
    if isinstance(error, DouyinError) and error.kind is not ErrorKind.AUTHORIZATION:
        raise error
    if _has_tokens_since(app, push):
        mark_code(app, owner_id, code, appid=push.appid)
        return Result(S.IGNORED, "授权码已失效，但凭据是更新的，不用处理")
    try:
        exchange.retrieve(app, owner_id, push.appid)
    except DouyinError as gone:
        if gone.err_no in GONE:
            mark_code(app, owner_id, code, refusal="抖音确认该小程序当前没有授权")
            return Result(S.IGNORED, "授权码已失效，抖音确认该小程序当前没有授权")
        raise
    mark_code(app, owner_id, code, appid=push.appid)
    return _settled(app, push, "授权码已失效，已通过找回授权码换取凭据")


def _has_tokens_since(app: Flask, push: Push) -> bool:
    """Whether the app is authorised with tokens obtained after the event."""
    since = push.event_at or push.received_at
    statement = (
        select(Credential.obtained_at)
        .join(MiniProgram, MiniProgram.appid == Credential.appid)
        .where(
            Credential.appid == push.appid,
            Credential.third_party_app_id == push.third_party_app_id,
            Credential.kind == CredentialKind.AUTHORIZER,
            Credential.refresh_token_sealed.is_not(None),
            MiniProgram.state == AuthorizationState.AUTHORIZED,
        )
    )
    with app_scope(app, PLATFORM) as session, reading():
        obtained = session.scalar(statement)
    return obtained is not None and obtained >= since


def in_doubt(third_party_app_id: int, appid: str, event_at: datetime) -> Any:
    """The app of this third-party app that a revocation is about, unless its present authorisation is the newer of the
    two. Douyin's times are whole seconds of its own clock: one second of doubt counts as doubt."""
    newer = MiniProgram.authorized_at > event_at + timedelta(seconds=1)
    held = or_(MiniProgram.authorized_at.is_(None), ~newer)
    named = (MiniProgram.appid == appid) & (MiniProgram.third_party_app_id == third_party_app_id)
    return named & (MiniProgram.state == AuthorizationState.AUTHORIZED) & held


def on_unauthorized(app: Flask, push: Push, message: pushed.Unauthorized) -> Result:
    """At once, without asking; only an event older than the present authorisation is read back first."""
    row = _look(app, push)
    if row is None:
        return Result(S.IGNORED, "不是本系统的小程序")
    if row.third_party_app_id != push.third_party_app_id:
        return Result(S.IGNORED, "该小程序现在授权给另一个第三方应用，未处理")
    if row.state == AuthorizationState.REVOKED:
        return Result(S.DONE, "此前已取消")
    before = push.event_at is not None and row.authorized_at is not None and push.event_at < row.authorized_at
    old = before and row.state == AuthorizationState.AUTHORIZED
    if old and authorizations.is_listed(app, push.third_party_app_id, push.appid):
        return Result(S.IGNORED, "事件早于当前的授权，抖音确认授权仍然有效")
    changed = ownership.revoke(app, push.appid, "商户在抖音取消了授权")
    return Result(S.DONE, "已停用凭据，未执行的操作已取消" if changed else "没有需要取消的授权")


def on_update_authorized(app: Flask, push: Push, message: pushed.UpdateAuthorized) -> Result:
    """A code that was retrieved: mostly our own doing, and then already exchanged."""
    row = _look(app, push)
    if refusal := _not_to_be_revived(app, push, row):
        return refusal
    with app_scope(app, PLATFORM) as session, reading():
        ours = session.get(AuthorizationCode, code_hash(push.third_party_app_id, message.authorization_code))
        busy = session.scalar(
            select(Credential.id).where(Credential.appid == push.appid, Credential.lease_until > utcnow())
        )
    if ours is not None:
        return Result(S.IGNORED, "本系统自己找回的授权码，已由找回流程换取")
    if busy is not None and utcnow() - push.received_at < timedelta(minutes=5):
        # A recovery is under way and this is most likely its code: exchanging it here would cross it.
        raise Later("正在找回授权", 2.0)
    if _has_tokens_since(app, push):
        return Result(S.IGNORED, "凭据比该授权码更新，不用处理")
    try:
        exchange_code(app, push.third_party_app_id, message.authorization_code)
    except DouyinError as error:
        if error.kind is not ErrorKind.AUTHORIZATION:
            raise
        return Result(S.IGNORED, say("授权码不能再用：{why}", why=error.message))
    return _settled(app, push, "已用找回的授权码换取凭据")


# Audits and the rest


def _authorized(app: Flask, push: Push) -> tuple[MiniProgram | None, Result | None]:
    row = _look(app, push)
    if row is None:
        return None, Result(S.IGNORED, "不是本系统的小程序")
    if row.state != AuthorizationState.AUTHORIZED:
        state = ours(words_of(AuthorizationState)[row.state])
        return row, Result(S.IGNORED, say("小程序{state}，未核对", state=state))
    return row, None


def on_package_audit(app: Flask, push: Push, message: pushed.PackageAudit) -> Result:
    """It names no version: the versions are read back."""
    row, refusal = _authorized(app, push)
    if row is None or refusal:
        return refusal or Result(S.IGNORED, "")
    return Result(S.DONE, sync(app, row.id))


def on_profile(app: Flask, push: Push, message: pushed.InboundMessage) -> Result:
    """Reviews of name, introduction, icon and categories: noted, and the app's information read back."""
    row, refusal = _authorized(app, push)
    if row is None or refusal:
        return refusal or Result(S.IGNORED, "")
    return Result(S.DONE, profile.sync(app, row.id), note=_words(message))


def on_notice(app: Flask, push: Push, message: pushed.InboundMessage) -> Result:
    """Kept, and shown on the app's timeline."""
    if not push.appid:
        return Result(S.DONE, say("已记录：{what}", what=_words(message)))
    if _look(app, push) is None:
        return Result(S.IGNORED, "不是本系统的小程序")
    return Result(S.DONE, "已记录到小程序动态", note=_words(message))


def _words(message: pushed.InboundMessage) -> str:
    """The event's Chinese name, its outcome and Douyin's reason."""
    title = (type(message).__doc__ or message.event).split("。", 1)[0]
    status = getattr(message, "status", None)
    word = _OUTCOMES.get(status, "") if isinstance(status, pushed.Verdict) else ""
    reason = getattr(message, "reason", "") or getattr(message, "fail_reason", "")
    return chained([part for part in (ours(title), word, Foreign(str(reason)[:300])) if part], "，")


_OUTCOMES = {
    pushed.Verdict.REJECTED: "未通过",
    pushed.Verdict.PASSED: "通过",
    pushed.Verdict.CLOSED: "已关闭",
}
HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(pushed.MESSAGES, on_notice),
    "PUSH": on_ticket,
    "AUTHORIZED": on_authorized,
    "UNAUTHORIZED": on_unauthorized,
    "UPDATE_AUTHORIZED": on_update_authorized,
    "PACKAGE_AUDIT": on_package_audit,
    "MODIFY_APP_NAME": on_profile,
    "APP_NAME_RESET_NOTIFICATION": on_profile,
    "MODIFY_APP_INTRO": on_profile,
    "MODIFY_APP_ICON": on_profile,
    "MODIFY_APP_CATEGORY": on_profile,
    "PUBLISH_APP_CATEGORY_AUDIT_RESULT": on_profile,
}
