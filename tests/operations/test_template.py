"""Templates: a draft becomes a template once, whatever is lost on the way."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import delete, event, func, insert, select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.extensions import db
from app.models import OperationRun, RunState, Template, TemplateApp
from app.operations import template
from app.operations.perform import perform
from app.operations.registry import OPERATIONS
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


def test_syncs_at_the_same_moment_store_each_row_once(app: Flask, session: Session, launch: Launch) -> None:
    owner_id = launch.third_party_app.id
    refresh(session)
    for model in (TemplateApp, Template):
        session.execute(delete(model))
    session.commit()
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: template.sync(app, owner_id), range(8)))
    refresh(session)
    assert len(set(told)) == 1
    assert told[0].endswith(f"{session.scalar(select(func.count(Template.id)))} 个模板")


def test_a_sync_that_another_was_quicker_than_takes_its_rows(app: Flask, session: Session, launch: Launch) -> None:
    refresh(session)
    number = session.scalars(select(Template.template_id)).first()
    session.execute(delete(Template))
    session.commit()
    values = {"third_party_app_id": launch.third_party_app.id, "template_id": number, "gone": True}
    other = insert(Template).values(**values)
    event.listen(db.engine, "savepoint", lambda connection, _name: connection.execute(other), once=True)
    template.sync(app, launch.third_party_app.id)
    refresh(session)
    assert session.scalars(select(Template.gone).where(Template.template_id == number)).all() == [False]


def test_a_template_is_deleted(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
    row = session.scalars(select(Template).where(Template.template_id == launch.template_id)).one()
    assert operate(app, session, "delete_template", row).state == RunState.SUCCEEDED
    refresh(session)
    assert row.gone
