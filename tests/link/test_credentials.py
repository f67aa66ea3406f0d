"""Tokens: one refresh for all who ask, recovery without a person, faults, and what is refreshed ahead."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses
import urllib3
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.authorization import ListAuthApps, RetrieveAuthCode
from app.douyin.contract import Token
from app.douyin.profile import GetAppInfo
from app.errors import DouyinError, ErrorKind, Held, NoAnswer, NotGranted, Refused
from app.link import connection, exchange
from app.link.exchange import exchange_code
from app.link.tokens import Slot
from app.models import (
    ApiCall,
    AuthorizationState,
    Credential,
    MiniProgram,
    Notification,
    ThirdPartyApp,
)
from app.operations.onboarding import ownership
from tests.conftest import PASSWORD, Launch, SandboxServer, change, fresh_ticket, refresh, try_again

HOUR = timedelta(hours=1)


def slot_of(launch: Launch, kind: Token = Token.AUTHORIZER) -> Slot:
    appid = None if kind in {Token.COMPONENT, Token.COMPONENT_V1} else launch.mini_program.appid
    return Slot(kind, launch.third_party_app.id, launch.third_party_app.appid, appid)


def alter(app: Flask, slot: Slot, **values: Any) -> None:
    with app_scope(app, PLATFORM) as session:
        session.execute(update(Credential).where(Credential.key == slot.key).values(**values))
        session.commit()


def expire(app: Flask, slot: Slot, **values: Any) -> None:
    alter(app, slot, expires_at=utcnow() - HOUR, **values)


def stored(app: Flask, slot: Slot) -> Credential:
    with app_scope(app, PLATFORM) as session:
        return session.scalars(select(Credential).where(Credential.key == slot.key)).one()


def effects(sandbox: SandboxServer, launch: Launch) -> tuple[int, int, int]:
    """Refreshes, retrievals and exchanges since the authorisation, whose own exchange is not counted."""
    found = sandbox.effects(launch.mini_program.appid)
    return found["refresh"], found["retrieve"], found["exchange"] - 1


def works(app: Flask, launch: Launch) -> str:
    """A call with the app's token goes through; gives the app's id as Douyin says it."""
    with app_scope(app, PLATFORM) as session:
        douyin = connection.bind(session, session.get_one(MiniProgram, launch.mini_program.id))
        session.rollback()
        return douyin.send(GetAppInfo()).app_id


def test_the_new_refresh_token_replaces_the_spent_one(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    for _ in range(3):
        expire(app, slot)
        connection.keeper(app).get(slot)
    assert effects(sandbox, launch) == (3, 0, 0)
    assert stored(app, slot).generation == 4


@pytest.mark.parametrize(("granted", "lacking"), [([1, 2, 3], False), ([1], True)])
def test_a_refresh_brings_what_the_merchant_grants_now(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, granted: list[int], lacking: bool
) -> None:
    change(session, launch.mini_program, permissions=[2] if not lacking else [1, 2])
    assert launch.mini_program.lacking is not lacking
    sandbox.post(f"apps/{launch.mini_program.appid}", permissions=granted)
    expire(app, slot_of(launch))
    connection.keeper(app).get(slot_of(launch))
    refresh(session)
    assert (launch.mini_program.permissions, launch.mini_program.lacking) == (granted, lacking)


def test_a_lease_that_ran_out_is_recovered_by_the_code_not_by_the_refresh_token(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    slot = slot_of(launch)
    expire(app, slot, lease_owner="killed", lease_until=utcnow() - HOUR)
    connection.keeper(app).get(slot)
    assert effects(sandbox, launch) == (0, 1, 1)
    assert works(app, launch) == launch.mini_program.appid
    assert stored(app, slot).lease_owner is None


def test_a_live_lease_of_another_is_waited_for(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot, lease_owner="other", lease_until=utcnow() + timedelta(seconds=1))
    started = time.monotonic()
    connection.keeper(app).get(slot)
    assert time.monotonic() - started > 0.5
    assert effects(sandbox, launch) == (0, 1, 1)


def test_waiting_for_a_lease_ends_and_nothing_was_sent(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot, lease_owner="other", lease_until=utcnow() + HOUR)
    with pytest.raises(NoAnswer) as caught:
        connection.keeper(app).get(slot)
    assert caught.value.sent is False
    assert effects(sandbox, launch) == (0, 0, 0)


def test_a_refused_refresh_token_is_recovered(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    sandbox.post("expire", kind="refresh", appid=launch.mini_program.appid)
    expire(app, slot_of(launch))
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (0, 1, 1)


def test_a_lost_answer_to_the_refresh_is_recovered(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    expire(app, slot_of(launch))
    sandbox.post("settings", drop_after_next=1, drop_path="get_auth_token")
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (1, 1, 1)


def test_lost_answers_to_refresh_and_exchange_are_recovered(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    expire(app, slot_of(launch))
    sandbox.post("settings", drop_after_next=2, drop_path="get_auth_token")
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (1, 2, 2)


def test_when_recovery_fails_too_the_lease_stays_as_a_sign(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot)
    sandbox.post("settings", drop_after_next=3, drop_path="get_auth_token")
    with pytest.raises(NoAnswer) as caught:
        connection.keeper(app).get(slot)
    assert caught.value.sent is False
    assert stored(app, slot).lease_owner is not None
    try_again(app)  # the endpoint failed three times for all the apps there are, and was held
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch)[0] == 1


def test_tokens_without_a_refresh_token_are_stored_and_the_next_refresh_recovers(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    slot = slot_of(launch)
    expire(app, slot)
    sandbox.post("settings", unpaired_next=1)
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (1, 0, 0)
    refresh(session)
    assert (stored(app, slot).refresh_token, launch.mini_program.refresh_expires_at) == (None, None)
    assert "自动找回授权码" in launch.mini_program.token_fault
    expire(app, slot)
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (1, 1, 1)
    refresh(session)
    assert launch.mini_program.token_fault == ""
    assert launch.mini_program.refresh_expires_at is not None


def test_a_code_exchanged_for_one_token_only_is_an_authorisation_all_the_same(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    code = RetrieveAuthCode(authorization_appid=launch.mini_program.appid)
    text = connection.bind_app(app, launch.third_party_app.id).send(code).authorization_code
    sandbox.post("settings", unpaired_next=1)
    found = exchange_code(app, launch.third_party_app.id, text)
    refresh(session)
    assert (found.appid, found.fresh) == (launch.mini_program.appid, True)
    assert "自动找回授权码" in launch.mini_program.token_fault
    assert works(app, launch) == launch.mini_program.appid


def test_a_request_that_never_left_spends_nothing(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot)
    sandbox.post("settings", drop_before_next=1, drop_path="get_auth_token")
    assert works(app, launch) == launch.mini_program.appid


def test_a_refresh_that_never_left_leaves_the_lease_free_and_asks_for_no_recovery(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    connection.keeper(app).get(slot_of(launch, Token.COMPONENT))
    expire(app, slot_of(launch))
    keeper = connection.keeper(app)
    with responses.RequestsMock() as http:
        http.add_passthru(f"{sandbox.url}/_sandbox")
        url = f"{sandbox.url}/api/tpapp/v2/auth/get_auth_token/"
        never_left = requests.ConnectionError(urllib3.exceptions.NewConnectionError(None, "refused"))  # type: ignore[arg-type]
        http.add("GET", url, body=never_left)
        with pytest.raises(NoAnswer) as caught:
            keeper.get(slot_of(launch))
    assert not caught.value.sent
    assert stored(app, slot_of(launch)).lease_owner is None
    assert effects(sandbox, launch) == (0, 0, 0)
    connection.breaker(app).forget()
    works(app, launch)
    assert effects(sandbox, launch) == (1, 0, 0)


def test_what_was_not_granted_is_not_asked_for(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    refresh(session)
    before = len(sandbox.get("journal")["rows"])
    launch.mini_program.permissions = [1]
    douyin = connection.bind(session, launch.mini_program)
    with pytest.raises(NotGranted, match="基本信息设置权限"):
        douyin.send(GetAppInfo())
    assert len(sandbox.get("journal")["rows"]) == before
    launch.mini_program.permissions = []  # nobody knows: Douyin tells
    douyin = connection.bind(session, launch.mini_program)
    session.rollback()
    assert douyin.send(GetAppInfo()).app_id == launch.mini_program.appid


def test_a_revocation_during_the_exchange_stays(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The push is worked off between the answer to the exchange and its storing."""
    owner = launch.third_party_app.id
    call = RetrieveAuthCode(authorization_appid=launch.mini_program.appid)
    code = connection.bind_app(app, owner).send(call).authorization_code
    store = exchange._store

    def after_the_push(*arguments: Any) -> Any:
        ownership.revoke(app, launch.mini_program.appid, "商户在抖音取消了授权")
        return store(*arguments)

    monkeypatch.setattr(exchange, "_store", after_the_push)
    with pytest.raises(Refused, match="取消了授权"):
        exchange_code(app, owner, code)
    refresh(session)
    assert launch.mini_program.state == AuthorizationState.REVOKED


