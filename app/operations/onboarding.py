"""Onboarding: links by which merchants authorise mini-programs, what came of them, claims, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from secrets import token_urlsafe
from typing import Any

import structlog
from flask import Flask, current_app
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.database import reading
from app.douyin.authorization import GenAuthLink, ListAuthApps
from app.douyin.client import Douyin
from app.douyin.errors import misfit
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.models import (
    AuthorizationLink,
    AuthorizationState,
    Credential,
    LinkState,
    Merchant,
    MerchantState,
    MiniProgram,
    OperationRun,
    RunState,
    ThirdPartyApp,
)
from app.models.base import utcnow
from app.operations import Actor, Look, NoParams, Work, credentials, holds, notices, operation
from app.operations.connection import application, bind_app
from app.operations.exchange import in_one_commit, note, permission_words, retrieve
from app.operations.proof import Kept, Sight, goal
from app.operations.returns import LINK_LIFE, complete, give, signer, sync_quietly
from app.tenancy import PLATFORM, app_scope

log = structlog.get_logger(__name__)

LINK_PAUSE = timedelta(seconds=60)
PAGE = 50
MOST_PAGES = 2_000
MOST_FOUND = 100  # unknown apps taken in by one check; the next check goes on
NOT_LINKED = frozenset({40004, 40022})


# Links


def make_link(
    session: Session,
    merchant: Merchant,
    third_party_app: ThirdPartyApp,
    *,
    actor: Actor,
    expected_appid: str = "",
) -> AuthorizationLink:
    """A link bound to the merchant; commits. `expected_appid`: re-authorisation of this app only.

    Raises Refused, DouyinError or NoAnswer; the link is then void.
    """
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(f"商户「{merchant}」已停用：请先恢复")
    if not third_party_app.active:
        raise Refused(f"第三方应用「{third_party_app}」已停用")
    if _link_is_held(third_party_app):
        raise Refused(f"一分钟内刚试过，抖音不接受：{third_party_app.link_fault}")
    session.info.setdefault("actor", actor.info(""))
    link = AuthorizationLink(
        merchant_id=merchant.id,
        third_party_app_id=third_party_app.id,
        expected_appid=expected_appid,
        expires_at=utcnow() + LINK_LIFE,
    )
    session.add(link)
    douyin = credentials.bind(session, third_party_app)
    session.commit()
    state = signer().dumps([link.id, token_urlsafe(8)])
    address = f"{current_app.config['PUBLIC_URL']}/douyin/authorized/{state}"
    try:
        url = douyin.send(GenAuthLink(redirect_uri=address)).link
        if not url.startswith(("https://", "http://")):
            raise DouyinError("抖音返回的授权链接不可用", err_no=0, kind=ErrorKind.ANSWER)
    except (Refused, DouyinError, NoAnswer) as error:
        link.state, link.failure = LinkState.VOID, error.message[:255]
        session.commit()
        if isinstance(error, DouyinError) and error.kind is ErrorKind.LINK:
            third_party_app.link_fault, third_party_app.link_fault_at = holds.fault_sentence(error), utcnow()
            session.commit()
        raise
    third_party_app.link_fault, third_party_app.link_fault_at = "", None
    link.url = url
    session.commit()
    return link


def _link_is_held(owner: ThirdPartyApp) -> bool:
    """The settings of its authorisation page were refused: tried once a minute, not by everybody who clicks."""
    return owner.link_fault_at is not None and utcnow() - owner.link_fault_at < LINK_PAUSE


# Claims


def claim(session: Session, mini_program: MiniProgram, merchant: Merchant) -> None:
    """Give a mini-program that waits (待认领) to a merchant, with its history; commits."""
    if mini_program.merchant_id == merchant.id:
        return
    if mini_program.merchant_id is not None:
        raise Refused(f"小程序「{mini_program}」已属于另一个商户")
    if merchant.state != MerchantState.ACTIVE:
        raise Refused(f"商户「{merchant}」已停用：请先恢复")
    give(session, mini_program, merchant.id)
    note(session, mini_program, "note", f"由商户「{merchant}」认领")
    session.commit()


# The end of an authorisation


def revoke(app: Flask, appid: str, reason: str) -> bool:
    """The authorisation is over: state, tokens, queued runs, timeline in one commit. False: it was so."""
    return in_one_commit(app, lambda session: _revoke_once(session, appid, reason))


def _revoke_once(session: Session, appid: str, reason: str) -> bool:
    row = session.scalar(select(MiniProgram).where(MiniProgram.appid == appid))
    if row is None or not row.may_move(AuthorizationState.REVOKED):
        return False
    row.move_to(AuthorizationState.REVOKED)
    row.unauthorized_at, row.held_at = utcnow(), None
    row.token_fault = ""
    credentials.forget(session, row)
    stopped = {"state": RunState.FAILED, "message": f"{reason}，之后没有发送", "hold": "", "finished_at": utcnow()}
    table = OperationRun.__table__
    queued = update(table).where(table.c.mini_program_id == row.id, table.c.state == RunState.QUEUED)
    session.execute(queued.values(**stopped))
    note(session, row, "revoked", reason)
    notices.tell(
        session, "authorization_revoked", subject=row, dedup=f"{row.id}:{row.unauthorized_at.timestamp():.0f}",
        title=f"「{row}」的授权已取消", body=f"{reason}。需要继续使用时，请让商户重新授权。",
    )  # fmt: skip
    return True


# The list at Douyin against ours


def listed(douyin: Douyin) -> dict[str, int]:
    """Every app that authorises the third-party app: appid -> time of authorisation (unix seconds)."""
    found: dict[str, int] = {}
    for page in range(1, MOST_PAGES + 1):
        reply = douyin.send(ListAuthApps(page=page, size=PAGE))
        found |= {item.auth_appid: item.auth_time for item in reply.auth_app_list}
        if page * PAGE >= reply.total or not reply.auth_app_list:
            break
    if len(found) < reply.total - max(1, reply.total // 10):
        raise misfit("授权列表不完整", "")  # some may leave while pages are turned, not so many
    return found


def believed(app: Flask, owner_id: int) -> dict[str, int]:
    """The same, unless it is empty for a third-party app of several: an answer of nothing is no news of their end.

    Raises DouyinError or NoAnswer.
    """
    found = listed(bind_app(app, owner_id))
    ours = select(MiniProgram.id).where(
        MiniProgram.third_party_app_id == owner_id, MiniProgram.state == AuthorizationState.AUTHORIZED
    )
    with app_scope(app, PLATFORM) as session, reading():
        if not found and len(session.scalars(ours.limit(2)).all()) > 1:
            raise misfit("授权列表为空", "")
    return found


def is_listed(app: Flask, third_party_app_id: int, appid: str) -> bool:
    """Whether Douyin says that the app authorises us. Raises DouyinError or NoAnswer."""
    return appid in believed(app, third_party_app_id)


def check_authorizations(app: Flask) -> str:
    """Douyin's list of authorised apps against our rows; heals what pushes missed. Gives the counts."""
    with app_scope(app, PLATFORM) as session, reading():
        ids = list(session.scalars(select(ThirdPartyApp.id).where(ThirdPartyApp.active.is_(True))))
    counts = {"新增": 0, "恢复": 0, "取消": 0, "失败": 0}
    for owner_id in ids:
        try:
            _check_owner(app, owner_id, counts)
        except (Refused, DouyinError, NoAnswer) as error:
            counts["失败"] += 1
            log.warning("authorizations_not_checked", third_party_app=owner_id, error=str(error))
    return "，".join(f"{word} {count}" for word, count in counts.items())


