"""Codes that two exchange at a time: who waits, for how long, and what the loser of two pairs leaves behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin import authorization as auth
from app.link import exchange
from app.link.exchange import CodeTaken
from app.link.tokens import claim_code
from app.models import AuthorizationCode, Credential
from tests.conftest import Launch, refresh
from tests.link.test_credentials import alter, slot_of, stored

CODE = "code-of-two"


def ask(app: Flask, launch: Launch, patience: float = 0.0) -> Any:
    return exchange.exchange_code(app, launch.third_party_app.id, CODE, patience=patience)


@pytest.fixture
def taken(app: Flask, session: Session, launch: Launch) -> AuthorizationCode:
    """The code, in another's hands."""
    assert claim_code(app, launch.third_party_app.id, CODE)
    refresh(session)
    return session.get_one(AuthorizationCode, exchange.code_hash_in(app, launch.third_party_app.id, CODE))


def test_what_the_other_found_is_waited_for(
    app: Flask, launch: Launch, taken: AuthorizationCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, appid = launch.third_party_app.id, launch.mini_program.appid
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            exchange.mark_code(app, owner, CODE, appid=appid)

    monkeypatch.setattr("app.link.exchange.time.sleep", nap)
    found = ask(app, launch, patience=60)
    assert len(naps) >= 3 and min(naps) > 0
    assert (found.mini_program_id, found.appid, found.fresh) == (
        launch.mini_program.id,
        launch.mini_program.appid,
        False,
    )


def test_whoever_will_not_wait_is_told_that_it_is_under_way(
    app: Flask, launch: Launch, taken: AuthorizationCode
) -> None:
    with pytest.raises(CodeTaken, match="授权正在处理中") as refused:
        ask(app, launch)
    assert refused.value.under_way and refused.value.err_no is None


def test_nobody_waits_for_one_who_is_gone(
    app: Flask, session: Session, launch: Launch, taken: AuthorizationCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken.claimed_at = utcnow() - timedelta(seconds=4 * float(app.config["DOUYIN_TIMEOUT"]) + 6)
    session.commit()
    waited: list[float] = []
    monkeypatch.setattr("app.link.exchange.time.sleep", waited.append)
    with pytest.raises(CodeTaken) as refused:
        ask(app, launch, patience=60)
    assert not refused.value.under_way and waited == []


def test_a_code_that_was_given_back_is_said_to_be_under_way(app: Flask, launch: Launch) -> None:
    found = exchange._claimed(app, exchange.code_hash_in(app, launch.third_party_app.id, "given back"))
    assert isinstance(found, CodeTaken) and found.under_way and "稍后再试" in found.message


@pytest.mark.parametrize(
    ("failure", "err_no", "message"),
    [
        ("28001 授权码已失效", 28001, "授权码已失效"),
        ("-7 多行\n的话", -7, "多行\n的话"),
        ("? 等待超时", None, "等待超时"),
    ],
)
def test_the_failure_of_the_other_is_everybodys(
    app: Flask, session: Session, launch: Launch, taken: AuthorizationCode, failure: str, err_no: int, message: str
) -> None:
    taken.failure = failure
    session.commit()
    with pytest.raises(CodeTaken) as refused:
        ask(app, launch, patience=60)
    assert (refused.value.err_no, refused.value.message, refused.value.under_way) == (err_no, message, False)


def put(app: Flask, launch: Launch, sent_at: datetime) -> Credential:
    reply = auth.AuthorizerTokens(
        authorizer_access_token="new", expires_in=7200, authorizer_refresh_token="next", refresh_expires_in=86400
    )
    with app_scope(app, PLATFORM) as own:
        exchange._put_tokens(own, slot_of(launch), reply, sent_at)
        own.commit()
    return stored(app, slot_of(launch))


def test_of_two_pairs_made_side_by_side_neither_is_trusted(app: Flask, launch: Launch) -> None:
    before = utcnow()
    alter(app, slot_of(launch), obtained_at=before)
    row = put(app, launch, before - timedelta(seconds=5))
    assert row.expires_at is not None and row.expires_at < utcnow()
    assert row.lease_owner == "conflict" and row.lease_until is not None and before <= row.lease_until <= utcnow()


def test_a_pair_that_came_after_is_trusted_and_ends_a_lapsed_lease(app: Flask, launch: Launch) -> None:
    now = utcnow()
    lapsed = {"lease_owner": "gone", "lease_until": now - timedelta(seconds=1)}
    alter(app, slot_of(launch), obtained_at=now - timedelta(hours=1), **lapsed)
    row = put(app, launch, now - timedelta(seconds=5))
    assert row.expires_at is not None and row.expires_at > utcnow() + timedelta(hours=1)
    assert (row.lease_owner, row.lease_until) == (None, None)


def test_a_lease_that_still_holds_is_its_owners(app: Flask, session: Session, launch: Launch) -> None:
    now = utcnow()
    alter(
        app,
        slot_of(launch),
        obtained_at=now - timedelta(hours=1),
        lease_owner="at work",
        lease_until=now + timedelta(minutes=1),
    )
    row = put(app, launch, now)
    assert row.lease_owner == "at work" and row.lease_until is not None
    refresh(session)
    assert session.scalars(select(Credential.generation).where(Credential.id == row.id)).one() == 2
