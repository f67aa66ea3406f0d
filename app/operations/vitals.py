"""How the system itself is: the database, workers, pushes, calls to Douyin, credentials, the size of tables."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, column, func, literal, select, table, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing, rows_changed
from app.data.kinds import kind_of
from app.data.kinds.plain import Number
from app.models import (
    ApiCall,
    AuthorizationState,
    Heartbeat,
    InboundEvent,
    InboundState,
    MiniProgram,
    OperationRun,
    RefusedPush,
    RunState,
    ThirdPartyApp,
)
from app.models.kit.base import Model
from app.operations.fleet import PLACE, claimed, place_of

BEAT = timedelta(seconds=10)  # how often a worker says that it is there
SILENT = timedelta(seconds=45)  # after that it is taken for dead
HOUR = timedelta(hours=1)
HOURS = 24
MOST_COUNTED = 10_000
AGES = (7, 14, 30)  # days that an authorisation still lasts


@dataclass(frozen=True)
class Queue:
    """Operation runs that wait for a worker."""

    due: int
    oldest: datetime | None
    last_started: datetime | None


@dataclass(frozen=True)
class Pushes:
    """What Douyin sent lately."""

    last: datetime | None
    hour: int
    waiting: int
    failed: int
    refused: int


@dataclass(frozen=True)
class Calls:
    """Calls to Douyin within the last hour, and the latest of all."""

    ok: int
    error: int
    silent: int  # no answer
    last: datetime | None
    last_outcome: str

    @property
    def total(self) -> int:
        return self.ok + self.error + self.silent

    @property
    def reachable(self) -> bool:
        """Whether Douyin answered the latest call, if only with a refusal."""
        return self.last_outcome in {"", "ok", "error"}


@dataclass(frozen=True)
class Tokens:
    """How long the merchants' authorisations last: counts by AGES, and those with a fault."""

    ages: list[int]  # up to 7 days, up to 14, up to 30, longer
    faulty: int
    unknown: int


def latency(session: Session) -> float:
    """Milliseconds of the smallest question to the database."""
    started = time.perf_counter()
    session.execute(select(literal(1)))
    return (time.perf_counter() - started) * 1000


def beat(session: Session, started: datetime, *, in_hand: int, size: int) -> None:
    """This process's workers are there. The caller commits."""
    values = {"seen_at": utcnow(), "in_hand": in_hand, "size": size, "started_at": started}
    named = update(Heartbeat).where(Heartbeat.name == process_name())
    if rows_changed(session, named.values(**values)) == 0:
        insert_missing(session, Heartbeat, {"name": process_name()}, **values)


