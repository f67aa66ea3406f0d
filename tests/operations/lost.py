"""Answers that are lost on their way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.models import OperationRun, RunState
from app.operations.perform import perform
from tests.conftest import SandboxServer, change, operate, refresh


def again(app: Flask, session: Session, run: OperationRun) -> OperationRun:
    """The run once more, its waiting over."""
    change(session, run, not_before=utcnow() - timedelta(seconds=1))
    perform(app, run.id)
    refresh(session)
    return session.get_one(OperationRun, run.id)


def answer_lost(
    app: Flask, session: Session, sandbox: SandboxServer, name: str, row: Any, path: str, **params: Any
) -> OperationRun:
    """An operation whose next call to an address with `path` in it is done and not answered, after its read-back."""
    sandbox.post("settings", drop_after_next=1, drop_path=path)
    run = operate(app, session, name, row, **params)
    assert run.state == RunState.UNKNOWN, run.message
    return again(app, session, run)