def _check_owner(app: Flask, owner_id: int, counts: dict[str, int]) -> None:
    began = utcnow()
    there = believed(app, owner_id)
    columns = (MiniProgram.appid, MiniProgram.state, MiniProgram.authorized_at, MiniProgram.unauthorized_at)
    with app_scope(app, PLATFORM) as session, reading():
        rows = session.execute(select(*columns).where(MiniProgram.third_party_app_id == owner_id)).all()
    ours = {row.appid: row for row in rows}
    lost = [
        row.appid
        for row in rows
        if row.state == AuthorizationState.AUTHORIZED
        and row.appid not in there
        and (row.authorized_at is None or row.authorized_at < began)
    ]
    if lost:
        # A page moves when an app leaves meanwhile: only what is missing twice is gone.
        again = believed(app, owner_id)
        gone = [item for item in lost if item not in again]
        counts["取消"] += sum(revoke(app, item, "抖音的授权列表中已没有该小程序") for item in gone)
    missing = [appid for appid, since in there.items() if _wants_recovery(ours.get(appid), since)]
    for appid in missing[:MOST_FOUND]:
        _take_in(app, owner_id, appid, "恢复" if appid in ours else "新增", counts)


def _wants_recovery(row: Any, since: int) -> bool:
    """Unknown or waiting apps; revoked ones when the list's authorisation is newer than the end we know."""
    if row is None or row.state == AuthorizationState.PENDING:
        return True
    ended = row.unauthorized_at
    return row.state == AuthorizationState.REVOKED and (ended is None or since > ended.timestamp())


