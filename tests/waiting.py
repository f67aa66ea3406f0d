"""Waiting for what comes when it comes: the one loop of the tests that looks again, and ports that stay ours."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests

T = TypeVar("T")
_held: list[socket.socket] = []


def wait_for(
    found: Callable[[], T],
    seconds: float = 60.0,
    *,
    pause: float = 0.02,
    process: subprocess.Popen[Any] | None = None,
    said: Callable[[], str] = lambda: "",
) -> T:
    """The first true value of `found`; fails after so many seconds, or once `process` has ended, with what was `said`."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert process is None or process.poll() is None, f"it ended: {said()}"
        assert time.monotonic() < deadline, f"waited in vain: {said()}"
        time.sleep(pause)
    return value


def answers(url: str) -> bool:
    """Whether somebody answers there, and well."""
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    """A port of loopback that nobody else is given until this process ends: it stays bound, but nobody listens.

    A server that sets SO_REUSEADDR, as all of ours do, may still take it.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])
