"""The engine as the product needs it: SQLite in WAL with full durability, and write locks taken at the start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

MAPPED = 256 * 1024 * 1024  # bytes of an SQLite file that a connection may map
_reading: ContextVar[bool] = ContextVar("reading", default=False)


@contextmanager
def reading(*, enabled: bool = True) -> Iterator[None]:
    """Transactions begun inside take no write lock on SQLite: for code that only reads, or writes first."""
    token = _reading.set(enabled)
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def writing() -> Iterator[None]:
    """Back to the rule inside `reading`: transactions take the write lock at their start."""
    with reading(enabled=False):
        yield


def prepare(engine: Engine) -> None:
    """Attach the SQLite settings; other databases need none. Safe to repeat."""
    if engine.dialect.name != "sqlite":
        return
    for name, listener in (("connect", _settings), ("begin", _begin)):
        if not event.contains(engine, name, listener):
            event.listen(engine, name, listener)


def _settings(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is too late for a write lock
    cursor = connection.cursor()
    # Mapped pages are read where they lie: a search that scans a table takes a sixth less.
    mapped = f"mmap_size={MAPPED}"
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000", mapped):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A text index (FTS5) in a statement that is the first to see another's change of the schema: "no such table".
    connection.connection.cursor().execute("SELECT 1 FROM sqlite_master LIMIT 0").close()
    # Reading first and writing later in one deferred transaction fails when another wrote in between.
    connection.exec_driver_sql("BEGIN" if _reading.get() else "BEGIN IMMEDIATE")
