"""Refused pushes: counted by reason, the last hundred kept in a ring, few transactions whatever the flood."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.douyin.crypto import Reason
from app.extensions import db
from app.models import RefusedPush, RefusedPushCount
from app.operations.inbound import refusals
from app.operations.inbound.refusals import Refusals
from tests.conftest import refresh
from tests.waiting import wait_for

START = Refusals._start  # before the session takes it away


def refuse(to: Refusals, times: int = 1, reason: str = "signature") -> None:
    for _ in range(times):
        to.add("tt1", "message", reason, remote="203.0.113.9", size=5)


@pytest.fixture
def quiet(app: Flask) -> Refusals:
    """A collector that just wrote: what comes now waits."""
    made = Refusals(app)
    made.flush()
    return made


@pytest.fixture
def commits(app: Flask) -> Iterator[list[int]]:
    """One entry for each commit while the test runs."""
    seen: list[int] = []

    def note(_connection: object) -> None:
        seen.append(1)

    sa.event.listen(db.engine, "commit", note)
    yield seen
    sa.event.remove(db.engine, "commit", note)


def numbers(session: Session) -> dict[int, int]:
    refresh(session)
    found = session.execute(sa.select(RefusedPush.id, RefusedPush.number))
    return {place: number for place, number in found}  # noqa: C416


def test_the_first_is_written_at_once_and_the_next_within_a_second(app: Flask, session: Session) -> None:
    made = Refusals(app)
    refuse(made)
    assert sum(refusals.counts(session).values()) == 1
    refuse(made, 5)
    refresh(session)
    assert sum(refusals.counts(session).values()) == 1
    made._written_at -= refusals.EVERY
    refuse(made)
    refresh(session)
    assert sum(refusals.counts(session).values()) == 7


def test_a_flood_is_written_in_few_transactions(app: Flask, session: Session, commits: list[int]) -> None:
    made, started = Refusals(app), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: refuse(made, 250), range(8)))
    made.flush()
    assert sum(refusals.counts(session).values()) == 2000
    assert len(commits) <= 3 + (time.monotonic() - started) / refusals.EVERY


def test_the_last_hundred_are_kept_in_a_ring(quiet: Refusals, session: Session) -> None:
    refuse(quiet, 30)
    quiet.flush()
    assert numbers(session) == {place: place for place in range(1, 31)}
    refuse(quiet, 95)
    quiet.flush()
    assert numbers(session) == {(number - 1) % 100 + 1: number for number in range(26, 126)}
    refuse(quiet, 1234)
    quiet.flush()
    assert sorted(numbers(session).values()) == list(range(1260, 1360))
    assert set(numbers(session)) == set(range(1, 101))


def test_reasons_are_counted_apart(quiet: Refusals, session: Session) -> None:
    refuse(quiet, 3)
    refuse(quiet, 5, "stale")
    quiet.flush()
    refuse(quiet, 1)
    quiet.flush()
    assert list(refusals.counts(session).items()) == [("stale", 5), ("signature", 4)]


def test_processes_that_write_at_once_lose_nothing(app: Flask, session: Session) -> None:
    made = [Refusals(app) for _ in range(4)]

    def work(one: Refusals) -> None:
        for number in range(10):
            refuse(one, 7, ("signature", "stale", "key")[number % 3])
            one.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, made))
    assert sum(refusals.counts(session).values()) == 280
    assert sorted(numbers(session).values()) == list(range(181, 281))


def test_a_database_that_is_away_loses_nothing(
    quiet: Refusals, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        refuse(quiet, 2, "stale")  # they go on coming meanwhile
        raise OperationalError("INSERT", {}, Exception("gone"))

    refuse(quiet, 3)
    with monkeypatch.context() as patch:
        patch.setattr(refusals, "_store", broken)
        assert quiet.flush() == 0
    assert quiet.flush() == 5
    assert refusals.counts(session) == {"signature": 3, "stale": 2}
    ring = session.scalars(sa.select(RefusedPush.reason).order_by(RefusedPush.number))
    assert ring.all() == ["signature"] * 3 + ["stale"] * 2


def test_a_reason_that_another_process_counts_first_is_tried_again(
    quiet: Refusals, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, met = refusals._store, []

    def crossed(*given: Any) -> None:
        if not met:
            met.append(1)
            raise IntegrityError("INSERT", {}, Exception("duplicate key"))
        store(*given)

    monkeypatch.setattr(refusals, "_store", crossed)
    refuse(quiet, 3)
    assert quiet.flush() == 3
    assert sum(refusals.counts(session).values()) == 3


def test_one_that_is_writing_is_not_waited_for(quiet: Refusals) -> None:
    refuse(quiet)
    with quiet._writing:
        quiet._written_at = 0.0
        refuse(quiet)  # would hang here
    assert quiet.flush() == 2


def test_the_thread_writes_what_stays_behind(
    app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch, thread_start: object
) -> None:
    monkeypatch.setattr(refusals, "EVERY", 0.05)
    made = Refusals(app)
    refuse(made, 3)

    def written() -> int:
        refresh(session)
        return sum(refusals.counts(session).values())

    wait_for(lambda: written() >= 3)
    assert written() == 3
    assert made._thread and [item.name for item in threading.enumerate()].count("refused-pushes") == 1
    made._stop.set()
    made._thread.join(60)  # else it would write into another test's database
    assert not made._thread.is_alive()


@pytest.fixture
def thread_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread, which the other tests do without."""
    monkeypatch.setattr(Refusals, "_start", START)


def test_the_end_of_the_process_writes_the_rest(quiet: Refusals, session: Session) -> None:
    refuse(quiet, 4)
    quiet.close()
    assert sum(refusals.counts(session).values()) == 4


def test_a_forked_process_does_not_count_its_parents_again(quiet: Refusals) -> None:
    refuse(quiet, 4)
    child = os.fork()
    if child == 0:
        os._exit(quiet._counts.total())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert quiet._counts == Counter(signature=4)


def test_a_name_longer_than_its_column_is_cut(quiet: Refusals, session: Session) -> None:
    quiet.add("t" * 500, "message", "signature", remote="9" * 500, size=5)
    assert quiet.flush() == 1
    assert {len(name) for name in session.scalars(sa.select(RefusedPush.component_appid))} == {64}


def test_every_reason_has_words_and_advice() -> None:
    assert set(refusals.WORDS) == set(Reason)
    assert all(words and advice.endswith("。") for words, advice in refusals.WORDS.values())


def test_a_count_of_an_unknown_reason_is_counted_too(quiet: Refusals, session: Session) -> None:
    with writing():
        refresh(session)
        session.add(RefusedPushCount(reason="签名不正确", count=9))
        session.commit()
    refuse(quiet)
    quiet.flush()
    assert numbers(session) == {10: 10}
