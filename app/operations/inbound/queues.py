"""Which pushes may be worked on: of each app's the oldest that is open, tickets and revocations whoever waits.

What is open is read in its order, a window at a time, and told here which is the head of its queue. As a condition of
the database the same rule costs what its planner believes of the table, and grows with the square of what waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flask import Flask
from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.engine import Connection

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import platform_connection
from app.data.types import UtcDateTime
from app.models import InboundEvent, InboundState
from app.operations.inbound.events import URGENT

A_WINDOW = 1000
TABLE = InboundEvent.__table__
OPEN = (InboundState.RECEIVED, InboundState.PROCESSING)
_NOW = bindparam("now", type_=UtcDateTime)
_ROW = (TABLE.c.id, TABLE.c.third_party_app_id, TABLE.c.appid, TABLE.c.event)
_OF_STATE = TABLE.c.state == bindparam("state")
_IN_ORDER = (
    select(*_ROW, TABLE.c.not_before.label("since"))
    .where(_OF_STATE, TABLE.c.id > bindparam("after"))
    .order_by(TABLE.c.id)
    .limit(A_WINDOW)
)
_AT_WORK = select(*_ROW, TABLE.c.lease_until.label("since")).where(_OF_STATE).order_by(TABLE.c.id)
_URGENT = (
    select(*_ROW, TABLE.c.not_before.label("since"))
    .where(_OF_STATE, TABLE.c.event == bindparam("event"), TABLE.c.not_before <= _NOW)
    .order_by(TABLE.c.id)
    .limit(bindparam("most"))
)
_HEAD = (
    select(TABLE.c.id, TABLE.c.not_before)
    .where(
        TABLE.c.third_party_app_id == bindparam("owner"),
        TABLE.c.appid == bindparam("appid"),
        _OF_STATE,
    )
    .order_by(TABLE.c.id)
    .limit(1)
)


def claimable(now: datetime) -> Any:
    """The condition of a claim: it waits and its time has come, or whoever had it is gone."""
    return or_(
        and_(InboundEvent.state == InboundState.RECEIVED, InboundEvent.not_before <= now),
        and_(InboundEvent.state == InboundState.PROCESSING, InboundEvent.lease_until < now),
    )


def due(app: Flask, most: int) -> list[int]:
    """Ids of the events that may be worked on, the urgent first, else the oldest first."""
    now = utcnow()
    with platform_connection(app) as asks, reading(), asks.begin():
        at_work = list(asks.execute(_AT_WORK, {"state": InboundState.PROCESSING}))
        # Of those at work, whether their worker is gone.
        gone = {row.id: row.since is not None and row.since < now for row in at_work}
        urgent = [row.id for row in at_work if gone[row.id] and row.event in URGENT]
        for event in URGENT:
            asked = {"state": InboundState.RECEIVED, "event": event, "now": now, "most": most}
            urgent += [row.id for row in asks.execute(_URGENT, asked)]
        found = sorted(urgent)[:most]
        if len(found) < most:
            for row in _heads(asks, at_work):
                if row.event not in URGENT and gone.get(row.id, row.since is not None and row.since <= now):
                    found.append(row.id)
                    if len(found) == most:
                        break
    return found


def _heads(asks: Connection, at_work: list[Any]) -> Iterator[Any]:
    """What is open and waits behind nothing of its app, in order."""
    seen: set[tuple[int, str]] = set()
    for row in _open(asks, at_work):
        queue = (row.third_party_app_id, row.appid)
        if not row.appid or queue not in seen:
            yield row
        seen.add(queue)


def _open(asks: Connection, at_work: list[Any]) -> Iterator[Any]:
    """All that is open, by id: a window of what waits at a time, and among it what is at work."""
    after, others = 0, list(at_work)
    while True:
        window = asks.execute(_IN_ORDER, {"state": InboundState.RECEIVED, "after": after}).all()
        last = len(window) < A_WINDOW
        after = window[-1].id if window else after
        among = [row for row in others if last or row.id <= after]
        yield from sorted([*window, *among], key=lambda row: row.id)
        if last:
            return
        others = others[len(among) :]


def behind(app: Flask, third_party_app_id: int, appid: str, event_id: int) -> int | None:
    """The event of an app that may be worked on after this one; None when this is open still, or there is no other."""
    if not appid:
        return None
    queue, now = {"owner": third_party_app_id, "appid": appid}, utcnow()
    with platform_connection(app) as asks, reading(), asks.begin():
        waits = asks.execute(_HEAD, queue | {"state": InboundState.RECEIVED}).first()
        at_work = asks.execute(_HEAD, queue | {"state": InboundState.PROCESSING}).first()
    if waits is None or waits.not_before > now or waits.id == event_id:
        return None
    return waits.id if at_work is None or at_work.id > waits.id else None
