"""Kill -9 the worker again and again while mini-programs go through the loop; count at the sandbox what happened.

    python -m bench.kill [--apps 100] [--kills 50] [--database URL]

The kills are placed in turn before the intent, after it, after the effect, before the commit, and at random. Exits 1
when anything was lost or done twice.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from app.cli import setup as setting_up
from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.link import connection
from app.models import (
    AuthorizationState,
    Industry,
    Merchant,
    MiniProgram,
    OperationRun,
    RunState,
    Template,
)
from app.models.kit import audit
from app.operations import runs, template
from app.operations.onboarding import arrival, links
from app.operations.release.sync import sync
from tests.conftest import COMPONENT, ROOT, SandboxServer, bench_environment, free_port, fresh_ticket, pass_time

POINTS = ("before_intent", "after_intent", "after_effect", "before_commit", "random")
STEPS = ("upload_code", "submit_audit", "release")
EFFECT = {"upload_code": "upload", "submit_audit": "audit", "release": "release"}


class Killer:
    """Keeps one worker running; each has its kill until the kills are used up."""

    def __init__(self, env: dict[str, str], kills: int, spread: int) -> None:
        self.spread = spread  # a kill comes at one of this many runs, so that they fall into every step
        self.env = env
        self.left = kills
        self.done: Counter[str] = Counter()
        self.points = itertools.cycle(POINTS)
        self.random = random.Random(11)
        self.process: subprocess.Popen[bytes] | None = None
        self.point = "never"

    def tend(self) -> None:
        """Start the next worker if the last one is dead."""
        if self.process is not None and self.process.poll() is None:
            return
        if self.process is not None and self.process.returncode == -9:
            self.done[self.point] += 1
            self.left -= 1
        self.point = next(self.points) if self.left > 0 else "never"
        nth = str(self.random.randint(1, self.spread) if self.point != "random" else self.random.randint(1, 10**6))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.kill_worker", self.point, nth], env=self.env, cwd=ROOT
        )

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def prepare(app: Flask, sandbox: SandboxServer, count: int) -> tuple[list[int], str]:
    """Merchants with authorised mini-programs; their ids, and a template."""
    sandbox.post("thirdparty", appid=COMPONENT["appid"], auth_domain="127.0.0.1:8080")
    appids = [row["appid"] for row in sandbox.post("apps", count=count)["apps"]]
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
        owner = setting_up.add_third_party_app(session, COMPONENT["appid"], "", COMPONENT)
        fresh_ticket(session, owner, sandbox)
        merchant = Merchant(name="压测商户", industry=Industry(name="测试"))
        session.add(merchant)
        session.commit()
        for appid in appids:
            link = links.make_link(session, merchant, owner, actor=audit.SYSTEM)
            back = sandbox.post("consent", link=link.url, appid=appid, permissions=[1, 2])["redirect_url"]
            address = urlsplit(back)
            code = dict(parse_qsl(address.query))["authorization_code"]
            arrival.complete(app, address.path.rsplit("/", 1)[-1], code)
        owner_id = owner.id
    template.sync(app, owner_id)
    with app_scope(app, PLATFORM) as session:
        ids = list(session.scalars(sa.select(MiniProgram.id).where(MiniProgram.state == AuthorizationState.AUTHORIZED)))
        newest = session.scalars(sa.select(Template.template_id).order_by(Template.id.desc())).first()
    if len(ids) != count or not newest:
        raise SystemExit(f"only {len(ids)} of {count} mini-programs were authorised")
    return ids, newest


def run_step(app: Flask, name: str, ids: Iterable[int], killer: Killer, params: dict[str, str]) -> Counter[str]:
    """Queue one operation on every mini-program and tend the worker until all runs are over."""
    with app_scope(app, PLATFORM) as session:
        rows = [session.get_one(MiniProgram, row_id) for row_id in ids]
        batch, _ = runs.request_many(session, name, rows, actor=audit.SYSTEM, params=params)
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        killer.tend()
        with app_scope(app, PLATFORM) as session:
            states = Counter(
                str(state)
                for state in session.scalars(sa.select(OperationRun.state).where(OperationRun.batch_id == batch))
            )
        if not set(states) & {RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN}:
            return states
        time.sleep(0.1)
    return states


def judge(sandbox: SandboxServer, appids: list[str], rounds: int) -> tuple[int, int]:
    """How many effects are missing and how many are too many, over all mini-programs."""
    lost = doubled = 0
    for appid in appids:
        effects = sandbox.effects(appid)
        for step in STEPS:
            lost += max(0, rounds - effects[EFFECT[step]])
            doubled += max(0, effects[EFFECT[step]] - rounds)
    return lost, doubled


def loop(app: Flask, sandbox: SandboxServer, killer: Killer, ids: list[int], template_id: str, number: int) -> None:
    """One version through upload, audit, release on every mini-program."""
    for name in STEPS:
        params = {}
        if name == "upload_code":
            params = {"template_id": template_id, "version": f"1.0.{number}", "description": "演练"}
        states = run_step(app, name, ids, killer, params)
        print(f"  {name}: {dict(states)}; kills so far {sum(killer.done.values())}", flush=True)
        if name == "submit_audit":
            for row_id in ids:
                with app_scope(app, PLATFORM) as session:
                    appid = session.get_one(MiniProgram, row_id).appid
                sandbox.post("audit", appid=appid, verdict="approve")
                sync(app, row_id)
    pass_time(app, sandbox, 11)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=100)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--database", default="")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="douzhou-kill-"))
    sandbox = SandboxServer(free_port(), "--audit-seconds", "86400")
    env = bench_environment(chosen.database or f"sqlite:///{folder / 'kill.db'}", sandbox.url) | {"DOUYIN_TIMEOUT": "1"}
    app = create_app(env)
    spread = max(3, 2 * len(STEPS) * chosen.apps // max(1, chosen.kills))
    killer = Killer({**os.environ, **env, "DOUZHOU_ENV": str(folder / "none")}, chosen.kills, spread)
    started = time.monotonic()
    try:
        with app.app_context():
            upgrade()
        ids, template_id = prepare(app, sandbox, chosen.apps)
        appids = [app_["appid"] for app_ in sandbox.get("state")["apps"] if app_["authorized_to"]]
        rounds = 0
        while rounds == 0 or (killer.left > 0 and rounds < 20):
            loop(app, sandbox, killer, ids, template_id, rounds)
            rounds += 1
        lost, doubled = judge(sandbox, appids, rounds)
        connection.flush_calls(app)
    finally:
        killer.stop()
        sandbox.stop()
    took = time.monotonic() - started
    print(f"kills {dict(killer.done)} = {sum(killer.done.values())}")
    print(f"{chosen.apps} mini-programs x {rounds} rounds x {len(STEPS)} operations in {took:.0f} s")
    print(f"lost {lost}, doubled {doubled}")
    return 1 if lost or doubled or sum(killer.done.values()) < chosen.kills else 0


if __name__ == "__main__":
    sys.exit(main())
