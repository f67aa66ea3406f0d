"""What an operation says of itself: what it lacks stops the start, what it says is all that is asked of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pkgutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session

import app.operations
from app.access.roles import ROLES, may_operate
from app.errors import DeclarationError, Refused
from app.factory import create_app
from app.models import OperationRun, Template
from app.models.kit.user import OPERATORS
from app.operations import registry, runs
from app.operations.registry import OPERATIONS, Area
from tests.conftest import ROOT, Actors, Launch, test_environment


@pytest.fixture(autouse=True)
def _registered() -> None:
    registry.load()


def say(monkeypatch: pytest.MonkeyPatch, name: str, **said: Any) -> None:
    """What an operation says, for this test."""
    monkeypatch.setitem(OPERATIONS, name, dataclasses.replace(OPERATIONS[name], **said))


@pytest.mark.parametrize(
    ("name", "said", "sentence"),
    [
        ("release", {"roles": frozenset()}, "operation release (发布上线) is for nobody: say roles="),
        ("release", {"roles": OPERATORS | {"boss"}}, "release (发布上线) is for roles that do not exist: boss"),
        ("submit_audit", {"roles_where_let": frozenset({"ownr"})}, "submit_audit (提交审核) is for roles that do not"),
        ("release", {"proof": None}, "release (发布上线) changes something: say proof="),
        ("release", {"area": None}, "release (发布上线) changes something: say area="),
        (
            "sync_versions",
            {"area": Area.RELEASE},
            "sync_versions (同步版本) only reads, and would lock release: leave area=",
        ),
        ("delete_template", {"by": "appid"}, "delete_template (删除模板) finds its row by appid, which is no column"),
    ],
)
def test_what_an_operation_lacks_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: Mapping[str, Any], sentence: str
) -> None:
    say(monkeypatch, name, **said)
    with pytest.raises(DeclarationError, match=rf"{name} "):
        create_app(test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1"))
    with pytest.raises(DeclarationError) as stopped:
        registry.load()
    assert sentence in str(stopped.value)


_BROKEN = """
from app.operations.registry import operation
def broken(row, work, params): return {}
operation("坏操作", mutates=False)(broken)
import run
"""


@pytest.mark.any_database("the process ends before it opens one")
def test_the_process_ends_with_the_sentences_and_no_traceback(tmp_path: Path) -> None:
    env = {**os.environ, **test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1")}
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot start" in done.stderr and done.stderr.count("operation broken (坏操作) ") == 2


def test_all_that_is_amiss_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "release", roles=frozenset(), by="nothing")
    say(monkeypatch, "rollback", roles=frozenset())
    with pytest.raises(DeclarationError) as stopped:
        registry.load()
    assert str(stopped.value).count(";") == 2


def test_two_of_one_name_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second, of another module, would stand in the first one's place, and nobody would miss it."""
    first, spare = OPERATIONS["release"], OPERATIONS["rollback"]
    namesake = FunctionType(test_two_of_one_name_stop_the_start.__code__, globals(), "release")
    monkeypatch.setitem(OPERATIONS, "release", first)  # put back afterwards
    registry.operation("又一个", area=spare.area, roles=spare.roles, proof=spare.proof)(namesake)
    with pytest.raises(DeclarationError) as stopped:
        registry.load()
    places = sorted(f"{run.__module__} (line {run.__code__.co_firstlineno})" for run in (first.run, namesake))
    assert str(stopped.value) == f"two operations are called release: {places[0]} and {places[1]}"


def test_one_that_is_loaded_again_is_the_same() -> None:
    kept = dict(OPERATIONS)
    module = sys.modules[OPERATIONS["release"].run.__module__]
    again = importlib.util.module_from_spec(importlib.util.find_spec(module.__name__) or pytest.fail())
    assert again.__spec__ and again.__spec__.loader
    again.__spec__.loader.exec_module(again)
    try:
        assert OPERATIONS["release"].run is not kept["release"].run
        registry.load()
    finally:
        OPERATIONS.clear()
        OPERATIONS.update(kept)


def test_an_operation_is_found_by_being_defined() -> None:
    defined = {op.run.__module__ for op in OPERATIONS.values()}
    walked = {module.name for module in pkgutil.walk_packages(app.operations.__path__, "app.operations.")}
    assert OPERATIONS and defined <= walked


def test_they_are_offered_in_the_order_that_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [op.order for op in OPERATIONS.values()]
    assert orders == sorted(orders) and registry.LAST not in orders
    say(monkeypatch, "sync_versions", order=1)
    registry.load()
    assert next(iter(OPERATIONS)) == "sync_versions"
    monkeypatch.undo()
    registry.load()
    assert next(iter(OPERATIONS)) == "upload_code"


@pytest.mark.parametrize("role", ROLES)
def test_who_may_is_who_is_named(monkeypatch: pytest.MonkeyPatch, role: str) -> None:
    """The administrator, too, is one of those that are named, or may not."""
    say(monkeypatch, "release", roles=frozenset({"clerk"}), roles_where_let=frozenset({"staff"}))
    assert may_operate([role], "release", False) is (role == "clerk")
    assert may_operate([role], "release", True) is (role in {"clerk", "staff"})
    assert not may_operate([role], "no_such_operation", True)


def test_a_row_is_found_by_what_the_operation_says(session: Session, launch: Launch) -> None:
    row = runs.subject(session, OPERATIONS["delete_template"], launch.template_id)
    assert isinstance(row, Template) and row.template_id == launch.template_id
    assert runs.subject(session, OPERATIONS["release"], launch.mini_program.appid).id == launch.mini_program.id
    with pytest.raises(Refused):
        runs.subject(session, OPERATIONS["release"], launch.template_id)


def test_the_row_of_a_run(session: Session, actors: Actors) -> None:
    row = actors.alice_app
    run = OperationRun(operation="release", subject_type="mini_program", subject_id=row.id)
    assert runs.row_of(session, run) is row
    assert runs.row_of(session, OperationRun(operation="release", subject_type="template", subject_id=row.id)) is None
    with pytest.raises(Refused):
        runs.row_of(session, OperationRun(operation="nope", subject_type="mini_program", subject_id=row.id))


def test_an_operation_is_found_by_its_name_or_refused_by_it() -> None:
    assert registry.find("release") is OPERATIONS["release"]
    with pytest.raises(Refused) as caught:
        registry.find("nope")
    assert (caught.value.message, caught.value.field) == ("没有名为「nope」的操作", "operation")


def test_an_operation_that_is_no_more_keeps_its_name() -> None:
    assert registry.operation_title("sync_templates") == "同步模板"
    assert registry.operation_title("nope") == "nope"


def test_checks_look_once_at_all_rows_together(session: Session) -> None:
    rows = [SimpleNamespace(id=1), SimpleNamespace(id=2)]
    asked: list[tuple[Session, Sequence[Any]]] = []

    def read(own: Session, wanted: Sequence[Any]) -> Mapping[int, Any]:
        asked.append((own, wanted))
        return {1: "一"}

    def other(_own: Session, _wanted: Sequence[Any]) -> Mapping[int, Any]:
        return {2: "二"}

    look = registry.Look(session, rows)
    assert look.session is session
    assert [look.at(read, row) for row in rows] == ["一", None]
    assert [look.at(other, row) for row in rows] == [None, "二"]
    assert asked == [(session, rows)]
