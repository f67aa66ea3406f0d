"""What a start refuses, and that the files it makes are its user's alone, whichever process made them."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from app.data.engine import keep_private
from app.data.secrets import KeyRing, KeyRingError
from config import Config, SettingError, guessable, patterned
from tests.conftest import ROOT, test_environment
from tests.waiting import answers, free_port, wait_for

pytestmark = pytest.mark.any_database("what is asked here is the environment")

NOT_THERE = "http://127.0.0.1:1"
PUBLIC = "https://console.example"


def settings(**own: str) -> dict[str, str]:
    return {**test_environment("sqlite://", NOT_THERE), **own}


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


# Proxies.


@pytest.mark.parametrize("said", [{}, {"PROXY_HOPS": ""}, {"PROXY_HOPS": " "}])
def test_behind_https_the_proxies_must_be_said(said: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="PROXY_HOPS"):
        Config(settings(PUBLIC_URL=PUBLIC, **said))


@pytest.mark.parametrize("hops", ["0", "1", "2"])
def test_any_number_of_proxies_is_right_once_said(hops: str) -> None:
    assert Config(settings(PUBLIC_URL=PUBLIC, PROXY_HOPS=hops)).PROXY_HOPS == int(hops)


def test_without_https_nothing_needs_to_be_said() -> None:
    assert Config(settings()).PROXY_HOPS == Config(settings(PROXY_HOPS="0")).PROXY_HOPS == 0


@pytest.mark.parametrize("hops", ["-1", "1.5", "all", "1000", "１"])
def test_proxies_are_a_small_whole_number(hops: str) -> None:
    with pytest.raises(SettingError, match="PROXY_HOPS"):
        Config(settings(PROXY_HOPS=hops))


@pytest.mark.parametrize("url", ["HTTPS://console.example", "console.example", "https://u@console.example", "https://"])
def test_a_public_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="PUBLIC_URL"):
        Config(settings(PUBLIC_URL=url))


def test_the_example_says_nothing_of_proxies_by_itself() -> None:
    """Copied as it stands, it must not say 0 for somebody who has nginx in front."""
    assert "\nPROXY_HOPS=\n" in (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("database", ["sqlite://", "postgresql+psycopg://u@h/d", "mysql+pymysql://u@h/d"])
def test_a_setting_that_nothing_follows_is_refused(database: str) -> None:
    own = settings(DATABASE_URL=database)
    with pytest.raises(SettingError, match="REDIS_URL"):
        Config(own | {"REDIS_URL": "redis://127.0.0.1:6379/0"})
    assert Config(own | {"REDIS_URL": " "}).SQLALCHEMY_DATABASE_URI == database


# Keys.


WEAK = [
    "",
    "short",
    "a" * 40,
    "changeme-changeme-changeme-changeme1",
    "changeme" * 4 + "1",
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "qwertyuiopasdfghjklzxcvbnm1234567890",
    "deadbeef" * 4,
    "Tr0ub4dor&3Tr0ub4dor&3Tr0ub4dor&3",
    "correct horse battery staple and more",
    "this-is-a-very-long-secret-key-for-flask",
    "please-change-me-to-32-random-characters",
    "douzhou-production-secret-key-2026-11",
    "ThisIsMySuperSecretKeyForTheDouzhouConsole2026",
    "MyCompanyKey2026!MyCompanyKey2026?",
    "我们的密钥" * 8,
    "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
    "0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d",
]


@pytest.mark.parametrize("weak", WEAK)
def test_a_key_that_can_be_guessed_is_refused(weak: str) -> None:
    with pytest.raises(SettingError, match="SECRET_KEY"):
        Config(settings(SECRET_KEY=weak))


@pytest.mark.parametrize(
    "make", [lambda: secrets.token_urlsafe(24), lambda: secrets.token_urlsafe(48), lambda: secrets.token_hex(32)]
)
def test_a_random_key_is_none_of_them(make: Callable[[], str]) -> None:
    assert [key for key in (make() for _ in range(20)) if guessable(key)] == []


PATTERNS = [
    bytes(32),
    b"\xff" * 32,
    bytes(range(32)),
    bytes(range(0, 256, 8)),
    b"\x00\xff" * 16,
    secrets.token_bytes(8) * 4,
    b"changeme-changeme-changeme-12345",
    b"0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("key", PATTERNS, ids=range(len(PATTERNS)))
def test_bytes_with_a_pattern_are_no_key(key: bytes) -> None:
    good = encoded(os.urandom(32))
    with pytest.raises(KeyRingError, match="DATA_KEYS"):
        KeyRing(f"k1:{encoded(key)}", good)
    with pytest.raises(KeyRingError, match="INDEX_KEY"):
        KeyRing(f"k1:{good}", encoded(key))


NOTHING = [b"", b"\n", b"secret", b"changeme"]


@pytest.mark.parametrize("word", NOTHING)
@pytest.mark.parametrize("name", ["sha256", "sha3_256", "blake2s"])
def test_a_hash_of_nothing_is_no_key(name: str, word: bytes) -> None:
    """It looks random, and everybody knows it."""
    key, good = encoded(hashlib.new(name, word).digest()), encoded(os.urandom(32))
    with pytest.raises(KeyRingError, match="DATA_KEYS"):
        KeyRing(f"k1:{key}", good)
    with pytest.raises(KeyRingError, match="INDEX_KEY"):
        KeyRing(f"k1:{good}", key)


@pytest.mark.parametrize("word", NOTHING)
@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_a_hash_of_nothing_is_no_secret_key(name: str, word: bytes) -> None:
    made = hashlib.new(name, word, usedforsecurity=False)
    for secret in (made.hexdigest(), made.hexdigest().upper(), encoded(made.digest())):
        with pytest.raises(SettingError, match="SECRET_KEY"):
            Config(settings(SECRET_KEY=secret))


def test_one_key_is_not_two() -> None:
    """What finds a phone number would open it too; an older key may, until all is sealed anew."""
    both, new = encoded(os.urandom(32)), encoded(os.urandom(32))
    with pytest.raises(KeyRingError, match="INDEX_KEY"):
        KeyRing(f"k1:{both}", both)
    assert KeyRing(f"k2:{new},k1:{both}", both).newest == "k2"


def test_random_bytes_have_no_pattern() -> None:
    assert [key for key in (os.urandom(32) for _ in range(2000)) if patterned(key)] == []


def test_an_old_weak_key_still_opens_what_it_sealed() -> None:
    """Else nobody could rotate away from it."""
    index = encoded(os.urandom(32))
    ring = KeyRing(f"k2:{encoded(os.urandom(32))},k1:{encoded(bytes(32))}", index)
    assert ring.newest == "k2"


# Test switches.


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_no_environment_makes_it_a_test(value: str, tmp_path: Path) -> None:
    config = Config(settings(TESTING=value))
    assert not getattr(config, "TESTING", False)
    assert not hasattr(config, "FAB_PASSWORD_HASH_METHOD")


def test_a_process_started_with_testing_set_is_none(tmp_path: Path) -> None:
    asked = "from app.factory import create_app; app = create_app(); print(app.config['TESTING'], app.testing)"
    env = {**os.environ, **settings(DATABASE_URL=f"sqlite:///{tmp_path}/t.db"), "DOUZHOU_ENV": "/nonexistent"}
    env |= {"TESTING": "1", "FLASK_TESTING": "1"}
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("url", [PUBLIC, "http://203.0.113.5", "http://console.example:8080", "https://127.0.0.1"])
def test_a_demo_is_not_for_the_public(url: str) -> None:
    """What a demo may (debug, send to this machine), nobody outside gets by one forgotten line."""
    with pytest.raises(SettingError, match="DEMO"):
        Config(settings(DEMO="1", PUBLIC_URL=url, PROXY_HOPS="1"))


@pytest.mark.parametrize("number", ["inf", "nan", "-1", "1e999", "many"])
def test_a_number_is_a_number(number: str) -> None:
    with pytest.raises(SettingError, match="STEP_UP_ABOVE"):
        Config(settings(STEP_UP_ABOVE=number))


# Files.


def modes(folder: Path) -> dict[str, int]:
    """What others than the owner may do, by file and folder."""
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "site"
    folder.mkdir()
    own = settings(DATABASE_URL=f"sqlite:///{folder}/own.db", STORAGE_URL=f"file://{folder}/storage")
    return {**os.environ, **own, "DOUZHOU_ENV": "/nonexistent", "FOLDER": str(folder)}


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """As a shell has it that starts things by hand."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def flask(env: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "flask", "--app", "run", *arguments]
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)


