"""A total deadline for HTTP connections: every read waits only for what is left, headers and body alike.

A socket's own time-out starts again with every byte, so a peer that drips bytes never runs into it.
"""

from __future__ import annotations

import io
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from socket import socket
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

# Monotonic time at which the call under way on this thread must be over; None = no limit.
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining() -> float:
    """Seconds left of the call under way; never negative."""
    until = deadline.get()
    return 3600.0 if until is None else max(0.0, until - time.monotonic())


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = remaining()
        if not left:
            raise TimeoutError("deadline")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock))


class _Connection(HTTPConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        _allow_all(self.sock)
        super().send(data)


class _SecureConnection(HTTPSConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        _allow_all(self.sock)
        super().send(data)


def _allow_all(sock: Any) -> None:
    """Sending may take all that is left; the library would allow it the time for connecting only."""
    if sock is not None:
        sock.settimeout(max(remaining(), 0.001))


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _Pool, "https": _SecurePool}
