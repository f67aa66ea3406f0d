"""Connections: no more than a role needs, asked whether they live only after a rest, waited for when there are none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from app.data import pool
from app.data.engine import is_busy
from app.extensions import db

ONE = sa.select(sa.literal(1))
SERVER = "postgresql+psycopg://nobody@127.0.0.1/none"  # of which nobody asks anything
ALL_BUT_MINE = {
    "postgresql": (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ),
    "mysql": "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=pool.Pool, pool_size=2, pool_pre_ping=True)
    yield made
    made.dispose()


@pytest.fixture
def pings(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []
    ping = engine.dialect.do_ping
    monkeypatch.setattr(engine.dialect, "do_ping", lambda connection: asked.append(connection) or ping(connection))
    return asked


def use(engine: Engine) -> Any:
    with engine.connect() as connection:
        assert connection.scalar(ONE) == 1
        return connection.connection.dbapi_connection


def test_a_connection_that_was_in_use_a_moment_ago_is_not_asked_whether_it_lives(
    engine: Engine, pings: list[object]
) -> None:
    assert use(engine) is use(engine)
    assert pings == []


def test_a_connection_that_rested_is_asked(
    engine: Engine, pings: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = use(engine)
    monkeypatch.setattr(pool, "RESTED", -1.0)
    assert use(engine) is first
    assert pings == [first]


def test_one_that_died_at_rest_is_replaced(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = use(engine)
    first.close()
    monkeypatch.setattr(pool, "RESTED", -1.0)
    monkeypatch.setattr(engine.dialect, "is_disconnect", lambda *_: True)  # a file has no line that breaks
    assert use(engine) is not first


def test_what_a_server_cut_while_it_rested_is_replaced(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        name, own = db.engine.dialect.name, db.engine
    if name == "sqlite":
        pytest.skip("no server to cut anything: the test before")
    use(own)
    monkeypatch.setattr(pool, "RESTED", -1.0)
    cutting = sa.create_engine(own.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with cutting.connect() as connection:
        cut = list(connection.exec_driver_sql(ALL_BUT_MINE[name]).scalars())
        for number in cut if name == "mysql" else ():
            connection.exec_driver_sql(f"KILL {number}")
    assert cut
    assert use(own)


def full() -> sqlite3.OperationalError:
    return sqlite3.OperationalError(1040, "Too many connections")


def test_a_server_that_has_no_connection_left_is_waited_for(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals, connect = [full(), full()], engine.dialect.connect

    def refuses(*arguments: Any, **named: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return connect(*arguments, **named)

    monkeypatch.setattr(engine.dialect, "connect", refuses)
    monkeypatch.setattr(pool, "PAUSE", 0.0)
    pool.be_patient(engine)
    use(engine)
    assert refusals == []


def test_it_is_not_waited_for_without_end_and_then_said_to_be_busy(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_arguments: Any, **_named: Any) -> Any:
        raise full()

    monkeypatch.setattr(engine.dialect, "connect", refuses)
    monkeypatch.setattr(pool, "PATIENCE", 0.0)
    pool.be_patient(engine)
    with pytest.raises(OperationalError) as raised:
        use(engine)
    assert is_busy(raised.value)


def test_what_a_server_at_its_limit_says_is_understood(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an account that may have one connection; it is given back while the second one waits."""
    with app.app_context():
        name, url, admin = db.engine.dialect.name, db.engine.url, db.engine
    if name == "sqlite":
        pytest.skip("a file has no limit")
    who = "limited" if name == "postgresql" else "limited@127.0.0.1"
    limit = "LOGIN CONNECTION LIMIT 1" if name == "postgresql" else "WITH MAX_USER_CONNECTIONS 1"
    kind = "ROLE" if name == "postgresql" else "USER"
    with admin.begin() as connection:
        connection.exec_driver_sql(f"DROP {kind} IF EXISTS {who}")
        connection.exec_driver_sql(f"CREATE {kind} {who} {limit}")
    there = url.set(username="limited", database="postgres" if name == "postgresql" else "")
    one, other = (sa.create_engine(there, poolclass=sa.NullPool) for _ in range(2))
    pool.be_patient(other)
    held = one.connect()
    monkeypatch.setattr("app.data.pool.time.sleep", lambda _seconds: held.close())
    try:
        assert use(other)
        assert held.closed
    finally:
        held.close()
        with admin.begin() as connection:
            connection.exec_driver_sql(f"DROP {kind} {who}")


def sized(url: str = SERVER, *, embedded: bool = False) -> int:
    app = Flask("sized")
    app.config.update(WEB_THREADS=16, WORKER_THREADS=64, EMBEDDED=embedded)
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS={})
    pool.init_app(app)
    options = app.config["SQLALCHEMY_ENGINE_OPTIONS"]
    return int(options["pool_size"] + options["max_overflow"])


def test_two_web_processes_two_workers_and_a_scheduler_have_eighty_connections_at_most() -> None:
    assert sized() > 16
    assert 2 * sized() + 2 * pool.Room.WORKER + pool.Room.SCHEDULER <= 80


def test_a_process_that_embeds_the_others_has_room_for_them_and_on_sqlite_for_each_thread() -> None:
    assert sized(embedded=True) == sized() + sum(pool.Room)
    assert sized("sqlite:///x.db") >= 16 + 64


@pytest.mark.parametrize("room", pool.Room)
def test_a_role_has_its_own_number_of_connections(room: pool.Room) -> None:
    engine = sa.create_engine(SERVER, poolclass=pool.Pool, pool_size=20, max_overflow=0)
    pool.limit(engine, room)
    assert isinstance(engine.pool, pool.Pool)
    assert (engine.pool.size(), engine.pool._max_overflow, engine.pool.timeout()) == (room, 0, 30)


def test_an_sqlite_file_keeps_its_pool(engine: Engine) -> None:
    pool.limit(engine, pool.Room.WORKER)
    assert isinstance(engine.pool, pool.Pool)
    assert engine.pool.size() == 2
