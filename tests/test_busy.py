"""A database that is busy with others: never a 500, and words that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pymysql
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg import errors as postgresql
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session

from app.access.sessions import ServerSessions
from app.data.engine import is_busy
from app.extensions import db
from app.models import Industry
from tests.people import bearer

View = Callable[..., Any]


def wrapped(cause: Exception) -> OperationalError:
    return OperationalError("UPDATE secret_table SET x=1", {}, cause)


def of_sqlite(code: int) -> OperationalError:
    cause = sqlite3.OperationalError("database is locked")
    cause.sqlite_errorcode = code
    return wrapped(cause)


BUSY = [
    of_sqlite(sqlite3.SQLITE_BUSY),
    of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT),
    of_sqlite(sqlite3.SQLITE_LOCKED),
    wrapped(postgresql.SerializationFailure()),
    wrapped(postgresql.DeadlockDetected()),
    wrapped(postgresql.LockNotAvailable()),
    wrapped(pymysql.err.OperationalError(1205, "Lock wait timeout exceeded", sqlstate="HY000")),
    wrapped(pymysql.err.OperationalError(1213, "Deadlock found")),
    NoConnection("QueuePool limit"),
    wrapped(postgresql.TooManyConnections()),
    wrapped(psycopg.OperationalError("connection failed: FATAL:  sorry, too many clients already")),
    wrapped(psycopg.OperationalError("connection failed: 致命错误:  对不起, 已经有太多的客户了")),
    wrapped(pymysql.err.OperationalError(1040, "Too many connections")),
]
FAULTS = [
    of_sqlite(sqlite3.SQLITE_FULL),
    wrapped(postgresql.UndefinedTable()),
    wrapped(pymysql.err.OperationalError(2013, "Lost connection")),
    wrapped(psycopg.OperationalError("connection failed: Connection refused")),
    wrapped(ValueError()),
    ValueError("locked"),
]


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_what_others_do_at_this_moment_is_busy(error: Exception) -> None:
    assert is_busy(error)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_is_not_busy(error: Exception) -> None:
    assert not is_busy(error)


@pytest.fixture
def serving(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[View], FlaskClient]:
    """A client for whom /readyz is the given view; unhandled errors are answered as in production."""

    def make(view: View) -> FlaskClient:
        endpoint = next(rule.endpoint for rule in app.url_map.iter_rules() if str(rule) == "/readyz")
        monkeypatch.setitem(app.view_functions, endpoint, view)
        monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
        return app.test_client()

    return make


def writes_beside_another() -> str:
    """Somebody has the one write lock for longer than anybody waits."""
    from app.data.tenancy import PLATFORM, set_scope

    if "scope" not in db.session().info:
        set_scope(db.session(), PLATFORM)
    db.session.connection().exec_driver_sql("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(str(db.engine.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        db.session.add(Industry(name="鲜花"))
        db.session.commit()
    return "done"


def test_a_lock_that_is_not_waited_for_is_answered_with_what_to_do(
    serving: Callable[[View], FlaskClient], session: Session
) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has one writer")
    answer = serving(writes_beside_another).get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["Refresh"]) == (503, "2", "2")
    assert "系统繁忙" in answer.text
    db.engine.dispose()  # the connection that was told to hurry
    assert session.scalars(select(Industry.name)).all() == []


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_each_database_is_answered_alike(serving: Callable[[View], FlaskClient], error: Exception) -> None:
    def view() -> str:
        raise error

    answer = serving(view).get("/readyz")
    assert (answer.status_code, "secret_table" in answer.text) == (503, False)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_stays_a_fault(serving: Callable[[View], FlaskClient], error: Exception) -> None:
    def view() -> str:
        raise error

    answer = serving(view).get("/readyz")
    assert (answer.status_code, "Retry-After" in answer.headers) == (500, False)


def test_a_machine_is_told_in_json(
    app: Flask, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_for("operator")
    held = bearer(client, "operator0")

    def busy(*_: object, **__: object) -> None:
        raise of_sqlite(sqlite3.SQLITE_BUSY)

    view = next(one for one in app.appbuilder.baseviews if one.__class__.__name__ == "MerchantApi")  # type: ignore[attr-defined]
    monkeypatch.setattr(view.datamodel, "query", busy)
    answer = client.get("/api/v1/merchants/", headers=held)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert answer.headers["Retry-After"] == "2"
    assert "Refresh" not in answer.headers


def test_a_lock_while_the_session_is_saved_is_no_fault_either(
    app: Flask, monkeypatch: pytest.MonkeyPatch, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    faults = iter([of_sqlite(sqlite3.SQLITE_BUSY)])
    save = ServerSessions.save_session

    def busy(*arguments: Any) -> None:
        if fault := next(faults, None):
            raise fault
        save(*arguments)

    monkeypatch.setattr(ServerSessions, "save_session", busy)
    assert client.get("/merchantview/list/").status_code == 503
