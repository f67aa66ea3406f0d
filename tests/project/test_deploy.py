"""The files of deploy/: nginx as it is shipped, in front of gunicorn as it is shipped; the units of systemd."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import urllib3

from tests.conftest import PASSWORD, ROOT, test_environment
from tests.notices.receivers import certificate
from tests.waiting import free_port, wait_for

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
NAME = "douzhou.example.com"
# As MemoryDenyWriteExecute= has it: no memory that is written and run (prctl, from Linux 6.3; older ones let it be).
HELD = "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"


def need(program: str) -> str:
    """The program, or the test is skipped; where it must be there, it fails."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None and os.environ.get("REQUIRE_DEPLOY") == "1":
        pytest.fail(f"没有找到 {program}")
    return found or pytest.skip(f"没有找到 {program}")


# systemd.


def on_this_machine(unit: Path, folder: Path) -> Path:
    """The unit with this checkout and a user that there is, an instance where it is a template."""
    program = folder / "opt/douzhou/.venv/bin"
    program.mkdir(parents=True, exist_ok=True)
    for name in ("gunicorn", "flask"):
        (program / name).touch(0o755)
    text = unit.read_text().replace("/opt/douzhou", str(folder / "opt/douzhou"))
    here = folder / unit.name.replace("@.", "@1.")
    here.write_text(text.replace("=douzhou\n", "=daemon\n"))
    return here


