"""What the commands share: a session of the platform's, how rows are printed, how a command ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from sqlalchemy.orm import Session

from app.data.tenancy import PLATFORM, app_scope
from app.errors import DouzhouError, Refused
from app.extensions import the_app
from app.models import Door, RunState
from app.models.kit import audit

EXIT = {RunState.SUCCEEDED: 0, RunState.FAILED: 3, RunState.UNKNOWN: 4, RunState.QUEUED: 5, RunState.RUNNING: 4}
ACTOR = audit.Actor(None, "命令行")
as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")


def stop(message: str, code: int = 2) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


@contextmanager
def opened() -> Iterator[Session]:
    """A platform session; our own refusals end the command with one sentence."""
    with app_scope(the_app(), PLATFORM, actor=ACTOR.info(Door.CLI)) as session:
        try:
            yield session
        except Refused as refused:
            stop(refused.message)
        except DouzhouError as error:
            stop(f"{error} {getattr(error, 'advice', '')}".strip(), 3)


def show(rows: list[dict[str, Any]], *, json_: bool) -> None:
    if json_:
        click.echo(json.dumps(rows, ensure_ascii=False, default=str))
        return
    for row in rows:
        click.echo("  ".join(str(value) for value in row.values()))
