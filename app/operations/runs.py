"""A wish for an operation on one row or many, and the run that comes of it."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from flask import Flask, current_app
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.data.types import words_of
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models.kit.audit import Actor
from app.models.kit.operation import Door, OperationRun, RunState
from app.models.mini_program import MiniProgram
from app.models.third_party_app import ThirdPartyApp
from app.operations.answer import answer
from app.operations.params import parse_params
from app.operations.ready import misfit
from app.operations.registry import Operation, find, operation_title


def subject(session: Session, op: Operation, key: str) -> Any:
    """The row an operation is asked for, by what people call it. Refused when it is not there, or not ours."""
    row = session.scalars(select(op.on).where(getattr(op.on, op.by) == key)).first()
    if row is None:
        raise Refused(say("没有找到 {key}", key=key), field="appid")
    return row


def row_of(session: Session, run: OperationRun) -> Any:
    """The row that a run is about; None when it is gone. Refused when there is no such operation any more."""
    model = find(run.operation).on
    return session.get(model, run.subject_id) if run.subject_type == model.__tablename__ else None


def holder(session: Session, key: str) -> OperationRun | None:
    """The run that holds a lock or waits for it, if any; an empty key is none."""
    if not key:
        return None
    statement = select(OperationRun).where(
        OperationRun.lock_key == key,
        OperationRun.state.in_([RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN]),
    )
    return session.scalars(statement.order_by(OperationRun.id).limit(1)).first()


def request(
    session: Session, name: str, row: Any, /, *, actor: Actor, door: Door, batch_id: str | None = None, **params: Any
) -> OperationRun:
    """Queue one operation on one row and commit. Refused names what is wrong, or the run that holds the area."""
    op = find(name)
    parsed = parse_params(op, params)
    if sentence := misfit(op, row):
        raise Refused(sentence)
    held = holder(session, op.key(row))
    if held is not None and door != Door.BATCH:
        title = operation_title(held.operation)
        raise Refused(
            say(
                "「{name}」正在进行「{title}」（运行 #{run}，{state}）：请等它结束",
                name=str(row),
                title=ours(title),
                run=held.id,
                state=ours(words_of(RunState)[held.state]),
            )
        )
    run = OperationRun(**_new_run(op, row, actor, door, batch_id, parsed))
    session.add(run)
    session.commit()
    wake()
    return run


def request_many(
    session: Session, name: str, rows: Iterable[Any], *, actor: Actor, params: Mapping[str, Any]
) -> tuple[str, int]:
    """Queue one operation on many rows in chunks of 500; gives the batch's id and how many were queued."""
    op = find(name)
    parsed = parse_params(op, params)
    batch_id = uuid.uuid4().hex
    count = 0
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(_new_run(op, row, actor, Door.BATCH, batch_id, parsed))
        if len(chunk) == 500:
            session.execute(insert(OperationRun), chunk)
            count, chunk = count + len(chunk), []
    if chunk:
        session.execute(insert(OperationRun), chunk)
    session.commit()
    wake()
    return batch_id, count + len(chunk)


def _new_run(op: Operation, row: Any, actor: Actor, door: Door, batch_id: str | None, params: Any) -> dict[str, Any]:
    return {
        "operation": op.name,
        "merchant_id": getattr(row, "merchant_id", None),
        "subject_type": row.__tablename__,
        "subject_id": row.id,
        "mini_program_id": row.id if isinstance(row, MiniProgram) else None,
        "third_party_app_id": row.id if isinstance(row, ThirdPartyApp) else row.third_party_app_id,
        "appid": getattr(row, "appid", ""),
        "actor_id": actor.id,
        "actor_name": actor.words()[:64],
        "actor_ip": actor.address,
        "door": door,
        "batch_id": batch_id,
        "params": dataclasses.asdict(params),
        "state": RunState.QUEUED,
        "lock_key": op.key(row),
        "not_before": utcnow(),
        "created_at": utcnow(),
        "attempts": 0,
        "settles": 0,
        "hold": "",
        "result": {},
    }


def wake() -> None:
    """Tell this process's dispatcher, if it has one, that something was queued."""
    for listener in current_app.extensions["operation_wakers"]:
        listener()


WAIT_SECONDS = 3.0  # seconds that a person, or a program that asks, waits at most for an operation to be over


def wait_for(app: Flask, run_id: int, seconds: float) -> RunState:
    """Wait until a run is over or its time is up; the state it then has."""
    deadline = time.monotonic() + seconds
    while True:
        with app_scope(app, PLATFORM) as session, reading():
            state: RunState = session.execute(select(OperationRun.state).where(OperationRun.id == run_id)).scalar_one()
        if state in {RunState.SUCCEEDED, RunState.FAILED} or time.monotonic() >= deadline:
            return state
        time.sleep(0.05)


def as_json(run: OperationRun) -> dict[str, Any]:
    """A run as REST and the command line show it."""
    return {
        "id": run.id,
        "operation": run.operation,
        "appid": run.appid,
        "state": str(run.state),
        "err_no": run.err_no,
        "message": run.message,
        "advice": run.advice,
        "log_id": run.log_id,
        "result": run.result,
        "answer": [{"label": line.label, "value": line.text} for line in answer(run)],
        "params": run.params,
        "door": str(run.door),
        "actor": run.actor_name,
        "attempts": run.attempts,
        "batch_id": run.batch_id,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }


def grace() -> timedelta:
    """How long an outcome may still change after a call without an answer: longer than a call's total deadline."""
    return timedelta(seconds=current_app.config["DOUYIN_TIMEOUT"] + 5)


def named_rows(session: Session, runs: Iterable[OperationRun]) -> dict[int, str]:
    """Names of the mini-programs behind runs, in one query."""
    keys = {run.mini_program_id for run in runs if run.mini_program_id}
    if not keys:
        return {}
    found = session.execute(select(MiniProgram.id, MiniProgram.name, MiniProgram.appid).where(MiniProgram.id.in_(keys)))
    return {key: name or appid for key, name, appid in found}
