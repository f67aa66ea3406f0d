"""What bodies and slow clients do to the server: its memory before and after, and how long others wait meanwhile.

    python -m bench.bombs [--only WORDS] [--stock]

The console runs as in production (gunicorn.conf.py) over a SQLite of its own. For each bomb: the memory of the process
that answers before it, at most and after it, the slowest answer of /healthz and of a signed-in page meanwhile, and what
the bomb's sender was told. `--stock` runs the same on gunicorn's own threaded worker, to compare.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from app.web.bodies import FORMS
from tests.web.served import Served, hidden_token, serving

LOGIN = "/api/v1/security/login"
JSON, FORM, PARTS = "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
OBJECTS = b"[" + b"{}," * (16 * 2**20 // 3) + b"{}]"
DEEP = b"[" * (16 * 2**20)
FIELDS = b"a&" * (8 * 2**20)
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
JSON_OF_OURS = OBJECTS[: FORMS - 4 - FORMS % 3] + b"{}]"
PATIENCE = 60.0  # seconds for one answer, longer than any deadline of ours


def head(path: str, *lines: str, kind: str = JSON, method: str = "POST") -> bytes:
    first = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}")
    return "\r\n".join([*first, *lines, "", ""]).encode()


def chunked(path: str, body: bytes, *lines: str, kind: str = JSON, size: int = 65536) -> bytes:
    parts = (body[at : at + size] for at in range(0, len(body), size))
    whole = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return head(path, "Transfer-Encoding: chunked", *lines, kind=kind) + whole


def sized(path: str, body: bytes, *lines: str, kind: str = JSON) -> bytes:
    return head(path, f"Content-Length: {len(body)}", *lines, kind=kind) + body


def upload(me: str, begun: bytes) -> bytes:
    """The beginning of 16 MB."""
    return head("/merchantview/import", me, f"Content-Length: {2**24}", kind=PARTS) + begun


@dataclass(frozen=True)
class Bomb:
    """`number` connections that each send the same; `slow`: and then nothing more for `slow` seconds."""

    words: str
    data: Callable[[str], bytes]  # from the headers of somebody who has logged in
    number: int = 1
    slow: float = 0.0
    narrow: bool = False  # the sender takes next to nothing of the answer


BOMBS = [
    Bomb("16 MB of [{},…] in chunks, 8 at once", lambda _: chunked(LOGIN, OBJECTS), 8),
    Bomb("16 MB of [{},…] with its length, 8 at once", lambda _: sized(LOGIN, OBJECTS), 8),
    Bomb("16 MB of [[[[… in chunks, 8 at once", lambda _: chunked(LOGIN, DEEP), 8),
    Bomb("16 MB of form fields, 8 at once", lambda _: chunked("/login/", FIELDS, kind=FORM), 8),
    Bomb("16 MB of form parts, 8 at once", lambda _: chunked("/login/", PART * 300_000, kind=PARTS), 8),
    Bomb("16 MB to the pushes' address, 8 at once", lambda _: chunked("/douyin/callback/tt1/message", OBJECTS), 8),
    Bomb("64 KB of [{},…], 64 at once", lambda _: chunked(LOGIN, OBJECTS[:65000] + b"{}]"), 64),
    Bomb("256 KB of JSON, logged in, 8 at once", lambda me: sized("/merchantview/add", JSON_OF_OURS, me), 8),
    Bomb(
        "256 KB of form fields, logged in, 8 at once",
        lambda me: sized("/merchantview/add", FIELDS[:FORMS], me, kind=FORM),
        8,
    ),
    Bomb(
        "1 MB of form fields, logged in, 8 at once",
        lambda me: sized("/merchantview/add", FIELDS[: 2**20], me, kind=FORM),
        8,
    ),
    Bomb(
        "16 MB of form parts, logged in, 8 at once",
        lambda me: sized("/merchantview/import", PART * 300_000, me, kind=PARTS),
        8,
    ),
    Bomb(
        "16 MB of one field, logged in, 8 at once",
        lambda me: sized("/merchantview/import", PART[:-2] + b"y" * (16 * 2**20 - 99), me, kind=PARTS),
        8,
    ),
    Bomb("2 MB of one-byte chunks, 8 at once", lambda _: chunked(LOGIN, OBJECTS[: 2**21 // 6], size=1), 8),
    Bomb("200 slow heads", lambda _: b"POST /api/v1/", 200, 12),
    Bomb("200 slow bodies of 100 bytes", lambda _: head(LOGIN, "Content-Length: 100") + b"{", 200, 12),
    Bomb("200 slow bodies in chunks", lambda _: head(LOGIN, "Transfer-Encoding: chunked") + b"1\r\n{\r\n", 200, 12),
    Bomb("200 slow bodies of 16 MB", lambda _: head(LOGIN, f"Content-Length: {2**24}") + b"x" * 60_000, 200, 12),
    Bomb("40 slow uploads, logged in", lambda me: upload(me, PART + b"y" * 99_999), 40, 12),
    Bomb("200 that say nothing", lambda _: b"", 200, 12),
    Bomb(
        "200 that ask for an end and do not hang up",
        lambda _: head("/healthz", "Connection: close", method="GET"),
        200,
        6,
    ),
    Bomb(
        "200 that do not read 12 MB of answers",
        lambda _: head("/static/vendor/echarts.js", method="GET") * 20,
        200,
        12,
        narrow=True,
    ),
]


class Watch:
    """Asks for a page again and again and looks at the memory, until it is left."""

    def __init__(self, server: Served, browser: requests.Session) -> None:
        self.server, self.browser = server, browser
        self.slowest = {"/healthz": 0.0, "/merchantview/list/": 0.0}
        self.most = 0.0
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(path,)) for path in self.slowest]

    def __enter__(self) -> Watch:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, path: str) -> None:
        while not self.over.is_set():
            began = time.monotonic()
            with contextlib.suppress(requests.RequestException):
                client = self.browser if path != "/healthz" else requests
                client.get(f"{self.server.url}{path}", timeout=PATIENCE)
            self.slowest[path] = max(self.slowest[path], time.monotonic() - began)
            self.most = max(self.most, self.server.resident())
            time.sleep(0.02)


def throw(server: Served, bomb: Bomb, me: str) -> Counter[str]:
    """What the senders were told."""
    data, told = bomb.data(me), Counter[str]()

    def one() -> None:
        address = urlsplit(server.url)
        line = socket.socket()
        if bomb.narrow:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.settimeout(PATIENCE)
        try:
            with contextlib.suppress(OSError):
                line.connect((address.hostname, address.port))
                line.sendall(data)
            if bomb.slow:
                time.sleep(bomb.slow)
                line.settimeout(0.2)
            with contextlib.suppress(OSError):
                said = line.recv(4096).split(b" ", 2)
                told[said[1].decode() if len(said) > 1 else "closed"] += 1
                return
            told["nothing"] += 1
        finally:
            line.close()

    threads = [threading.Thread(target=one) for _ in range(bomb.number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="bombs with these words")
    parser.add_argument("--stock", action="store_true")
    chosen = parser.parse_args()
    if chosen.stock:
        os.environ["GUNICORN_CMD_ARGS"] = "--worker-class gthread"
    print(f"{'bomb':48} {'MB before':>9} {'most':>6} {'after':>6}  {'healthz':>8} {'page':>8}  told")
    with serving(Path(tempfile.mkdtemp(prefix="douzhou-bombs-"))) as server:
        browser = server.log_in()
        token = hidden_token(browser.get(f"{server.url}/merchantview/import", timeout=PATIENCE).text)
        me = f"Cookie: douzhou={browser.cookies['douzhou']}\r\nX-CSRFToken: {token}"
        for _ in range(20):
            server.seconds(browser, "/merchantview/list/")
        for bomb in (found for found in BOMBS if chosen.only in found.words):
            before = server.resident()
            with Watch(server, browser) as watch:
                told = throw(server, bomb, me)
            words = ", ".join(f"{what} × {number}" for what, number in told.most_common())
            healthz, page = watch.slowest.values()
            print(
                f"{bomb.words:48} {before:9.0f} {watch.most:6.0f} {server.resident():6.0f}  "
                f"{healthz:6.2f} s {page:6.2f} s  {words}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
