"""Processes that die at their start: fresh ones under full load, with and without the types built at import.

    python -m bench.start [--processes 50] [--threads 16] [--workers 20]

`--processes`: forked ones that read and write every type of the wire in all their threads at once. `--workers`: real
worker processes that begin with a full queue at the sandbox. Printed side by side by the signal that ended them;
exits 1 when one died although the types were built.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import delete, func, select

from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.models import Door, MiniProgram, OperationRun, RunState
from app.models.kit import audit
from app.operations import runs
from bench.kill import prepare
from tests.conftest import ROOT, SandboxServer, bench_environment, free_port

WORKER = [sys.executable, "-m", "bench.start_worker"]
APPS = 24
PATIENCE = 30.0
OPERATIONS = ("sync_app_info", "sync_versions")  # of odd and even mini-programs, so that types meet at once


def words(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else "lived" if code == 0 else f"exit {code}"


def wire(processes: int, threads: int, *, cold: bool) -> Counter[str]:
    """How processes ended that read and wrote every type in every thread."""
    command = [*WORKER, f"--processes={processes}", f"--threads={threads}", *(["--cold"] if cold else [])]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Counter({words(int(code)): count for code, count in json.loads(done.stdout).items()})


def fill(app: Flask, ids: list[int]) -> None:
    """A queue with one run for each mini-program and nothing else in it."""
    with app_scope(app, PLATFORM) as session:
        session.execute(delete(OperationRun))
        session.commit()
        for row_id in ids:
            row = session.get_one(MiniProgram, row_id)
            runs.request(session, OPERATIONS[row_id % 2], row, actor=audit.SYSTEM, door=Door.ROW)


def work(app: Flask, ids: list[int], env: dict[str, str], workers: int, *, cold: bool) -> Counter[str]:
    """How real workers ended that each began with a full queue."""
    ends: Counter[str] = Counter()
    command = [*WORKER, f"--job={PATIENCE}", *(["--cold"] if cold else [])]
    for _ in range(workers):
        fill(app, ids)
        done = subprocess.run(command, cwd=ROOT, env=env, check=False, stderr=subprocess.DEVNULL, timeout=4 * PATIENCE)
        with app_scope(app, PLATFORM) as session:
            good = select(func.count(OperationRun.id)).where(OperationRun.state == RunState.SUCCEEDED)
            whole = session.scalar(good) == len(ids)
        ends[words(done.returncode) if done.returncode or whole else "lived, work left"] += 1
    return ends


def show(name: str, before: Counter[str], after: Counter[str]) -> None:
    text = {True: before, False: after}
    columns = [", ".join(f"{end} {count}" for end, count in sorted(text[cold].items())) for cold in (True, False)]
    print(f"{name:28} before: {columns[0]:32} after: {columns[1]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--workers", type=int, default=20)
    chosen = parser.parse_args()
    found = [wire(chosen.processes, chosen.threads, cold=cold) for cold in (True, False)]
    show(f"{chosen.processes} x {chosen.threads} threads, wire", *found)
    dead = chosen.processes - found[1]["lived"]
    if chosen.workers:
        folder = Path(tempfile.mkdtemp(prefix="douzhou-start-"))
        sandbox = SandboxServer(free_port(), "--audit-seconds", "86400")
        env = bench_environment(f"sqlite:///{folder / 'start.db'}", sandbox.url)
        app = create_app(env)
        try:
            with app.app_context():
                upgrade()
            ids, _ = prepare(app, sandbox, APPS)
            sandbox.post("settings", latency_ms=400)  # so that the first answers come together
            whole = {**os.environ, **env, "DOUZHOU_ENV": str(folder / "none")}
            found = [work(app, ids, whole, chosen.workers, cold=cold) for cold in (True, False)]
        finally:
            sandbox.stop()
        show(f"{chosen.workers} workers, full queue", *found)
        dead += chosen.workers - found[1]["lived"]
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
