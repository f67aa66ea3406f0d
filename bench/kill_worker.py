"""A worker that kills itself -9 at a chosen point of the Nth run it works on; started again and again by `bench.kill`.

Arguments: the point (`before_intent`, `after_intent`, `after_effect`, `before_commit`, `random`, `never`) and N.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from app.factory import create_app
from app.jobs.dispatch import Dispatcher
from app.operations import perform

_count = 0
_guard = threading.Lock()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _nth(n: int) -> bool:
    global _count  # noqa: PLW0603  (one counter a process is the point)
    with _guard:
        _count += 1
        return _count == n


def _before(function: Callable[..., Any], n: int) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _nth(n):
            die()
        return function(*args, **kwargs)

    return wrapped


def _after(function: Callable[..., Any], n: int, counts: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if counts(args, result) and _nth(n):
            die()
        return result

    return wrapped


def _is_fresh(_args: Any, claimed: perform.Claimed | None) -> bool:
    return claimed is not None and claimed.was is perform.Taken.QUEUED


def arm(point: str, n: int) -> None:
    """Place the kill."""
    if point == "before_intent":
        perform._claim = _before(perform._claim, n)
    elif point == "after_intent":
        perform._claim = _after(perform._claim, n, _is_fresh)
    elif point == "after_effect":
        perform.LeasedDouyin.send = _after(  # type: ignore[method-assign]
            perform.LeasedDouyin.send, n, lambda args, _reply: not args[1].reads
        )
    elif point == "before_commit":
        perform._Attempt._write = _before(perform._Attempt._write, n)  # type: ignore[method-assign]
    elif point == "random":
        delay = random.Random(n).uniform(0.05, 1.5)
        threading.Thread(target=lambda: (time.sleep(delay), die()), daemon=True).start()


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    Dispatcher(create_app()).run_forever()
