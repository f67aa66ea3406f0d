"""A worker whose clock runs faster, for `bench.outage`: its waits, deadlines and leases with it.

Arguments: `with` or `without` (the breaker). OUTAGE_SPEED and OUTAGE_ORIGIN come in the environment, the same for every
process of a run, so that their clocks agree.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime, tzinfo
from typing import Any

_monotonic, _sleep, _time = time.monotonic, time.sleep, time.time


def quicken() -> None:
    """From here on a second of this process's clock takes 1/OUTAGE_SPEED of a real one. Before app/ is imported."""
    speed, origin = float(os.environ["OUTAGE_SPEED"]), float(os.environ["OUTAGE_ORIGIN"])
    began, waited = _monotonic(), threading.Event.wait
    time.monotonic = lambda: began + (_monotonic() - began) * speed  # type: ignore[assignment]
    time.sleep = lambda seconds: _sleep(seconds / speed)  # type: ignore[assignment]
    threading.Event.wait = (  # type: ignore[method-assign]
        lambda self, timeout=None: waited(self, None if timeout is None else timeout / speed)
    )

    class Quick(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(origin + (_time() - origin) * speed, tz)

    from app import deadline  # noqa: PLC0415  (the clock first)
    from app.data import clock  # noqa: PLC0415
    from app.douyin import wire  # noqa: PLC0415

    clock.datetime = Quick  # type: ignore[misc]
    left = deadline.remaining
    wire.remaining = deadline.remaining = lambda: left() / speed


def utc() -> datetime:
    """Now, by the quick clock."""
    from app.data.clock import utcnow  # noqa: PLC0415

    return utcnow().astimezone(UTC)


def main() -> None:
    quicken()
    from app.factory import create_app  # noqa: PLC0415
    from app.jobs.dispatch import Dispatcher  # noqa: PLC0415
    from app.link import connection, holds  # noqa: PLC0415

    app = create_app()
    if sys.argv[1] == "without":
        connection.client(app).gate = None
        connection.breaker(app).tend = lambda: None  # type: ignore[method-assign]
        holds.standing = lambda _session: holds.Standing(away=False, apps=[], circuits=[])
    Dispatcher(app).run_forever()


if __name__ == "__main__":
    main()
