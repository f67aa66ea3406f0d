"""The addresses Douyin pushes to, over HTTP, and the page a merchant comes back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from flask import Flask, url_for
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.link import exchange
from app.models import (
    AuthorizationReturn,
    AuthorizationState,
    InboundEvent,
    InboundState,
    Industry,
    Merchant,
    MiniProgram,
    RefusedPush,
    ThirdPartyApp,
)
from app.models.kit import audit as core
from app.operations.inbound import process, receive, refusals
from app.operations.onboarding import links
from tests.conftest import COMPONENT, Launch, SandboxServer, fresh_ticket, refresh
from tests.pushes import sealed, ticket
from tests.waiting import wait_for

BASE = f"/douyin/callback/{COMPONENT['appid']}"


def settle(app: Flask, session: Session, wanted: Callable[[], Any]) -> Any:
    """Process pushes as they come until `wanted()` is true."""

    def found() -> Any:
        process.process_due(app)
        refresh(session)
        return wanted()

    return wait_for(found)


@pytest.fixture
def connected(session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer, live: str) -> ThirdPartyApp:
    """The sandbox pushes to the running application; its first ticket is on its way."""
    address = f"{live}/douyin/callback/{COMPONENT['appid']}"
    sandbox.post(
        "thirdparty",
        appid=COMPONENT["appid"],
        authorization_url=f"{address}/authorization",
        message_url=f"{address}/message",
        auth_domain=live.removeprefix("http://"),
    )
    return third_party_app


@pytest.mark.parametrize("path", ["authorization", "message", "authorization/", "message/"])
def test_a_genuine_push_is_answered_success(app: Flask, third_party_app: ThirdPartyApp, path: str) -> None:
    answer = app.test_client().post(f"{BASE}/{path}", data=sealed(ticket("t")))
    assert (answer.status_code, answer.data, answer.mimetype) == (200, b"success", "text/plain")


def test_the_addresses_that_we_name_have_no_slash_at_their_end(app: Flask) -> None:
    with app.test_request_context():
        assert url_for("callbacks.message", component_appid="tt1") == "/douyin/callback/tt1/message"


def test_a_users_message_is_answered_success(app: Flask, third_party_app: ThirdPartyApp) -> None:
    answer = app.test_client().post(f"{BASE}/message", data=sealed({"MsgType": "text", "Content": "在吗"}))
    assert (answer.status_code, answer.data) == (200, b"success")


def test_every_refusal_looks_the_same(app: Flask, third_party_app: ThirdPartyApp) -> None:
    client = app.test_client()
    bodies = [
        sealed(ticket("t"), token="wrong"),
        sealed(ticket("t"), appid="tt-other"),
        sealed(ticket("t"), age=4000),
        b"",
        b"x" * (receive.LIMIT + 1),
    ]
    answers = [client.post(f"{BASE}/message", data=body) for body in bodies]
    answers.append(client.post("/douyin/callback/tt-nobody/message", data=sealed(ticket("t"))))
    assert {(answer.status_code, answer.data) for answer in answers} == {(403, b"")}
    assert len({tuple(sorted(dict(answer.headers))) for answer in answers}) == 1


def test_a_refused_push_leaves_a_reason_for_us(app: Flask, session: Session, third_party_app: ThirdPartyApp) -> None:
    app.test_client().post(f"{BASE}/message", data=b"x" * (receive.LIMIT + 1))
    refusals.flush(app)
    assert session.scalars(select(RefusedPush.reason)).one() == "size"


def test_what_cannot_be_stored_is_not_acknowledged(
    app: Flask, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("gone"))

    monkeypatch.setattr(receive, "_insert", broken)
    answer = app.test_client().post(f"{BASE}/message", data=sealed(ticket("t")))
    assert (answer.status_code, answer.data) == (503, b"")


def test_only_post_is_answered(app: Flask, third_party_app: ThirdPartyApp) -> None:
    assert app.test_client().get(f"{BASE}/message").status_code == 405


def test_the_sandbox_connects_and_an_app_is_authorized_over_http(
    app: Flask, session: Session, connected: ThirdPartyApp, sandbox: SandboxServer
) -> None:
    settle(app, session, lambda: session.get_one(ThirdPartyApp, connected.id).ticket)
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    merchant = Merchant(name="爱丽丝花店", industry=Industry(name="鲜花"))
    session.add(merchant)
    session.commit()
    link = links.make_link(session, merchant, connected, actor=core.SYSTEM)
    back = sandbox.post("consent", link=link.url, appid=appid, permissions=[1, 2], delay=0)["redirect_url"]
    page = requests.get(back, timeout=10)
    assert page.status_code == 200
    assert "授权成功" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    settle(app, session, lambda: all_done(session))
    row = session.scalars(select(MiniProgram)).one()
    assert (row.merchant_id, row.state) == (merchant.id, AuthorizationState.AUTHORIZED)
    assert sandbox.effects(appid)["exchange"] == 1
    sandbox.post("revoke", appid=appid)
    settle(app, session, lambda: session.get_one(MiniProgram, row.id).state == AuthorizationState.REVOKED)


def all_done(session: Session) -> bool:
    states = session.execute(select(InboundEvent.event, InboundEvent.state)).all()
    open_ = {InboundState.RECEIVED, InboundState.PROCESSING}
    return any(name == "AUTHORIZED" for name, _ in states) and not any(state in open_ for _, state in states)


def test_a_recovery_and_its_push_do_not_cross(
    app: Flask, session: Session, connected: ThirdPartyApp, sandbox: SandboxServer
) -> None:
    """The push with the retrieved code arrives while the recovery is still exchanging it."""
    fresh_ticket(session, connected, sandbox)
    appid = sandbox.post("apps", count=1, authorized_to=COMPONENT["appid"])["apps"][0]["appid"]
    exchange.retrieve(app, connected.id, appid)
    settle(app, session, lambda: update_done(session))
    assert sandbox.effects(appid)["exchange"] == 1


def update_done(session: Session) -> bool:
    statement = select(InboundEvent.state).where(InboundEvent.event == "UPDATE_AUTHORIZED")
    return session.scalars(statement).all() == [InboundState.IGNORED]


def test_forged_pushes_of_the_sandbox_are_refused(
    app: Flask, session: Session, connected: ThirdPartyApp, sandbox: SandboxServer
) -> None:
    for forge in ("signature", "tail", "stale", "garbage"):
        sandbox.post("push", appid="tt1", event={"Event": "UNAUTHORIZED"}, forge=forge)
    settle(app, session, lambda: refusals.flush(app) or sum(refusals.counts(session).values()) == 4)
    assert session.scalars(select(InboundEvent).where(InboundEvent.event != "PUSH")).all() == []


@pytest.mark.parametrize(
    ("address", "status", "title"),
    [
        ("/douyin/authorized/forged?authorization_code=c", 404, "授权链接无效"),
        ("/douyin/authorized/forged", 404, "授权链接无效"),
    ],
)
def test_the_page_says_what_is_wrong(app: Flask, address: str, status: int, title: str) -> None:
    answer = app.test_client().get(address)
    assert (answer.status_code, title in answer.text) == (status, True)
    assert "<script" not in answer.text


def test_the_page_that_waits_has_no_code_in_its_address_and_goes_on_by_itself(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    path, code = consent(session, launch, sandbox)
    client = app.test_client()
    sandbox.post("settings", error_rate=1.0, error_code=28001005)
    moved = client.get(path)
    sandbox.post("settings", error_rate=0.0, error_code=0)
    assert (moved.status_code, moved.location) == (303, path.split("?")[0])
    assert moved.headers["Referrer-Policy"] == "no-referrer"
    page = client.get(moved.location)  # too early: nothing is sent
    assert (page.status_code, "正在核实授权结果" in page.text, code in page.text) == (202, True, False)
    assert '<meta http-equiv="refresh" content="3">' in page.text
    assert "<script" not in page.text
    session.rollback()
    session.execute(update(AuthorizationReturn).values(at=utcnow()))
    session.commit()
    done = client.get(moved.location)
    assert (done.status_code, "授权成功" in done.text, "http-equiv" in done.text) == (200, True, False)


def consent(session: Session, launch: Launch, sandbox: SandboxServer) -> tuple[str, str]:
    """A new app's consent to a new link, told by no push: the path the browser is sent to, and its code."""
    session.rollback()
    with writing():
        link = links.make_link(session, launch.merchant, launch.third_party_app, actor=core.SYSTEM)
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    back = sandbox.post("consent", link=link.url, appid=appid, delay=60)["redirect_url"]
    path = back.split("127.0.0.1:8080", 1)[1]
    return path, path.split("authorization_code=")[1]


def test_a_look_ahead_does_not_use_the_link_up(app: Flask, session: Session, launch: Launch) -> None:
    assert app.test_client().head("/douyin/authorized/anything").status_code == 204


def test_a_code_joined_with_an_ampersand_is_found(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    link = links.make_link(session, launch.merchant, launch.third_party_app, actor=core.SYSTEM)
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    back = sandbox.post("consent", link=link.url, appid=appid)["redirect_url"]
    path = back.split("127.0.0.1:8080", 1)[1].replace("?", "&", 1)
    assert app.test_client().get(path).status_code == 200


@pytest.mark.parametrize("name", ["tt%00x", "a" * 65, "tt'--", "%E6%8A%96"])
def test_an_address_that_is_nobodys_is_refused_like_any_other(app: Flask, name: str) -> None:
    answer = app.test_client().post(f"/douyin/callback/{name}/message", data=b"{}")
    assert (answer.status_code, answer.data) == (403, b"")
