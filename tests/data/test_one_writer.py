"""SQLite has one writer: whoever only reads does not wait for it, whatever it is at."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.access import passwords
from app.data import engine, storage
from app.data.engine import is_busy, reading, writing
from app.data.tenancy import PLATFORM, app_scope, platform_look
from app.extensions import db
from app.link.connection import bind_app
from app.link.refresh import _access_tokens_due, _component_due, _refresh_tokens_due
from app.models import Industry, User
from app.operations.onboarding import arrival
from app.operations.onboarding.outcome import Ending
from app.tasks.importing import task
from tests.conftest import Launch, SandboxServer, csrf_token, refresh
from tests.operations.shop import Shop

SOON = 300  # milliseconds; what waits for the writer fails after these


@pytest.fixture
def busy(app: Flask) -> Iterator[Callable[[], Any]]:
    """After `busy()` somebody else has the only write lock, and nobody waits long for it."""
    with app.app_context():
        engine = db.engine
    if engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has one writer")

    def hurry(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA busy_timeout={SOON}")

    event.listen(engine, "checkout", hurry)
    writer = sqlite3.connect(str(engine.url.database), isolation_level=None)

    def begin() -> None:
        writer.execute("BEGIN IMMEDIATE")

    yield begin
    writer.close()
    event.remove(engine, "checkout", hurry)
    engine.dispose()  # with the connections that were told to hurry


def lists(app: Flask) -> list[str]:
    rules = [rule for rule in app.url_map.iter_rules() if str(rule.endpoint).endswith(".list") and not rule.arguments]
    return sorted(str(rule) for rule in rules)


def test_no_list_waits_for_the_one_writer(
    app: Flask, launch: Launch, client_for: Callable[..., FlaskClient], busy: Callable[[], Any]
) -> None:
    client = client_for("platform_admin")
    assert client.get("/").status_code == 200
    pages = lists(app)
    assert len(pages) > 10
    busy()
    answers = {page: client.get(page).status_code for page in ["/", *pages]}
    assert {page: code for page, code in answers.items() if code >= 500} == {}


@pytest.mark.parametrize("page", ["/healthz", "/readyz", "/metrics"])
def test_no_watchman_waits_for_the_one_writer(app: Flask, launch: Launch, busy: Callable[[], Any], page: str) -> None:
    busy()
    assert app.test_client().get(page).status_code == 200


def test_whoever_asks_for_what_is_due_does_not_wait(app: Flask, launch: Launch, busy: Callable[[], Any]) -> None:
    owner_id = launch.third_party_app.id
    busy()
    bind_app(app, owner_id)
    assert _component_due(app) == []
    assert _refresh_tokens_due(app) == []
    assert _access_tokens_due(app) == []


def test_a_page_of_a_return_that_is_over_does_not_wait(
    app: Flask, session: Session, sandbox: SandboxServer, launch: Launch, busy: Callable[[], Any]
) -> None:
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    shop = Shop(app, session, sandbox, launch.third_party_app, launch.merchant, appid)
    with writing():
        link = shop.link()
    state, code = shop.consent(link)
    assert shop.back(state, code).ok
    busy()
    assert arrival.complete(app, state, code).ending is Ending.LINKED
    assert arrival.complete(app, state, "").ending is Ending.LINKED


@pytest.fixture
def under_the_lock(app: Flask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Slow things that were done while the session of the request had a transaction open."""
    found: list[str] = []

    def watch(module: Any, name: str) -> None:
        inner = getattr(module, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if db.session.registry.has() and db.session().in_transaction():
                found.append(name)
            return inner(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    watch(passwords, "generate_password_hash")
    watch(passwords, "check_password_hash")
    watch(task, "look")
    watch(storage, "put_sealed")
    watch(storage, "read_sealed")
    return found


def test_no_password_is_hashed_under_the_lock(
    client_for: Callable[..., FlaskClient], session: Session, under_the_lock: list[str]
) -> None:
    client = client_for("platform_admin")
    form = {"username": "newcomer", "full_name": "新人", "email": "", "roles": "operator"}
    made = client.post("/users/add", data=form | {"csrf_token": csrf_token(client, "/users/add")})
    assert made.status_code == 200 and "newcomer" in made.text
    refresh(session)
    key = session.scalars(select(User.id).where(User.username == "newcomer")).one()
    page = f"/users/reset/{key}"
    assert client.post(page, data={"csrf_token": csrf_token(client, page)}).status_code == 200
    assert under_the_lock == []


def test_no_file_is_looked_at_under_the_lock(
    client_for: Callable[..., FlaskClient], launch: Launch, under_the_lock: list[str]
) -> None:
    """`launch` brings the industry: rows that are refused would be kept together with the chunk's end."""
    client = client_for("platform_admin")
    page = "/merchantview/import"
    text = "商户名称,行业\n花店,鲜花\n".encode()
    form = {"csrf_token": csrf_token(client, page), "mode": "both", "file": (io.BytesIO(text), "a.csv")}
    answer = client.post(page, data=form, content_type="multipart/form-data")
    assert answer.status_code == 302
    assert under_the_lock == []


def rename(app: Flask, number: int, name: str) -> None:
    """In a transaction of another's, committed at once."""
    with app_scope(app, PLATFORM) as session:
        session.get_one(Industry, number).name = name
        session.commit()


@pytest.mark.parametrize("guarded", [False, True])
def test_what_only_read_may_come_to_write_although_another_wrote_meanwhile(
    app: Flask, session: Session, guarded: bool
) -> None:
    rows = [Industry(name="鲜花"), Industry(name="茶叶")]
    session.add_all(rows)
    session.commit()
    first, second = (row.id for row in rows)
    with app_scope(app, PLATFORM) as mine, reading():
        assert mine.get_one(Industry, first).name == "鲜花"
        rename(app, first, "花店")
        with mine.begin_nested() if guarded else nullcontext():
            mine.get_one(Industry, second).name = "茶庄"
            mine.flush()
        mine.commit()
    refresh(session)
    assert {row.id: row.name for row in session.scalars(select(Industry))} == {first: "花店", second: "茶庄"}


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        ("SELECT 1", False),
        ("(SELECT 1) UNION SELECT 2", False),
        ("\n  select id from industry", False),
        ("WITH one AS (SELECT 1) SELECT * FROM one", False),
        ("WITH one AS (SELECT 1)\nUPDATE industry SET name = 'x'", True),
        ("PRAGMA busy_timeout", False),
        ("UPDATE industry SET name = 'x'", True),
        ("INSERT INTO industry (name) SELECT 'x'", True),
        ("delete from industry", True),
        ("CREATE TABLE x (y)", True),
        ("SAVEPOINT one", True),
    ],
)
def test_what_writes_is_told_by_its_first_word(statement: str, writes: bool) -> None:
    assert (engine._WRITES.match(statement) is not None) == writes


