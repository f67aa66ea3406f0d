"""The pace of calls to Douyin: one token bucket for all processes, leased from its row in slices."""

from __future__ import annotations

import threading
import time
from datetime import datetime

from flask import Flask
from sqlalchemy import update

from app.database import insert_missing
from app.models import PaceBucket
from app.models.base import utcnow
from app.tenancy import PLATFORM, app_scope

NAME = "douyin"
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
        with app_scope(self._app, PLATFORM) as session:
            bucket, _ = insert_missing(session, PaceBucket, {"name": NAME}, tokens=self._burst, refilled_at=utcnow())
            now = utcnow()
            there = self._there(bucket.tokens, bucket.refilled_at, now)
            if there < 1:
                session.rollback()
                return (1 - there) / self._rate
            taken = min(self._slice, there)
            at = max(now, bucket.refilled_at)
            table = PaceBucket.__table__
            statement = (
                update(table)
                .where(table.c.name == NAME, table.c.version == bucket.version)
                .values(tokens=there - taken, refilled_at=at, version=bucket.version + 1)
            )
            won = session.execute(statement).rowcount == 1  # type: ignore[attr-defined]
            session.commit()
        if won:
            self._held, self._leased_at = taken, time.monotonic()
        return 0.0

    def _there(self, tokens: float, refilled_at: datetime, now: datetime) -> float:
        passed = max(0.0, (now - refilled_at).total_seconds())
        return min(self._burst, tokens + passed * self._rate)
