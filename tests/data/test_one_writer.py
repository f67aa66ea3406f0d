"""SQLite has one writer: whoever only reads does not wait for it, whatever it is at."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.access import passwords
from app.data import storage
from app.data.engine import writing
from app.extensions import db
from app.link.connection import bind_app
from app.link.refresh import _access_tokens_due, _component_due, _refresh_tokens_due
from app.models import User
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
