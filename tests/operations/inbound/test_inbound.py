"""Pushes: stored once, refused alike, processed once and in order, each with what it does."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.douyin.authorization import RetrieveAuthCode
from app.errors import Refused
from app.link import connection, exchange
from app.models import (
    AuthorizationCode,
    AuthorizationState,
    Credential,
    Door,
    InboundEvent,
    InboundState,
    MiniProgram,
    OperationRun,
    RefusedPush,
    RunState,
    ThirdPartyApp,
    VersionEvent,
)
from app.models.kit import audit
from app.operations import runs
from app.operations.inbound import events, process, refusals
from app.operations.inbound.receive import receive
from app.operations.onboarding import ownership
from tests.conftest import COMPONENT, Launch, SandboxServer, fresh_ticket, operate, refresh
from tests.pushes import about, sealed, ticket

S = InboundState


def arrive(app: Flask, event: dict[str, Any], **options: Any) -> bool:
    receiver = "authorization" if event.get("Event") in {"PUSH", "AUTHORIZED", "UNAUTHORIZED"} else "message"
    return receive(app, COMPONENT["appid"], receiver, sealed(event, **options), "127.0.0.1")


def done(app: Flask, session: Session, event: dict[str, Any]) -> InboundEvent:
    """Let a push arrive and be processed; the event as it then stands."""
    assert arrive(app, event)
    process.process_due(app)
    refresh(session)
    return session.scalars(select(InboundEvent).order_by(InboundEvent.id.desc())).first()  # type: ignore[return-value]


def state_of(session: Session, launch: Launch) -> AuthorizationState:
    refresh(session)
    return session.get_one(MiniProgram, launch.mini_program.id).state


def new_code(app: Flask, launch: Launch) -> str:
    call = RetrieveAuthCode(authorization_appid=launch.mini_program.appid)
    return connection.bind_app(app, launch.third_party_app.id).send(call).authorization_code


# Arrival


def test_a_push_is_stored_sealed_and_its_summary_masked(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    assert arrive(app, ticket("ticket-canary-1"))
    row = session.scalars(select(InboundEvent)).one()
    assert row.state == S.RECEIVED
    assert "ticket-canary-1" in (row.payload or "")
    assert "ticket-canary-1" not in f"{row.payload_sealed}{row.summary}"


def test_the_same_push_again_only_counts(app: Flask, session: Session, third_party_app: ThirdPartyApp) -> None:
    event = about("tt1", "UNAUTHORIZED")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: arrive(app, event), range(8)))
    assert session.scalars(select(InboundEvent)).one().copies == 8


def test_the_same_push_with_its_fields_in_another_order_only_counts(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    event = about("tt1", "UNAUTHORIZED")
    assert arrive(app, event) and arrive(app, dict(reversed(event.items())))
    assert session.scalars(select(InboundEvent)).one().copies == 2


def test_what_people_see_of_a_push_is_cut_and_what_is_stored_is_not(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    event = about("tt1", "PACKAGE_AUDIT") | {
        "Note": "长" * 500,
        "Longer": "长" * 501,
        "键" * 501: {"List": [{"n": n} for n in range(51)], "Nul": "a\0b"},
        "Many": {f"k{n:02}": n for n in range(51)},
    }
    assert arrive(app, event)
    row = session.scalars(select(InboundEvent)).one()
    shown = row.summary
    assert (shown["Note"], shown["Longer"]) == ("长" * 500, "长" * 500 + "…")
    assert shown["键" * 500 + "…"] == {"List": [{"n": n} for n in range(50)], "Nul": "a b"}
    assert shown["Many"] == {f"k{n:02}": n for n in range(50)}
    assert json.loads(row.payload or "") == event


@pytest.mark.parametrize(
    "options",
    [
        {"token": "wrong"},
        {"aes_key": "B" * 42 + "A"},
        {"appid": "tt0000000000000bad"},
        {"age": 3600},
        {"age": -3600},
    ],
)
def test_a_forged_or_stale_push_is_refused_and_counted(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, options: dict[str, Any]
) -> None:
    assert not arrive(app, ticket("t"), **options)
    refusals.flush(app)
    assert session.scalars(select(InboundEvent)).all() == []
    assert len(session.scalars(select(RefusedPush.id)).all()) == 1


@pytest.mark.parametrize("missing", ["token", "aes_key"])
def test_a_push_for_one_who_has_half_of_its_settings_is_refused(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, missing: str
) -> None:
    setattr(third_party_app, missing, None)
    session.commit()
    assert not arrive(app, ticket("t"))
    assert session.scalars(select(InboundEvent)).all() == []


def test_a_push_for_nobody_is_refused(app: Flask, session: Session) -> None:
    assert not receive(app, "tt-unknown", "message", sealed(ticket("t")), "127.0.0.1")
    refusals.flush(app)
    assert session.scalars(select(RefusedPush.component_appid)).one() == "tt-unknown"


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff\xfe", b'{"Encrypt":1}', b"[" * 5000])
def test_what_is_no_push_is_refused(app: Flask, third_party_app: ThirdPartyApp, raw: bytes) -> None:
    assert not receive(app, COMPONENT["appid"], "message", raw, "127.0.0.1")


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"MsgType": "text", "FromUserName": "u1", "Content": "在吗", "CreateTime": 1735689600}, "MESSAGE:text"),
        ({"MsgType": 7}, "MESSAGE"),
        ({"Event": "", "MsgType": "image"}, "MESSAGE:image"),
        ({"Event": None}, "MESSAGE"),
        ({"Event": 3}, "MESSAGE"),
        ({}, "MESSAGE"),
    ],
)
def test_a_genuine_message_without_an_event_is_kept_and_left_alone(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, event: dict[str, Any], name: str
) -> None:
    row = done(app, session, event)
    assert (row.event, row.state, row.verdict) == (name, S.IGNORED, "用户消息，不是事件：已存档，未做处理")


def test_a_message_for_another_third_party_app_is_refused(app: Flask, third_party_app: ThirdPartyApp) -> None:
    assert not arrive(app, {"MsgType": "text", "TpAppId": "tt0000000000000bad"})


def test_the_worker_is_woken(app: Flask, third_party_app: ThirdPartyApp) -> None:
    woken: list[int] = []
    wake = lambda: woken.append(1)  # noqa: E731
    app.extensions["inbound_wakers"].append(wake)
    arrive(app, ticket("t"))
    app.extensions["inbound_wakers"].remove(wake)
    assert woken == [1]


# Tickets


def test_the_newest_ticket_wins_whatever_the_order(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    now = utcnow()
    assert done(app, session, ticket("new", at=now)).state == S.DONE
    late = done(app, session, ticket("old", at=now - timedelta(minutes=10)))
    assert late.state == S.IGNORED
    assert session.get_one(ThirdPartyApp, third_party_app.id).ticket == "new"


def test_a_ticket_from_the_future_counts_from_its_arrival(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    done(app, session, ticket("strange", at=utcnow() + timedelta(days=9)))
    done(app, session, ticket("next", at=utcnow() + timedelta(seconds=2)))
    assert session.get_one(ThirdPartyApp, third_party_app.id).ticket == "next"


# Authorisation


@pytest.fixture
def listed(session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer) -> str:
    """An app that authorises us at Douyin, of which nobody here has heard."""
    fresh_ticket(session, third_party_app, sandbox)
    return str(sandbox.post("apps", count=1, authorized_to=COMPONENT["appid"])["apps"][0]["appid"])


def test_authorized_without_the_browser_waits_to_be_claimed(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, listed: str
) -> None:
    douyin = connection.bind_app(app, third_party_app.id)
    code = douyin.send(RetrieveAuthCode(authorization_appid=listed)).authorization_code
    event = done(app, session, about(listed, "AUTHORIZED", AuthorizationCode=code))
    row = session.scalars(select(MiniProgram)).one()
    assert (row.appid, row.state, row.merchant_id) == (listed, AuthorizationState.AUTHORIZED, None)
    assert "等待认领" in event.verdict


def test_authorized_with_a_lost_code_recovers_by_itself(app: Flask, session: Session, listed: str) -> None:
    event = done(app, session, about(listed, "AUTHORIZED", AuthorizationCode="code-that-is-lost"))
    assert event.state == S.DONE
    assert "找回授权码" in event.verdict
    assert session.scalars(select(MiniProgram.state)).one() == AuthorizationState.AUTHORIZED


def test_unauthorized_ends_it_at_once(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer) -> None:
    run = runs.request(session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.JOB)
    sandbox.post("revoke", appid=launch.mini_program.appid)
    later = utcnow() + timedelta(seconds=2)
    event = done(app, session, about(launch.mini_program.appid, "UNAUTHORIZED", at=later))
    assert event.state == S.DONE
    assert state_of(session, launch) == AuthorizationState.REVOKED
    assert session.get_one(OperationRun, run.id).state == RunState.FAILED
    before = len(sandbox.get("journal")["rows"])
    with pytest.raises(Refused):
        operate(app, session, "sync_versions", session.get_one(MiniProgram, launch.mini_program.id))
    assert len(sandbox.get("journal")["rows"]) == before


def test_a_late_authorized_does_not_resurrect(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    appid, before = launch.mini_program.appid, utcnow() - timedelta(minutes=1)
    sandbox.post("revoke", appid=appid)
    done(app, session, about(appid, "UNAUTHORIZED"))
    event = done(app, session, about(appid, "AUTHORIZED", at=before, AuthorizationCode="code-late"))
    assert event.state == S.IGNORED
    assert state_of(session, launch) == AuthorizationState.REVOKED


def test_a_late_unauthorized_does_not_end_the_present_authorization(
    app: Flask, session: Session, launch: Launch
) -> None:
    old = utcnow() - timedelta(hours=2)
    event = done(app, session, about(launch.mini_program.appid, "UNAUTHORIZED", at=old))
    assert (event.state, state_of(session, launch)) == (S.IGNORED, AuthorizationState.AUTHORIZED)


def test_a_code_that_our_own_recovery_fetched_is_left_to_it(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    code = new_code(app, launch)
    exchange.exchange_code(app, launch.third_party_app.id, code)
    event = done(app, session, about(launch.mini_program.appid, "UPDATE_AUTHORIZED", AuthorizationCode=code))
    assert event.state == S.IGNORED
    assert sandbox.effects(launch.mini_program.appid)["exchange"] == 2


def test_a_retrieved_code_is_exchanged_once(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    code = new_code(app, launch)
    later = utcnow() + timedelta(seconds=1)
    event = about(launch.mini_program.appid, "UPDATE_AUTHORIZED", at=later, AuthorizationCode=code)
    assert done(app, session, event).state == S.DONE
    process.replay(session, session.scalars(select(InboundEvent)).one())
    session.commit()
    process.process_due(app)
    assert sandbox.effects(launch.mini_program.appid)["exchange"] == 2


def test_a_retrieved_code_waits_while_a_refresh_is_under_way(app: Flask, session: Session, launch: Launch) -> None:
    refresh(session)
    session.execute(update(Credential).values(lease_owner="other", lease_until=utcnow() + timedelta(minutes=1)))
    session.commit()
    later = utcnow() + timedelta(seconds=1)
    event = about(launch.mini_program.appid, "UPDATE_AUTHORIZED", at=later, AuthorizationCode="code-of-other")
    found = done(app, session, event)
    assert (found.state, found.attempts) == (S.RECEIVED, 0)
    assert session.scalars(select(AuthorizationCode).where(AuthorizationCode.appid.is_(None))).all() == []


def test_a_cleared_app_is_not_brought_back_by_an_old_event(app: Flask, session: Session, launch: Launch) -> None:
    operate(app, session, "clear_authorization", launch.mini_program)
    old = utcnow() - timedelta(minutes=5)
    event = done(app, session, about(launch.mini_program.appid, "AUTHORIZED", at=old, AuthorizationCode="c-1"))
    assert (event.state, state_of(session, launch)) == (S.IGNORED, AuthorizationState.CLEARED)


# Everything else


def test_an_audit_result_reads_the_versions_back(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    operate(
        app,
        session,
        "upload_code",
        launch.mini_program,
        template_id=launch.template_id,
        version="1.0.0",
        description="首版",
    )
    operate(app, session, "submit_audit", launch.mini_program)
    appid = launch.mini_program.appid
    sandbox.post("audit", appid=appid, verdict="approve")
    results = [{"hostName": "douyin", "status": 1}]
    assert done(app, session, about(appid, "PACKAGE_AUDIT", AuditResults=results)).state == S.DONE
    assert session.get_one(MiniProgram, launch.mini_program.id).audit_state == "approved"


def test_a_reviewed_name_is_noted_and_the_information_read_back(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    appid = launch.mini_program.appid
    sandbox.post(f"apps/{appid}", name="新的店名")
    event = about(appid, "MODIFY_APP_NAME", ModifyAppNameResults={"status": 0, "reason": "名称不合规"})
    assert done(app, session, event).state == S.DONE
    assert session.get_one(MiniProgram, launch.mini_program.id).name == "新的店名"
    notes = session.scalars(select(VersionEvent.text).where(VersionEvent.kind == "note")).all()
    assert notes == ["修改名称审核结果，未通过，名称不合规"]


def test_other_events_go_on_the_timeline(app: Flask, session: Session, launch: Launch) -> None:
    results = {"status": 1}
    event = about(launch.mini_program.appid, "APPLY_VIDEO_CAPABILITY", ApplyVideoCapabilityResults=results)
    assert done(app, session, event).state == S.DONE
    line = session.scalars(select(VersionEvent).where(VersionEvent.kind == "note")).one()
    assert (line.text, line.merchant_id) == ("短视频挂载能力申请结果，通过", launch.merchant.id)


@pytest.mark.parametrize("name", ["A_NEW_EVENT", "MODIFY_APP_NAME", "UNAUTHORIZED"])
def test_events_of_unknown_kind_or_app_are_ignored(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, name: str
) -> None:
    event = about("tt-not-ours", name, ModifyAppNameResults={"status": 1})
    assert done(app, session, event).state == S.IGNORED


def test_an_event_outside_the_contract_is_retried_fails_with_a_reason_and_can_be_replayed(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    event = done(app, session, {"Event": "AUTHORIZED", "AppId": "tt1"})
    assert (event.state, event.attempts, "接口约定" in event.verdict) == (S.RECEIVED, 1, True)
    for _ in range(process.MALFORMED_ATTEMPTS - 1):
        session.execute(update(InboundEvent).values(not_before=utcnow()))
        session.commit()
        process.process_due(app)
    refresh(session)
    assert (event.state, "可手动重放" in event.verdict) == (S.FAILED, True)
    process.replay(session, event)
    session.commit()
    process.process_due(app)
    refresh(session)
    assert (event.state, event.attempts) == (S.RECEIVED, 1)


def test_events_of_one_app_wait_for_the_older_one_but_not_a_revocation(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    appid = launch.mini_program.appid
    sandbox.post("settings", outage="500")
    event = about(appid, "PACKAGE_AUDIT", AuditResults=[{"hostName": "douyin", "status": 1}])
    assert done(app, session, event).state == S.RECEIVED
    sandbox.post("settings", outage="off")
    waiting = about(appid, "APPLY_VIDEO_CAPABILITY", ApplyVideoCapabilityResults={"status": 1})
    assert done(app, session, waiting).state == S.RECEIVED
    later = utcnow() + timedelta(seconds=2)
    assert done(app, session, about(appid, "UNAUTHORIZED", at=later)).state == S.DONE
    refresh(session)
    session.execute(update(InboundEvent).values(not_before=utcnow()))
    session.commit()
    process.process_due(app)
    refresh(session)
    assert {row.state for row in session.scalars(select(InboundEvent))} <= {S.DONE, S.IGNORED}


def test_an_event_is_processed_by_one_worker_only(app: Flask, session: Session, launch: Launch) -> None:
    appid = launch.mini_program.appid
    for number in range(10):
        arrive(app, about(appid, "APPLY_CAPACITY", event_content={"capacity_key": f"k{number}", "status": 2}))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: process.process_due(app), range(4)))
    while process.process_due(app):
        pass
    refresh(session)
    lines = session.scalars(select(VersionEvent).where(VersionEvent.kind == "note").order_by(VersionEvent.id)).all()
    assert len(lines) == 10
    ids = [line.detail["inbound_event_id"] for line in lines]
    assert ids == sorted(ids)


def test_a_dead_workers_event_is_taken_over(app: Flask, session: Session, third_party_app: ThirdPartyApp) -> None:
    arrive(app, ticket("t"))
    session.execute(update(InboundEvent).values(state=S.PROCESSING, lease_until=utcnow() - timedelta(seconds=1)))
    session.commit()
    assert process.process_due(app) == 1
    assert process.process_due(app) == 0


def test_replaying_an_authorization_exchanges_nothing_twice(
    app: Flask, session: Session, third_party_app: ThirdPartyApp, listed: str, sandbox: SandboxServer
) -> None:
    douyin = connection.bind_app(app, third_party_app.id)
    code = douyin.send(RetrieveAuthCode(authorization_appid=listed)).authorization_code
    event = done(app, session, about(listed, "AUTHORIZED", AuthorizationCode=code))
    process.replay(session, event)
    session.commit()
    assert process.process_due(app) == 1
    assert sandbox.effects(listed)["exchange"] == 1


def test_what_cannot_be_done_in_many_tries_fails_and_can_be_replayed(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    sandbox.post("settings", error_rate=1.0, error_code=28001005)
    results = [{"hostName": "douyin", "status": 1}]
    arrive(app, about(launch.mini_program.appid, "PACKAGE_AUDIT", AuditResults=results))
    refresh(session)
    session.execute(update(InboundEvent).values(attempts=process.MOST_ATTEMPTS - 1))
    session.commit()
    process.process_due(app)
    sandbox.post("settings", error_rate=0.0, error_code=0)
    refresh(session)
    event = session.scalars(select(InboundEvent)).one()
    assert event.state == S.FAILED
    process.replay(session, event)
    session.commit()
    process.process_due(app)
    refresh(session)
    assert session.scalars(select(InboundEvent)).one().state == S.DONE


def test_a_dead_workers_late_verdict_on_an_event_writes_nothing(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    arrive(app, ticket("t"))
    event_id = session.scalars(select(InboundEvent.id)).one()
    first = process._claim(app, event_id)
    refresh(session)
    session.execute(update(InboundEvent).values(lease_until=utcnow() - timedelta(seconds=1)))
    session.commit()
    assert first is not None and process._claim(app, event_id) is not None
    process._close(app, first, events.Result(S.FAILED, "太晚了"))
    process._postpone(app, first, "太晚了", 600.0)
    refresh(session)
    row = session.get_one(InboundEvent, event_id)
    assert (row.state, row.verdict, row.attempts) == (S.PROCESSING, "", 2)


def test_a_spent_code_of_a_revoked_app_with_newer_tokens_is_recovered(
    app: Flask, session: Session, launch: Launch
) -> None:
    refresh(session)
    session.execute(update(MiniProgram).values(state="revoked", unauthorized_at=utcnow() - timedelta(hours=1)))
    session.commit()
    old = utcnow() - timedelta(minutes=30)
    event = about(launch.mini_program.appid, "AUTHORIZED", at=old, AuthorizationCode="code-that-is-spent")
    assert "找回授权码" in done(app, session, event).verdict
    assert state_of(session, launch) == AuthorizationState.AUTHORIZED


def test_a_revoked_app_that_authorizes_again_comes_back(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    """Still listed at Douyin: the code is good and the app is ours again."""
    code = new_code(app, launch)
    ownership.revoke(app, launch.mini_program.appid, "误报")
    event = done(app, session, about(launch.mini_program.appid, "AUTHORIZED", AuthorizationCode=code))
    assert (event.state, state_of(session, launch)) == (S.DONE, AuthorizationState.AUTHORIZED)
