"""Every order that a list or an API offers, and the one it begins with, follows an index: no table is sorted for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.console.base import MerchantFace
from app.extensions import db
from tests.conftest import PASSWORD, Actors

pytestmark = pytest.mark.any_database("the plans are SQLite's; the indexes are the same on all three")
SMALL = {  # tables that stay short whatever comes
    "industry": "dozens, made by hand",
    "third_party_app": "a few, made by hand",
    "template": "Douyin keeps 200 at most for each third-party app",
    "template_app": "as templates",
    "refused_push": "a ring of a hundred",
}


@contextmanager
def asked(engine: sa.Engine, table: str) -> Iterator[list[tuple[str, Any]]]:
    """The statements that read a page of a table in an order."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT") and re.search(rf"FROM {table}\b.*ORDER BY", statement, re.DOTALL):
            found.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def sorted_whole(plan: str, table: str) -> bool:
    """Whether SQLite sorts; a merchant's own rows, or those that belong to nobody, are few and may be."""
    own = re.search(rf"SEARCH {table} USING (COVERING )?INDEX \w+ \(merchant_id=\?", plan)
    return "TEMP B-TREE" in plan and own is None


class Explained:
    """Asks for pages, and has SQLite explain what they read."""

    def __init__(self, app: Flask) -> None:
        with app.app_context():
            self.engine = db.engine
        self.unserved: list[tuple[str, str]] = []
        self.count = 0

    def look(self, client: FlaskClient, address: str, table: str, **headers: str) -> None:
        with asked(self.engine, table) as statements:
            answer = client.get(address, headers=headers)
        assert (answer.status_code, len(statements) >= 1) == (200, True), address
        with self.engine.connect() as connection:
            for statement, parameters in statements:
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                plan = " / ".join(row[3] for row in rows)
                self.count += 1
                if sorted_whole(plan, table):
                    self.unserved.append((address, plan))


@pytest.fixture
def explained(app: Flask) -> Explained:
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        return Explained(app)
    pytest.skip("plans are read on SQLite")


def views(app: Flask, *needed: str) -> list[Any]:
    found = [view for view in app.appbuilder.baseviews if all(hasattr(view, name) for name in needed)]  # type: ignore[attr-defined]
    return [view for view in found if view.datamodel.obj.__tablename__ not in SMALL]


def test_every_order_of_every_list_follows_an_index(
    app: Flask, explained: Explained, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    platform, owner = client_for("platform_admin"), client_for("owner", actors.alice)
    for view in views(app, "list_columns", "order_columns", "base_order", "include_route_methods", "quick_columns"):
        client, table = owner if isinstance(view, MerchantFace) else platform, view.datamodel.obj.__tablename__
        explained.look(client, f"{view.route_base}/list/", table)
        for column in view.order_columns:
            for way in ("", "-"):
                explained.look(client, f"{view.route_base}/list/?order={way}{column}", table)
    assert explained.count >= 50
    assert not explained.unserved, "\n".join(map(" ".join, explained.unserved))


def test_every_order_of_every_api_follows_an_index(
    app: Flask, explained: Explained, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client_for("platform_admin")
    client = app.test_client()
    body = {"username": "platform_admin0", "password": PASSWORD}
    token = client.post("/api/v1/security/login", json=body).get_json()["access_token"]
    for api in views(app, "order_columns", "max_page_size", "resource_name"):
        for column in api.order_columns:
            for way in ("asc", "desc"):
                address = f"{api.route_base}/?q=(order_column:{column},order_direction:{way})"
                explained.look(client, address, api.datamodel.obj.__tablename__, Authorization=f"Bearer {token}")
    assert explained.count >= 6
    assert not explained.unserved, "\n".join(map(" ".join, explained.unserved))


def test_the_tables_that_may_be_sorted_are_tables_of_lists(app: Flask) -> None:
    listed = {view.datamodel.obj.__tablename__ for view in app.appbuilder.baseviews if hasattr(view, "datamodel")}  # type: ignore[attr-defined]
    assert set(SMALL) <= listed


@pytest.mark.parametrize(
    ("plan", "whole"),
    [
        ("SCAN version USING INDEX ix_version_uploaded_at", False),
        ("SCAN version / USE TEMP B-TREE FOR ORDER BY", True),
        ("SCAN version USING INDEX ix_state / USE TEMP B-TREE FOR RIGHT PART OF ORDER BY", True),
        ("SEARCH version USING INDEX ix_version_merchant_id (merchant_id=?) / USE TEMP B-TREE FOR ORDER BY", False),
        ("SEARCH version USING INDEX ix_version_merchant_id (merchant_id>?) / USE TEMP B-TREE FOR ORDER BY", True),
    ],
)
def test_what_counts_as_sorting(plan: str, whole: bool) -> None:
    assert sorted_whole(plan, "version") is whole
