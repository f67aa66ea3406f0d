"""The application once a session, a clean database a test, and the actors: platform, alice, bob, a stranger."""

from __future__ import annotations

import base64
import contextvars
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from sqlalchemy.orm import Session
from werkzeug.serving import make_server
from xdist.scheduler import LoadGroupScheduling

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.engine import reading, writing
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.factory import create_app
from app.kept import kept_of
from app.link import call_log, connection
from app.models import Circuit, Door, Industry, Merchant, MiniProgram, OperationRun, Template, ThirdPartyApp
from app.models.kit import audit
from app.operations import registry, runs, template
from app.operations.inbound import refusals
from app.operations.onboarding import arrival, links
from app.operations.perform import perform
from app.views import screens
from tests.notices.receivers import Receiver, serving
from tests.reset import reset
from tests.waiting import answers, free_port, wait_for

pytest_plugins = ["tests.fixtures", "tests.servers"]
ROOT = Path(__file__).resolve().parent.parent
COMPONENT = {
    "appid": "ttsandbox000000001",
    "secret": "sandbox-component-secret-0001",
    "token": "sandboxToken01",
    "aes_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
}
PASSWORD = "correct horse 电池 staple"


class OneBrowser(LoadGroupScheduling):
    """All browser tests to one worker. xdist's own group mark has no effect: pytest 9.2 takes no suffix of a test's id."""

    def _split_scope(self, nodeid: str) -> str:
        return "browser" if nodeid.startswith("tests/browser/") else nodeid


@pytest.hookimpl(optionalhook=True)  # not there with -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneBrowser:
    return OneBrowser(config, log)


@pytest.fixture(scope="session", autouse=True)
def _registers() -> None:
    """What declares itself at import is there for every test, whichever ran before it in its process."""
    registry.load()
    screens()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line where tests were skipped for want of a program: a run without them must not look like a whole one."""
    for mark, name in {"browser": "浏览器测试", "deploy": "部署文件的测试"}.items():
        skipped = [report for report in terminalreporter.stats.get("skipped", []) if mark in report.keywords]
        if skipped:
            reasons = sorted({report.longrepr[2].removeprefix("Skipped: ") for report in skipped})
            terminalreporter.section(mark)
            terminalreporter.line(f"跳过了 {len(skipped)} 个{name}（{mark} tests skipped）：{'；'.join(reasons)}")


class SandboxServer:
    """A running sandbox and its control API."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--port", str(port), "--seed", "7", *arguments], cwd=ROOT
        )
        wait_for(lambda: answers(f"{self.url}/_sandbox/api/state"), process=self.process)

    def post(self, path: str, **body: Any) -> Any:
        """`path` is below /_sandbox/api/."""
        answer = requests.post(f"{self.url}/_sandbox/api/{path}", json=body, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str, **query: Any) -> Any:
        answer = requests.get(f"{self.url}/_sandbox/api/{path}", params=query, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def effects(self, appid: str) -> dict[str, int]:
        """How often each thing really happened to one app."""
        found = self.get("effects", appid=appid)
        return dict(found.get("apps", found).get(appid, {}))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="session")
def _sandbox_server() -> Iterator[SandboxServer]:
    server = SandboxServer(free_port(), "--audit-seconds", "3600")
    yield server
    server.stop()


@pytest.fixture
def sandbox(_sandbox_server: SandboxServer) -> SandboxServer:
    """The sandbox, fresh: nothing authorised, audits decided only on request, a valid ticket to be had."""
    _sandbox_server.post("reset")
    _sandbox_server.post("settings", audit_seconds=3600, rollback_seconds=0)
    _sandbox_server.post("thirdparty", appid=COMPONENT["appid"], auth_domain="127.0.0.1:8080")
    return _sandbox_server


def test_environment(database_url: str, sandbox_url: str) -> dict[str, str]:
    """Settings of an application under test; keys new each time."""
    key = lambda: base64.b64encode(secrets.token_bytes(32)).decode()  # noqa: E731
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATA_KEYS": f"k1:{key()}",
        "INDEX_KEY": key(),
        "DATABASE_URL": database_url,
        "STORAGE_URL": "memory://",
        "DOUYIN_OPEN_URL": sandbox_url,
        "DOUYIN_MICROAPP_URL": sandbox_url,
        "DOUYIN_TOUTIAO_URL": sandbox_url,
        "DOUYIN_TIMEOUT": "2",
        "DOUYIN_RATE": "100000",
    }


def bench_environment(database_url: str, sandbox_url: str) -> dict[str, str]:
    """The same for processes of their own, which no test makes: a demo's, that may speak to a sandbox on loopback."""
    return test_environment(database_url, sandbox_url) | {"DEMO": "1"}


# What only an application made in a test may have: no environment sets it.
UNDER_TEST = {"TESTING": True, "FAB_PASSWORD_HASH_METHOD": "pbkdf2:sha256:1"}
test_environment.__test__ = False  # type: ignore[attr-defined]


