"""How much of a body is read, and for how long it is waited for: at the real server, with raw connections."""

from __future__ import annotations

import gzip
import json
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app.web import bodies, server
from tests.waiting import wait_for
from tests.web.served import Served, answer_of, hidden_token, serving

pytestmark = pytest.mark.any_database("what is asked here is how bodies are read")

LOGIN = "/api/v1/security/login"
SLOW = 200
SOON = 3.0  # seconds; half of one on a machine that has nothing else to do (make bench-bombs)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(scope="module")
def browser(served: Served) -> requests.Session:
    return served.log_in()


def head(path: str, *lines: str, method: str = "POST", kind: str = "application/json") -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", *lines, "", ""]
    ).encode()


def chunks(body: bytes, size: int = 8192) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def said(served: Served, data: bytes) -> str:
    """What the server answers to raw bytes; it need not take them all."""
    with served.connect() as line:
        try:
            line.sendall(data)
        except OSError:
            pass
        line.settimeout(8)
        return answer_of(line)


BOMB = b"[" + b"{}," * (16 * 2**20 // 3) + b"{}]"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (LOGIN, "application/json"),
        ("/login/", "application/x-www-form-urlencoded"),
        ("/login/", "multipart/form-data; boundary=x"),
    ],
)
def test_a_stranger_has_64_kilobytes_read_whatever_is_said_of_the_length(served: Served, path: str, kind: str) -> None:
    before = served.resident()
    for sent in (
        head(path, "Transfer-Encoding: chunked", kind=kind) + chunks(BOMB),
        head(path, f"Content-Length: {len(BOMB)}", kind=kind) + BOMB,
    ):
        assert said(served, sent).startswith("HTTP/1.1 413 ")
    assert served.resident() - before < 30


def test_a_push_without_a_length_is_refused_like_any_other(served: Served) -> None:
    sent = head("/douyin/callback/tt1/message", "Transfer-Encoding: chunked") + chunks(b"x" * 2**20)
    assert said(served, sent).startswith("HTTP/1.1 403 ")


def test_what_is_just_short_enough_is_read(served: Served) -> None:
    body = json.dumps({"username": "nobody", "password": "x", "more": ""}).encode()
    body = body[:-2] + b"y" * (bodies.STRANGERS - len(body)) + body[-2:]
    lines = ("Transfer-Encoding: chunked", "Connection: close")
    assert said(served, head(LOGIN, *lines) + chunks(body, 3000)).startswith("HTTP/1.1 401 ")
    assert said(served, head(LOGIN, *lines) + chunks(body[:-2] + b"z" + body[-2:], 3000)).startswith("HTTP/1.1 413 ")


def test_who_has_logged_in_may_send_a_form_and_a_file(served: Served, browser: requests.Session) -> None:
    token = hidden_token(browser.get(f"{served.url}/merchantview/import").text)
    for size, status in ((bodies.UPLOADS - 2**16, 422), (bodies.UPLOADS + 2**16, 413)):
        answer = browser.post(
            f"{served.url}/merchantview/import", data={"csrf_token": token}, files={"file": ("a.bin", b"x" * size)}
        )
        assert answer.status_code == status
    for size, status in ((bodies.FORMS - 2**16, 422), (bodies.FORMS + 2**16, 413)):
        form = {"csrf_token": token, "name": "", "note": "x" * size}
        assert browser.post(f"{served.url}/merchantview/add", data=form).status_code == status


def test_a_form_of_many_parts_is_refused(served: Served, browser: requests.Session) -> None:
    parts = {f"f{number}": (None, "x") for number in range(1500)}
    assert browser.post(f"{served.url}/merchantview/import", files=parts).status_code == 413


def test_a_packed_body_is_not_unpacked(served: Served) -> None:
    packed = gzip.compress(json.dumps({"username": "a", "password": "x" * 10**7}).encode())
    sent = head(LOGIN, "Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Connection: close") + packed
    assert said(served, sent).startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "chunk", [b"zz\r\nabc\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"fffffffffffffffff\r\n" + b"x" * 70000]
)
def test_chunks_that_cannot_be_read_are_a_fault_of_the_sender(served: Served, chunk: bytes) -> None:
    answer = said(served, head(LOGIN, "Transfer-Encoding: chunked") + chunk)
    assert answer.startswith(("HTTP/1.1 400 ", "HTTP/1.1 413 ")), answer[:80]


def test_a_head_without_end_is_refused(served: Served) -> None:
    assert said(served, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 9000).startswith("HTTP/1.1 431 ")


@pytest.mark.parametrize("length", [10, 64 * 1024, 128 * 1024])
def test_a_client_that_asks_before_it_sends_is_told_to(served: Served, length: int) -> None:
    with served.connect() as line:
        line.sendall(head(LOGIN, f"Content-Length: {length}", "Expect: 100-continue", "Connection: close"))
        line.settimeout(5)
        assert line.recv(1000).startswith(b"HTTP/1.1 100 ")
        line.sendall(b"x" * length)
        assert ("HTTP/1.1 413 " if length > 64 * 1024 else "HTTP/1.1 400 ") in answer_of(line)


