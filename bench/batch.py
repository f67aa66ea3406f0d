"""What a batch costs: submissions of three calls each, beside a stateless pool and a loop, against canned answers.

    python -m bench.batch [--apps 2000] [--latency 0.1] [--database URL] [--workers 1]

Each way runs in a process of its own: 64 threads of the product's worker, with its claims, intents and outcomes, or as
many such workers as are asked for; 64 threads that only call; one call after the other (a few, reckoned up). Exits 1
when a submission is missing or double.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import insert, select

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.models import (
    AuthorizationState,
    Credential,
    CredentialKind,
    Industry,
    Merchant,
    MiniProgram,
    OperationRun,
    RunState,
    Version,
    VersionState,
)
from app.models.kit import audit
from app.operations.runs import request_many
from tests.conftest import COMPONENT, ROOT, bench_environment, free_port, new_database

CHUNK = 500
YEAR = 365 * 86_400


def fill(app: Flask, count: int) -> list[int]:
    """Authorised mini-programs with an uploaded version and a living token each; their ids."""
    now = utcnow()
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
        owner = setting_up.add_third_party_app(session, COMPONENT["appid"], "", COMPONENT)
        owner.ticket, owner.ticket_at = "ticket", now
        merchant = Merchant(name="压测商户", industry=Industry(name="测试"))
        session.add(merchant)
        session.commit()
        of = {"merchant_id": merchant.id, "third_party_app_id": owner.id}
        apps = [
            {**of, "appid": f"ttbench{n:09d}", "name": f"压测{n}", "state": AuthorizationState.AUTHORIZED}
            | {"permissions": [1, 2], "uploaded_version": "1.0.0"}
            for n in range(count)
        ]
        session.execute(insert(MiniProgram.__table__), apps)
        ids = list(session.scalars(select(MiniProgram.id).order_by(MiniProgram.id)))
        uploaded = {"number": "1.0.0", "state": VersionState.UPLOADED, "merchant_id": merchant.id, "uploaded_at": now}
        session.execute(insert(Version.__table__), [{**uploaded, "mini_program_id": row_id} for row_id in ids])
        session.commit()
        for number, row in enumerate(apps):
            _give_token(session, owner.id, str(row["appid"]), f"token-{number}")
        session.commit()
    return ids


def _give_token(session: Any, owner_id: int, appid: str, value: str) -> None:
    row = Credential(
        key=f"authorizer:{COMPONENT['appid']}:{appid}",
        kind=CredentialKind.AUTHORIZER,
        third_party_app_id=owner_id,
        appid=appid,
        expires_at=utcnow() + timedelta(seconds=YEAR),
        generation=1,
    )
    row.access_token = value
    session.add(row)


def queue(app: Flask, ids: list[int]) -> None:
    with app_scope(app, PLATFORM) as session:
        for start in range(0, len(ids), CHUNK):
            rows = list(session.scalars(select(MiniProgram).where(MiniProgram.id.in_(ids[start : start + CHUNK]))))
            request_many(session, "submit_audit", rows, actor=audit.SYSTEM, params={})


def run(way: str, env: dict[str, str], workers: int = 1) -> dict[str, float]:
    """What it cost all of them; seconds are those of the slowest."""
    command = [sys.executable, "-m", "bench.batch_worker", way]
    started = [subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    told = [worker.communicate(timeout=900)[0] for worker in started]
    if any(worker.returncode for worker in started):
        raise SystemExit(f"{way}: a worker failed")
    each: list[dict[str, float]] = [json.loads(text.splitlines()[-1]) for text in told]
    found = {name: sum(one[name] for one in each) for name in ("cpu", "idle", "most")}
    return found | {"calls": each[0]["calls"], "seconds": max(one["seconds"] for one in each)}


def show(ways: dict[str, dict[str, float]]) -> None:
    limit = ways["pool"]["calls"] / ways["pool"]["seconds"]
    names = ("calls", "seconds", "calls/s", "CPU ms/call", "of the pool", "idle MB", "most MB")
    print(f"{'':12}" + "".join(f"{name:>13}" for name in names))
    for way, found in ways.items():
        calls, rate = found["calls"], found["calls"] / found["seconds"]
        told = (calls, found["seconds"], rate, 1000 * found["cpu"] / calls, rate / limit, found["idle"], found["most"])
        print(f"{way:12}" + "".join(f"{value:13.2f}" for value in told))


def judge(app: Flask, url: str, count: int) -> int:
    """How many submissions are missing or too many, and runs that did not succeed."""
    seen: dict[str, int] = requests.get(f"{url}/_count", timeout=10).json()
    ours = {token: n for token, n in seen.items() if token.startswith("token-")}
    lost = count - len(ours)
    doubled = sum(n - 1 for n in ours.values())
    with app_scope(app, PLATFORM) as session:
        failed = len(list(session.scalars(select(OperationRun.id).where(OperationRun.state != RunState.SUCCEEDED))))
    print(f"submissions lost {lost}, doubled {doubled}; runs that did not succeed {failed}")
    return lost + doubled + failed


def start_canned(port: int, latency: float) -> subprocess.Popen[str]:
    """The server of canned answers, once it listens; `latency` in seconds."""
    command = [sys.executable, "-m", "bench.canned_worker", str(port), str(latency)]
    canned = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert canned.stdout
    canned.stdout.readline()
    return canned


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--database", default="")
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.database:
        os.environ["DOUZHOU_TEST_SERVER"] = chosen.database
    folder, port = Path(tempfile.mkdtemp(prefix="douzhou-batch-")), free_port()
    url = f"http://127.0.0.1:{port}"
    canned = start_canned(port, chosen.latency)
    try:
        env = bench_environment(new_database(folder, "batch"), url) | {"DOUYIN_TIMEOUT": "10"}
        env |= {"DOUZHOU_ENV": str(folder / "none"), "WORKER_THREADS": "64", "LOG_LEVEL": "WARNING"}
        app = create_app(env)
        with app.app_context():
            upgrade()
        ids = fill(app, chosen.apps)
        queue(app, ids)
        whole = {**os.environ, **env, "BENCH_APPS": str(chosen.apps), "BENCH_URL": url}
        ways = {way: run(way, whole) for way in ("sequential", "pool")}
        ways["product"] = run("product", whole, chosen.workers)
        show(ways)
        return 1 if judge(app, url, chosen.apps) else 0
    finally:
        canned.terminate()
        canned.wait()


if __name__ == "__main__":
    sys.exit(main())