def new_database(folder: Path, worker: str) -> str:
    """A new, empty database for this worker: SQLite, or on the server that DOUZHOU_TEST_SERVER names."""
    server = os.environ.get("DOUZHOU_TEST_SERVER", "")
    if not server:
        return f"sqlite:///{folder / 'test.db'}"
    url = sa.make_url(server)
    name = f"{url.database or 'douzhou_test'}_{worker}"
    admin = url.set(database="postgres" if url.drivername.startswith("postgresql") else "")
    engine = sa.create_engine(admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        suffix = " CHARACTER SET utf8mb4" if url.drivername.startswith("mysql") else ""
        connection.exec_driver_sql(f"CREATE DATABASE {name}{suffix}")
    engine.dispose()
    return str(url.set(database=name).render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    return new_database(tmp_path_factory.mktemp("database"), worker_id)


@pytest.fixture
def own_database(tmp_path: Path, worker_id: str) -> str:
    """An empty database without a table, for one test."""
    return new_database(tmp_path, f"own_{worker_id}")


class OwnContextClient(FlaskClient):
    """Requests as a server makes them: not inside the test's application context, whose `g` and session they'd share."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return contextvars.Context().run(super().open, *args, **kwargs)


@pytest.fixture(scope="session")
def _application(database_url: str, _sandbox_server: SandboxServer) -> Iterator[Flask]:
    app = create_app(test_environment(database_url, _sandbox_server.url), **UNDER_TEST)
    app.test_client_class = OwnContextClient
    with app.app_context():
        upgrade()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(autouse=True, scope="session")
def _calls_are_written_when_asked() -> Iterator[None]:
    """Without the threads that write calls and refused pushes: they would write between a test's read and its write,
    on SQLite a refusal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_log.CallLog, "_start", lambda _self: None)
        patch.setattr(refusals.Refusals, "_start", lambda _self: None)
        yield


@pytest.fixture
def app(_application: Flask) -> Iterator[Flask]:
    """The application over an empty database with its roles; emptied before the test."""
    connection.flush_calls(_application)
    connection.breaker(_application).forget()
    refusals.flush(_application)
    kept_of(_application).forget("trends")  # a minute's memory of the days before this database
    for view in _application.appbuilder.baseviews:  # type: ignore[attr-defined]
        getattr(getattr(view, "datamodel", None), "_many", {}).clear()
    with _application.app_context():
        reset(db.engine)
    yield _application
    left = [name for name in ("operation_wakers", "inbound_wakers", "task_wakers") if _application.extensions[name]]
    for name in left:
        _application.extensions[name].clear()
    assert not left, "a worker that the test started is still asked to wake: the next test would do its work"


@pytest.fixture
def session(app: Flask) -> Iterator[Session]:
    """A platform session outside any request; its reads take no lock that the code under test would wait for."""
    with app_scope(app, PLATFORM) as session, reading():
        yield session


@dataclass
class Actors:
    """Two merchants with a mini-program each."""

    alice: Merchant
    bob: Merchant
    alice_app: MiniProgram
    bob_app: MiniProgram


@pytest.fixture
def third_party_app(session: Session) -> ThirdPartyApp:
    """The sandbox's third-party app with a ticket that the sandbox accepts once `ticket` was called."""
    with writing():
        return setting_up.add_third_party_app(session, COMPONENT["appid"], "测试应用", COMPONENT)


def fresh_ticket(session: Session, owner: ThirdPartyApp, sandbox: SandboxServer) -> None:
    """Have the sandbox make a ticket and store it, as its push would."""
    owner.ticket = sandbox.post("ticket", appid=owner.appid)["tickets"][owner.appid]
    owner.ticket_at = utcnow()
    session.commit()


@dataclass
class Launch:
    """Alice with a mini-program that is authorised in the sandbox, and a template to upload."""

    merchant: Merchant
    mini_program: MiniProgram
    template_id: str
    third_party_app: ThirdPartyApp


@pytest.fixture
def launch(app: Flask, session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer) -> Launch:
    fresh_ticket(session, third_party_app, sandbox)
    merchant = Merchant(name="爱丽丝花店", industry=Industry(name="鲜花"))
    session.add(merchant)
    session.commit()
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    mini_program = authorize(app, session, sandbox, merchant, third_party_app, appid)
    template.sync(app, third_party_app.id)
    session.rollback()
    newest = session.scalars(sa.select(Template).order_by(Template.id.desc())).first()
    assert newest is not None
    return Launch(merchant, mini_program, newest.template_id, third_party_app)


def authorize(
    app: Flask, session: Session, sandbox: SandboxServer, merchant: Merchant, owner: ThirdPartyApp, appid: str
) -> MiniProgram:
    """The whole way: link, consent, the browser's return."""
    session.rollback()
    with writing():
        link = links.make_link(session, merchant, owner, actor=audit.SYSTEM)
    back = sandbox.post("consent", link=link.url, appid=appid, permissions=[1, 2, 3])["redirect_url"]
    address = urlsplit(back)
    outcome = arrival.complete(
        app, address.path.rsplit("/", 1)[-1], dict(parse_qsl(address.query))["authorization_code"]
    )
    session.rollback()
    session.expire_all()
    assert outcome.ok, outcome
    return session.scalars(sa.select(MiniProgram).where(MiniProgram.appid == appid)).one()


def refresh(session: Session) -> None:
    """See what others have committed: a new snapshot, and nothing remembered."""
    session.rollback()
    session.expire_all()


def change(session: Session, row: Any, **values: Any) -> None:
    """Write to one row in a transaction that takes its lock first, whatever was read before."""
    with writing():
        refresh(session)
        for name, value in values.items():
            setattr(row, name, value)
        session.commit()


def pass_time(app: Flask, sandbox: SandboxServer, seconds: int) -> None:
    """Let time go by at Douyin, and with it our own memory of when we last did something there."""
    sandbox.post("advance", seconds=seconds)
    back = timedelta(seconds=seconds)
    with app_scope(app, PLATFORM) as session:
        for row in session.scalars(sa.select(MiniProgram)):
            for name in ("last_submitted_at", "last_rollback_at"):
                if (at := getattr(row, name)) is not None:
                    setattr(row, name, at - back)
        session.commit()


def try_again(app: Flask) -> None:
    """Have what is held tried at once, as after its pause."""
    with app_scope(app, PLATFORM) as session:
        past = utcnow() - timedelta(seconds=1)
        session.execute(sa.update(ThirdPartyApp).where(ThirdPartyApp.held != "").values(probe_at=past))
        session.execute(sa.update(Circuit).values(probe_at=past, lease_until=None))
        session.commit()
    breaker = connection.breaker(app)
    breaker.forget()
    breaker.tend()


def operate(app: Flask, session: Session, name: str, row: Any, **params: Any) -> OperationRun:
    """Request and perform one operation here and now; the run as it then stands."""
    session.rollback()  # a snapshot read before could not be written to
    with writing():
        run = runs.request(session, name, row, actor=audit.Actor(None, "测试"), door=Door.CLI, **params)
    perform(app, run.id)
    refresh(session)
    return session.get_one(OperationRun, run.id)


@pytest.fixture
def actors(session: Session, third_party_app: ThirdPartyApp) -> Actors:
    trade = Industry(name="餐饮")
    alice, bob = Merchant(name="爱丽丝花店", industry=trade), Merchant(name="鲍勃面馆", industry=trade)
    session.add_all([alice, bob])
    session.flush()
    apps = [
        MiniProgram(merchant_id=owner.id, third_party_app_id=third_party_app.id, appid=appid, name=owner.name)
        for owner, appid in ((alice, "tta000000000000001"), (bob, "ttb000000000000002"))
    ]
    session.add_all(apps)
    session.commit()
    return Actors(alice, bob, *apps)


@pytest.fixture
def client_for(app: Flask) -> Callable[..., FlaskClient]:
    """`client_for("operator")` or `client_for("owner", merchant)`: a client that has logged in through the form."""
    counter = iter(range(1000))

    def make(role: str, merchant: Merchant | None = None) -> FlaskClient:
        name = f"{role}{next(counter)}"
        with app_scope(app, PLATFORM) as own:
            key = merchant.key if merchant else ""
            name, _ = setting_up.add_user(own, name, role, merchant_key=key, password=PASSWORD)
        client = app.test_client()
        log_in(client, name)
        return client

    return make


def csrf_token(client: FlaskClient, page: str = "/login/") -> str:
    """The token that a page's form carries."""
    text = client.get(page, follow_redirects=True).get_data(as_text=True)
    tags = re.findall(r'<input[^>]*name="csrf_token"[^>]*>', text)
    assert tags, f"{page} has no form with a token"
    return re.findall(r'value="([^"]*)"', tags[0])[0]


def log_in(client: FlaskClient, name: str, password: str = PASSWORD) -> None:
    token = csrf_token(client)
    answer = client.post("/login/", data={"username": name, "password": password, "csrf_token": token})
    assert answer.status_code == 302, answer.get_data(as_text=True)[:500]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server of somebody's own on this machine that takes what is sent to it."""
    with serving(Receiver()) as found:
        yield found


@pytest.fixture
def live(app: Flask) -> Iterator[str]:
    """The application served over real HTTP on loopback, threaded; gives its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    before = app.config["PUBLIC_URL"]
    app.config["PUBLIC_URL"] = f"http://127.0.0.1:{server.server_port}"
    yield app.config["PUBLIC_URL"]
    app.config["PUBLIC_URL"] = before
    server.shutdown()
    thread.join()
