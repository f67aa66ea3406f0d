"""What passes between our client and the sandbox fits the contract, judged by a validator that shares no code with either."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fidelity.validator import Validator
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.jobs.run import run_now
from app.models import TemplateApp
from app.operations.release.sync import sync
from tests.conftest import Launch, SandboxServer, operate, pass_time, refresh


@pytest.fixture
def since(sandbox: SandboxServer) -> Iterator[int]:
    rows = sandbox.get("journal")["rows"]
    yield rows[-1]["n"] if rows else 0


def test_every_exchange_of_the_loop_fits_the_contract(
    app: Flask, session: Session, sandbox: SandboxServer, since: int, launch: Launch
) -> None:
    row = launch.mini_program
    for number in ("1.0.0", "1.0.1"):
        operate(app, session, "upload_code", row, template_id=launch.template_id, version=number, description="x")
        operate(app, session, "submit_audit", row, note="测试账号 demo")
        sandbox.post("audit", appid=row.appid, verdict="approve")
        sync(app, row.id)
        refresh(session)
        operate(app, session, "release", row)
        pass_time(app, sandbox, 11)
        refresh(session)
    for name in ("rollback", "sync_app_info", "refresh_token", "recover_authorization", "sync_versions"):
        operate(app, session, name, row)
    operate(app, session, "sync_templates", launch.third_party_app)
    drafted = session.scalars(select(TemplateApp).where(TemplateApp.draft_id != "")).first()
    operate(app, session, "add_template", drafted)
    run_now(app, "sync_info", "测试")
    rows = sandbox.get("journal", since=since)["rows"]
    called = {exchange["operation_id"] for exchange in rows}
    assert {
        "upload_code",
        "submit_audit",
        "release_version",
        "rollback_version",
        "get_versions",
        "get_app_info",
        "get_authorizer_access_token",
        "retrieve_auth_code",
        "add_template",
        "list_auth_apps",
    } <= called
    validator = Validator()
    problems = {f"{exchange['operation_id']}: {found}" for exchange in rows for found in validator.check(exchange)}
    assert problems == set()
