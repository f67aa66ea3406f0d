"""What is refreshed ahead of time: component tokens, access tokens in use, older tokens."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.contract import Token
from app.link import connection
from app.link.refresh import COMPONENT_LEFT, _component_due, _refresh_tokens_due, refresh_due
from app.link.tokens import credential_row
from app.models import (
    ApiCall,
    ThirdPartyApp,
)
from tests.conftest import Launch, SandboxServer, try_again
from tests.link.test_credentials import HOUR, alter, effects, expire, slot_of, works


def test_what_lapses_is_refreshed_ahead(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    alter(app, slot_of(launch, Token.COMPONENT), expires_at=utcnow() + timedelta(minutes=10))
    alter(app, slot, obtained_at=utcnow() - timedelta(days=21))
    counts = refresh_due(app)
    assert counts == {"component": 1, "authorizer": 0, "refresh": 1, "failed": 0}
    assert refresh_due(app) == {"component": 0, "authorizer": 0, "refresh": 0, "failed": 0}
    assert effects(sandbox, launch) == (1, 0, 0)


def test_access_tokens_are_refreshed_ahead_only_while_in_use(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    slot = slot_of(launch)
    alter(app, slot, expires_at=utcnow() + timedelta(minutes=10))
    with app_scope(app, PLATFORM) as session:
        connection.flush_calls(app)
        session.execute(update(ApiCall).values(at=utcnow() - 5 * HOUR))
        session.commit()
    assert refresh_due(app)["authorizer"] == 0
    works(app, launch)
    connection.flush_calls(app)
    assert refresh_due(app)["authorizer"] == 1


def test_a_fault_of_ours_does_not_stop_the_job(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    alter(app, slot_of(launch), obtained_at=utcnow() - timedelta(days=21))
    sandbox.post("settings", ip_blocked=True)
    assert refresh_due(app)["failed"] == 1
    with app_scope(app, PLATFORM) as session:
        assert "40006" in session.get_one(ThirdPartyApp, launch.third_party_app.id).fault
    sandbox.post("settings", ip_blocked=False)
    try_again(app)
    assert refresh_due(app)["refresh"] == 1


def test_component_tokens_are_fetched_ahead_for_active_apps_with_a_ticket_only(
    app: Flask, session: Session, launch: Launch
) -> None:
    ready = launch.third_party_app
    silent, over = ThirdPartyApp(appid="ttsilent", ticket_at=None), ThirdPartyApp(appid="ttover", active=False)
    over.ticket_at = utcnow()
    session.add_all([silent, over])
    session.commit()
    expire(app, slot_of(launch, Token.COMPONENT))
    assert [slot.key for slot in _component_due(app)] == [f"component:{ready.appid}:"]
    alter(app, slot_of(launch, Token.COMPONENT), expires_at=utcnow() + COMPONENT_LEFT + timedelta(minutes=1))
    assert _component_due(app) == []
    alter(app, slot_of(launch, Token.COMPONENT), expires_at=utcnow() + COMPONENT_LEFT - timedelta(minutes=1))
    assert len(_component_due(app)) == 1


def test_older_tokens_are_fetched_ahead_where_they_are_in_use(
    app: Flask, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = slot_of(launch, Token.AUTHORIZER_V1)
    with app_scope(app, PLATFORM) as own:
        credential_row(own, slot)
        own.commit()
    for kind in (Token.AUTHORIZER, Token.AUTHORIZER_V1):
        alter(app, slot_of(launch, kind), obtained_at=utcnow() - timedelta(days=21))
    assert {one.kind for one in _refresh_tokens_due(app)} == {Token.AUTHORIZER}
    assert {one.kind for one in _component_due(app)} <= {Token.COMPONENT}
    monkeypatch.setitem(app.config, "DOUYIN_V1_TOKENS", True)
    assert {one.kind for one in _refresh_tokens_due(app)} == {Token.AUTHORIZER, Token.AUTHORIZER_V1}
    assert Token.COMPONENT_V1 in {one.kind for one in _component_due(app)}
