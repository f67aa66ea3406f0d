"""The pace of calls to Douyin: one token bucket for all processes, leased from its row in slices."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import structlog
from flask import Flask
from sqlalchemy import update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing, is_busy, rows_changed
from app.data.tenancy import PLATFORM, app_scope
from app.models import PaceBucket

log = structlog.get_logger(__name__)

NAME = "douyin"
SLOWED = "douyin:slowed"  # a row of its own: `tokens` is the part of the rate, until `refilled_at`
SLOW_FOR = timedelta(minutes=5)
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
        with app_scope(self._app, PLATFORM) as session:
            bucket, made = insert_missing(session, PaceBucket, {"name": NAME}, tokens=self._burst, refilled_at=utcnow())
            if made:
                session.commit()  # nobody waits for a row that is only about to be there
            now = utcnow()
            part = self._part(session, now)
            there = self._there(bucket.tokens, bucket.refilled_at, now, part)
            if there < 1:
                session.rollback()
                return (1 - there) / (self._rate * part)
            taken = min(max(1.0, self._slice * part), there)
            at = max(now, bucket.refilled_at)
            table = PaceBucket.__table__
            statement = (
                update(table)
                .where(table.c.name == NAME, table.c.version == bucket.version)
                .values(tokens=there - taken, refilled_at=at, version=bucket.version + 1)
            )
            won = rows_changed(session, statement) == 1
            session.commit()
        if won:
            self._held, self._leased_at = taken, time.monotonic()
        return 0.0

    def _there(self, tokens: float, refilled_at: datetime, now: datetime, part: float) -> float:
        passed = max(0.0, (now - refilled_at).total_seconds())
        return min(max(1.0, self._burst * part), tokens + passed * self._rate * part)

    def slower(self) -> None:
        """Half the rate for all processes and some minutes; half of that when it is still too fast. Never raises."""
        try:
            with app_scope(self._app, PLATFORM) as session:
                self._halve(session, utcnow())
                session.commit()
        except SQLAlchemyError as fault:  # the database is away: the next word tells the same
            log.warning("pace_not_slowed", fault=type(fault).__name__)

    def _halve(self, session: Session, now: datetime) -> None:
        row, made = insert_missing(session, PaceBucket, {"name": SLOWED}, tokens=0.5, refilled_at=now + SLOW_FOR)
        if not made and row.refilled_at - SLOW_FOR + AT_ONCE < now:
            still = row.refilled_at > now
            table = PaceBucket.__table__
            part = max(LEAST, row.tokens / 2) if still else 0.5
            same = (table.c.name == SLOWED, table.c.version == row.version)
            values = {"tokens": part, "refilled_at": now + SLOW_FOR, "version": row.version + 1}
            session.execute(update(table).where(*same).values(**values))

    def _part(self, session: Session, now: datetime) -> float:
        row = session.get(PaceBucket, SLOWED)
        return row.tokens if row is not None and row.refilled_at > now else 1.0