@pytest.mark.deploy
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_has_nothing_to_say_of_a_unit(unit: Path, tmp_path: Path) -> None:
    command = [need("systemd-analyze"), "verify", str(on_this_machine(unit, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.deploy
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_little_exposed(unit: Path, tmp_path: Path) -> None:
    """systemd's own score, 0 to 10; below 2 is OK to it. (`pytest -s` prints it.)"""
    command = [need("systemd-analyze"), "security", "--offline=yes", str(on_this_machine(unit, tmp_path))]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    score = re.findall(r"exposure level for \S+: ([0-9.]+)", said)
    print(unit.name, score)
    assert score and float(score[0]) < 2


def test_units_and_commands_are_those_of_the_documentation() -> None:
    said = (ROOT / "docs/deploy.md").read_text()
    assert [path.name for path in DEPLOY.iterdir() if path.name not in said] == []
    assert [unit.name for unit in UNITS if "UMask=0077" not in unit.read_text()] == []


# nginx in front of gunicorn.


class Site:
    """The console behind nginx, over TLS under its own name, on loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.plain, self.inner = free_port(), free_port(), free_port()
        self.root, _ = certificate(folder, NAME)
        self.started: list[subprocess.Popen[bytes]] = []

    def configure(self) -> Path:
        """The shipped file with our ports, certificate and folders; everything else as it stands."""
        text = (DEPLOY / "nginx.conf").read_text()
        for was, here in {
            "127.0.0.1:8080;": f"127.0.0.1:{self.inner};",
            "/etc/nginx/tls/douzhou.pem": str(self.folder / "leaf.pem"),
            "/etc/nginx/tls/douzhou.key": str(self.folder / "leaf.pem"),
            "/var/cache/nginx/douzhou": str(self.folder / "cache"),
            "/var/log/nginx/": f"{self.folder}/",
        }.items():
            assert was in text, was
            text = text.replace(was, here)
        text = re.sub(r"^\s*listen \[::\].*\n", "", text, flags=re.MULTILINE)
        text = text.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        text = text.replace("listen 80", f"listen 127.0.0.1:{self.plain}")
        (self.folder / "douzhou.conf").write_text(text)
        places = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        main = self.folder / "nginx.conf"
        main.write_text(
            f"{user} daemon off; pid {self.folder}/pid; error_log {self.folder}/main.log;"
            f"events {{}} http {{ {places} include {self.folder}/douzhou.conf; }}"
        )
        return main

    def start(self, nginx: str) -> None:
        env = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **test_environment(f"sqlite:///{self.folder}/own.db", "http://127.0.0.1:1"),
            "STORAGE_URL": f"file://{self.folder}/storage",
            "DOUZHOU_ENV": "/nonexistent",
            "PUBLIC_URL": f"https://{NAME}",
            "PROXY_HOPS": "1",
            "BIND": f"127.0.0.1:{self.inner}",
            "WEB_THREADS": "2",
        }
        for arguments in (["setup"], ["user", "add", "boss", "--role", "platform_admin", "--password-stdin"]):
            command = [sys.executable, "-m", "flask", "--app", "run", *arguments]
            subprocess.run(command, cwd=ROOT, env=env, input=PASSWORD.encode(), check=True, capture_output=True)
        gunicorn = [sys.executable, "-c", HELD, sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "run:app"]
        self.started.append(subprocess.Popen(gunicorn, cwd=ROOT, env=env))
        main = str(self.configure())
        tested = subprocess.run([nginx, "-t", "-c", main], capture_output=True, text=True, check=False)
        assert tested.returncode == 0, tested.stderr
        self.started.append(subprocess.Popen([nginx, "-c", main]))
        wait_for(self.answers, process=self.started[-1], said=(self.folder / "main.log").read_text)

    def answers(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return self.ask("GET", "/healthz").status == 200
        return False

    def stop(self) -> None:
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def ask(self, method: str, path: str, *, source: str = "127.0.0.1", **options: Any) -> urllib3.BaseHTTPResponse:
        """One request from an address of loopback."""
        headers = {"Host": NAME, **options.pop("headers", {})}
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            self.port,
            ca_certs=str(self.root),
            server_hostname=NAME,
            assert_hostname=NAME,
            source_address=(source, 0),
            retries=False,
            timeout=60,
        ) as pool:
            return pool.request(method, path, headers=headers, redirect=False, **options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    nginx = need("nginx")
    found = Site(tmp_path_factory.mktemp("nginx"))
    try:
        found.start(nginx)
        yield found
    finally:
        found.stop()


def token_in(page: urllib3.BaseHTTPResponse) -> str:
    (found, *_) = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page.data.decode())
    return str(found)


def cookie_of(answer: urllib3.BaseHTTPResponse) -> str:
    return "; ".join(line.split(";")[0] for line in answer.headers.getlist("Set-Cookie"))


@pytest.fixture(scope="module")
def boss(site: Site) -> str:
    """The cookie of somebody who has logged in, from 127.0.0.5, with a forged address in front."""
    forged = {"X-Forwarded-For": "203.0.113.66", "X-Real-IP": "203.0.113.66", "Forwarded": "for=203.0.113.66"}
    page = site.ask("GET", "/login/", source="127.0.0.5", headers=forged)
    body = urlencode({"username": "boss", "password": PASSWORD, "csrf_token": token_in(page)})
    headers = {**forged, "Cookie": cookie_of(page), "Content-Type": "application/x-www-form-urlencoded"}
    headers["Referer"] = f"https://{NAME}/login/"
    answer = site.ask("POST", "/login/", source="127.0.0.5", body=body, headers=headers)
    assert answer.status == 302, answer.data
    return cookie_of(answer)


@pytest.mark.deploy
def test_a_page_comes_through_with_its_headers(site: Site) -> None:
    page = site.ask("GET", "/login/")
    assert page.status == 200
    assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
    assert "Secure" in page.headers["Set-Cookie"]
    assert page.headers["Server"] == "nginx"
    asset = re.findall(r'"(/static/[^"]+\.css[^"]*)"', page.data.decode())[0]
    for _ in range(2):
        static = site.ask("GET", asset, headers={"Accept-Encoding": "br"})
        assert (static.status, static.headers["Content-Encoding"]) == (200, "br")
        assert "immutable" in static.headers["Cache-Control"]
    assert any(path.is_file() for path in (site.folder / "cache").rglob("*"))


@pytest.mark.deploy
def test_the_application_sees_the_clients_own_address(site: Site, boss: str) -> None:
    with contextlib.closing(sqlite3.connect(site.folder / "own.db")) as database:
        assert database.execute("select distinct address from web_session where address != ''").fetchall() == [
            ("127.0.0.5",)
        ]


@pytest.mark.deploy
def test_strangers_have_no_gauges_and_learn_nothing(site: Site) -> None:
    assert site.ask("GET", "/metrics", source="127.0.0.9").status == 403
    assert site.ask("GET", "/metrics").status == 404  # this machine, but brought by a proxy and without the token
    assert site.ask("GET", "/readyz").json() == {"ready": True}


def upload(site: Site, cookie: str, size: int) -> urllib3.BaseHTTPResponse:
    page = site.ask("GET", "/merchantview/import", headers={"Cookie": cookie})
    form = {"csrf_token": token_in(page), "mode": "both", "file": ("rows.csv", b"x" * size, "text/csv")}
    headers = {"Cookie": cookie, "Referer": f"https://{NAME}/merchantview/import"}
    return site.ask("POST", "/merchantview/import", fields=form, headers=headers)


@pytest.mark.deploy
def test_an_upload_of_15_mb_comes_in_and_one_of_17_does_not(site: Site, boss: str) -> None:
    taken = upload(site, boss, 15_000_000)
    assert taken.status in {302, 422}  # the application has read it, and says what it thinks of these rows
    refused = upload(site, boss, 17_000_000)
    assert (refused.status, "16 MB" in refused.data.decode()) == (413, True)


@pytest.mark.deploy
@pytest.mark.parametrize("path", ["/login/", "/api/v1/security/login", "/mp/v1/leads", "/douyin/callback/tt1/message"])
def test_a_stranger_sends_64_kb_at_most(site: Site, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    assert site.ask("POST", path, body=b"[" + b" " * 65_536 + b"]", headers=headers).status == 413
    assert site.ask("POST", path, body=b"[]", headers=headers).status != 413

    def chunks() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    assert site.ask("POST", path, body=chunks(), headers=headers).status == 413


@pytest.mark.deploy
def test_slow_senders_cost_the_application_no_thread(site: Site) -> None:
    """It has two; twelve send a head and then a byte now and then."""
    context = ssl.create_default_context(cafile=str(site.root))
    held = []
    try:
        head = f"POST /douyin/callback/tt1/message HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 1000\r\n\r\na"
        for _ in range(12):
            line = socket.create_connection(("127.0.0.1", site.port))
            slow = context.wrap_socket(line, server_hostname=NAME)
            slow.sendall(head.encode())
            held.append(slow)
        for _ in range(10):
            assert site.ask("GET", "/healthz", source="127.0.0.7").status == 200
            for slow in held:
                slow.sendall(b"a")
        assert select.select(held, [], [], 0)[0] == []  # the slow are still at it: nobody waited for their end
    finally:
        for slow in held:
            slow.close()


@pytest.mark.deploy
def test_who_asks_too_often_is_told_so(site: Site) -> None:
    statuses = [site.ask("GET", "/login/", source="127.0.0.8").status for _ in range(40)]
    assert statuses[:15] == [200] * 15
    assert 429 in statuses
    assert site.ask("GET", "/login/", source="127.0.0.10").status == 200


@pytest.mark.deploy
def test_no_log_has_a_code_or_a_search(site: Site) -> None:
    state, code = "STATE-CANARY", "CODE-CANARY"
    assert site.ask("GET", f"/douyin/authorized/{state}?authorization_code={code}&expires_in=1").status < 500
    site.ask("GET", f"/douyin/authorized/{state}?authorization_code={code}", body=b"x" * 5000)
    site.ask("GET", "/login/?next=NEXT-CANARY", headers={"Referer": f"https://{NAME}/?q=REFERRER-CANARY"})
    site.ask("GET", "/last-of-all")  # a line is written after its answer, but in their order
    logs = lambda: "".join(path.read_text() for path in site.folder.glob("*.log"))  # noqa: E731
    wait_for(lambda: "/last-of-all " in logs())
    assert "/douyin/authorized/- " in logs()
    assert "/login/ " in logs()
    assert "CANARY" not in logs()


@pytest.mark.deploy
def test_other_names_and_plain_http_get_nothing_or_the_way(site: Site) -> None:
    plain = requests.get(
        f"http://127.0.0.1:{site.plain}/x?y=1", headers={"Host": NAME}, allow_redirects=False, timeout=5
    )
    assert (plain.status_code, plain.headers["Location"]) == (301, f"https://{NAME}/x?y=1")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{site.plain}/", headers={"Host": "evil.example"}, timeout=5)
    context = ssl.create_default_context(cafile=str(site.root))
    with (
        socket.create_connection(("127.0.0.1", site.port)) as line,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(line, server_hostname="evil.example")
