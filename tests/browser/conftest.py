"""A browser, and the whole system as it is run: sandbox, gunicorn with its embedded jobs, a database of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.cli import setup as setting_up
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.models import Merchant
from app.operations import perform as runs
from app.tasks import pool, queue
from scripts.browser import NoBrowserError, started
from tests.browser import steps
from tests.conftest import COMPONENT, PASSWORD, ROOT, SandboxServer, test_environment
from tests.waiting import answers, free_port, wait_for
from tests.world import ALICE, build

PATIENCE = 30_000  # milliseconds: a busy machine is slow, and a page that is right costs none of it
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        with started() as shown:
            yield shown
    except NoBrowserError as missing:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


class System:
    """The running console and sandbox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self.database = folder / "browser.db"
        self.sandbox = SandboxServer(free_port(), "--audit-seconds", "3600", "--console", self.url)
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            **test_environment(f"sqlite:///{self.database}", self.sandbox.url),
            "DOUZHOU_ENV": "/nonexistent",
            "DEMO": "1",
            "PUBLIC_URL": self.url,
            "BIND": self.url.removeprefix("http://"),
            "WEB_WORKERS": "1",
            "EMBEDDED": "1",
            "LOG_LEVEL": "ERROR",
            "DOUYIN_TIMEOUT": "10",
        }
        self.console: subprocess.Popen[bytes] | None = None
        self.numbers = count(1)

    def flask(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "run", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def start(self) -> None:
        """As docs/deploy says: set up, add the third-party app and a user, start the one web process."""
        self.sandbox.post("settings", rollback_seconds=0)
        self.flask("setup")
        secrets = {name: COMPONENT[name] for name in ("secret", "token", "aes_key")}
        self.flask(
            "thirdparty",
            "add",
            "--appid",
            COMPONENT["appid"],
            "--name",
            "测试应用",
            "--secret-stdin",
            given=json.dumps(secrets),
        )
        self.flask("user", "add", "boss", "--role", "platform_admin", "--password-stdin", given=PASSWORD)
        with (self.folder / "console.log").open("wb") as log:
            self.console = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "run:app"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(lambda: answers(f"{self.url}/healthz"), process=self.console, said=self.log)
        self.sandbox.post("ticket", appid=COMPONENT["appid"])

    def log(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")[-3000:]

    def new_user(self, role: str = "platform_admin") -> str:
        """Somebody whose settings and saved views no other test sees; the name."""
        name = f"user{next(self.numbers)}"
        self.flask("user", "add", name, "--role", role, "--password-stdin", given=PASSWORD)
        return name

    def new_app(self, name: str) -> str:
        """A mini-program of the sandbox that nobody has authorised."""
        return str(self.sandbox.post("apps", count=1, name=name)["apps"][0]["appid"])

    def decide(self, appid: str, verdict: str, reason: str = "") -> None:
        """The verdict on what is in audit: it is pushed, and answered to whoever asks."""
        self.sandbox.post("audit", appid=appid, verdict=verdict, reason=reason)

    def let_pass(self, seconds: int = 11) -> None:
        """Move the sandbox's clock, and forget our own: two submissions within ten seconds are too many."""
        self.sandbox.post("advance", seconds=seconds)
        self.execute("UPDATE mini_program SET last_submitted_at = NULL, last_rollback_at = NULL")

    def execute(self, statement: str, *values: Any) -> None:
        """Change the database from outside: what only the passing of time would do."""
        connection = sqlite3.connect(self.database, timeout=30)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def stop(self) -> None:
        if self.console is not None and self.console.poll() is None:
            self.console.terminate()
            self.console.wait(30)
        self.sandbox.stop()


@pytest.fixture(scope="module")
def system(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("system"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


class Watch:
    """What a page complains about: script errors, refused content (CSP), failed files, requests to other hosts."""

    def __init__(self, context: BrowserContext) -> None:
        self.complaints: list[str] = []
        context.on("page", self._follow)

    def _follow(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("response", self._answered)
        page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        # A page that is itself a 404 or 422 is reported as a failed load; the files below it are looked at apart.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 500 or (response.status >= 400 and response.request.resource_type != "document"):
            self.complaints.append(f"{response.status} {response.url}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.complaints.append(f"another host: {request.url}")


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """`open_page(width=375)`: a page of a new browser session in Chinese; its complaints fail the test."""
    opened: list[tuple[BrowserContext, Watch]] = []

    def make(*, width: int = 1366, height: int = 850) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale="zh-CN", timezone_id="Asia/Shanghai"
        )
        context.set_default_timeout(PATIENCE)
        opened.append((context, Watch(context)))
        return context.new_page()

    yield make
    complaints = []
    for context, watch in opened:
        for number, page in enumerate(context.pages):
            page.screenshot(path=tmp_path / f"last-{number}.png")
        context.close()
        complaints += watch.complaints
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def page(open_page: Callable[..., Page], system: System) -> Page:
    """A page on which the platform's administrator has logged in."""
    shown = open_page()
    steps.log_in(shown, system)
    return shown


@pytest.fixture
def shop(page: Page, system: System) -> int:
    """A merchant that no other test knows, in an industry of its own; its number."""
    number = next(system.numbers)
    steps.add_industry(page, system, f"行业{number}")
    return steps.add_merchant(page, system, f"商户{number}", f"行业{number}")


@pytest.fixture
def world(app: Flask) -> Merchant:
    """A row of everything, all typed in Latin letters; the merchant whose they are."""
    with app_scope(app, PLATFORM) as session:
        build(session)
        return session.get_one(Merchant, ALICE)


@pytest.fixture
def enter(app: Flask, live: str, open_page: Callable[..., Page]) -> Callable[..., Page]:
    """`enter("owner", merchant, width=375)`: the first page of somebody new, signed in on a browser of their own.

    The application is in this process: a test works its queues itself (`work_off`) and sees each state as long as it
    likes. `page.goto("/path")` is not known to a page; `live` is its address.
    """
    seen = iter(range(100))

    def make(role: str = "platform_admin", merchant: Merchant | None = None, name: str = "", **size: int) -> Page:
        name = name or f"{role}{next(seen)}"
        with app_scope(app, PLATFORM) as own:
            key = own.merge(merchant).key if merchant is not None else ""
            name, _ = setting_up.add_user(own, name, role, merchant_key=key, password=PASSWORD)
        page = open_page(**size)
        page.goto(f"{live}/login/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", PASSWORD)
        steps.press(page, "Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        return page

    return make


def work_off(app: Flask, *, most: int = 100) -> int:
    """Do the background tasks and operations that wait, here and now; how many there were."""
    with app_scope(app, PLATFORM) as session, reading():
        waiting, operations = queue.due(session, most), runs.due(session, most)
    for task_id in waiting:
        pool.perform(app, task_id)
    for run in operations:
        runs.perform(app, run.id)
    return len(waiting) + len(operations)
