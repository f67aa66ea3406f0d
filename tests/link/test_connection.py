"""The one connection to Douyin: made of the settings, and bound to the credentials of a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.link import connection
from app.link.keeper import AppTokens
from app.link.pace import SharedPace
from tests.conftest import Launch, test_environment

ADDRESSES = {
    "DOUYIN_OPEN_URL": "http://127.0.0.1:1",
    "DOUYIN_MICROAPP_URL": "http://127.0.0.1:2",
    "DOUYIN_TOUTIAO_URL": "http://127.0.0.1:3",
}


def made(folder: Path, **settings: str) -> Flask:
    """An application of its own, over a database without a table."""
    return create_app(test_environment(f"sqlite:///{folder / 'own.db'}", "http://127.0.0.1:9") | settings, TESTING=True)


@pytest.mark.parametrize(("rate", "paced"), [("50", True), ("0", False)])
def test_the_client_is_made_of_the_settings(tmp_path: Path, rate: str, paced: bool) -> None:
    settings = ADDRESSES | {"DOUYIN_TIMEOUT": "7.5", "DOUYIN_RATE": rate}
    app = made(tmp_path, **settings)
    client = connection.client(app)
    assert client is connection.client(app) and client.timeout == 7.5 and client.on_call is not None
    assert {host.value: url for host, url in client.urls.items()} == {
        "open": ADDRESSES["DOUYIN_OPEN_URL"],
        "microapp": ADDRESSES["DOUYIN_MICROAPP_URL"],
        "toutiao": ADDRESSES["DOUYIN_TOUTIAO_URL"],
    }
    assert client.gate is connection.breaker(app) and connection.breaker(app).client is client
    assert isinstance(client.pace, SharedPace) is paced
    if paced:
        assert client.pace._app is app and client.pace._rate == 50


def tokens_of(app: Flask, row: Any) -> AppTokens:
    with app_scope(app, PLATFORM) as session:
        bound = connection.bind(session, session.get_one(type(row), row.id)).tokens
        session.rollback()
    assert isinstance(bound, AppTokens)
    return bound


def test_a_mini_program_is_bound_with_what_it_was_granted(app: Flask, session: Session, launch: Launch) -> None:
    launch.mini_program.permissions = [1, 5]
    session.commit()
    found = tokens_of(app, launch.mini_program)
    assert (found.component_appid, found.appid) == (launch.third_party_app.appid, launch.mini_program.appid)
    assert found.granted == frozenset({1, 5})


def test_what_was_granted_is_not_known_of_a_mini_program_without_a_list(
    app: Flask, session: Session, launch: Launch
) -> None:
    launch.mini_program.permissions = []
    session.commit()
    assert tokens_of(app, launch.mini_program).granted is None


def test_a_third_party_app_is_bound_by_its_row_or_number_alike(app: Flask, launch: Launch) -> None:
    found = tokens_of(app, launch.third_party_app)
    by_number = connection.bind_app(app, launch.third_party_app.id).tokens
    assert isinstance(by_number, AppTokens)
    for tokens in (found, by_number):
        assert (tokens.component_appid, tokens.appid) == (launch.third_party_app.appid, None)


def test_flushing_before_the_first_call_writes_nothing(tmp_path: Path) -> None:
    app = made(tmp_path)
    assert connection.flush_calls(app) == 0
