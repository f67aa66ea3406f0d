"""A small HTTP/1.1 server (asyncio sockets, httptools parsing) that can hang up without an answer."""

from __future__ import annotations

import asyncio
import http
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import httptools

from .faults import Fate, Outcome
from .gateway import Request

_log = logging.getLogger(__name__)
Serve = Callable[[Request], Outcome | Awaitable[Outcome]]
_MOST_BODY = 20 * 1024 * 1024
_REASONS = {status.value: status.phrase for status in http.HTTPStatus}
_HANG_SECONDS = 300.0


class Connection(asyncio.Protocol):
    """One client connection; requests are answered one after the other, in their order."""

    def __init__(self, serve: Serve, open_connections: set[Connection]) -> None:
        self._serve = serve
        self._all = open_connections
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.transport: asyncio.Transport | None = None

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self.transport = transport
            self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._all.discard(self)
        self.transport = None
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._write(Outcome(Fate.SEND, 400, "text/plain", b"bad request"), keep=False)

    # httptools

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body, self._size = b"", {}, [], 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue" and self.transport:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > _MOST_BODY:
            self._abort()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.partition(b"?")
        method = self._parser.get_method().decode("ascii")
        request = Request(
            method,
            unquote(path.decode("latin-1")),
            query.decode("latin-1"),
            self._headers,
            b"".join(self._body),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._next()

    # answering

    def _next(self) -> None:
        if self._busy or not self._waiting or self.transport is None:
            return
        request, keep = self._waiting.popleft()
        self._busy = True
        try:
            outcome = self._serve(request)
        except Exception:  # noqa: BLE001 - the request boundary: a bug of ours must not look like an outage
            _log.exception("%s %s", request.method, request.path)
            outcome = Outcome(Fate.SEND, 500, "text/plain", b"sandbox error, see its output")
        if inspect.isawaitable(outcome):
            task = asyncio.ensure_future(outcome)
            task.add_done_callback(lambda done: self._settle(done.result(), keep=keep))
        elif isinstance(outcome, Outcome):
            self._settle(outcome, keep=keep)

    def _settle(self, outcome: Outcome, *, keep: bool) -> None:
        loop = asyncio.get_running_loop()
        if outcome.fate is Fate.HANG:
            loop.call_later(_HANG_SECONDS, self._abort)
        elif outcome.delay > 0:
            loop.call_later(outcome.delay, lambda: self._finish(outcome, keep=keep))
        else:
            self._finish(outcome, keep=keep)

    def _finish(self, outcome: Outcome, *, keep: bool) -> None:
        if outcome.fate is Fate.ABORT:
            self._abort()
            return
        self._write(outcome, keep=keep and outcome.fate is Fate.SEND)
        self._busy = False
        self._next()

    def close(self) -> None:
        if self.transport:
            self.transport.close()

    def _abort(self) -> None:
        """Hang up without an answer: the client sees a reset or an early end."""
        if self.transport:
            self.transport.abort()

    def _write(self, outcome: Outcome, *, keep: bool) -> None:
        if self.transport is None:
            return
        promised = len(outcome.body) + (200 if outcome.fate is Fate.HALF else 0)
        charset = "; charset=utf-8" if outcome.media in ("text/html", "application/json", "text/plain") else ""
        lines = [
            f"HTTP/1.1 {outcome.status} {_REASONS.get(outcome.status, '')}",
            f"Content-Type: {outcome.media}{charset}",
            f"Content-Length: {promised}",
            *(f"{name}: {value}" for name, value in outcome.headers),
        ]
        if not keep:
            lines.append("Connection: close")
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + outcome.body)
        if not keep:
            self.transport.close()
