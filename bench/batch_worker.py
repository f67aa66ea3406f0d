"""One way to make the calls of `bench.batch`, in a process of its own: prints what it cost as JSON.

    python -m bench.batch_worker product|pool|sequential

BENCH_APPS, BENCH_URL and the product's settings come in the environment.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

THREADS = 64
ROOT = "/api/apps/v1/package_version"
CALLS = (
    ("GET", f"{ROOT}/get_audit_hosts/", None),
    ("GET", f"{ROOT}/versions/", None),
    ("POST", "/api/apps/v2/package_version/audit/", {"host_names": ["douyin"], "audit_way": 0}),
)
_own = threading.local()


def resident(which: str = "VmRSS") -> float:
    """Megabytes of this process: now, or `VmHWM`, at most so far."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(text.split(f"{which}:")[1].split()[0]) / 1024


def calls_of(number: int) -> int:
    """The three calls of one app, with a session a thread and nothing else."""
    session: requests.Session = getattr(_own, "session", None) or requests.Session()
    _own.session = session
    for method, path, body in CALLS:
        headers = {"access-token": f"plain-{number}"}
        answer = session.request(method, os.environ["BENCH_URL"] + path, json=body, headers=headers, timeout=10)
        assert answer.json()["err_no"] == 0
    return len(CALLS)


def pool(apps: int) -> int:
    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(calls_of, range(apps)))


def sequential(apps: int) -> int:
    return sum(calls_of(number) for number in range(min(apps, 20)))


def product(apps: int) -> int:
    """The product's own worker over a batch that was queued before it began to look."""
    from sqlalchemy import func, select  # noqa: PLC0415

    from app.data.tenancy import PLATFORM, app_scope  # noqa: PLC0415
    from app.jobs.dispatch import Dispatcher  # noqa: PLC0415
    from app.models import OperationRun, RunState  # noqa: PLC0415

    dispatcher = Dispatcher(_app)
    dispatcher.start()
    still = select(func.count()).where(OperationRun.state.in_([RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN]))
    until = time.monotonic() + 600
    while time.monotonic() < until:
        time.sleep(0.25)
        with app_scope(_app, PLATFORM) as session:
            if not session.scalar(still):
                break
    dispatcher.stop()
    return len(CALLS) * apps


_app: Any = None


def main() -> None:
    global _app  # noqa: PLW0603  (made before the clock starts)
    way, apps = sys.argv[1], int(os.environ["BENCH_APPS"])
    if way == "product":
        from app.factory import create_app  # noqa: PLC0415

        _app = create_app()
    idle, began, spent = resident(), time.monotonic(), time.process_time()
    made = {"product": product, "pool": pool, "sequential": sequential}[way](apps)
    print(
        json.dumps(
            {
                "calls": made,
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - spent,
                "idle": idle,
                "most": resident("VmHWM"),
            }
        )
    )


if __name__ == "__main__":
    main()