def ended(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


KEPT = """
import io
from app.factory import create_app
from app.data import storage
app = create_app()
with app.app_context():
    storage.put("uploads", "csv", io.BytesIO(b"rows"))
    storage.put_sealed("uploads", b"phones")
"""


def test_files_are_private_whatever_started_the_process(site: dict[str, str]) -> None:
    """Set-up, the web server with its log and -wal, the scheduler, the worker, and what the storage keeps."""
    folder = Path(site["FOLDER"])
    flask(site, "setup")
    url = f"127.0.0.1:{free_port()}"
    gunicorn = ["gunicorn", "-c", "gunicorn.conf.py", "--error-logfile", str(folder / "web.log"), "run:app"]
    started = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env={**site, "BIND": url})
        for command in (gunicorn, ["flask", "--app", "run", "scheduler"], ["flask", "--app", "run", "worker"])
    ]
    try:
        wait_for(lambda: answers(f"http://{url}/readyz"), process=started[0])
        wait_for((folder / "own.db-wal").exists, process=started[1])
        subprocess.run([sys.executable, "-c", KEPT], cwd=ROOT, env=site, check=True)
        found = modes(folder)
    finally:
        for process in started:
            ended(process)
    assert {"own.db", "own.db-wal", "own.db-shm", "web.log", "storage"} <= found.keys()
    assert len([name for name in found if name.startswith("storage/uploads/")]) >= 3
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_an_older_database_is_taken_away_from_others(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    for name in ("old.db", "old.db-wal"):
        (tmp_path / name).touch(0o644)
    keep_private(sa.make_url(f"sqlite:///{path}"))
    assert set(modes(tmp_path).values()) == {0o600}


# What strangers learn.


def ready(app: Flask, address: str, **headers: str) -> Any:
    return app.test_client().get("/readyz", environ_base={"REMOTE_ADDR": address}, headers=headers)


def test_readiness_tells_a_stranger_yes_or_no(app: Flask, third_party_app: Any) -> None:
    answer = ready(app, "203.0.113.9")
    assert (answer.status_code, answer.json) == (200, {"ready": True})
    assert "ticket_age_seconds" in ready(app, "127.0.0.1").json
    assert third_party_app.appid not in ready(app, "127.0.0.1").text


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"])
def test_whom_a_proxy_on_this_machine_brings_is_not_this_machine(app: Flask, name: str) -> None:
    """Proxies that nobody told us of, or a forged first address where one too many was told of."""
    assert ready(app, "127.0.0.1", **{name: "127.0.0.1"}).json == {"ready": True}
    client = app.test_client()
    assert client.get("/metrics", environ_base={"REMOTE_ADDR": "127.0.0.1"}, headers={name: "x"}).status_code == 404


def test_with_the_token_a_proxy_may_ask(app: Flask, monkeypatch: pytest.MonkeyPatch, third_party_app: Any) -> None:
    monkeypatch.setitem(app.config, "METRICS_TOKEN", "right-token")
    headers = {"Authorization": "Bearer right-token", "X-Forwarded-For": "203.0.113.9"}
    assert "ticket_age_seconds" in ready(app, "127.0.0.1", **headers).json
