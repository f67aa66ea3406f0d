"""Processes that have just started, with many threads at work at once; for `bench.start` and its test.

    python -m bench.start_worker [--processes 50] [--threads 16] [--cold]     every type of the wire
    python -m bench.start_worker --job SECONDS [--cold]                       what is queued in the database

The first forks the processes from one that has loaded all libraries but nothing of `app.douyin`, and prints a JSON
object of exit code -> count (minus the signal's number when one ended it). The second is one such process: a worker
that ends once nothing is due. `--cold` leaves out the building of types at import.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import threading
import time
from collections import Counter
from types import ModuleType
from typing import Any

from tests.douyin.contract_files import contract

LIBRARIES = ("app.errors", "app.redaction", "cryptography.hazmat.primitives.ciphers", "msgspec", "requests")


def pushes() -> list[dict[str, Any]]:
    """The contract's example of every event."""
    hooks = [item["post"] for item in contract("core")["webhooks"].values()]
    return [hook["x-decrypted"]["example"] for hook in hooks if "x-decrypted" in hook]


def without_building() -> None:
    """Have `app.douyin` imported as it was before its types were built there."""
    empty = ModuleType("app.douyin.warm")
    empty.build = lambda *_: None  # type: ignore[attr-defined]
    sys.modules[empty.__name__] = empty


def child(events: list[dict[str, Any]], threads: int, *, cold: bool) -> None:
    """Import the contract, then read and write all of it in `threads` threads that start together."""
    if cold:
        without_building()
    samples = importlib.import_module("tests.douyin.samples").SAMPLES
    read = importlib.import_module("app.douyin.answer").read
    parse = importlib.import_module("app.douyin.inbound").parse
    barrier = threading.Barrier(threads)
    faults: list[BaseException] = []

    def work() -> None:
        barrier.wait()
        try:
            for sample in samples:
                list(sample.call.parameters())
                if isinstance(sample.answer, dict):
                    read(sample.call, sample.answer, status=200, log_id="")
            for event in events:
                parse(event)
        except BaseException as fault:
            faults.append(fault)
            raise

    sys.setswitchinterval(1e-6)
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os._exit(1 if faults else 0)


def job(seconds: float) -> None:
    """Be a worker until nothing is due."""
    from app.data.tenancy import PLATFORM, app_scope  # noqa: PLC0415
    from app.factory import create_app  # noqa: PLC0415  (only now: what is imported here is what is tried)
    from app.jobs.dispatch import Dispatcher  # noqa: PLC0415
    from app.operations.perform import due  # noqa: PLC0415

    flask_app = create_app()
    dispatcher = Dispatcher(flask_app)
    dispatcher.start()
    until = time.monotonic() + seconds
    left = True
    while left and time.monotonic() < until:
        time.sleep(0.2)
        with app_scope(flask_app, PLATFORM) as session:
            left = bool(due(session, 1)) or bool(dispatcher.in_hand)
    dispatcher.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--job", type=float, default=0.0, metavar="SECONDS")
    chosen = parser.parse_args()
    if chosen.job:
        if chosen.cold:
            without_building()
        return job(chosen.job)
    print(json.dumps(crashes(chosen.processes, chosen.threads, cold=chosen.cold)))
    return None


def crashes(processes: int, threads: int, *, cold: bool) -> Counter[int]:
    """How each of the forked processes ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    events = pushes()
    if "app.douyin" in sys.modules:
        raise SystemExit("app.douyin is already loaded: nothing would be tested")
    ends: Counter[int] = Counter()
    for _ in range(processes):
        pid = os.fork()
        if not pid:
            try:
                child(events, threads, cold=cold)
            finally:
                os._exit(1)
        ends[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])] += 1
    return ends


if __name__ == "__main__":
    main()
