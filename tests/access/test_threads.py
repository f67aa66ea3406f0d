"""Many people at once in one process: what is kept between requests is never another's, nor in another's language."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.kept import kept_of
from tests.conftest import Actors
from tests.fixtures import full  # noqa: F401  (a fixture)

PAGES = {
    "operator": (
        "/",
        "/merchantview/list/",
        "/miniprogramview/list/",
        "/palette/start",
        "/dashboard/trends",
        "/tasks/",
        "/merchantview/list/?cols=state,name",
        "/notices/",
        "/account/preferences",
    ),
    "owner": (
        "/",
        "/myminiprogramview/list/",
        "/myversionview/list/",
        "/palette/start",
        "/tasks/",
        "/notices/",
        "/myminiprogramview/counts/",
        "/account/preferences",
    ),
}
CHANGING = re.compile(
    r"nonce(=|-)[\"']?[\w+/=-]+|(csrf[-_]token\"?[^>]*?(content|value)=)\"[^\"]*\"|value=\"[\w.-]{60,}\""
    r"|\"csrf[^\"]*\": ?\"[^\"]*\"|\d+ (秒|seconds?)[^<]*|/\d\d:\d\d:\d\d/"
)


def plain(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code in {200, 302, 404}, (path, answer.status)
    return CHANGING.sub("", answer.get_data(as_text=True))


def test_what_is_kept_between_requests_is_nobody_elses(
    app: Flask,
    session: Session,
    full: Actors,  # noqa: F811
    client_for: Callable[..., FlaskClient],
) -> None:
    people = []
    for language in ("zh", "en"):
        for role, merchant in (("operator", None), ("owner", full.alice), ("owner", full.bob)):
            client = client_for(role, merchant)
            client.set_cookie("locale", language)
            people.append((f"{role} {merchant} {language}", client, PAGES[role]))
    session.rollback()
    alone = {}
    for name, client, paths in people:
        for path in paths:
            kept_of(app).forget("parts")  # nothing that was made for anybody else
            alone[name, path] = plain(client, path)

    def walk(person: tuple[str, FlaskClient, tuple[str, ...]]) -> list[tuple[str, str]]:
        name, client, paths = person
        return [(name, path) for _ in range(4) for path in paths if plain(client, path) != alone[name, path]]

    with ThreadPoolExecutor(len(people)) as pool:
        different = [item for found in pool.map(walk, people) for item in found]
    assert not different
    for (name, path), text in alone.items():
        if name.startswith("owner"):
            other = full.bob if str(full.alice) in name else full.alice
            assert str(other) not in text, (name, path)
        if path == "/account/preferences":
            assert ('lang="en"' in text) == name.endswith("en"), (name, path)