def test_requests_behind_one_another_are_all_answered(served: Served) -> None:
    body = b'{"username": "somebody", "password": "x"}'
    one = head(LOGIN, f"Content-Length: {len(body)}") + body
    two = head(LOGIN, "Transfer-Encoding: chunked") + chunks(body, 7)
    last = head("/healthz", "Connection: close", method="GET")
    answer = said(served, one + two + one + last)
    assert (answer.count("HTTP/1.1 401 "), answer.count("HTTP/1.1 200 ")) == (3, 1)


def in_pieces(line: socket.socket, data: bytes) -> None:
    for at in range(0, len(data), 7):
        line.sendall(data[at : at + 7])
        time.sleep(0.002)


def test_a_request_that_comes_in_pieces_is_answered(served: Served) -> None:
    body = b'{"username": "anybody", "password": "x"}'
    for data in (
        head(LOGIN, f"Content-Length: {len(body)}", "Connection: close") + body,
        head(LOGIN, "Transfer-Encoding: chunked", "Connection: close") + chunks(body, 5),
    ):
        with served.connect() as line:
            in_pieces(line, data)
            assert answer_of(line).startswith("HTTP/1.1 401 ")


def untaken(line: socket.socket) -> int:
    """Bytes that the server has not read of what a client sent."""
    here, there = (f"0100007F:{name[1]:04X}" for name in (line.getpeername(), line.getsockname()))
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()]
    return next(int(row[4].partition(":")[2], 16) for row in rows if row[1:3] == [here, there])


HALVES = {
    "head": b"POST /api/v1/",
    "body": head(LOGIN, "Content-Length: 100") + b"{",
    "body in chunks": head(LOGIN, "Transfer-Encoding: chunked") + b"1\r\n{\r\n",
    "sizes of chunks": head(LOGIN, "Transfer-Encoding: chunked") + b"1\r\n{\r\n" * 9000,
    "greater body": head(LOGIN, f"Content-Length: {2**20}") + b"x" * 60000,
    "body past the limit": head(LOGIN, f"Content-Length: {2**20}") + b"x" * 70000,
    "second request": head("/healthz", method="GET") + b"GET /",
    "nothing": b"",
    "hanging up": head("/healthz", "Connection: close", method="GET"),
    "not reading": head("/static/vendor/echarts.js", method="GET") * 20,
}


@pytest.mark.parametrize("kind", HALVES)
def test_slow_clients_stop_nobody(served: Served, browser: requests.Session, kind: str) -> None:
    lines, worst, until = [], 0.0, time.monotonic() + 2
    try:
        for _ in range(SLOW):
            line = socket.socket()
            if kind == "not reading":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.settimeout(30)
            line.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
            line.sendall(HALVES[kind])
            lines.append(line)
        while time.monotonic() < until:
            for client, path in ((requests.Session(), "/healthz"), (browser, "/merchantview/list/")):
                worst = max(worst, served.seconds(client, path))
    finally:
        for line in lines:
            line.close()
    assert worst < SOON


def test_slow_uploads_of_those_who_have_logged_in_stop_nobody(served: Served, browser: requests.Session) -> None:
    cookie = f"Cookie: douzhou={browser.cookies['douzhou']}"
    start = head("/merchantview/import", cookie, f"Content-Length: {2**22}", kind="multipart/form-data; boundary=x")
    lines = [served.connect() for _ in range(40)]
    try:
        for line in lines:
            line.sendall(start + b"--x\r\n" + b"y" * 70000)
        for _ in range(10):
            assert served.seconds(requests.Session(), "/healthz") < SOON
            assert served.seconds(browser, "/merchantview/list/") < SOON
        lines[-1].settimeout(20)
        assert answer_of(lines[-1]).startswith("HTTP/1.1 408 ")
    finally:
        for line in lines:
            line.close()


def test_answers_that_nobody_takes_do_not_stop_an_upload(served: Served, browser: requests.Session) -> None:
    cookie = f"Cookie: douzhou={browser.cookies['douzhou']}"
    start = head("/merchantview/import", cookie, f"Content-Length: {300_000}", kind="multipart/form-data; boundary=x")
    lines = []
    try:
        for _ in range(16):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            line.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
            line.sendall(HALVES["not reading"])
            lines.append(line)
        wait_for(lambda: select.select(lines, [], [], 0)[0] == lines)
        with served.connect() as upload:
            upload.settimeout(20)
            upload.sendall(start + b"--x\r\n" + b"y" * 70_000)
            wait_for(lambda: untaken(upload) == 0)
            upload.sendall(b"y" * (300_000 - 70_005))
            assert not answer_of(upload).startswith("HTTP/1.1 408 ")
    finally:
        for line in lines:
            line.close()


def test_a_body_that_dawdles_is_given_up(served: Served) -> None:
    with served.connect() as line:
        line.sendall(HALVES["body"])
        started = time.monotonic()
        assert answer_of(line).startswith("HTTP/1.1 408 ")
        assert server.GRACE - 1 < time.monotonic() - started < server.GRACE + 3


def test_of_too_many_that_say_nothing_the_first_must_leave(served: Served) -> None:
    lines = [served.connect() for _ in range(server.MOST_WAITING + 20)]
    try:
        assert served.seconds(requests.Session(), "/healthz") < SOON
        lines[0].settimeout(2)
        assert lines[0].recv(10) == b""
    finally:
        for line in lines:
            line.close()