def process_name() -> str:
    """`host:process number`: what this process is called among all."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}"


def workers(session: Session) -> list[Heartbeat]:
    """Worker processes that were seen within a day, the latest first."""
    lately = Heartbeat.seen_at > utcnow() - timedelta(days=1)
    return list(session.scalars(select(Heartbeat).where(lately).order_by(Heartbeat.seen_at.desc())))


def queue(session: Session) -> Queue:
    waiting = select(func.count(), func.min(OperationRun.not_before)).where(
        OperationRun.state == RunState.QUEUED, OperationRun.not_before <= utcnow()
    )
    count, oldest = session.execute(waiting).one()
    newest = select(OperationRun.started_at).where(OperationRun.started_at.is_not(None))
    started = session.scalar(newest.order_by(OperationRun.id.desc()).limit(1))
    return Queue(count, oldest, started)


def pushes(session: Session) -> Pushes:
    since = utcnow() - HOUR
    states = select(InboundEvent.state, func.count()).where(
        InboundEvent.state.in_([InboundState.RECEIVED, InboundState.PROCESSING, InboundState.FAILED])
    )
    found = dict(session.execute(states.group_by(InboundEvent.state)).all())
    return Pushes(
        last=session.scalar(select(func.max(InboundEvent.received_at))),
        hour=session.scalar(select(func.count(InboundEvent.id)).where(InboundEvent.received_at > since)) or 0,
        waiting=found.get(InboundState.RECEIVED, 0) + found.get(InboundState.PROCESSING, 0),
        failed=found.get(InboundState.FAILED, 0),
        refused=session.scalar(select(func.count(RefusedPush.id)).where(RefusedPush.at > since)) or 0,
    )


def calls(session: Session) -> Calls:
    counted = select(ApiCall.outcome, func.count()).where(ApiCall.at > utcnow() - HOUR).group_by(ApiCall.outcome)
    found = dict(session.execute(counted).all())
    last = session.execute(select(ApiCall.at, ApiCall.outcome).order_by(ApiCall.at.desc()).limit(1)).first()
    ok, error = found.pop("ok", 0), found.pop("error", 0)
    return Calls(ok, error, sum(found.values()), last[0] if last else None, last[1] if last else "")


def calls_by_hour(session: Session) -> tuple[list[datetime], dict[str, list[int]]]:
    """The beginnings of the last day's hours, and for each how many calls went well, were refused, got no answer."""
    now = utcnow().replace(minute=0, second=0, microsecond=0)
    starts = [now - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    place = place_of(ApiCall.at, starts, 0, HOURS - 1).label(PLACE)
    counted = select(ApiCall.outcome, place, func.count()).where(ApiCall.at >= starts[0])
    found = {name: [0] * HOURS for name in ("ok", "error", "silent")}
    for outcome, number, count in session.execute(counted.group_by(ApiCall.outcome, PLACE)):
        found[outcome if outcome in {"ok", "error"} else "silent"][int(number)] += count
    return starts, found


def tickets(session: Session) -> list[ThirdPartyApp]:
    return list(session.scalars(select(ThirdPartyApp).where(ThirdPartyApp.active.is_(True)).order_by(ThirdPartyApp.id)))


def tokens(session: Session) -> Tokens:
    now, ends = utcnow(), MiniProgram.refresh_expires_at
    held = claimed() & (MiniProgram.state == AuthorizationState.AUTHORIZED)
    sums = [func.sum(case((ends < now + timedelta(days=days), 1), else_=0)) for days in AGES]
    row = session.execute(select(func.count(), func.count(ends), *sums).where(held)).one()
    total, known, *under = (int(value or 0) for value in row)
    faulty = session.scalar(select(func.count(MiniProgram.id)).where(held, MiniProgram.token_fault != "")) or 0
    steps = [under[0], under[1] - under[0], under[2] - under[1], known - under[2]]
    return Tokens(steps, faulty, total - known)


# Sizes: by what each database knows of itself, without reading the tables.


def database_size(session: Session) -> int | None:
    """Bytes of the whole database; None where it does not say."""
    name = session.get_bind().dialect.name
    if name == "sqlite":
        connection = session.connection()
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
        return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)
    if name == "postgresql":
        return session.scalar(select(func.pg_database_size(func.current_database())))
    known = table("tables", *map(column, ("table_schema", "data_length", "index_length")), schema="information_schema")
    sizes = select(func.sum(known.c.data_length + known.c.index_length)).where(known.c.table_schema == func.database())
    found = session.scalar(sizes)
    return int(found) if found is not None else None


def table_rows(session: Session) -> list[tuple[str, int]]:
    """(table, about how many rows) of our tables, the greatest first."""
    name = session.get_bind().dialect.name
    known = _estimates(session, name) if name != "sqlite" else _spans(session)
    ours = {item.name for item in Model.metadata.sorted_tables}
    found = [(title, max(count, 0)) for title, count in known.items() if title in ours]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _estimates(session: Session, dialect: str) -> dict[str, int]:
    """What the server keeps for its planner."""
    if dialect == "postgresql":
        known = table("pg_class", *map(column, ("relname", "reltuples", "relkind")))
        asked = select(known.c.relname, known.c.reltuples).where(known.c.relkind == "r")
    else:
        kept = table("tables", *map(column, ("table_schema", "table_name", "table_rows")), schema="information_schema")
        asked = select(kept.c.table_name, kept.c.table_rows).where(kept.c.table_schema == func.database())
    return {str(title): int(count or 0) for title, count in session.execute(asked)}


def _spans(session: Session) -> dict[str, int]:
    """SQLite keeps no estimate: numbered tables by their first and last number, others counted up to a limit."""
    found: dict[str, int] = {}
    for item in Model.metadata.sorted_tables:
        keys = list(item.primary_key.columns)
        if len(keys) == 1 and isinstance(kind_of(keys[0]), Number):
            first = session.scalar(select(func.min(keys[0])))
            found[item.name] = 0 if first is None else session.scalar(select(func.max(keys[0]))) - first + 1
        else:
            some = select(literal(1)).select_from(item).limit(MOST_COUNTED).subquery()
            found[item.name] = session.scalar(select(func.count()).select_from(some)) or 0
    return found


def server_version(session: Session) -> str:
    """The database's product and version in words."""
    dialect: Any = session.get_bind().dialect
    if dialect.name == "sqlite":
        return f"SQLite {session.scalar(select(func.sqlite_version()))}"
    if dialect.name == "postgresql":
        return f"PostgreSQL {'.'.join(map(str, dialect.server_version_info))}"
    product = "MariaDB" if getattr(dialect, "is_mariadb", False) else "MySQL"
    return f"{product} {'.'.join(map(str, dialect.server_version_info))}"
