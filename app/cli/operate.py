"""Operations, and pushes once more."""

from __future__ import annotations

import json
import sys
import time

import click
from flask import Flask
from flask.cli import AppGroup

from app.cli.base import ACTOR, EXIT, opened, stop
from app.extensions import the_app
from app.models import Door, InboundEvent, OperationRun, RunState
from app.operations import registry, runs
from app.operations.inbound import process
from app.operations.perform import perform


@click.command("operate")
@click.argument("operation")
@click.argument("appid")
@click.option("-p", "params", multiple=True, help="key=value")
def operate(operation: str, appid: str, params: tuple[str, ...]) -> None:
    """Run one operation now and print the run as JSON."""
    process.take_tickets(the_app())
    pairs = dict(item.partition("=")[::2] for item in params)
    app = the_app()
    with opened() as session:
        op = registry.find(operation)
        run = runs.request(session, operation, runs.subject(session, op, appid), actor=ACTOR, door=Door.CLI, **pairs)
        run_id = run.id
    state = _work_to_the_end(app, run_id)
    with opened() as session:
        click.echo(json.dumps(runs.as_json(session.get_one(OperationRun, run_id)), ensure_ascii=False))
    sys.exit(EXIT[state])


def _work_to_the_end(app: Flask, run_id: int) -> RunState:
    """Perform here unless a worker was quicker; a read-back that is due soon is waited for."""
    deadline = time.monotonic() + 4 * float(app.config["DOUYIN_TIMEOUT"]) + 30
    while True:
        perform(app, run_id)
        state = runs.wait_for(app, run_id, 0.2)
        if state in {RunState.SUCCEEDED, RunState.FAILED, RunState.QUEUED} or time.monotonic() > deadline:
            return state
        time.sleep(0.3)


events = AppGroup("events", help="Pushes from Douyin.")


@events.command("replay")
@click.argument("event_id", type=int)
def events_replay(event_id: int) -> None:
    """Process one stored push again."""
    with opened() as session:
        event = session.get(InboundEvent, event_id)
        if event is None:
            stop(f"没有编号为 {event_id} 的事件")
        process.replay(session, event)
        session.commit()
    click.echo(f"处理 {process.process_due(the_app(), 100)} 条")
