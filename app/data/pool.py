"""The connections of a process to its database: as many as its role needs, asked whether they live once they rested."""

from __future__ import annotations

import re
import time
from enum import IntEnum
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

log = structlog.get_logger(__name__)
RESTED = 1.0  # seconds
PATIENCE = 10.0  # seconds to wait for a connection: the web for one of its pool, all for a server that has none left
NOBODY_WAITS = 30.0  # seconds to wait for a connection of the pool where no person waits for an answer
PAUSE = 0.2  # between two tries
MYSQL_FULL = frozenset({1040, 1203, 1226})  # the server is; of this account, as a setting or as its own limit
POSTGRESQL_FULL = "53300"
# While a connection is made libpq gives no code, only the server's words in the server's language.
_FULL_IN_WORDS = re.compile(
    r"too many (clients|connections)|remaining connection slots"
    r"|\u592a\u591a\u7684\u5ba2\u6237|\u5df2\u4fdd\u7559\u7684\u8fde\u63a5"  # the same two in Chinese
)


class Room(IntEnum):
    """How many connections a process of a role has at most, on a server that many processes share.

    A thread takes one for moments only, none while HTTP waits: a few do for the 64 of a worker. The web's number
    follows its threads: each request has one from its beginning.
    """

    WORKER = 12
    SCHEDULER = 6


SPARE = 4  # for threads that have one and need a second: as long as there is one, none waits for itself


class Pool(QueuePool):
    """A pool whose `pre_ping` asks only connections that rested: one that was in use a moment ago is there, and the
    question would cost each check-out a round trip."""

    def _do_get(self) -> ConnectionPoolEntry:
        entry: Any = super()._do_get()
        rested = entry.info.get("rested")
        if rested is not None and time.monotonic() - rested <= RESTED:
            entry.fresh = True
        return entry  # type: ignore[no-any-return]

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        record.info["rested"] = time.monotonic()
        super()._do_return_conn(record)

    def change(self, size: int, timeout: float) -> None:
        """The pool that is made after this one has that size, and whoever waits for a connection that much time."""
        self._pool.maxsize, self._timeout = size, timeout


def init_app(app: Flask) -> None:
    """Say of what pool the engine is to be made, before it is: the web's, with room for what it has embedded."""
    size = app.config["WEB_THREADS"] + SPARE
    if _is_sqlite(app.config["SQLALCHEMY_DATABASE_URI"]):
        size += app.config["WORKER_THREADS"] + Room.SCHEDULER
    elif app.config["EMBEDDED"]:
        size += sum(Room)
    pool = {"poolclass": Pool, "pool_size": size, "max_overflow": 0, "pool_timeout": PATIENCE, "pool_use_lifo": True}
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = pool | app.config["SQLALCHEMY_ENGINE_OPTIONS"]


def _is_sqlite(url: Any) -> bool:
    """A connection to SQLite takes nothing from another process, and whoever waits for its one writer holds one: there
    each thread may have its own."""
    return make_url(url).get_backend_name() == "sqlite"


def limit(engine: Engine, room: Room) -> None:
    """Give this process no more connections than its role needs; at its start, before others of its threads ask."""
    if isinstance(engine.pool, Pool) and not _is_sqlite(engine.url):
        engine.pool.change(room, NOBODY_WAITS)
        engine.dispose()


def be_patient(engine: Engine) -> None:
    """Let whoever needs a new connection wait while the server has none left; safe to repeat."""
    if not event.contains(engine, "do_connect", _connect):
        event.listen(engine, "do_connect", _connect)


def _connect(dialect: Any, _entry: ConnectionPoolEntry, arguments: Any, named: dict[str, Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return dialect.connect(*arguments, **named)
        except dialect.loaded_dbapi.OperationalError as fault:
            if not is_full(fault) or time.monotonic() >= until:
                raise
            log.warning("database_full")
        time.sleep(PAUSE)


def is_full(fault: BaseException | None) -> bool:
    """Whether a driver's fault says that the server has no connection left."""
    if getattr(fault, "sqlstate", None) == POSTGRESQL_FULL:
        return True
    told = fault.args[0] if fault is not None and fault.args else None
    return told in MYSQL_FULL or (isinstance(told, str) and _FULL_IN_WORDS.search(told) is not None)
