"""Toy operations for the tests of what does them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import responses
from flask import Flask
from sqlalchemy.orm import Session

from app.data import claims
from app.data.clock import utcnow
from app.models import AuthorizationState
from app.operations import perform, proof, registry
from app.operations.registry import OPERATIONS, Area
from tests.conftest import Actors, Launch, SandboxServer, change
from tests.operations.toy import PROOF, Bench, Register, Wire, go_live


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Make a function an operation for this test."""

    def made(function: Callable[..., Any], **options: Any) -> str:
        area = Area.RELEASE if options.get("mutates", True) else None
        registry.operation("试验", **{"proof": PROOF, "area": area} | options)(function)
        monkeypatch.setitem(OPERATIONS, function.__name__, OPERATIONS.pop(function.__name__))
        return function.__name__

    return made


@pytest.fixture
def bench(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, register: Register) -> Iterator[Bench]:
    register(go_live)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
        http.add_passthru(f"{sandbox.url}/_sandbox")
        http.add_passthru(f"{sandbox.url}/openapi")
        http.add_passthru(f"{sandbox.url}/api/tpapp")
        found = Bench(app, session, launch.mini_program, Wire(http, sandbox.url))
        found.ask()
        yield found


@pytest.fixture
def desk(app: Flask, session: Session, actors: Actors, register: Register) -> Bench:
    """The same on a row that no Douyin knows: for what calls nobody, in no time."""
    change(session, actors.alice_app, state=AuthorizationState.AUTHORIZED, permissions=[1, 2, 3])
    register(go_live)
    found = Bench(app, session, actors.alice_app)
    found.ask()
    return found


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The moment at which the engine's clock stands; what was asked for before is due at it."""
    moment = (utcnow() + timedelta(minutes=1)).replace(microsecond=0)
    monkeypatch.setattr(perform, "utcnow", lambda: moment)
    monkeypatch.setattr(proof, "utcnow", lambda: moment)
    monkeypatch.setattr(claims, "utcnow", lambda: moment)
    return moment
