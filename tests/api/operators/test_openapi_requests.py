"""Requests made from the API's own description: what it allows and what it does not. None is answered with a 5xx.

Here as many as fit in SECONDS; `make bench-openapi` sends 100,000.
"""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from app.api.operators import operations as operations_api
from app.data.tenancy import PLATFORM, app_scope
from bench import openapi
from tests.world import build

pytestmark = pytest.mark.any_database(
    "answers are held against their schema; tests/security/test_filter_values.py asks with odd values"
)

REQUESTS, SECONDS = 10_000, 90.0
LEAST = 200  # however slow the machine is


def test_what_the_description_says_and_what_it_does_not_is_answered(
    app: Flask, sandbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(operations_api, "WAIT_SECONDS", 0)
    with app_scope(app, PLATFORM) as session:
        build(session)
    done = openapi.attack(app, REQUESTS, start=11, seconds=SECONDS)
    assert sum(found.answers.total() for found in done.values()) >= LEAST
    addresses = {path for found in done.values() for _method, path, _status in found.answers}
    assert len(addresses) > 8
    assert not [fault for found in done.values() for fault in found.faults]