def test_a_token_that_douyin_refuses_is_replaced(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    sandbox.post("expire", kind="authorizer", appid=launch.mini_program.appid)
    assert works(app, launch) == launch.mini_program.appid
    assert effects(sandbox, launch) == (1, 0, 0)


def test_a_late_word_about_an_old_token_does_not_end_the_new_one(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    slot, keeper = slot_of(launch), connection.keeper(app)
    old = keeper.get(slot)
    new = keeper.renew(slot)
    keeper.refused(slot, old)
    assert keeper.get(slot) == new
    assert effects(sandbox, launch) == (1, 0, 0)


def test_an_app_whose_authorization_ended_is_refused_before_any_call(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    ownership.revoke(app, launch.mini_program.appid, "商户取消了授权")
    before = len(sandbox.get("journal")["rows"])
    with pytest.raises(Refused, match="商户已取消"):
        works(app, launch)
    assert len(sandbox.get("journal")["rows"]) == before


def test_one_code_is_exchanged_once_and_all_learn_of_which_app(
    app: Flask, launch: Launch, sandbox: SandboxServer
) -> None:
    douyin = connection.bind_app(app, launch.third_party_app.id)
    code = douyin.send(RetrieveAuthCode(authorization_appid=launch.mini_program.appid)).authorization_code
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: exchange_code(app, launch.third_party_app.id, code), range(8)))
    assert [item.fresh for item in found].count(True) == 1
    assert {item.appid for item in found} == {launch.mini_program.appid}
    assert effects(sandbox, launch) == (0, 1, 1)


def test_an_unspent_code_may_be_exchanged_after_the_trouble(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    owner = launch.third_party_app.id
    call = RetrieveAuthCode(authorization_appid=launch.mini_program.appid)
    code = connection.bind_app(app, owner).send(call).authorization_code
    sandbox.post("settings", ip_blocked=True)
    with pytest.raises(DouyinError):
        exchange_code(app, owner, code)
    sandbox.post("settings", ip_blocked=False)
    try_again(app)
    assert exchange_code(app, owner, code).fresh


def test_a_spent_code_is_refused_with_the_same_reason_again(app: Flask, launch: Launch) -> None:
    owner = launch.third_party_app.id
    with pytest.raises(DouyinError):
        exchange_code(app, owner, "code-that-never-was")
    with pytest.raises(Refused, match="授权码已过期或已使用"):
        exchange_code(app, owner, "code-that-never-was")


def test_an_old_ticket_gets_no_component_token(app: Flask, launch: Launch) -> None:
    with app_scope(app, PLATFORM) as session:
        session.execute(update(ThirdPartyApp).values(ticket_at=utcnow() - 4 * HOUR))
        session.commit()
    expire(app, slot_of(launch, Token.COMPONENT))
    with pytest.raises(Held, match="component_ticket"):
        connection.bind_app(app, launch.third_party_app.id).send(ListAuthApps())


def test_v1_tokens_are_refused_until_the_setting_is_on(app: Flask, launch: Launch) -> None:
    slot = slot_of(launch, Token.AUTHORIZER_V1)
    with pytest.raises(Refused, match="DOUYIN_V1_TOKENS"):
        connection.keeper(app).get(slot)
    app.config["DOUYIN_V1_TOKENS"] = True
    try:
        assert connection.keeper(app).get(slot)
    finally:
        app.config["DOUYIN_V1_TOKENS"] = False


def test_a_client_token_comes_from_the_authorizer_token(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    sandbox.post("expire", kind="authorizer", appid=launch.mini_program.appid)
    slot = slot_of(launch, Token.CLIENT)
    token = connection.keeper(app).get(slot)
    assert token == connection.keeper(app).get(slot)
    assert effects(sandbox, launch) == (1, 0, 0)


def test_a_fault_of_the_app_is_shown_and_ends_with_the_probe_that_succeeds(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    sandbox.post("settings", ip_blocked=True)
    with pytest.raises(DouyinError) as caught:
        works(app, launch)
    assert caught.value.kind is ErrorKind.PLATFORM
    refresh(session)
    assert "白名单" in launch.third_party_app.fault
    before = len(sandbox.get("journal")["rows"])
    with pytest.raises(Held, match="白名单"):
        works(app, launch)
    try_again(app)
    assert len(sandbox.get("journal")["rows"]) == before + 1
    sandbox.post("settings", ip_blocked=False)
    try_again(app)
    works(app, launch)
    refresh(session)
    assert (launch.third_party_app.fault, launch.third_party_app.held) == ("", "")


def test_every_call_is_recorded_without_its_secrets(app: Flask, session: Session, launch: Launch) -> None:
    connection.flush_calls(app)
    session.rollback()
    rows = list(session.scalars(select(ApiCall)))
    exchange = next(row for row in rows if "authorization_code" in row.request)
    assert exchange.outcome == "ok"
    assert exchange.request["authorization_code"] == "***"
    assert not any("isvact." in row.answer or "clt." in row.answer for row in rows)


def test_a_missing_ticket_is_said_plainly(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer
) -> None:
    with pytest.raises(Held, match="授权事件接收 URL"):
        connection.bind_app(app, third_party_app.id).send(ListAuthApps())
    fresh_ticket(session, third_party_app, sandbox)
    assert connection.bind_app(app, third_party_app.id).send(ListAuthApps()).total == 0


def test_an_address_that_douyin_does_not_know_is_told_to_the_administrator_once(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    with app_scope(app, PLATFORM) as own:
        setting_up.add_user(own, "root", "platform_admin", password=PASSWORD)
        own.commit()
    sandbox.post("settings", error_rate=1.0, error_code=28001017)
    for _ in range(2):
        with pytest.raises(DouyinError) as caught:
            works(app, launch)
        assert (caught.value.kind, caught.value.retry_after) == (ErrorKind.FAULT, None)
        connection.flush_calls(app)
    refresh(session)
    told = session.scalars(select(Notification).where(Notification.kind == "call_refused")).all()
    assert ["获取小程序基本信息V2" in row.title for row in told] == [True]


def test_a_credential_that_is_deleted_while_it_is_read_sends_nothing(
    app: Flask, launch: Launch, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = connection.keeper(app)
    monkeypatch.setattr(keeper, "_look", lambda _slot: None)
    with pytest.raises(NoAnswer, match="凭据记录刚被删除") as silence:
        keeper.get(slot_of(launch))
    assert not silence.value.sent and effects(sandbox, launch) == (0, 0, 0)


def test_tokens_of_another_app_are_not_stored(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot, keeper = slot_of(launch), connection.keeper(app)
    keeper.get(slot_of(launch, Token.COMPONENT))
    expire(app, slot)
    before = stored(app, slot)
    others = {"authorizer_access_token": "a", "authorizer_refresh_token": "r", "authorizer_appid": "ttsomeoneelse"}
    with responses.RequestsMock() as http:
        url = f"{sandbox.url}/api/tpapp/v2/auth/get_auth_token/"
        http.add("GET", url, json={"err_no": 0, "err_msg": "", "log_id": "L", "data": others})
        with pytest.raises(DouyinError, match="另一个小程序") as refused:
            keeper.get(slot)
    assert (refused.value.err_no, refused.value.kind, refused.value.retry_after) == (0, ErrorKind.ANSWER, 30.0)
    after = stored(app, slot)
    assert (after.generation, after.access_token_sealed) == (before.generation, before.access_token_sealed)
    assert "另一个小程序" in after.failure


def test_why_a_refresh_waits_is_kept_with_the_credential(
    app: Flask, session: Session, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = slot_of(launch)
    expire(app, slot)

    def hold(_lease: Any) -> Any:
        raise Held("抖音暂时不可用", hold="circuit:open")

    monkeypatch.setattr(connection.keeper(app), "_fetch", hold)
    with pytest.raises(Held):
        connection.keeper(app).get(slot)
    kept = stored(app, slot)
    assert (kept.failure, kept.lease_owner) == ("抖音暂时不可用", None)
    refresh(session)
    assert session.get_one(MiniProgram, launch.mini_program.id).token_fault == ""
