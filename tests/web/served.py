"""The console served as in production, over a database of its own, and raw connections to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from tests.conftest import PASSWORD, ROOT, test_environment
from tests.waiting import answers, free_port, wait_for

NAME = "boss"


class Served:
    """gunicorn with the project's own configuration."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "console.log"
        self.environment = {
            **os.environ,
            **test_environment(f"sqlite:///{folder / 'served.db'}", "http://127.0.0.1:9"),
            "DOUZHOU_ENV": "/nonexistent",
            "PUBLIC_URL": self.url,
            "BIND": self.url.removeprefix("http://"),
            "WEB_WORKERS": "1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def flask(self, *arguments: str, given: str = "") -> None:
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "run", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            check=True,
            capture_output=True,
            text=True,
        )

    def start(self) -> None:
        self.flask("setup")
        self.flask("user", "add", NAME, "--role", "platform_admin", "--password-stdin", given=PASSWORD)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "run:app"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        said = lambda: self.log.read_text()[-3000:]  # noqa: E731
        wait_for(lambda: answers(f"{self.url}/healthz"), process=self.process, said=said)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def worker(self) -> int:
        """The process that answers."""
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(found[0])

    def resident(self) -> float:
        """MB of memory that the answering process holds."""
        lines = Path(f"/proc/{self.worker}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def connect(self) -> socket.socket:
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname, address.port), timeout=30)

    def log_in(self) -> requests.Session:
        """A browser whose user has logged in."""
        client = requests.Session()
        page = client.get(f"{self.url}/login/", timeout=30).text
        data = {"username": NAME, "password": PASSWORD, "csrf_token": hidden_token(page)}
        answer = client.post(f"{self.url}/login/", data=data, timeout=30, allow_redirects=False)
        assert answer.status_code == 302, answer.text[:300]
        return client

    def seconds(self, client: requests.Session, path: str) -> float:
        """How long a good answer takes."""
        started = time.monotonic()
        answer = client.get(f"{self.url}{path}", timeout=60)
        assert answer.status_code == 200, (path, answer.status_code)
        return time.monotonic() - started


def hidden_token(page: str) -> str:
    """The token of the form on a page."""
    return page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Served]:
    server = Served(folder, **settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def answer_of(line: socket.socket) -> str:
    """All that the server says until it hangs up or falls silent."""
    said = b""
    with contextlib.suppress(OSError):
        while data := line.recv(65536):
            said += data
    return said.decode(errors="replace")