def _take_in(app: Flask, owner_id: int, appid: str, word: str, counts: dict[str, int]) -> None:
    try:
        exchanged = retrieve(app, owner_id, appid)
        counts[word] += 1
    except (Refused, DouyinError, NoAnswer) as error:
        counts["失败"] += 1
        log.warning("authorization_not_recovered", appid=appid, error=str(error))
    else:
        sync_quietly(app, exchanged)


# Operations


def _look_at_tokens(row: MiniProgram, work: Work, _params: NoParams) -> Sight:
    """What is kept here of the authorisation: nothing of Douyin's changes by these verbs."""
    work.session.refresh(row)
    held = select(Credential.generation, Credential.access_token_sealed).where(
        Credential.key == credentials.authorizer_slot(work.session, row).key
    )
    generation, token = work.session.execute(held).first() or (0, None)
    return Sight({"state": str(row.state), "generation": generation, "token": token is not None})


def _is_newer(facts: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Living tokens of a later generation, of an app that is authorised."""
    newer = facts["token"] and facts["generation"] > wanted["generation"]
    return bool(newer and facts["state"] == AuthorizationState.AUTHORIZED)


def _took_tokens(row: MiniProgram, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    return {"permissions": permission_words(row.permissions), "missing": row.missing_permissions}


NEWER_TOKENS = goal(_look_at_tokens, stands=_is_newer, take=_took_tokens)


@operation("刷新凭据", proof=NEWER_TOKENS)
def refresh_token(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """Replace the mini-program's tokens now, whatever their age."""
    slot = credentials.authorizer_slot(work.session, row)
    sight = work.look()
    work.intend(sight, generation=sight.facts["generation"])
    credentials.keeper(application()).renew(slot)
    work.session.refresh(row)
    until = row.refresh_expires_at
    return {"refresh_expires_at": until.isoformat() if until else ""}


@operation("找回授权", proof=NEWER_TOKENS, authorized=False)
def recover_authorization(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """New tokens by 找回授权码; also for an app whose end we were told of, if Douyin still lists it."""
    app, owner_id, appid = application(), row.third_party_app_id, row.appid
    known = row.state == AuthorizationState.AUTHORIZED
    work.session.commit()
    if not known and not is_listed(app, owner_id, appid):
        raise Refused("抖音的授权列表里没有该小程序：请让商户重新授权")
    sight = work.look()
    work.intend(sight, generation=sight.facts["generation"])
    retrieve(app, owner_id, appid)
    work.session.refresh(row)
    return _took_tokens(row, work, params, Kept({}, {}, utcnow(), 0), sight)


def _is_cleared(facts: Mapping[str, Any], _wanted: Mapping[str, Any]) -> bool:
    return bool(facts["state"] == AuthorizationState.CLEARED)


def _took_cleared(_row: MiniProgram, _work: Work, _params: NoParams, _kept: Kept, _sight: Sight) -> Mapping[str, Any]:
    return {}


def _may_clear(row: MiniProgram, _look: Look) -> str | None:
    if row.may_move(AuthorizationState.CLEARED):
        return None
    return "授权已经清除" if row.state == AuthorizationState.CLEARED else "还没有授权"


@operation(
    "清除授权",
    proof=goal(_look_at_tokens, stands=_is_cleared, take=_took_cleared),
    ready=_may_clear,
    authorized=False,
    calls=False,
    danger=True,
    confirm="清除后本系统不再保存该小程序的凭据，也不再操作它；抖音一侧的授权须由商户自行取消",
)
def clear_authorization(row: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """Forget the tokens here. Nothing is sent: only the merchant can end the authorisation at Douyin."""
    work.intend(work.look())
    row.move_to(AuthorizationState.CLEARED)
    row.unauthorized_at, row.held_at = utcnow(), None
    row.token_fault = ""
    credentials.forget(work.session, row)
    note(work.session, row, "cleared", "已清除本系统保存的授权")
    return {}


__all__ = [
    "check_authorizations",
    "claim",
    "clear_authorization",
    "complete",
    "is_listed",
    "listed",
    "make_link",
    "recover_authorization",
    "refresh_token",
    "retrieve",
    "revoke",
    "sync_quietly",
]
