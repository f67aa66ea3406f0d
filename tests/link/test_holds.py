"""What waits while Douyin, a third-party app or an authorisation is in doubt, and what lets it go on."""

from __future__ import annotations

from datetime import timedelta

import pytest
import responses
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Held
from app.link import connection, faults, holds
from app.models import (
    AuthorizationState,
    Credential,
    Door,
    InboundEvent,
    InboundState,
    MiniProgram,
    OperationRun,
    RunState,
    ThirdPartyApp,
)
from app.models.kit import audit
from app.operations import runs
from app.operations.inbound import process
from app.operations.onboarding import authorizations
from app.operations.perform import perform
from tests.conftest import COMPONENT, Launch, SandboxServer, authorize, refresh, try_again
from tests.operations.inbound.test_inbound import arrive, done, state_of
from tests.pushes import about, ticket

S = InboundState


def test_an_event_that_needs_douyin_waits_while_it_is_away_without_failing(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    arrive(app, about(launch.mini_program.appid, "PACKAGE_AUDIT", AuditResults=[{"hostName": "douyin", "status": 1}]))
    sandbox.post("settings", outage="500")
    for _ in range(process.MOST_ATTEMPTS + 1):
        process.process_due(app)
        refresh(session)
        session.execute(update(InboundEvent).values(not_before=utcnow()))
        session.commit()
    event = session.scalars(select(InboundEvent)).one()
    assert (event.state, event.attempts < 3) == (S.RECEIVED, True)
    sandbox.post("settings", outage="off")
    try_again(app)
    process.process_due(app)
    refresh(session)
    assert session.scalars(select(InboundEvent)).one().state == S.DONE


# A revocation holds its app from the acknowledgement on


def held(session: Session, launch: Launch) -> bool:
    refresh(session)
    return session.get_one(MiniProgram, launch.mini_program.id).held_at is not None


def test_from_the_acknowledgement_of_a_revocation_nothing_is_called(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    appid = launch.mini_program.appid
    run = runs.request(session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.JOB)
    before = len(sandbox.get("journal")["rows"])
    assert arrive(app, about(appid, "UNAUTHORIZED", at=utcnow() + timedelta(seconds=2)))
    perform(app, run.id)
    refresh(session)
    assert session.get_one(OperationRun, run.id).hold == f"mini_program:{launch.mini_program.id}"
    with pytest.raises(Held):
        connection.keeper(app).get(faults.authorizer_slot(session, launch.mini_program))
    assert len(sandbox.get("journal")["rows"]) == before
    sandbox.post("revoke", appid=appid)
    process.process_due(app)
    assert state_of(session, launch) == AuthorizationState.REVOKED
    assert not held(session, launch)
    assert session.get_one(OperationRun, run.id).state == RunState.FAILED


def test_a_revocation_older_than_the_authorisation_holds_nothing(app: Flask, session: Session, launch: Launch) -> None:
    assert arrive(app, about(launch.mini_program.appid, "UNAUTHORIZED", at=utcnow() - timedelta(minutes=5)))
    assert not held(session, launch)


def test_a_hold_that_is_not_confirmed_is_lifted_and_what_waited_goes_on(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    """Within a second of the authorisation nobody can say which came first: it is held, then read back."""
    run = runs.request(session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.JOB)
    at = session.get_one(MiniProgram, launch.mini_program.id).authorized_at
    assert at is not None
    assert arrive(app, about(launch.mini_program.appid, "UNAUTHORIZED", at=at.replace(microsecond=0)))
    assert held(session, launch)
    perform(app, run.id)
    process.process_due(app)
    assert not held(session, launch)
    assert state_of(session, launch) == AuthorizationState.AUTHORIZED
    perform(app, run.id)
    refresh(session)
    assert session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED


def test_the_first_ticket_after_a_dead_one_lets_everything_go_on(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    run = runs.request(session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.JOB)
    session.execute(update(ThirdPartyApp).values(ticket_at=utcnow() - timedelta(hours=4)))
    session.execute(update(Credential).values(expires_at=utcnow() - timedelta(hours=1)))
    session.commit()
    before = len(sandbox.get("journal")["rows"])
    perform(app, run.id)
    refresh(session)
    waiting = session.get_one(OperationRun, run.id)
    assert (waiting.state, waiting.attempts, waiting.hold) == (RunState.QUEUED, 0, f"app:{launch.third_party_app.id}")
    try_again(app)
    assert len(sandbox.get("journal")["rows"]) == before  # a dead ticket has no probe
    living = sandbox.post("ticket", appid=COMPONENT["appid"])["tickets"][COMPONENT["appid"]]
    assert done(app, session, ticket(living, at=utcnow() + timedelta(seconds=2))).state == S.DONE
    assert session.get_one(ThirdPartyApp, launch.third_party_app.id).held == ""
    connection.breaker(app).forget()
    perform(app, run.id)
    refresh(session)
    assert session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED


# Whose push, whose list


def test_a_revocation_by_another_third_party_app_is_none_of_ours(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    with writing():
        refresh(session)
        other = ThirdPartyApp(appid="ttother0000000002", name="另一个")
        session.add(other)
        session.commit()
        session.get_one(MiniProgram, launch.mini_program.id).third_party_app_id = other.id
        session.commit()
    for at in (utcnow() + timedelta(seconds=2), utcnow() - timedelta(hours=1)):
        event = done(app, session, about(launch.mini_program.appid, "UNAUTHORIZED", at=at))
        assert event.state == S.IGNORED
        assert not held(session, launch)
        assert state_of(session, launch) == AuthorizationState.AUTHORIZED


@pytest.mark.parametrize("data", [{"auth_app_list": [], "total": 0}, {"auth_app_list": None, "total": 2}])
def test_an_empty_list_of_authorised_apps_revokes_nobody(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, data: dict[str, object]
) -> None:
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    authorize(app, session, sandbox, launch.merchant, launch.third_party_app, appid)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
        http.add_passthru(f"{sandbox.url}/_sandbox")
        url = f"{sandbox.url}/api/tpapp/v2/auth/get_auth_app_list/"
        http.add("GET", url, json={"err_no": 0, "data": data})
        assert "取消 0，失败 1" in authorizations.check_authorizations(app)
    refresh(session)
    assert set(session.scalars(select(MiniProgram.state))) == {AuthorizationState.AUTHORIZED}


def test_a_new_ticket_has_a_refused_app_tried_at_once(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    with writing():
        refresh(session)
        later = utcnow() + timedelta(minutes=1)
        session.execute(update(ThirdPartyApp).values(held="app", fault="x", probe_at=later))
        session.commit()
    living = sandbox.post("ticket", appid=COMPONENT["appid"])["tickets"][COMPONENT["appid"]]
    assert done(app, session, ticket(living, at=utcnow() + timedelta(seconds=2))).state == S.DONE
    connection.breaker(app).forget()
    connection.breaker(app).tend()
    refresh(session)
    assert session.get_one(ThirdPartyApp, launch.third_party_app.id).held == ""


def test_the_end_of_a_hold_reaches_what_waits_for_a_part_of_it(app: Flask, session: Session, launch: Launch) -> None:
    run = runs.request(session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.JOB)
    with app_scope(app, PLATFORM) as own:
        own.get_one(OperationRun, run.id).hold = "host:open:get_versions"
        own.commit()
        holds.release(own, "host:open")
        own.commit()
    refresh(session)
    assert session.get_one(OperationRun, run.id).hold == ""


def test_the_end_of_a_hold_lets_go_of_nothing_else(app: Flask, session: Session, launch: Launch) -> None:
    def waiting(hold: str, state: RunState = RunState.QUEUED) -> OperationRun:
        run = runs.request(
            session, "sync_versions", launch.mini_program, actor=audit.SYSTEM, door=Door.BATCH, batch_id="b"
        )
        run.hold, run.state, run.not_before = hold, state, utcnow() + timedelta(hours=1)
        session.commit()
        return run

    of = {name: waiting(name) for name in ("circuit:open", "circuit:open:get_versions", "circuit:opener", "app:1", "")}
    unknown, over = waiting("circuit:open", RunState.UNKNOWN), waiting("circuit:open", RunState.FAILED)
    with app_scope(app, PLATFORM) as own:
        holds.release(own, "circuit:open")
        own.commit()
    refresh(session)
    let_go = {name for name, run in of.items() if run.not_before <= utcnow()}
    assert let_go == {"circuit:open", "circuit:open:get_versions"}
    assert {name for name, run in of.items() if run.hold} == {"circuit:opener", "app:1"}
    assert (unknown.hold, over.hold) == ("", "circuit:open") and unknown.not_before <= utcnow() < over.not_before
