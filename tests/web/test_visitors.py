"""What a visitor's cookie may grow to."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import WebSession
from tests.conftest import refresh


def test_a_visitor_who_is_refused_often_keeps_a_small_cookie(app: Flask) -> None:
    client = app.test_client()
    for _ in range(80):
        client.get("/merchantview/list/")
    held = client.get_cookie("douzhou")
    assert held is None or len(held.value) < 1000


def test_a_user_who_is_refused_often_keeps_a_small_session(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("auditor")
    for _ in range(80):
        client.get("/loginas/1")
    refresh(session)
    assert max(len(row.data) for row in session.scalars(select(WebSession))) < 1000
