"""People at the door: a POST with its token, a log-in, a JWT, a link that sets a password."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.models import AuditEntry, User
from tests.conftest import PASSWORD, csrf_token


def post(client: FlaskClient, path: str, page: str = "", **data: Any) -> Any:
    """POST a form as its page would: with the page's token."""
    return client.post(path, data=data | {"csrf_token": csrf_token(client, page or path)})


def attempt(client: FlaskClient, name: str, password: str = PASSWORD, path: str = "/login/") -> Any:
    return post(client, path, username=name, password=password)


def token(client: FlaskClient, name: str, password: str = PASSWORD, **more: Any) -> Any:
    return client.post("/api/v1/security/login", json={"username": name, "password": password, **more})


def bearer(client: FlaskClient, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(client, name).get_json()['access_token']}"}


NEW = "quiet lamps drift 河流"
LINK, SET = "/login/link", "/login/link/password"


def token_of(page: Any) -> str:
    """The token of the link that a page shows once."""
    shown = re.search(r'class="shown-once">http://[^<#]+/login/link#(dz_[0-9A-Za-z]{40})<', page.get_data(as_text=True))
    assert shown is not None, page.get_data(as_text=True)[:500]
    return shown[1]


def open_link(client: FlaskClient, token: str) -> Any:
    """What the page behind a link does: it gives the token by its form."""
    return post(client, LINK, token=token)


def set_password(client: FlaskClient, token: str, password: str) -> Any:
    assert open_link(client, token).headers["Location"] == SET
    return post(client, SET, password=password, again=password)


def found(session: Session, name: str) -> User:
    """The user of a name; a merchant's also by the name without what is added to it."""
    session.rollback()
    named = or_(User.username == name, User.username.startswith(f"{name}@", autoescape=True))
    return session.scalars(select(User).where(named).execution_options(populate_existing=True)).one()


def audit(session: Session, action: str) -> list[AuditEntry]:
    session.rollback()
    return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id)))
