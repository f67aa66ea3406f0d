"""The client against real sockets on the loopback: deadlines, drips, bombs, broken connections."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.douyin.contract import Call, Upload
from app.douyin.development import GetVersions, ReleaseVersion
from app.douyin.material import MaterialType, UploadTpMaterial
from app.errors import NoAnswer

from .conftest import Bench

Script = Callable[[socket.socket], None]
GOOD = b'{"err_no":0,"data":{}}'


def response(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Server:
    """Runs one script per request; keeps the connection as long as the script does."""

    def __init__(self, script: Script) -> None:
        self.script, self.connections, self.requests = script, 0, list[bytes]()
        self.finished = 0  # scripts that came to their end, with nobody hanging up
        self.threads: list[threading.Thread] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.closing = False
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self) -> None:
        while not self.closing:
            with contextlib.suppress(OSError):
                peer, _ = self.socket.accept()
                self.connections += 1
                self.threads.append(threading.Thread(target=self._serve, args=(peer,), daemon=True))
                self.threads[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while head := peer.recv(65536):
                self.requests.append(head)
                self.script(peer)
                self.finished += 1

    def heard_out(self) -> bool:
        """Whether the client waited for a script's end; asked once it has hung up."""
        for thread in self.threads:
            thread.join(30)
        return self.finished > 0

    def close(self) -> None:
        self.closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(self.socket.getsockname()).close()
        self.accepting.join(30)  # while it is in accept(), the port is still open
        self.socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[Server, Bench]]]:
    made: list[tuple[Server, Bench]] = []

    def start(script: Script, timeout: float = 0.4) -> tuple[Server, Bench]:
        server = Server(script)
        urls = dict.fromkeys(("open_url", "microapp_url", "toutiao_url"), server.url)
        made.append((server, Bench(timeout=timeout, **urls)))
        return made[-1]

    yield start
    for server, bench in made:
        bench.client.close()
        server.close()


def drip(data: bytes, pause: float = 0.01) -> Script:
    def script(peer: socket.socket) -> None:
        for index in range(len(data)):
            peer.sendall(data[index : index + 1])
            time.sleep(pause)

    return script


def say(data: bytes, *, close: bool = False) -> Script:
    def script(peer: socket.socket) -> None:
        peer.sendall(data)
        if close:
            peer.shutdown(socket.SHUT_RDWR)

    return script


