"""What users, scripts and stored values rely on, frozen: a change of any of it is seen as a difference to agree to.

To agree: `REWRITE_SNAPSHOTS=1 pytest tests/project/test_snapshots.py`, then look at `git diff tests/project/snapshots`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.operations.registry import load
from tests.conftest import Actors
from tests.project import fab, shown

FOLDER = Path(__file__).with_name("snapshots")
PICTURES: dict[str, Callable[[shown.Seen], Any]] = {
    "roles": shown.roles,
    "may_submit": shown.may_submit,
    "openapi": shown.openapi,
    "menu": shown.menu,
    "routes": shown.routes,
    "screens": shown.screens,
    "commands": shown.commands,
    "operations": shown.operations,
    "schedule": shown.schedule,
    "tables": shown.tables,
    "logged": shown.logged,
    "settings": shown.settings,
    "fab": lambda _seen: fab.picture(),
}
pytestmark = pytest.mark.any_database("what is frozen is declared in code")


@pytest.fixture
def seen(app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]) -> shown.Seen:
    load()  # in its order, whatever a test before has put back where
    merchants = dict.fromkeys(shown.MERCHANT, actors.alice)
    return shown.Seen(app, {role: client_for(role, merchants.get(role)) for role in shown.ROLES}, actors)


def text_of(picture: Any) -> str:
    return json.dumps(picture, ensure_ascii=False, indent=1, sort_keys=True, default=str) + "\n"


@pytest.mark.parametrize("name", PICTURES)
def test_it_is_as_frozen(seen: shown.Seen, name: str) -> None:
    text, path = text_of(PICTURES[name](seen)), FOLDER / f"{name}.json"
    if os.environ.get("REWRITE_SNAPSHOTS") == "1":
        path.write_text(text)
    frozen = path.read_text().splitlines()
    assert text.splitlines() == frozen, "agree with REWRITE_SNAPSHOTS=1 pytest tests/project/test_snapshots.py"


def test_each_file_is_a_picture_and_none_names_a_module() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(PICTURES)
    modules = re.compile(r"\b(app|tests)\.[a-z_]+\.|<function|0x[0-9a-f]{6}")
    assert [path.name for path in FOLDER.iterdir() if modules.search(path.read_text())] == []
