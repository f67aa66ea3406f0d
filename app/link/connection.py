"""The application's one connection to Douyin: client, token keeper, record of calls; a row's credentials."""

from __future__ import annotations

from flask import Flask
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.client import Douyin, DouyinClient
from app.extensions import the_app
from app.kept import kept_of
from app.link.breaker import Breaker
from app.link.call_log import CallLog
from app.link.keeper import AppTokens, Keeper
from app.link.pace import SharedPace
from app.models import MiniProgram, Template, TemplateApp, ThirdPartyApp

_APPID = select(ThirdPartyApp.__table__.c.appid).where(ThirdPartyApp.__table__.c.id == bindparam("owner"))


def client(app: Flask) -> DouyinClient:
    """The application's one client to Douyin."""
    return kept_of(app).one("douyin", lambda: _make_client(app))


def _make_client(app: Flask) -> DouyinClient:
    rate = float(app.config.get("DOUYIN_RATE") or 0)
    gate = _gate(app)
    made = gate.client = DouyinClient(
        open_url=app.config["DOUYIN_OPEN_URL"],
        microapp_url=app.config["DOUYIN_MICROAPP_URL"],
        toutiao_url=app.config["DOUYIN_TOUTIAO_URL"],
        timeout=float(app.config["DOUYIN_TIMEOUT"]),
        pace=SharedPace(app, rate) if rate else None,
        gate=gate,
        on_call=kept_of(app).one("call_log", lambda: CallLog(app)),
    )
    return made


def breaker(app: Flask) -> Breaker:
    """The application's one breaker, the gate of its client."""
    client(app)  # by which it knocks
    return _gate(app)


def _gate(app: Flask) -> Breaker:
    return kept_of(app).one("breaker", lambda: Breaker(app, bind_app))


def keeper(app: Flask) -> Keeper:
    """The application's one token keeper."""
    return kept_of(app).one("token_keeper", lambda: Keeper(app, client(app)))


def flush_calls(app: Flask) -> int:
    """Write the calls recorded so far; gives how many."""
    call_log: CallLog | None = kept_of(app).get("call_log")
    return call_log.flush() if call_log is not None else 0


def bind(session: Session, row: MiniProgram | Template | TemplateApp | ThirdPartyApp) -> Douyin:
    """Douyin with the credentials that belong to the row. `session` is the platform's.

    Tokens are read in sessions of their own: commit or roll back before the first `send`.
    """
    if isinstance(row, ThirdPartyApp):
        owner_id, owner_appid = row.id, row.appid
    else:
        owner_id = row.third_party_app_id
        owner_appid = session.connection().execute(_APPID, {"owner": owner_id}).scalar_one()
    app = the_app()
    if not isinstance(row, MiniProgram):
        return client(app).bind(AppTokens(keeper(app), owner_id, owner_appid))
    granted = frozenset(row.permissions) if row.permissions else None
    return client(app).bind(AppTokens(keeper(app), owner_id, owner_appid, row.appid, granted))


def bind_app(app: Flask, third_party_app_id: int) -> Douyin:
    """Douyin with the credentials of a third-party app, by id, for callers that have no session."""
    with app_scope(app, PLATFORM) as session, reading():
        appid = session.get_one(ThirdPartyApp, third_party_app_id).appid
    return client(app).bind(AppTokens(keeper(app), third_party_app_id, appid))
