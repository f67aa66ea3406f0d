"""How long each transaction holds SQLite's one write lock, and where it began: `make bench-writers ARGS="tests/api"`.

Runs tests with listeners on the engine. Prints the places whose transactions worked longest under the lock, in the
time of the processor (a busy machine changes nothing), with the longest work between two statements of one; the slow
things that were done meanwhile (tests hash passwords in no time, and their files are small); and the places that read
first and wrote later in a transaction that did not take the lock at its start: "database is locked" comes at once
there when another wrote.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 0.05  # seconds
DEFAULT = (
    "tests/operations",
    "tests/link",
    "tests/tasks",
    "tests/notices",
    "tests/api",
    "tests/console",
    "tests/views",
    "tests/jobs",
    "tests/cli",
)
SLOW = {
    "app.access.passwords": ("generate_password_hash", "check_password_hash", "zxcvbn"),
    "app.data.storage": ("put", "put_sealed", "open_file"),
    "app.tasks.importing.task": ("look",),
    "app.tasks.export": ("write_file",),
    "socket": ("getaddrinfo", "create_connection"),
    "subprocess": ("Popen",),
    "time": ("sleep",),
}
PASSED_BY = ("app/data/engine.py", "app/data/tenancy.py", "app/extensions.py")
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass
class _Open:
    """A transaction that is open on one connection."""

    place: str
    since: float
    last: float
    locked: bool
    thread: int = field(default_factory=threading.get_ident)
    gap: float = 0.0
    gap_place: str = ""
    has_read: bool = False


@dataclass
class Place:
    """All transactions that began at one place; seconds."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    gap: float = 0.0
    gap_place: str = ""


@dataclass
class Ledger:
    """What was seen so far."""

    places: dict[str, Place] = field(default_factory=lambda: defaultdict(Place))
    read_first: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    slow: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    open: dict[int, _Open] = field(default_factory=dict)


ledger = Ledger()


def _here() -> str:
    """The innermost line of the product that is being run."""
    for frame, line in traceback.walk_stack(None):
        name = frame.f_code.co_filename
        if not name.startswith(str(ROOT)) or ".venv" in name or name == __file__:
            continue
        short = name.removeprefix(f"{ROOT}/")
        if short.startswith("tests/"):
            break
        if short not in PASSED_BY:
            return f"{short}:{line} {frame.f_code.co_name}"
    return "tests"


def _before(connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
    held = ledger.open.get(id(connection.connection.dbapi_connection))
    if held is None:
        return
    now, verb = time.thread_time(), statement.lstrip()[:8].upper()
    if now - held.last > held.gap:
        held.gap, held.gap_place = now - held.last, _here()
    if not held.locked and verb.startswith(WRITES):
        if held.has_read:
            ledger.read_first[held.place, _here()] += 1
        held.locked, held.since = True, now
    held.has_read = held.has_read or verb.startswith("SELECT")


def _after(connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
    key, now = id(connection.connection.dbapi_connection), time.thread_time()
    if statement in {"BEGIN", "BEGIN IMMEDIATE"}:
        ledger.open[key] = _Open(_here(), now, now, locked=statement != "BEGIN")
    elif held := ledger.open.get(key):
        held.last = now


def _ends(name: str) -> None:
    inner = getattr(SQLiteDialect_pysqlite, name)

    def end(self: Any, connection: Any) -> None:
        inner(self, connection)
        held = ledger.open.pop(id(getattr(connection, "dbapi_connection", connection)), None)
        if held is None or not held.locked:
            return
        now, place = time.thread_time(), ledger.places[held.place]
        place.count, place.total = place.count + 1, place.total + now - held.since
        if now - held.since > place.longest:
            place.longest, place.gap, place.gap_place = now - held.since, held.gap, held.gap_place

    setattr(SQLiteDialect_pysqlite, name, end)


def _watch(owner: Any, name: str) -> None:
    """Note when something slow is done by a thread that has the lock."""
    inner = getattr(owner, name)

    @wraps(inner)
    def watched(*arguments: Any, **options: Any) -> Any:
        for held in list(ledger.open.values()):
            if held.locked and held.thread == threading.get_ident():
                ledger.slow[held.place, f"{name} at {_here()}"] += 1
        return inner(*arguments, **options)

    setattr(owner, name, watched)


def pytest_configure() -> None:
    _watch(HTTPAdapter, "send")
    for module, names in SLOW.items():
        for name in names:
            _watch(import_module(module), name)
    event.listen(Engine, "before_cursor_execute", _before)
    event.listen(Engine, "after_cursor_execute", _after)
    for name in ("do_commit", "do_rollback"):
        _ends(name)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    say = terminalreporter.write_line
    say(f"Transactions that worked longer than {SHOWN * 1000:.0f} ms under the write lock, by where they began:")
    say("  longest ms   mean ms   count  began / its longest work between two statements, before")
    for name, place in sorted(ledger.places.items(), key=lambda pair: -pair[1].longest):
        if place.longest > SHOWN and name != "tests":
            mean = place.total / place.count * 1000
            say(f"  {place.longest * 1000:10.0f} {mean:9.1f} {place.count:7}  {name}")
            say(f"  {'':28}  {place.gap * 1000:.0f} ms, {place.gap_place}")
    say("Slow things under the lock:")
    for (began, done), count in sorted(ledger.slow.items()):
        if began != "tests":
            say(f"  {count:5} {began} -> {done}")
    say("Read first and written later without the lock:")
    for (began, wrote), count in sorted(ledger.read_first.items()):
        if "tests" not in {began, wrote}:
            say(f"  {count:5} {began} -> {wrote}")


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "bench.writers", "-p", "no:randomly", "--no-header", *(sys.argv[1:] or DEFAULT)]))
