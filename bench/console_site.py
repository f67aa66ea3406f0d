"""A console with many rows and someone signed in, asked as a WSGI application: what `console`, `search`, `dashboard`
and `rest` measure with."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import event
from sqlalchemy.engine import Engine
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.cli import setup as setting_up
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.factory import create_app
from tests.conftest import PASSWORD, log_in, test_environment

WARM_UP = 5
BEGIN = ("BEGIN", "PRAGMA", "ROLLBACK", "COMMIT")


class Answer(NamedTuple):
    """One page, in seconds: by the clock, and of this process's CPU (SQLite's is in it, a server's is not)."""

    wall: float
    cpu: float
    text: str


class Taken(NamedTuple):
    """What a page took, in milliseconds: the medians, and the slowest by the clock."""

    wall: float
    cpu: float
    worst: float
    statements: int
    kilobytes: float


@dataclass
class Site:
    """A WSGI application, a signed-in cookie or a token for its API, and what counts its statements."""

    call: Any
    cookie: str
    counted: Callable[[], Any]
    token: str = ""

    def get(self, path: str) -> Answer:
        """A page that is none ends the run."""
        environ = EnvironBuilder(path=path.split("?")[0], query_string=path.partition("?")[2]).get_environ()
        environ["HTTP_COOKIE"] = self.cookie
        if self.token:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {self.token}"
        started, spent = time.perf_counter(), time.process_time()
        body, status, _headers = run_wsgi_app(self.call, environ, buffered=True)
        text = b"".join(body)
        spent, started = time.process_time() - spent, time.perf_counter() - started
        if not status.startswith("200"):
            raise SystemExit(f"{path}: {status}")
        return Answer(started, spent, text.decode())


def filled(url: str, fill: Callable[[Engine], None]) -> Flask:
    """Our application over an empty database that is migrated and filled."""
    app = create_app(test_environment(url, "http://127.0.0.1:9"))
    with app.app_context():
        upgrade()
        fill(db.engine)
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
    return app


def signed_in(app: Flask, name: str, role: str, merchant_key: str = "") -> Site:
    """The application with a new user signed in."""
    with app_scope(app, PLATFORM) as session:
        name, _ = setting_up.add_user(session, name, role, merchant_key=merchant_key, password=PASSWORD)
        engine = db.engine
    client = app.test_client()
    log_in(client, name)
    held = client.get_cookie("douzhou")
    assert held is not None
    return Site(app, f"douzhou={held.value}", lambda: counted(engine))


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements sent meanwhile."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(BEGIN):
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def measure(
    sites: list[Site], paths: list[str], requests: int, before: Callable[[], None] = lambda: None
) -> list[Taken]:
    """What a page takes at each site, asked in turn so that the machine's moods meet both, after a warm-up."""
    found = []
    for site, path in zip(sites, paths, strict=True):
        for _ in range(WARM_UP):
            before()
            site.get(path)
        before()
        with site.counted() as statements:
            text = site.get(path).text
        found.append((len(statements), len(text.encode()) / 1024))
    gc.collect()
    asked: list[list[Answer]] = [[] for _ in sites]
    for _ in range(requests):
        for answers, site, path in zip(asked, sites, paths, strict=True):
            before()
            answers.append(site.get(path))
    return [_taken(answers, *counts) for answers, counts in zip(asked, found, strict=True)]


def _taken(answers: list[Answer], statements: int, kilobytes: float) -> Taken:
    walls = [1000 * answer.wall for answer in answers]
    cpu = 1000 * statistics.median(answer.cpu for answer in answers)
    return Taken(statistics.median(walls), cpu, max(walls), statements, kilobytes)


def wide(text: str, width: int) -> str:
    """Padded to columns of a terminal, where a Chinese character takes two."""
    return text + " " * (width - sum(2 if ord(character) > 0x2E80 else 1 for character in text))
