"""The engine as the product needs it: SQLite in WAL with full durability, and write locks taken at the start."""

from __future__ import annotations

import re
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import URL, CursorResult, Delete, Index, Table, UniqueConstraint, Update, event, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from app.data.pool import is_full

Row = TypeVar("Row")
INDEX = "search_"  # what the name of a table's text index begins with
MAPPED = 256 * 1024 * 1024  # bytes of an SQLite file that a connection may map
SQLITE_BUSY = frozenset({5, 6})  # busy (whatever its further reason), locked
POSTGRESQL_BUSY = frozenset({"40001", "40P01", "55P03"})  # not serialisable, deadlock, lock not had in time
MYSQL_BUSY = frozenset({1205, 1213})  # lock not had in time, deadlock
POSTGRESQL_TAKEN, POSTGRESQL_LONGEST = "23505", 63  # a value that must differ does not; characters of a rule's name
MYSQL_TAKEN = 1062
_WRITTEN = re.compile(r"(?i)\s*(?:INSERT(?:\s+IGNORE)?\s+INTO|UPDATE)\s+[`\"]?(\w+)")
_WRITES = re.compile(r"(?i)[\s(]*(?!SELECT\b|PRAGMA\b|WITH\b(?!.*\b(?:INSERT|UPDATE|DELETE)\b))\w", re.DOTALL)
_READS = "only_reads"  # in a connection's info: its transaction was begun for reading
_SCHEMA = "schema_seen"  # its transaction has looked at the schema


class Reads(IntEnum):
    """How a transaction begins on SQLite."""

    NOT_ONLY = 0
    ONLY = 1
    ALONE = 2  # not at all: each statement stands alone


_reading: ContextVar[Reads] = ContextVar("reading", default=Reads.NOT_ONLY)


@contextmanager
def reading(*, enabled: bool = True) -> Iterator[None]:
    """Transactions begun inside take no write lock on SQLite until they write: for code that only reads, or whose rows
    have a version."""
    with _begun(Reads.ONLY if enabled else Reads.NOT_ONLY):
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Statements inside stand alone on SQLite, each with what it sees: for one that is all there is to ask."""
    with _begun(Reads.ALONE):
        yield


@contextmanager
def _begun(how: Reads) -> Iterator[None]:
    token = _reading.set(how)
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


def rows_changed(session: Session, statement: Update | Delete) -> int:
    """Execute a change that the database alone decides; how many rows it met. What the session holds stays."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount


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
    """Whether a statement failed only because of what others do at this moment: locked, a deadlock, no connection free
    here or at the server.

    The transaction is lost; the same again may well succeed.
    """
    if isinstance(error, NoConnection):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in SQLITE_BUSY
    if is_full(error.orig):
        return True
    if getattr(error.orig, "sqlstate", None) in POSTGRESQL_BUSY:
        return True
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


def _rules(table: Table) -> list[UniqueConstraint | Index]:
    constraints = [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    return [*constraints, *(index for index in table.indexes if index.unique)]


def taken(error: IntegrityError, table: Table) -> tuple[str, ...]:
    """The columns whose values another row of the table has already; empty for a fault of another kind or table.

    Told by the rule's name, or the columns that the database names: never by the words, in which values stand.
    """
    named = _broken(error.orig, str(error.statement))
    return next((columns for columns, names in _named_rules(table) if named in names), ())


def is_taken(error: IntegrityError) -> bool:
    """Whether a statement failed because another row, of whatever table, has a value that must differ."""
    return bool(_broken(error.orig, str(error.statement)))


def _broken(fault: Any, statement: str) -> str:
    """What a database calls the rule that was broken, as `_named_rules` does; empty for a rule of another kind."""
    if (told := getattr(fault, "diag", None)) is not None:  # psycopg
        unique = getattr(fault, "sqlstate", None) == POSTGRESQL_TAKEN
        return f"{told.table_name}.{told.constraint_name}" if unique else ""
    text = str(fault.args[-1]) if fault is not None and fault.args else ""
    if hasattr(fault, "sqlite_errorcode"):
        return text.partition("UNIQUE constraint failed: ")[2]
    if fault is None or fault.args[:1] != (MYSQL_TAKEN,):
        return ""
    name = text.rsplit("for key '", 1)[-1].rstrip("'").rpartition(".")[2]
    written = _WRITTEN.match(statement)  # MySQL names the table, too; MariaDB does not
    return f"{written[1]}.{name}" if written else ""


def _named_rules(table: Table) -> Iterator[tuple[tuple[str, ...], frozenset[str]]]:
    """The columns of each unique rule, and what the three databases call it: a rule without a name gets one."""
    for rule in _rules(table):
        columns = tuple(column.name for column in rule.columns)
        name = str(rule.name) if rule.name else f"{table.name}_{'_'.join(columns)}_key"[:POSTGRESQL_LONGEST]
        key = str(rule.name) if rule.name else columns[0]
        sqlite = ", ".join(f"{table.name}.{column}" for column in columns)
        yield columns, frozenset({f"{table.name}.{name}", f"{table.name}.{key}", sqlite})


def prepare(engine: Engine) -> None:
    """Attach the SQLite settings; other databases need none. Safe to repeat."""
    if engine.dialect.name != "sqlite":
        return
    listeners: tuple[tuple[str, Any], ...] = (
        ("connect", _settings),
        ("begin", _begin),
        ("before_cursor_execute", _before_statement),
        ("savepoint", _before_savepoint),
    )
    for name, listener in listeners:
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
    # Reading first and writing later in one deferred transaction fails when another wrote in between.
    connection.info[_READS] = reads = _reading.get()
    connection.info[_SCHEMA] = False
    if reads is not Reads.ALONE:
        _at_once(connection, "BEGIN" if reads else "BEGIN IMMEDIATE")


def _before_statement(
    connection: Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
) -> None:
    """What was begun for reading and comes to write goes on in a transaction that has the lock, as it would on the
    other databases: what was read is not held against changes, and rows with a version say whether it still stands."""
    writes = _WRITES.match(statement) is not None
    if writes and connection.info.get(_READS):
        _take_lock(connection)
    if (writes or INDEX in statement) and not connection.info.get(_SCHEMA):
        # A text index (FTS5) in a statement that is the first to see another's change of the schema: "no such table".
        connection.info[_SCHEMA] = True
        _at_once(connection, "SELECT 1 FROM sqlite_master LIMIT 0")


def _before_savepoint(connection: Connection, _name: str | None) -> None:
    if connection.info.get(_READS):
        _take_lock(connection)


def _take_lock(connection: Connection) -> None:
    if connection.info[_READS] is not Reads.ALONE:
        _at_once(connection, "COMMIT")
    connection.info[_READS] = Reads.NOT_ONLY
    _at_once(connection, "BEGIN IMMEDIATE")


def _at_once(connection: Connection, statement: str) -> None:
    """Past the layers: these go before every transaction."""
    try:
        connection.connection.cursor().execute(statement).close()
    except sqlite3.OperationalError as fault:
        raise OperationalError(statement, None, fault) from fault