def dripping_body(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    drip(GOOD.ljust(500))(peer)


def silent(peer: socket.socket, seconds: float = 3.0) -> None:
    peer.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        peer.recv(1)
        raise ConnectionResetError("the client hung up")


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()


@pytest.mark.parametrize(
    "script", [dripping_body, drip(response(GOOD.ljust(500))), silent], ids=["body", "headers", "silence"]
)
@pytest.mark.parametrize("call", [GetVersions(), ReleaseVersion()], ids=["safe", "unsafe"])
def test_the_deadline_is_total_even_when_bytes_keep_dripping(
    script: Script, call: Call[Any], serve: Callable[..., tuple[Server, Bench]]
) -> None:
    server, bench = serve(script)
    with pytest.raises(NoAnswer) as caught:
        bench.douyin.send(call)
    bench.client.close()
    assert not server.heard_out()  # for seconds, to a good answer
    assert caught.value.sent


def test_silence_after_a_drip_does_not_start_the_clock_again(
    serve: Callable[..., tuple[Server, Bench]],
) -> None:
    def script(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        drip(b" " * 60, 0.03)(peer)
        silent(peer, 1.3)

    server, bench = serve(script, timeout=2.0)
    with pytest.raises(NoAnswer):
        bench.douyin.send(ReleaseVersion())
    bench.client.close()
    assert not server.heard_out()  # with a new clock it would have waited two more seconds


def test_sending_may_take_longer_than_connecting(
    serve: Callable[..., tuple[Server, Bench]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_reader(peer: socket.socket) -> None:
        time.sleep(0.4)
        while not peer.recv(2**20).endswith(b"--\r\n"):
            pass
        peer.sendall(response(b'{"err_no":0,"data":{"path":"p"}}'))

    monkeypatch.setattr("app.douyin.wire._CONNECT_TIMEOUT", 0.2)
    icon = Upload("a.png", bytes(16 * 2**20))
    upload = UploadTpMaterial(material_type=MaterialType.APP_ICON, material_file=icon)
    _, bench = serve(slow_reader, timeout=20.0)
    assert bench.douyin.send(upload).path == "p"


def test_a_slow_but_timely_answer_is_read(serve: Callable[..., tuple[Server, Bench]]) -> None:
    _, bench = serve(drip(response(GOOD)), timeout=8.0)
    assert bench.douyin.send(GetVersions()).latest is None


def test_connections_are_used_again(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(say(response(GOOD)))
    for _ in range(5):
        bench.douyin.send(GetVersions())
    assert (server.connections, len(server.requests)) == (1, 5)


@pytest.mark.parametrize(
    "script",
    [
        reset,
        say(b"", close=True),
        say(response(GOOD)[:-5], close=True),
        say(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"er', close=True),
        say(b"garbage\r\n\r\n", close=True),
        say(response(GOOD, "Content-Encoding: gzip"), close=True),
    ],
    ids=["reset", "closed", "half", "half a chunk", "no http", "not gzip"],
)
def test_a_broken_connection_is_no_answer_and_an_unsafe_call_is_sent_once(
    script: Script, serve: Callable[..., tuple[Server, Bench]]
) -> None:
    server, bench = serve(script)
    with pytest.raises(NoAnswer) as caught:
        bench.douyin.send(ReleaseVersion())
    assert (caught.value.sent, len(server.requests)) == (True, 1)


def test_a_refused_connection_means_nothing_was_sent(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(silent)
    server.close()
    with pytest.raises(NoAnswer) as caught:
        bench.douyin.send(ReleaseVersion())
    assert not caught.value.sent


def test_a_decompression_bomb_is_not_unpacked(serve: Callable[..., tuple[Server, Bench]]) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(2**20)) for _ in range(200)), packer.flush()])
    _, bench = serve(say(response(bomb, "Content-Encoding: gzip")), timeout=5.0)
    tracemalloc.start()
    with pytest.raises(NoAnswer, match="过大"):
        bench.douyin.send(ReleaseVersion())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 * 2**20  # of 200 MB


def test_an_honest_compressed_answer_is_read(serve: Callable[..., tuple[Server, Bench]]) -> None:
    _, bench = serve(say(response(gzip.compress(GOOD), "Content-Encoding: gzip")))
    assert bench.douyin.send(GetVersions()).latest is None


def test_redirects_are_not_followed(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(say(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(NoAnswer):
        bench.douyin.send(ReleaseVersion())
    assert len(server.requests) == 1


def test_a_cookie_of_one_answer_does_not_go_out_again(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(say(response(GOOD, "Set-Cookie: sid=1; Path=/")))
    bench.douyin.send(GetVersions())
    bench.douyin.send(GetVersions())
    assert not any(b"cookie" in head.lower() for head in server.requests)


def test_proxies_of_the_environment_are_not_used(
    serve: Callable[..., tuple[Server, Bench]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    _, bench = serve(say(response(GOOD)))
    assert bench.douyin.send(GetVersions()).latest is None


def test_a_post_without_parameters_has_no_body(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(say(response(GOOD)))
    bench.douyin.send(ReleaseVersion())
    assert b"content-length: 0" in server.requests[0].lower()


def test_many_threads_may_share_one_client(serve: Callable[..., tuple[Server, Bench]]) -> None:
    server, bench = serve(say(response(GOOD)), timeout=5.0)
    threads = [threading.Thread(target=lambda: bench.douyin.send(GetVersions())) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [record.outcome for record in bench.records] == ["ok"] * 32
    assert server.connections <= 32
