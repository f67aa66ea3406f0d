"""The way of data: seven journeys, each driven through its public door, and the rooms that it may pass through."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.jobs import schedule
from app.jobs.run import run_now
from app.link import exchange
from app.models import (
    AuthorizationState,
    ChannelKind,
    Merchant,
    NotificationChannel,
    OperationRun,
    RunState,
    Template,
    Version,
    VersionState,
)
from app.notices.channels import Address
from app.notices.tell import tell
from app.operations import registry
from app.operations.inbound import process
from app.operations.perform import perform
from tests.conftest import COMPONENT, Actors, Launch, SandboxServer, change, csrf_token, operate, refresh
from tests.console.transfer.test_import import GOOD, checked
from tests.notices.receivers import Receiver
from tests.operations.shop import Shop
from tests.pages import submit
from tests.project.rooms import Way, watched
from tests.pushes import about, sealed

pytestmark = pytest.mark.any_database(
    "counts rooms; the statements of a journey are tested in its rooms, on the servers too"
)


class Limit(NamedTuple):
    """What a journey may pass: rooms in all, rooms on one call stack, and the arrows up the floors."""

    rooms: int
    stack: int
    up: set[str]


ENTRY = {"web -> api", "web -> console"}  # a request comes in by the web's room, which hands it on to its door
CLIENT = {"douyin -> link"}  # tokens, breaker, pace and call log are handed to the client, which knows only their shape
MADE = {
    "data -> models"
}  # a row made where it is missing (the pace's, once in a while) passes the audit log's listener
# Measured; a smaller number is to be written here, a greater one needs a reason.
LIMITS = {
    "authorisation": Limit(
        8, 7, ENTRY | CLIENT | MADE | {"link -> operations"}
    ),  # what is done in the link's one commit
    "row action": Limit(8, 5, ENTRY | CLIENT | MADE),
    "push": Limit(9, 5, ENTRY | CLIENT | MADE),
    "import": Limit(
        9, 6, ENTRY | {"tasks -> access", "tasks -> operations", "tasks -> views"}
    ),  # gate, checks, cleaning
    "notice": Limit(4, 3, set()),
    "tick": Limit(6, 6, CLIENT | MADE),
    "list": Limit(7, 4, ENTRY | {"console -> views"}),  # cells that a screen declares
}


def check(name: str, way: Way) -> None:
    print(f"\n{way.line(name)}")
    limit = LIMITS[name]
    assert len(way.rooms) <= limit.rooms, sorted(way.rooms)
    assert len(way.deepest) <= limit.stack, way.deepest
    assert set(way.climbs) <= limit.up, way.climbs


def test_workers_and_calls_up_the_floors_are_seen(app: Flask, session: Session) -> None:
    row = Template(id=1)
    with watched() as way, ThreadPoolExecutor(1) as pool:
        pool.submit(schedule.find, "notices").result()
        exchange.in_one_commit(app, lambda _session: registry.lock_of(row, registry.Area.TEMPLATE))
    assert {"jobs", "link", "operations"} <= way.rooms and "console" not in way.rooms
    assert way.climbs == {"link -> operations": 1}


def test_an_authorisation_coming_home(app: Flask, shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    client = app.test_client()
    client.get("/douyin/authorized/nobody")  # the page's template is compiled once, which is no part of the way
    with watched() as way:
        answer = client.get(f"/douyin/authorized/{state}?authorization_code={code}")
    assert answer.status_code == 200 and shop.row.state == AuthorizationState.AUTHORIZED
    check("authorisation", way)


def test_a_row_action(
    app: Flask, session: Session, launch: Launch, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.console.operate.confirm.WAIT_SECONDS", 0.0)
    with watched() as way:
        submit(operator, f"/operate/upload_code?ids={launch.mini_program.id}", to="/operate/upload_code")
        refresh(session)
        perform(app, session.scalars(select(OperationRun.id)).one())
    refresh(session)
    assert session.scalars(select(OperationRun.state)).one() == RunState.SUCCEEDED
    check("row action", way)


def test_a_push(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
    row = launch.mini_program
    operate(app, session, "upload_code", row, template_id=launch.template_id, version="1.0.0", description="x")
    operate(app, session, "submit_audit", row)
    sandbox.post("audit", appid=row.appid, verdict="approve")
    body = sealed(about(row.appid, "PACKAGE_AUDIT", AuditResults=[{"hostName": "douyin", "status": 1}]))
    with watched() as way:
        answer = app.test_client().post(f"/douyin/callback/{COMPONENT['appid']}/message", data=body)
        process.process_due(app)
    refresh(session)
    assert answer.data == b"success" and session.scalars(select(Version.state)).one() == VersionState.APPROVED
    check("push", way)


def test_an_import(session: Session, operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    with watched() as way:
        operator.post(address, data={"csrf_token": csrf_token(operator, address)})
    refresh(session)
    assert "新店二" in set(session.scalars(select(Merchant.name)))
    check("import", way)


def test_a_notice(app: Flask, session: Session, actors: Actors, desk: None, receiver: Receiver) -> None:
    hook = NotificationChannel(kind=ChannelKind.WEBHOOK, name="群", kinds=["audit_passed"])
    hook.address = Address(f"http://127.0.0.1:{receiver.port}/in", "whs_key").packed()
    session.add(hook)
    session.commit()
    with watched() as way:
        with app_scope(app, PLATFORM) as own:
            tell(own, "audit_passed", subject=("mini_program", actors.alice_app.id), title="通过")
            own.commit()
        run_now(app, "send_notices", "测试")
    assert [got.json["title"] for got in receiver.got] == ["通过"]
    check("notice", way)


def test_a_tick(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
    row = launch.mini_program
    change(session, row, poll_at=utcnow())
    with watched() as way:
        run = run_now(app, "sync_audits", "测试")
    assert run is not None and run.outcome == "ok"
    check("tick", way)


def test_a_list(operator: FlaskClient, full: Actors) -> None:
    with watched() as way:
        answer = operator.get("/miniprogramview/list/")
    assert answer.status_code == 200
    check("list", way)
