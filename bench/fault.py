"""R8 and K6: a third-party app that Douyin refuses, at the start of a batch and in it; an app revoked in a batch.

    python -m bench.fault [--runs 100] [--seconds 150] [--workers 2] [--database URL]

Each without the gate (every run tries for itself, as before) and with it. Calls are counted at the sandbox.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.link import holds
from app.models import MiniProgram, OperationRun, RunState, ThirdPartyApp
from app.models.kit import audit
from app.operations import runs
from app.operations.inbound.receive import receive
from bench.kill import prepare
from tests.conftest import COMPONENT, ROOT, SandboxServer, bench_environment, free_port, new_database
from tests.pushes import about, sealed


class Site:
    """A sandbox, a database with authorised mini-programs, and workers of their own processes."""

    def __init__(self, chosen: argparse.Namespace, how: str) -> None:
        self.how, self.count = how, chosen.workers
        self.sandbox = SandboxServer(free_port(), "--audit-seconds", "86400")
        folder = Path(tempfile.mkdtemp(prefix="douzhou-fault-"))
        if chosen.database:
            os.environ["DOUZHOU_TEST_SERVER"] = chosen.database
        url = new_database(folder, how)
        self.env = bench_environment(url, self.sandbox.url) | {"DOUYIN_TIMEOUT": "10", "DOUZHOU_ENV": str(folder / "x")}
        self.env |= {"OUTAGE_SPEED": "1", "OUTAGE_ORIGIN": str(time.time())}
        self.app: Flask = create_app(self.env)
        with self.app.app_context():
            upgrade()
        self.ids, self.template_id = prepare(self.app, self.sandbox, chosen.runs)

    @contextmanager
    def workers(self) -> Iterator[None]:
        command = [sys.executable, "-m", "bench.outage_worker", self.how]
        made = [subprocess.Popen(command, env={**os.environ, **self.env}, cwd=ROOT) for _ in range(self.count)]
        try:
            yield
        finally:
            for worker in made:
                worker.kill()
                worker.wait()

    def queue(self, name: str, ids: list[int], **params: Any) -> None:
        with app_scope(self.app, PLATFORM) as session:
            rows = [session.get_one(MiniProgram, row_id) for row_id in ids]
            runs.request_many(session, name, rows, actor=audit.SYSTEM, params=params)

    def states(self) -> Counter[str]:
        with app_scope(self.app, PLATFORM) as session:
            counted = sa.select(OperationRun.state, sa.func.count()).group_by(OperationRun.state)
            return Counter({str(state): count for state, count in session.execute(counted)})

    def wait(self, condition: Any, seconds: float) -> float:
        began = time.monotonic()
        while not condition() and time.monotonic() - began < seconds:
            time.sleep(0.1)
        return time.monotonic() - began

    def over(self) -> bool:
        open_ = {RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN}
        return not open_ & set(self.states())

    def last(self) -> int:
        rows = self.sandbox.get("journal", since=0)["rows"]
        return int(rows[-1]["n"]) if rows else 0

    def since(self, number: int) -> list[dict[str, Any]]:
        return list(self.sandbox.get("journal", since=number)["rows"])


def at_the_start(site: Site, seconds: float) -> dict[str, Any]:
    """The fault stands before the batch begins."""
    site.sandbox.post("settings", ip_blocked=True)
    site.queue("upload_code", site.ids, template_id=site.template_id, version="1.0.0", description="演练")
    before = site.last()
    with site.workers():
        time.sleep(min(20.0, seconds))
        first = len(site.since(before))
        time.sleep(max(0.0, seconds - 20))
        during = len(site.since(before))
        site.sandbox.post("settings", ip_blocked=False)
        took = site.wait(site.over, 300)
    return {
        "calls in the first 20 s": first,
        f"calls in {seconds:.0f} s": during,
        "failed": site.states()[RunState.FAILED],
        "all done after it, s": round(took),
    }


def in_its_midst(site: Site) -> dict[str, Any]:
    """The fault comes while calls are in flight."""
    site.sandbox.post("settings", latency_ms=100)
    site.queue("upload_code", site.ids, template_id=site.template_id, version="1.0.1", description="演练")
    done = site.states()[RunState.SUCCEEDED]
    with site.workers():
        site.wait(lambda: site.states()[RunState.SUCCEEDED] >= done + 20, 60)
        before = site.last()
        site.sandbox.post("settings", ip_blocked=True)
        time.sleep(10)
        rows = site.since(before)
        site.sandbox.post("settings", ip_blocked=False)
        with app_scope(site.app, PLATFORM) as session:
            held = session.scalar(sa.select(ThirdPartyApp.held_at)) or datetime.now(UTC)
        late = [round(1000 * (row["at"] - held.timestamp())) for row in rows if row["at"] > held.timestamp()]
        site.wait(site.over, 300)
        site.sandbox.post("settings", latency_ms=0)
    return {
        "refused calls in 10 s": len(rows),
        "ms after the hold": late if site.how == "with" else "-",
        "failed": site.states()[RunState.FAILED],
    }


def revoked(site: Site) -> dict[str, Any]:
    """One app is revoked while many runs of it wait: its push is acknowledged, and not worked off for three seconds."""
    with app_scope(site.app, PLATFORM) as session:
        row = session.get_one(MiniProgram, site.ids[0])
        appid = row.appid
    site.sandbox.post("settings", latency_ms=50)
    site.queue("sync_versions", [site.ids[0]] * 60)
    with site.workers():
        before = site.last()
        site.wait(lambda: len(site.since(before)) >= 5, 30)
        event = sealed(about(appid, "UNAUTHORIZED", at=datetime.now(UTC)))
        # As before it was: taken back afterwards, for the side with the gate is measured in the same process.
        gone = patch.object(holds, "hold_mini_program", lambda *_: None)
        with gone if site.how == "without" else nullcontext():
            assert receive(site.app, COMPONENT["appid"], "authorization", event, "127.0.0.1")
        acknowledged = time.time()
        time.sleep(3)
        rows = [row for row in site.since(before) if row["at"] > acknowledged]
    site.sandbox.post("settings", latency_ms=0)
    return {"calls begun after the acknowledgement": len(rows)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database", default="")
    parser.add_argument("--only", choices=("with", "without"), default="")
    chosen = parser.parse_args()
    sides = [chosen.only] if chosen.only else ["without", "with"]
    found: dict[str, dict[str, Any]] = {}
    for how in sides:
        site = Site(chosen, how)
        try:
            parts = {"start": at_the_start(site, chosen.seconds), "midst": in_its_midst(site), "revoked": revoked(site)}
        finally:
            site.sandbox.stop()
        found[how] = {f"{part}: {name}": value for part, values in parts.items() for name, value in values.items()}
    print(f"{chosen.runs} runs, {chosen.workers} worker processes")
    for name in found[sides[0]]:
        print(f"{name:48}" + "".join(f"{how + ': ' + str(found[how][name]):20}" for how in sides))
    return 0


if __name__ == "__main__":
    sys.exit(main())
