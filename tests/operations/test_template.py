"""Templates: a draft becomes a template once, whatever is lost on the way."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import OperationRun, RunState, Template, TemplateApp
from app.models.base import utcnow
from app.operations import OPERATIONS, template
from app.operations.perform import perform
from tests.conftest import Launch, SandboxServer, change, operate, refresh


@pytest.fixture
def drafted(session: Session, launch: Launch) -> TemplateApp:
    return session.scalars(select(TemplateApp).where(TemplateApp.draft_id != "")).first() or pytest.fail("no draft")


def added(sandbox: SandboxServer, row: TemplateApp) -> int:
    """How many templates of the draft's version stand at the sandbox beyond those it began with."""
    owner = sandbox.get("state")["thirdparties"][0]
    return len(owner["templates"]) - 2


def settle(app: Flask, session: Session, run: OperationRun) -> OperationRun:
    change(session, run, not_before=utcnow() - timedelta(seconds=1))
    perform(app, run.id)
    refresh(session)
    return session.get_one(OperationRun, run.id)


def test_a_draft_becomes_a_template(app: Flask, session: Session, sandbox: SandboxServer, drafted: TemplateApp) -> None:
    run = operate(app, session, "add_template", drafted)
    assert run.state == RunState.SUCCEEDED, run.message
    assert session.scalars(select(Template).where(Template.template_id == run.result["template_id"])).one()
    assert added(sandbox, drafted) == 1


def test_a_failed_look_afterwards_does_not_add_it_twice(
    app: Flask, session: Session, sandbox: SandboxServer, drafted: TemplateApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([False, True])
    look = template._look_at_templates

    def after_an_outage(*arguments: object) -> object:
        if not next(looks, False):
            return look(*arguments)  # type: ignore[arg-type]
        sandbox.post("settings", error_rate=1.0, error_code=28001005)
        try:
            return look(*arguments)  # type: ignore[arg-type]
        finally:
            sandbox.post("settings", error_rate=0.0, error_code=0)

    op = OPERATIONS["add_template"]
    proof = dataclasses.replace(op.proof, look=after_an_outage)  # type: ignore[type-var]
    monkeypatch.setitem(OPERATIONS, "add_template", dataclasses.replace(op, proof=proof))
    monkeypatch.setattr(template, "_look_at_templates", after_an_outage)
    run = operate(app, session, "add_template", drafted)
    assert run.state == RunState.UNKNOWN, run.message
    assert settle(app, session, run).state == RunState.SUCCEEDED
    assert added(sandbox, drafted) == 1


def test_a_sync_before_the_read_back_does_not_add_it_twice(
    app: Flask, session: Session, sandbox: SandboxServer, drafted: TemplateApp
) -> None:
    sandbox.post("settings", drop_after_next=1, drop_path="add_tpl")
    run = operate(app, session, "add_template", drafted)
    assert run.state == RunState.UNKNOWN
    template.sync(app, drafted.third_party_app_id)
    assert settle(app, session, run).state == RunState.SUCCEEDED
    assert added(sandbox, drafted) == 1


def test_an_add_that_did_not_arrive_is_sent_again(
    app: Flask, session: Session, sandbox: SandboxServer, drafted: TemplateApp
) -> None:
    sandbox.post("settings", drop_before_next=1, drop_path="add_tpl")
    run = operate(app, session, "add_template", drafted)
    assert settle(app, session, run).state == RunState.QUEUED
    assert settle(app, session, run).state == RunState.SUCCEEDED
    assert added(sandbox, drafted) == 1


def test_a_template_is_deleted(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
    row = session.scalars(select(Template).where(Template.template_id == launch.template_id)).one()
    assert operate(app, session, "delete_template", row).state == RunState.SUCCEEDED
    refresh(session)
    assert row.gone
