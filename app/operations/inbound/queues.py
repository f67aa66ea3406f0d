"""Which pushes may be worked on: of each app's the oldest that is open, tickets and revocations whoever waits.

What is open is read in its order, a window at a time, and told here which is the head of its queue. As a condition of
the database the same rule costs what its planner believes of the table, and grows with the square of what waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flask import Flask
from sqlalchemy import and_, bindparam, or_, select, union_all
from sqlalchemy.engine import Connection

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import platform_connection
from app.data.types import UtcDateTime
from app.models import InboundEvent, InboundState
from app.operations.inbound.events import URGENT

A_WINDOW = 1000
TABLE = InboundEvent.__table__
_NOW = bindparam("now", type_=UtcDateTime)
_ROW = (TABLE.c.id, TABLE.c.third_party_app_id, TABLE.c.appid, TABLE.c.event, TABLE.c.state)
_WAITS, _AT_WORK = TABLE.c.state == InboundState.RECEIVED, TABLE.c.state == InboundState.PROCESSING


def _both(*which: Any, waiting: int, at_work: int | None) -> Any:
    """What is open, by one statement: an event that passes from one state to the other while two were asked would
    stand in neither, and the one behind it would look like the head."""
    parts = []
    for state, since, most in ((_WAITS, TABLE.c.not_before, waiting), (_AT_WORK, TABLE.c.lease_until, at_work)):
        part = select(*_ROW, since.label("since")).where(state, *which).order_by(TABLE.c.id).limit(most)
        parts.append(select(part.subquery()))
    return union_all(*parts)


_OPEN = _both(TABLE.c.id > bindparam("after"), waiting=A_WINDOW, at_work=None)
_HEADS = _both(
    TABLE.c.third_party_app_id == bindparam("owner"), TABLE.c.appid == bindparam("appid"), waiting=1, at_work=1
)
_URGENT = (
    select(TABLE.c.id)
    .where(_WAITS, TABLE.c.event == bindparam("event"), TABLE.c.not_before <= _NOW)
    .order_by(TABLE.c.id)
    .limit(bindparam("most"))
)
_URGENT_LEFT = select(TABLE.c.id).where(_AT_WORK, TABLE.c.event.in_(URGENT), TABLE.c.lease_until < _NOW)


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
        urgent = list(asks.scalars(_URGENT_LEFT, {"now": now}))
        for event in URGENT:
            urgent += asks.scalars(_URGENT, {"event": event, "now": now, "most": most})
        found = sorted(urgent)[:most]
        for row in _heads(asks):
            if len(found) == most:
                break
            if row.event not in URGENT and _is_due(row, now):
                found.append(row.id)
    return found


def _is_due(row: Any, now: datetime) -> bool:
    """Of one that waits, whether its time has come; of one at work, whether its worker is gone."""
    if row.since is None:
        return False
    return bool(row.since <= now if row.state == InboundState.RECEIVED else row.since < now)


def _heads(asks: Connection) -> Iterator[Any]:
    """What is open and waits behind nothing of its app, in order."""
    seen: set[tuple[int, str]] = set()
    for row in _open(asks):
        queue = (row.third_party_app_id, row.appid)
        if not row.appid or queue not in seen:
            yield row
        seen.add(queue)


def _open(asks: Connection) -> Iterator[Any]:
    """All that is open, by id: a window of what waits at a time, and among it what is at work."""
    after = 0
    while True:
        window = sorted(asks.execute(_OPEN, {"after": after}), key=lambda row: row.id)
        waiting = [row.id for row in window if row.state == InboundState.RECEIVED]
        last = len(waiting) < A_WINDOW
        after = waiting[-1] if waiting else after
        yield from (row for row in window if last or row.id <= after)
        if last:
            return


def behind(app: Flask, third_party_app_id: int, appid: str, event_id: int) -> int | None:
    """The event of an app that may be worked on after this one; None when this is open still, or there is no other."""
    if not appid:
        return None
    now = utcnow()
    with platform_connection(app) as asks, reading(), asks.begin():
        heads = asks.execute(_HEADS, {"owner": third_party_app_id, "appid": appid}).all()
    head = min(heads, key=lambda row: row.id, default=None)
    if head is None or head.id == event_id or head.state == InboundState.PROCESSING or not _is_due(head, now):
        return None
    number: int = head.id
    return number
