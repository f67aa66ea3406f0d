"""The frame that is kept from page to page belongs to its reader, and holds no request's secrets."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

import app.console.kept  # noqa: F401
from app.kept import kept_of
from tests.conftest import Actors
from tests.pages import text_of

kept = sys.modules["app.console.kept"]  # the name in the package is the function


def test_each_reader_gets_the_menu_of_their_own_roles(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    admin, owner = client_for("platform_admin"), client_for("owner", actors.alice)
    for _ in range(2):
        pages = text_of(admin, "/account/"), text_of(owner, "/account/")
        assert ["/merchantview/list/" in page for page in pages] == [True, False]
        assert ["/mymini" in page for page in pages] == [False, True]


def test_two_readers_of_one_role_share_neither_name_nor_token(client_for: Callable[..., FlaskClient]) -> None:
    first, second = client_for("operator"), client_for("operator")
    tokens = set()
    for client, name, other in ((first, "operator0", "operator1"), (second, "operator1", "operator0")) * 2:
        page = text_of(client, "/jobs/")
        bar = page[page.index('<div class="bar-tools">') : page.index("</header>")]
        assert name in bar
        assert other not in bar
        tokens.add((name, re.findall(r'name="csrf_token" value="([^"]+)"', bar)[0].split(".")[0]))
        assert kept.TOKEN not in page
        assert kept.NONCE not in page
    assert len({token for _name, token in tokens}) == 2


def test_no_more_parts_are_kept_than_the_limit(app: Flask, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(kept, "MOST", 3)
    with app.test_request_context("/"):
        kept_of(app).forget("parts")
        assert [kept.once((number,), lambda number=number: f"made {number}") for number in range(9)][-1] == "made 8"
        assert len(kept_of(app).get("parts")) == 3
        assert kept.once((8,), lambda: "made again") == "made 8"
        assert kept.once((0,), lambda: "made again") == "made again"
        kept_of(app).forget("parts")
