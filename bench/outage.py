"""R7: Douyin is away for half an hour while a thousand uploads are queued; what became of them, and how soon after.

    python -m bench.outage [--runs 1000] [--minutes 30] [--speed 30] [--kind hang] [--workers 1] [--database URL]

Every process's clock runs `--speed` times as fast, time-outs and leases included; --speed 1 takes the whole half hour.
The same is done twice, without the breaker and with it (--only with: once). Effects are counted at the sandbox.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench import outage_worker

KINDS = ("refuse", "hang", "500", "html", "empty")


def measure(chosen: argparse.Namespace, how: str) -> dict[str, Any]:
    """One outage from its beginning to the end of the backlog."""
    from flask_migrate import upgrade  # noqa: PLC0415  (the clock first)

    from app.data.tenancy import PLATFORM, app_scope  # noqa: PLC0415
    from app.factory import create_app  # noqa: PLC0415
    from app.models import MiniProgram  # noqa: PLC0415
    from app.models.kit import audit  # noqa: PLC0415
    from app.operations.runs import request_many  # noqa: PLC0415
    from bench.kill import prepare  # noqa: PLC0415
    from tests.conftest import ROOT, SandboxServer, bench_environment, free_port, new_database  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="douzhou-outage-"))
    if chosen.database:
        os.environ["DOUZHOU_TEST_SERVER"] = chosen.database
    sandbox = SandboxServer(free_port(), "--audit-seconds", "86400")
    env = bench_environment(new_database(folder, how), sandbox.url) | {"DOUYIN_TIMEOUT": "10"}
    env |= {"DOUZHOU_ENV": str(folder / "none"), "STORAGE_URL": f"file://{folder}/files"}
    app = create_app(env)
    workers: list[subprocess.Popen[bytes]] = []
    try:
        with app.app_context():
            upgrade()
        ids, template_id = prepare(app, sandbox, chosen.runs)
        sandbox.post("settings", outage=chosen.kind)
        before = _last(sandbox)
        with app_scope(app, PLATFORM) as session:
            rows = [session.get_one(MiniProgram, row_id) for row_id in ids]
            params = {"template_id": template_id, "version": "1.0.0", "description": "演练"}
            request_many(session, "upload_code", rows, actor=audit.SYSTEM, params=params)
        command = [sys.executable, "-m", "bench.outage_worker", how]
        workers = [subprocess.Popen(command, env={**os.environ, **env}, cwd=ROOT) for _ in range(chosen.workers)]

        time.sleep(60 * chosen.minutes)
        during, reached = states(app), _last(sandbox)
        sandbox.post("settings", outage="off")
        hundred, everything = _recovery(app, chosen.runs)
        return {
            **_judged(app, sandbox),
            "in the outage": dict(during),
            "calls in the outage": reached - before,
            "first hundred after, s": hundred and round(hundred),
            "all after, s": everything and round(everything),
        }
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        sandbox.stop()


def states(app: Any) -> Counter[str]:
    """How many runs are in each state."""
    import sqlalchemy as sa  # noqa: PLC0415  (the clock first)

    from app.data.tenancy import PLATFORM, app_scope  # noqa: PLC0415
    from app.models import OperationRun  # noqa: PLC0415

    with app_scope(app, PLATFORM) as session:
        counted = sa.select(OperationRun.state, sa.func.count()).group_by(OperationRun.state)
        return Counter({str(state): count for state, count in session.execute(counted)})


def _last(sandbox: Any) -> int:
    """The number of the sandbox's latest call."""
    return max((row["n"] for row in sandbox.get("journal", since=0)["rows"]), default=0)


def _recovery(app: Any, runs: int) -> tuple[float | None, float | None]:
    """Seconds from now to the first hundred successes, and to the end of the backlog."""
    back, hundred = time.monotonic(), None
    while time.monotonic() - back < 3600:
        now = states(app)
        if hundred is None and now["succeeded"] >= min(100, runs):
            hundred = time.monotonic() - back
        if now["succeeded"] + now["failed"] == runs:
            return hundred, time.monotonic() - back
        time.sleep(0.5)
    return hundred, None


def _judged(app: Any, sandbox: Any) -> dict[str, int]:
    """What the runs say beside what the sandbox has seen."""
    import sqlalchemy as sa  # noqa: PLC0415  (the clock first)

    from app.data.tenancy import PLATFORM, app_scope  # noqa: PLC0415
    from app.models import OperationRun, RunState  # noqa: PLC0415

    with app_scope(app, PLATFORM) as session:
        found = {run.appid: run for run in session.scalars(sa.select(OperationRun))}
    effects = sandbox.get("effects")
    uploads = {appid: held.get("upload", 0) for appid, held in effects.get("apps", effects).items() if appid in found}
    told = {appid: int(run.state == RunState.SUCCEEDED) for appid, run in found.items()}
    return {
        "failed": states(app)["failed"],
        "wrong states": sum(uploads.get(appid, 0) != done for appid, done in told.items()),
        "uploaded twice": sum(count > 1 for count in uploads.values()),
        "most attempts": max(run.attempts for run in found.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--speed", type=float, default=30)
    parser.add_argument("--kind", choices=KINDS, default="hang")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--database", default="")
    parser.add_argument("--only", choices=("with", "without"), default="")
    chosen = parser.parse_args()
    os.environ["OUTAGE_SPEED"], os.environ["OUTAGE_ORIGIN"] = str(chosen.speed), str(time.time())
    outage_worker.quicken()
    sides = [chosen.only] if chosen.only else ["without", "with"]
    found = {how: measure(chosen, how) for how in sides}
    about = f"{chosen.runs} runs, {chosen.workers} worker(s), clock x{chosen.speed:g}"
    print(f"{chosen.kind}, {chosen.minutes:g} minutes, {about}")
    for name in found[sides[0]]:
        print(f"{name:24}" + "".join(f"{how + ' breaker: ' + str(found[how][name]):80}" for how in sides))
    return 0 if not found[sides[-1]]["failed"] and not found[sides[-1]]["wrong states"] else 1


if __name__ == "__main__":
    sys.exit(main())
