"""Helpers of the tests around the second factor and API keys: through the pages, as a person would."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pyotp
from flask import Flask
from flask.testing import FlaskClient

from app.data.clock import utcnow
from tests.conftest import PASSWORD
from tests.people import post

ENROL = "/account/two-factor/"
ADD_KEY = "/account/keys/add"
HALF = "/login/code"
SECURITY, CONFIRM = "/account/security", "/account/confirm"
OFF, CODES = "/account/two-factor/off", "/account/two-factor/codes"


def code_of(secret: str, *, steps: int = 0) -> str:
    """What an authenticator shows, `steps` half-minutes from now."""
    return pyotp.TOTP(secret).at(utcnow() + timedelta(seconds=30 * steps))


def secret_shown(client: FlaskClient) -> str:
    found = re.search(r'class="totp-secret">([A-Z2-7]{32})<', client.get(ENROL).get_data(as_text=True))
    assert found is not None
    return found[1]


def shown_once(answer: Any) -> list[str]:
    return re.findall(r'class="shown-once">([^<]+)<', answer.get_data(as_text=True))


def enrol(client: FlaskClient) -> tuple[str, list[str]]:
    """Turn the second factor on: the secret and the recovery codes. The code of this half-minute is used up."""
    post(client, ENROL, step="begin")
    secret = secret_shown(client)
    answer = post(client, ENROL, code=code_of(secret))
    codes = shown_once(answer)
    assert len(codes) == 10, answer.get_data(as_text=True)[:500]
    return secret, codes


def give_password(client: FlaskClient, name: str, password: str = PASSWORD) -> Any:
    return post(client, "/login/", username=name, password=password)


def give_code(client: FlaskClient, code: str) -> Any:
    return post(client, "/login/code", code=code)


def make_key(client: FlaskClient, *, scope: str = "read", days: str = "90", name: str = "脚本") -> str:
    answer = post(client, ADD_KEY, name=name, scope=scope, days=days)
    assert answer.status_code == 200, answer.get_data(as_text=True)[:500]
    [text] = shown_once(answer)
    return text


def with_key(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def in_half(app: Flask, name: str) -> FlaskClient:
    """A browser whose password was right and whose code is awaited."""
    client = app.test_client()
    answer = give_password(client, name)
    assert (answer.status_code, answer.headers["Location"]) == (302, HALF)
    return client


def is_in(client: FlaskClient) -> bool:
    return client.get("/account/").status_code == 200
