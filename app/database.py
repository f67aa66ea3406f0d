"""The engine as the product needs it: SQLite in WAL with full durability, and write locks taken at the start."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, event, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

Row = TypeVar("Row")
MAPPED = 256 * 1024 * 1024  # bytes of an SQLite file that a connection may map
SQLITE_BUSY = frozenset({5, 6})  # busy (whatever its further reason), locked
POSTGRESQL_BUSY = frozenset({"40001", "40P01", "55P03"})  # not serialisable, deadlock, lock not had in time
MYSQL_BUSY = frozenset({1205, 1213})  # lock not had in time, deadlock
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


def let_go(session: Session) -> None:
    """End the transaction of a caller that has only read: something slow follows, not under SQLite's one writer.

    What waits in the session to be written stays there, and keeps its transaction.
    """
    if not (session.new or session.dirty or session.deleted):
        session.commit()


def insert_missing(session: Session, model: type[Row], key: Mapping[str, Any], **values: Any) -> tuple[Row, bool]:
    """The row with this unique key, and whether it was made here, with `values`; the caller commits.

    Whoever inserts the same key at the same moment is waited for, and their row is the one that is found.
    """
    named = select(model).filter_by(**key)
    found = session.scalar(named)
    if found is not None:
        return found, False
    session.flush()  # the caller's own faults stay outside the guard
    row = model(**key, **values)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        found = session.scalar(named)
        if found is None:
            raise  # another rule than the key's
        return found, False
    return row, True


def is_busy(error: BaseException | None) -> bool:
    """Whether a statement failed only because of what others do at this moment: locked, a deadlock, no connection free.

    The transaction is lost; the same again may well succeed.
    """
    if isinstance(error, NoConnection):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in SQLITE_BUSY
    if (state := getattr(error.orig, "sqlstate", None)) is not None:
        return state in POSTGRESQL_BUSY
    return bool(error.orig and error.orig.args and error.orig.args[0] in MYSQL_BUSY)


def keep_private(url: URL) -> None:
    """Take an SQLite file of an older start away from other users; a new one is made private by the umask.

    The files beside it (-wal, -shm) are made with its mode.
    """
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or not name or name.startswith((":", "file:")):
        return
    for path in (Path(name), Path(f"{name}-wal"), Path(f"{name}-shm")):
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(stat.S_IRUSR | stat.S_IWUSR)


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
