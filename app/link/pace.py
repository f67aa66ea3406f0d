"""The pace of calls to Douyin: one token bucket for all processes, leased from its row in slices."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from app.data.clock import utcnow
from app.data.engine import is_busy
from app.data.tenancy import platform_connection
from app.models import PaceBucket

log = structlog.get_logger(__name__)

TABLE = PaceBucket.__table__
NAME = "douyin"
SLOWED = "douyin:slowed"  # a row of its own: `tokens` is the part of the rate, until `refilled_at`
SLOW_FOR = timedelta(minutes=1)
AT_ONCE = timedelta(seconds=20)  # refusals of calls that were under way together are one refusal
LEAST = 1 / 16
SLICES_A_SECOND = 10  # a slice is a tenth of a second's calls: few statements, little unfairness
SLICE_LIFE = 1.0  # a slice left over by an idle process is not saved up for a burst


class SharedPace:
    """At most `rate` calls a second over all processes, with bursts of at most one second's worth."""

    def __init__(self, app: Flask, rate: float) -> None:
        self._app = app
        self._rate = rate
        self._slice = max(1.0, rate / SLICES_A_SECOND)
        self._burst = max(1.0, rate)
        self._held = 0.0
        self._leased_at = 0.0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Block until one more request may be sent."""
        with self._lock:
            while not self._take_held():
                pause = self._lease()
                if pause > 0:
                    time.sleep(pause)

    def _take_held(self) -> bool:
        if self._held < 1 or time.monotonic() - self._leased_at > SLICE_LIFE:
            self._held = 0.0
            return False
        self._held -= 1
        return True

    def _lease(self) -> float:
        """Take a slice from the row. Gives the seconds to wait; 0 when one was taken, or lost to another."""
        try:
            return self._take_slice()
        except OperationalError as fault:
            if not is_busy(fault):
                raise
            return 0.0  # others are at the row: look again

    def _take_slice(self) -> float:
        with platform_connection(self._app) as asks:
            with asks.begin():
                rows, now = _rows(asks), utcnow()
                if (bucket := rows.get(NAME)) is not None:
                    part = _part(rows, now)
                    there = self._there(bucket.tokens, bucket.refilled_at, now, part)
                    if there < 1:
                        return (1 - there) / (self._rate * part)
                    taken = min(max(1.0, self._slice * part), there)
                    if _change(asks, bucket, tokens=there - taken, refilled_at=max(now, bucket.refilled_at)):
                        self._held, self._leased_at = taken, time.monotonic()
            if bucket is None:
                _make(asks, NAME, self._burst, now)
        return 0.0

    def _there(self, tokens: float, refilled_at: datetime, now: datetime, part: float) -> float:
        passed = max(0.0, (now - refilled_at).total_seconds())
        return min(max(1.0, self._burst * part), tokens + passed * self._rate * part)

    def slower(self) -> None:
        """Half the rate for all processes and one minute. Never raises.

        Half of that while it is still too fast, down to a sixteenth: what Douyin allows is not known, and others may
        call for the same third-party app, so that half may be too fast as well. A minute without such an answer ends
        it: that is enough for a limit that counts by the minute, and an hour's work is not halved by one burst.
        """
        try:
            with platform_connection(self._app) as asks:
                _halve(asks, utcnow())
        except SQLAlchemyError as fault:  # the database is away: the next word tells the same
            log.warning("pace_not_slowed", fault=type(fault).__name__)


def _rows(asks: Connection) -> dict[str, Row[Any]]:
    """The bucket and what slows it, by their names; each only once it was needed."""
    return {row.name: row for row in asks.execute(select(TABLE).where(TABLE.c.name.in_((NAME, SLOWED))))}


def _part(rows: Mapping[str, Row[Any]], now: datetime) -> float:
    """Which part of the rate is allowed now."""
    row = rows.get(SLOWED)
    return float(row.tokens) if row is not None and row.refilled_at > now else 1.0


def _change(asks: Connection, row: Row[Any], **values: Any) -> bool:
    """Write a row that is still as it was read; False where another was faster."""
    same = (TABLE.c.name == row.name, TABLE.c.version == row.version)
    return asks.execute(update(TABLE).where(*same).values(**values, version=row.version + 1)).rowcount == 1


def _make(asks: Connection, name: str, tokens: float, at: datetime) -> None:
    """Put a row there, in a transaction of its own: nobody waits for one that is only about to be there."""
    try:
        with asks.begin():
            asks.execute(insert(TABLE).values(name=name, tokens=tokens, refilled_at=at, version=0))
    except IntegrityError:
        log.debug("pace_row_made_by_another", name=name)


def _halve(asks: Connection, now: datetime) -> None:
    with asks.begin():
        row = _rows(asks).get(SLOWED)
        if row is not None and row.refilled_at - SLOW_FOR + AT_ONCE < now:
            part = max(LEAST, row.tokens / 2) if row.refilled_at > now else 0.5
            _change(asks, row, tokens=part, refilled_at=now + SLOW_FOR)
    if row is None:
        _make(asks, SLOWED, 0.5, now + SLOW_FOR)
