"""A toy operation on a mini-program, and the run it is asked for, with HTTP faked at the socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses
import sqlalchemy as sa
import urllib3
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import GetVersions, ReleaseVersion
from app.link import connection
from app.models import Circuit, Door, MiniProgram, OperationRun, RunState
from app.models.kit import audit
from app.operations import perform, runs
from app.operations.proof import Sight, Work, goal
from tests.conftest import change, refresh

Q, S, F, U = RunState.QUEUED, RunState.SUCCEEDED, RunState.FAILED, RunState.UNKNOWN
REFUSED_CONNECTION = requests.ConnectionError(urllib3.exceptions.NewConnectionError(None, "refused"))  # type: ignore[arg-type]
SILENCE = requests.ReadTimeout()
Answer = Any
Register = Callable[..., str]


def no(code: int) -> dict[str, Any]:
    return {"err_no": code, "err_msg": "no", "log_id": "L-1"}


def live(version: str) -> dict[str, Any]:
    return {"err_no": 0, "data": {"current": {"version": version}}}


class Wire:
    """What Douyin answers next: to looks, the last one for ever; to changes, one each."""

    def __init__(self, http: responses.RequestsMock, url: str) -> None:
        self.looks: list[Answer] = [live("1.0.0")]
        self.changes: list[Answer] = [{"err_no": 0}]
        self.looked = self.changed = 0
        root = f"{url}/api/apps/v1/package_version"
        http.add_callback("GET", f"{root}/versions/", self._look)
        http.add_callback("POST", f"{root}/release/", self._change)

    def _look(self, _request: Any) -> tuple[int, dict[str, str], str]:
        self.looked += 1
        return _given(self.looks.pop(0) if len(self.looks) > 1 else self.looks[0])

    def _change(self, _request: Any) -> tuple[int, dict[str, str], str]:
        self.changed += 1
        answer = self.changes.pop(0)
        return _given(answer() if callable(answer) else answer)


def _given(answer: Answer) -> tuple[int, dict[str, str], str]:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, int):
        return answer, {}, "<html>"
    return 200, {}, json.dumps(answer)


def seen(_row: MiniProgram, work: Work, _params: Any) -> Sight:
    current = work.douyin.send(GetVersions()).current
    return Sight({"live": current.version if current else ""})


def go_live(_row: MiniProgram, work: Work, _params: Any) -> Mapping[str, Any]:
    work.intend(work.look(), version="2.0.0")
    work.douyin.send(ReleaseVersion())
    return {"done": True}


PROOF = goal(
    seen, stands=lambda facts, wanted: facts["live"] == wanted["version"], take=lambda *_: {"version": "2.0.0"}
)


class Bench:
    """A toy operation on alice's mini-program, and the run it is asked for."""

    def __init__(self, app: Flask, session: Session, row: MiniProgram, wire: Wire | None = None) -> None:
        self.app, self.session, self.row, self._wire = app, session, row, wire
        self.run_id = 0

    @property
    def wire(self) -> Wire:
        assert self._wire is not None
        return self._wire

    def ask(self, name: str = "go_live") -> None:
        """Queue a run; one asked for before is forgotten."""
        with app_scope(self.app, PLATFORM) as session:
            session.execute(sa.delete(OperationRun))
            row = session.get_one(MiniProgram, self.row.id)
            self.run_id = runs.request(session, name, row, actor=audit.SYSTEM, door=Door.JOB).id

    def go(self) -> OperationRun:
        perform.perform(self.app, self.run_id)
        return self.run

    def again(self) -> OperationRun:
        change(self.session, self.run, not_before=utcnow() - timedelta(seconds=1))
        return self.go()

    @property
    def run(self) -> OperationRun:
        refresh(self.session)
        return self.session.get_one(OperationRun, self.run_id)


def row_of(run: OperationRun, *names: str) -> dict[str, Any]:
    return {name: getattr(run, name) for name in names}


def forget_faults(bench: Bench) -> None:
    """Douyin counts as well again."""
    connection.breaker(bench.app).forget()
    with app_scope(bench.app, PLATFORM) as session:
        session.execute(sa.delete(Circuit))
        session.commit()


def lost(bench: Bench, **values: Any) -> None:
    """One call of the run was sent, and nobody knows what became of it."""
    bench.wire.changes = [SILENCE]
    assert bench.go().state == U
    forget_faults(bench)
    if values:
        change(bench.session, bench.run, **values)


class Logged:
    """Event, run and operation of each line that the engine logs meanwhile."""

    def __enter__(self) -> Any:
        self._patch = pytest.MonkeyPatch()
        self._lines: list[tuple[Any, Any, Any]] = []

        def kept(event: str | None = None, **told: Any) -> None:
            self._lines.append((event, told.get("run"), told.get("operation")))

        logger = type("Log", (), {name: staticmethod(kept) for name in ("exception", "warning")})()
        self._patch.setattr(perform, "log", logger)
        return lambda: self._lines

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
