"""Our authorisations held against Douyin's list."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask
from sqlalchemy import select

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.authorization import ListAuthApps
from app.douyin.client import Douyin
from app.douyin.errors import misfit
from app.errors import DouyinError, NoAnswer, Refused
from app.link.connection import bind_app
from app.link.exchange import retrieve
from app.models import (
    AuthorizationState,
    MiniProgram,
    ThirdPartyApp,
)
from app.operations.onboarding.arrival import sync_quietly
from app.operations.onboarding.ownership import revoke

log = structlog.get_logger(__name__)
PAGE = 50
MOST_PAGES = 2_000
MOST_FOUND = 100  # unknown apps taken in by one check; the next check goes on


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
