"""The pace of calls: one bucket for all processes, slower for a while after too much."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event, select, update
from sqlalchemy.engine import Engine

from app.data.clock import utcnow
from app.data.tenancy import platform_connection
from app.extensions import db
from app.link import pace as pacing
from app.link.pace import SharedPace
from app.models import PaceBucket


def take(pace: SharedPace, count: int) -> None:
    for _ in range(count):
        pace.take()


def db_engine(app: Flask) -> Engine:
    with app.app_context():
        engine: Engine = db.engine
    return engine


def part(app: Flask) -> float:
    with platform_connection(app) as asks, asks.begin():
        return pacing._part(pacing._rows(asks), utcnow())


def test_too_fast_halves_the_pace_of_every_process_once_for_all_that_were_under_way(app: Flask) -> None:
    first, second = SharedPace(app, 40.0), SharedPace(app, 40.0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: first.slower(), range(8)))
    take(second, 20)  # the burst
    started = time.monotonic()
    take(second, 20)
    assert time.monotonic() - started > 0.7
    assert part(app) == 0.5


def test_a_pace_that_is_still_too_fast_is_halved_again_and_recovers_by_itself(app: Flask) -> None:
    pace = SharedPace(app, 40.0)

    def slowed(ago: timedelta) -> float:
        until = utcnow() + pacing.SLOW_FOR - ago
        with platform_connection(app) as asks, asks.begin():
            asks.execute(update(PaceBucket).where(PaceBucket.name == pacing.SLOWED).values(refilled_at=until))
        return part(app)

    pace.slower()
    assert slowed(pacing.AT_ONCE * 2) == 0.5
    pace.slower()
    assert slowed(pacing.AT_ONCE * 2) == 0.25
    for _ in range(9):
        pace.slower()
        slowed(pacing.AT_ONCE * 2)
    assert slowed(pacing.AT_ONCE * 2) == pacing.LEAST
    assert slowed(pacing.SLOW_FOR) == 1.0
    pace.slower()
    assert slowed(pacing.AT_ONCE * 2) == 0.5


def test_a_pace_is_slow_for_one_minute(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = utcnow()
    monkeypatch.setattr(pacing, "utcnow", lambda: moment)
    SharedPace(app, 40.0).slower()
    with platform_connection(app) as asks, asks.begin():
        until = asks.scalars(select(PaceBucket.refilled_at).where(PaceBucket.name == pacing.SLOWED)).one()
    assert until == moment + timedelta(seconds=60)


def test_a_slice_costs_one_look_and_one_change(app: Flask) -> None:
    pace = SharedPace(app, 40.0)
    pace.take()  # makes the row
    pace._held = 0.0
    asked: list[str] = []
    engine = db_engine(app)
    event.listen(engine, "before_cursor_execute", listener := lambda *told: asked.append(told[2].split()[0]))
    try:
        pace.take()
    finally:
        event.remove(engine, "before_cursor_execute", listener)
    assert [word for word in asked if word != "BEGIN"] == ["SELECT", "UPDATE"]


def test_the_pace_holds_over_processes(app: Flask) -> None:
    """Two buckets on one row, as two processes have them: together no faster than the rate after the burst."""
    paces = [SharedPace(app, 40.0) for _ in range(2)]
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pace: [pace.take() for _ in range(40)], paces))
    assert time.monotonic() - started > 0.8