def test_the_lock_that_is_not_had_in_time_is_told_as_busy(app: Flask, busy: Callable[[], Any]) -> None:
    busy()
    with app_scope(app, PLATFORM) as session, pytest.raises(OperationalError) as caught:
        session.execute(select(Industry.id))
    assert is_busy(caught.value)


def test_a_look_stands_alone_and_leaves_no_transaction_open(app: Flask, session: Session) -> None:
    session.add(Industry(name="鲜花"))
    session.commit()
    number = session.scalars(select(Industry.id)).one()
    with platform_look(app) as asks:
        names = []
        for name in ("花店", "花坊"):
            rename(app, number, name)
            names.append(asks.execute(select(Industry.__table__.c.name)).scalar_one())
    if session.get_bind().dialect.name != "mysql":  # there a look has a transaction, and sees what it saw first
        assert names == ["花店", "花坊"]
    refresh(session)
    assert session.scalars(select(Industry.name)).one() == "花坊"


def test_a_look_keeps_nobody_from_writing_and_the_connection_is_as_before(app: Flask, session: Session) -> None:
    for _ in range(30):  # more than the pool has connections
        with platform_look(app) as asks:
            asks.execute(select(Industry.__table__.c.name)).all()
    with app_scope(app, PLATFORM) as mine:
        mine.add(Industry(name="鲜花"))
        mine.flush()
        mine.rollback()
    refresh(session)
    assert session.scalars(select(Industry.name)).all() == []
