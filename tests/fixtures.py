"""What tests of several rooms ask for: users, a shop at Douyin, pages with data on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.console.base import ConsoleView
from app.data.clock import utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.models import (
    ApiCall,
    AuthorizationLink,
    AuthorizationState,
    Door,
    InboundEvent,
    InboundState,
    Industry,
    JobRun,
    Merchant,
    MiniProgram,
    OperationRun,
    RefusedPush,
    RefusedPushCount,
    RunState,
    Template,
    TemplateApp,
    ThirdPartyApp,
    Version,
    VersionEvent,
    VersionState,
)
from tests.conftest import PASSWORD, Actors, SandboxServer, fresh_ticket, log_in
from tests.console.made import fill
from tests.operations.shop import Shop
from tests.pages import BATCH
from tests.world import build


@pytest.fixture
def full(app: Flask, session: Session, actors: Actors) -> Actors:
    """At least one row of everything that a screen shows, for alice; of a screen that is new, rows made of its columns."""
    known = _with_data(session, actors)
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        if isinstance(view, ConsoleView) and session.scalar(select(view.datamodel.obj.id).limit(1)) is None:
            fill(session, view.datamodel.obj.__table__, 2, actors.alice.id)
    session.commit()
    return known


def _with_data(session: Session, actors: Actors) -> Actors:
    app, now = actors.alice_app, utcnow()
    app.state, app.permissions, app.authorized_at = AuthorizationState.AUTHORIZED, [2], now
    app.refresh_expires_at = now + timedelta(days=3)
    app.uploaded_version = app.audit_version = "1.0.1"
    app.audit_state, app.live_version, app.live_template_id = "rejected", "1.0.0", "7301234567890123456"
    owner = app.third_party_app_id
    rejected = Version(
        merchant_id=app.merchant_id,
        mini_program_id=app.id,
        number="1.0.1",
        state=VersionState.REJECTED,
        uploaded_at=now,
        submitted_at=now,
        reason="页面空白",
        reason_detail={"抖音": ["页面空白"]},
        attachments={"抖音": "https://example.com/shot.png"},
        screenshots=["https://example.com/one.png"],
        ext_json="{}",
        hosts=["douyin"],
    )
    session.add(rejected)
    session.flush()
    session.add_all(_rows(app, rejected, owner))
    session.add(MiniProgram(third_party_app_id=owner, appid="ttunclaimed00000001", name="无主小程序"))
    session.commit()
    return actors


def _rows(app: MiniProgram, version: Version, owner: int) -> list[Any]:
    now = utcnow()
    run: dict[str, Any] = {
        "merchant_id": app.merchant_id,
        "subject_type": "mini_program",
        "subject_id": app.id,
        "appid": app.appid,
        "mini_program_id": app.id,
        "lock_key": f"mini_program:{app.id}",
        "actor_name": "运营",
    }
    pushed = {"third_party_app_id": owner, "receiver": "message", "appid": app.appid}
    return [
        VersionEvent(
            merchant_id=app.merchant_id,
            mini_program_id=app.id,
            version_id=version.id,
            number="1.0.1",
            kind="rejected",
            text="页面空白",
            detail={"reasons": {"抖音": ["页面空白"]}},
            actor_name="抖音",
            log_id="202503010001",
        ),
        OperationRun(
            operation="submit_audit",
            door=Door.ROW,
            state=RunState.FAILED,
            message="次数已用完",
            advice="明天再试",
            err_no=11305,
            log_id="L1",
            params={"note": "测试"},
            **run,
        ),
        OperationRun(operation="release", door=Door.BATCH, state=RunState.UNKNOWN, batch_id=BATCH, **run),
        Template(third_party_app_id=owner, template_id="7301234567890123456", version="1.0.1", added_at=now),
        TemplateApp(third_party_app_id=owner, appid="tttemplate00000001", name="母版", draft_id="1", draft_at=now),
        InboundEvent(unique_key="k", event="package_audit", summary={"Event": "x"}, state=InboundState.DONE, **pushed),
        RefusedPush(
            id=1,
            number=1,
            component_appid="tt",
            receiver="message",
            reason="signature",
            remote="203.0.113.9",
            size=5,
        ),
        RefusedPushCount(reason="signature", count=1),
        ApiCall(at=now, name="SubmitAudit", method="POST", path="/api", outcome="error", err_no=11305),
        JobRun(job="sync_audits", slot="1", finished_at=now, outcome="failed", result="联系不上抖音"),
        AuthorizationLink(
            merchant_id=app.merchant_id,
            third_party_app_id=owner,
            url="https://open.douyin.com/x",
            expires_at=now + timedelta(hours=1),
        ),
    ]


@pytest.fixture
def operator(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("operator")


@pytest.fixture
def shop(app: Flask, session: Session, sandbox: SandboxServer, third_party_app: ThirdPartyApp) -> Shop:
    fresh_ticket(session, third_party_app, sandbox)
    merchant = Merchant(name="爱丽丝花店", industry=Industry(name="鲜花"))
    session.add(merchant)
    session.commit()
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    return Shop(app, session, sandbox, third_party_app, merchant, appid)


@pytest.fixture
def trade(session: Session) -> Industry:
    with writing():
        row = Industry(name="餐饮")
        session.add(row)
        session.commit()
    return row


@pytest.fixture
def desk(session: Session, actors: Actors) -> None:
    """An operator, an auditor, and alice's and bob's owners; nothing wrong with the third-party app."""
    with writing():
        setting_up.add_user(session, "operator", "operator", password=PASSWORD)
        setting_up.add_user(session, "auditor", "auditor", password=PASSWORD)
        setting_up.add_user(session, "alice", "owner", merchant_key=actors.alice.key, password=PASSWORD)
        setting_up.add_user(session, "bob", "owner", merchant_key=actors.bob.key, password=PASSWORD)
        session.scalars(sa.select(ThirdPartyApp)).one().ticket_at = utcnow()
        session.commit()


@pytest.fixture
def user(app: Flask) -> Callable[..., str]:
    """`user("bob", "operator")` makes one with the tests' password; gives the name to log in with."""

    def make(name: str, role: str, merchant: Merchant | None = None) -> str:
        with app_scope(app, PLATFORM) as own:
            key = merchant.key if merchant else ""
            return setting_up.add_user(own, name, role, merchant_key=key, password=PASSWORD)[0]

    return make


@pytest.fixture
def bob(app: Flask, user: Callable[..., str]) -> tuple[str, str, list[str]]:
    """bob has it on: name, secret, recovery codes. The clock may go on by a half-minute a log-in."""
    from tests.access.second import enrol  # it needs this file's helpers

    client = app.test_client()
    log_in(client, user("bob", "operator"))
    return ("bob", *enrol(client))


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Two merchants with a row of every model each; a fault of ours is answered as in production."""
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app
