"""Which runs are due, whose they are while they are worked on, and that nobody else writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.data.process import PROCESS
from app.data.tenancy import PLATFORM, app_scope
from app.models import AuditEntry, Circuit, MiniProgram, OperationRun, RunState
from app.operations import perform
from app.operations.proof import Settlement, Sight, Verdict, Work, event
from tests.conftest import change
from tests.operations.toy import (
    Bench,
    F,
    Q,
    Register,
    S,
    U,
    go_live,
    row_of,
)

R = RunState.RUNNING


def add_run(bench: Bench, **values: Any) -> int:
    """Another run like the one asked for."""
    given = bench.run
    kept = {column.key: getattr(given, column.key) for column in sa.inspect(OperationRun).column_attrs}
    with app_scope(bench.app, PLATFORM) as session:
        run = OperationRun(**{**kept, "id": None, **values})
        session.add(run)
        session.commit()
        return run.id


# The claim


def test_a_claim_holds_the_run_for_four_calls_and_begins_its_attempt(
    desk: Bench, register: Register, still: datetime
) -> None:
    held: dict[str, Any] = {}

    def watched(row: Any, work: Work, _params: Any) -> None:
        names = ("state", "owner", "lease_until", "hold", "lock", "started_at", "attempts", "settles")
        held.update(row_of(work.run, *names))

    desk.ask(register(watched))
    change(desk.session, desk.run, hold="app:9")
    assert perform.perform(desk.app, desk.run_id) is True
    assert held.pop("owner").startswith(f"{PROCESS}-")
    assert held == {
        "state": R,
        "lease_until": still + timedelta(seconds=13),
        "hold": "",
        "lock": f"mini_program:{desk.row.id}",
        "started_at": still,
        "attempts": 1,
        "settles": 0,
    }


@pytest.mark.parametrize("state", [U, R])
def test_a_read_back_holds_the_run_too_and_is_no_attempt(
    desk: Bench, register: Register, still: datetime, state: RunState
) -> None:
    held: dict[str, Any] = {}

    def look(_row: Any, work: Work, _params: Any) -> Sight:
        held.update(row_of(work.run, "state", "owner", "lease_until", "hold", "started_at", "attempts", "settles"))
        return Sight({})

    proof = event(look, happened=lambda *_: Settlement(Verdict.DONE), take=lambda *_: {})
    desk.ask(register(go_live, proof=proof))
    began, past = still - timedelta(minutes=5), still - timedelta(seconds=1)
    change(desk.session, desk.run, state=state, not_before=past, lease_until=past, owner="x", hold="app:9")
    evidence = {"before": {}, "wanted": {}, "at": began.isoformat(), "calls": 1}
    change(desk.session, desk.run, started_at=began, attempts=2, settles=3, evidence=evidence)
    assert desk.go().state == S
    assert held.pop("owner").startswith(f"{PROCESS}-")
    lease = {"lease_until": still + timedelta(seconds=13), "hold": ""}
    assert held == {"state": R, **lease, "started_at": began, "attempts": 2, "settles": 4}


@pytest.mark.parametrize(
    ("state", "not_before", "lease", "taken"),
    [
        (Q, 0, -1, True),
        (Q, 1, -1, False),
        (U, 0, 1, True),
        (U, 1, -1, False),
        (R, -1, -1, True),
        (R, -1, 0, False),
        (S, -1, -1, False),
        (F, -1, -1, False),
    ],
)
def test_a_run_is_taken_at_its_time_unless_it_is_over_or_anothers(
    desk: Bench, still: datetime, state: RunState, not_before: int, lease: int, taken: bool
) -> None:
    moments = {
        "not_before": still + timedelta(seconds=not_before),
        "lease_until": still + timedelta(seconds=lease),
    }
    change(desk.session, desk.run, state=state, **moments)
    with app_scope(desk.app, PLATFORM) as session:
        due = [found.id for found in perform.due(session, 10)]
    assert due == ([desk.run_id] if taken else [])
    assert perform.perform(desk.app, desk.run_id) is taken
    assert (desk.run.owner or "").startswith(PROCESS) is taken


def test_a_run_whose_row_is_locked_waits(desk: Bench, still: datetime) -> None:
    first = add_run(desk, lock=desk.run.lock_key, state=R, lease_until=still)
    assert perform.perform(desk.app, desk.run_id) is False
    assert row_of(desk.run, "state", "attempts", "owner") == {"state": Q, "attempts": 0, "owner": None}
    assert due(desk) == []
    change(desk.session, desk.session.get_one(OperationRun, first), lock="mini_program:0")
    assert due(desk) == [desk.run_id]


def due(bench: Bench, limit: int = 10) -> list[int]:
    with app_scope(bench.app, PLATFORM) as session:
        return [found.id for found in perform.due(session, limit)]


def away(bench: Bench, name: str) -> None:
    """A host, or one endpoint of it, does not answer."""
    with app_scope(bench.app, PLATFORM) as session:
        session.add(Circuit(name=name, state="open"))
        session.commit()


def test_what_is_due_comes_in_the_order_of_asking_with_its_app_and_batch(desk: Bench, still: datetime) -> None:
    second = add_run(desk, batch_id="b" * 32, third_party_app_id=None, not_before=still - timedelta(hours=1))
    with app_scope(desk.app, PLATFORM) as session:
        found = perform.due(session, 10)
    owner = desk.row.third_party_app.id
    assert [tuple(one) for one in found] == [(desk.run_id, owner, None), (second, None, "b" * 32)]
    assert due(desk, limit=1) == [desk.run_id]


def test_while_douyin_is_away_only_what_calls_nobody_is_due(desk: Bench, register: Register, still: datetime) -> None:
    def quiet(_row: Any, _work: Work, _params: Any) -> None:
        """Calls nobody."""

    alone = add_run(desk, operation=register(quiet, calls=False))
    away(desk, "open")
    assert due(desk) == [alone]


def test_of_a_third_party_app_that_is_held_nothing_is_due(desk: Bench, still: datetime) -> None:
    owner = desk.row.third_party_app
    others = [add_run(desk, third_party_app_id=owner.id + 1), add_run(desk, third_party_app_id=None)]
    change(desk.session, owner, held="app")
    assert due(desk) == others


def test_what_waits_for_an_endpoint_that_is_away_is_not_due(desk: Bench, still: datetime) -> None:
    add_run(desk, hold="host:open:get_versions")
    other = add_run(desk, hold="host:open:other")
    away(desk, "open:get_versions")
    assert due(desk) == [desk.run_id, other]


def test_what_an_operation_changes_is_written_down_as_its_askers_doing(desk: Bench, register: Register) -> None:
    def renamed(row: Any, _work: Work, _params: Any) -> None:
        row.remarks = "改了"

    desk.ask(register(renamed))
    change(desk.session, desk.run, actor_id=7, actor_name="王五", actor_ip="192.0.2.7", door="rest")
    assert desk.go().state == S
    entry = desk.session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    names = ("action", "actor_id", "actor_name", "address", "door", "after")
    assert tuple(getattr(entry, name) for name in names) == (
        "update",
        7,
        "王五",
        "192.0.2.7",
        "rest",
        {"remarks": "改了"},
    )


@pytest.mark.parametrize("values", [{"owner": "another"}, {"owner": f"{PROCESS}-other"}, {"state": S}])
def test_an_outcome_is_written_only_while_the_run_is_ours_and_runs(
    desk: Bench, register: Register, values: dict[str, Any]
) -> None:
    def taken(row: Any, _work: Work, _params: Any) -> Mapping[str, Any]:
        with app_scope(desk.app, PLATFORM) as session:
            session.execute(sa.update(OperationRun).values(**values))
            session.commit()
        row.remarks = "不该留下"
        return {"late": True}

    desk.ask(register(taken))
    run = desk.go()
    assert run.result == {}
    assert row_of(run, *values) == values
    assert desk.session.get_one(MiniProgram, desk.row.id).remarks != "不该留下"


def test_an_outcome_is_written_to_its_own_run_alone(desk: Bench, register: Register, still: datetime) -> None:
    def mute(_row: Any, _work: Work, _params: Any) -> None:
        """Nothing to do."""

    desk.ask(register(mute))
    other = add_run(desk, state=R, owner=PROCESS, lock="mini_program:0", lock_key="mini_program:0")
    assert desk.go().state == S
    assert desk.session.get_one(OperationRun, other).state == R
