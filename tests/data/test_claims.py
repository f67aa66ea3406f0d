"""The one lease: who has a row, for how long, and what a lost hold may not do any more; its races, explored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.data import claims
from app.data.claims import Claims, new_mark, pause
from app.data.clock import utcnow
from app.data.process import PROCESS
from tests.data.claim_races import Base, Job

ROOT = Path(__file__).resolve().parent.parent.parent
SPAN = timedelta(seconds=60)
CLAIMS = Claims(Job)
RACES = (
    "one row is had by one",
    "what a dead one left is had by one",
    "no row of a chunk is had by two",
    "a lost hold writes nothing",
    "one run of a mini-program at a time",
    "a token is spent once",
)


@lru_cache(maxsize=1)
def _explored() -> dict[str, dict[str, bool | None]]:
    """What the explorer found: it wants an interpreter of its own."""
    command = [sys.executable, "-m", "frontrun.cli", sys.executable, "-m", "tests.data.claim_races"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    found: dict[str, dict[str, bool | None]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.xdist_group("claim_races")
@pytest.mark.parametrize("race", RACES)
def test_a_race_is_lost_with_the_fault_planted_and_held_without(race: str) -> None:
    assert _explored()[race] == {"planted": False, "right": True}


def test_every_race_is_looked_at() -> None:
    assert set(_explored()) == set(RACES)


@pytest.fixture
def asks() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Job), [{"id": 1}, {"id": 2}, {"id": 3}])
        yield connection


def row(asks: sa.Connection, number: int = 1) -> Any:
    return asks.execute(sa.select(Job).where(Job.id == number)).one()


def lapse(asks: sa.Connection) -> None:
    asks.execute(sa.update(Job).values(lease_until=utcnow() - timedelta(seconds=1)))


def test_a_hold_says_who_and_until_when(asks: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    still = utcnow()
    monkeypatch.setattr(claims, "utcnow", lambda: still)
    mark = CLAIMS.take(asks, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN, result="begun")
    held = row(asks)
    assert held.owner == mark
    assert mark is not None and mark.startswith(f"{PROCESS}-") and len(mark) <= 64
    assert held.lease_until == still + SPAN
    assert held.result == "begun"


def test_no_two_holds_have_the_same_mark() -> None:
    assert len({new_mark() for _ in range(100)}) == 100


def test_a_row_that_is_held_is_not_taken_until_its_time_is_over(asks: sa.Connection) -> None:
    assert CLAIMS.take(asks, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN)
    assert CLAIMS.take(asks, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN) is None
    lapse(asks)
    assert CLAIMS.take(asks, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN)


def test_of_a_chunk_those_are_taken_that_are_free(asks: sa.Connection) -> None:
    CLAIMS.take(asks, Job.id == 2, span=SPAN)
    mark, ours = CLAIMS.take_each(asks, [3, 2, 1], CLAIMS.free(utcnow()), span=SPAN)
    assert ours == [1, 3]
    assert [row(asks, number).owner == mark for number in (1, 2, 3)] == [True, False, True]
    assert CLAIMS.take_each(asks, [1, 3], CLAIMS.free(utcnow()), span=SPAN)[1] == []
    assert CLAIMS.take_each(asks, [], span=SPAN)[1] == []


def test_a_lost_hold_neither_writes_nor_lengthens_nor_ends(asks: sa.Connection) -> None:
    old = CLAIMS.take(asks, Job.id == 1, span=SPAN) or ""
    lapse(asks)
    new = CLAIMS.take(asks, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN)
    assert CLAIMS.write(asks, 1, old, result="late") is False
    assert CLAIMS.end(asks, 1, old, result="late") is False
    until = row(asks).lease_until
    assert CLAIMS.lengthen(asks, 1, old, 9 * SPAN) is False
    assert (row(asks).owner, row(asks).result, row(asks).lease_until) == (new, "", until)


def test_a_hold_writes_lengthens_and_ends(asks: sa.Connection) -> None:
    mark = CLAIMS.take(asks, Job.id == 1, span=SPAN) or ""
    assert CLAIMS.write(asks, 1, mark, Job.generation == 0, generation=1)
    assert CLAIMS.write(asks, 1, mark, Job.generation == 0, generation=2) is False
    before = row(asks).lease_until
    assert CLAIMS.lengthen(asks, 1, mark, 9 * SPAN)
    assert row(asks).lease_until >= before + 8 * SPAN
    assert CLAIMS.end(asks, 1, mark, result="done")
    assert (row(asks).owner, row(asks).lease_until, row(asks).result, row(asks).generation) == (None, None, "done", 1)
    assert row(asks, 2).result == ""


def test_a_session_keeps_what_it_holds_of_the_row(asks: sa.Connection) -> None:
    with Session(asks) as session:
        held = session.get_one(Job, 1)
        assert CLAIMS.take(session, Job.id == 1, span=SPAN, result="begun")
        assert (held.owner, held.result) == (None, "")


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 5), (1, 5), (2, 10), (4, 40), (8, 600), (10_000, 600)])
def test_pauses_double_up_to_the_longest(attempt: int, seconds: float) -> None:
    assert pause(attempt, first=5.0, most=600.0) == seconds
