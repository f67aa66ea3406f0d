"""The application's one connection to Douyin: client, token keeper, record of calls; a row's credentials."""

from __future__ import annotations

import threading

from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.douyin.client import Douyin, DouyinClient
from app.models import MiniProgram, Template, TemplateApp, ThirdPartyApp
from app.operations.breaker import Breaker
from app.operations.call_log import CallLog
from app.operations.keeper import AppTokens, Keeper
from app.operations.pace import SharedPace
from app.tenancy import PLATFORM, app_scope

_making = threading.RLock()


def client(app: Flask) -> DouyinClient:
    """The application's one client to Douyin."""
    with _making:
        if "douyin" not in app.extensions:
            app.extensions["douyin"] = _make_client(app)
    made: DouyinClient = app.extensions["douyin"]
    return made


def _make_client(app: Flask) -> DouyinClient:
    rate = float(app.config.get("DOUYIN_RATE") or 0)
    call_log = app.extensions["call_log"] = CallLog(app)
    gate = app.extensions["breaker"] = Breaker(app)
    made = gate.client = DouyinClient(
        open_url=app.config["DOUYIN_OPEN_URL"],
        microapp_url=app.config["DOUYIN_MICROAPP_URL"],
        toutiao_url=app.config["DOUYIN_TOUTIAO_URL"],
        timeout=float(app.config["DOUYIN_TIMEOUT"]),
        pace=SharedPace(app, rate) if rate else None,
        gate=gate,
        on_call=call_log,
    )
    return made


def breaker(app: Flask) -> Breaker:
    """The application's one breaker, the gate of its client."""
    client(app)
    made: Breaker = app.extensions["breaker"]
    return made


def keeper(app: Flask) -> Keeper:
    """The application's one token keeper."""
    with _making:
        if "token_keeper" not in app.extensions:
            app.extensions["token_keeper"] = Keeper(app, client(app))
    made: Keeper = app.extensions["token_keeper"]
    return made


def flush_calls(app: Flask) -> int:
    """Write the calls recorded so far; gives how many."""
    call_log: CallLog | None = app.extensions.get("call_log")
    return call_log.flush() if call_log is not None else 0


def application() -> Flask:
    """The Flask application of the current context, itself, to hand to another thread or session."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def bind(session: Session, row: MiniProgram | Template | TemplateApp | ThirdPartyApp) -> Douyin:
    """Douyin with the credentials that belong to the row. `session` is the platform's.

    Tokens are read in sessions of their own: commit or roll back before the first `send`.
    """
    owner = row if isinstance(row, ThirdPartyApp) else session.get_one(ThirdPartyApp, row.third_party_app_id)
    appid = row.appid if isinstance(row, MiniProgram) else None
    app = application()
    return client(app).bind(AppTokens(keeper(app), owner.id, owner.appid, appid))


def bind_app(app: Flask, third_party_app_id: int) -> Douyin:
    """Douyin with the credentials of a third-party app, by id, for callers that have no session."""
    with app_scope(app, PLATFORM) as session:
        appid = session.get_one(ThirdPartyApp, third_party_app_id).appid
    return client(app).bind(AppTokens(keeper(app), third_party_app_id, appid))
