"""K1: threads of several processes ask for one expired token; counts the refreshes at the sandbox.

    python -m bench.tokens [--processes 4] [--threads 64] [--rounds 5] [--database URL] [--kill]

SQLite serves one process: there the processes are one. With --kill a refresher dies before each round (its
lease is left behind): exactly one recovery has to follow. Exits 1 when a round needed more than one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select, update

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.contract import Token
from app.factory import create_app
from app.link import connection, exchange
from app.link.tokens import Slot
from app.models import Credential, CredentialKind, ThirdPartyApp
from tests.conftest import COMPONENT, SandboxServer, bench_environment, free_port, fresh_ticket, new_database

Answers = Any


def _ask(env: dict[str, str], slot: Slot, threads: int, rounds: int, gate: Barrier, answers: Answers) -> None:
    """One process: in each round all its threads ask at once."""
    app = create_app(env)
    keeper = connection.keeper(app)
    for _ in range(rounds):
        found: list[tuple[str, float]] = []
        start = threading.Barrier(threads)

        def one(start: threading.Barrier = start, found: list[tuple[str, float]] = found) -> None:
            start.wait()
            began = time.monotonic()
            try:
                found.append((keeper.get(slot), time.monotonic() - began))
            except Exception as fault:  # noqa: BLE001  (counted as a failure by the parent)
                found.append((f"failed: {fault}", time.monotonic() - began))

        workers = [threading.Thread(target=one) for _ in range(threads)]
        gate.wait()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        answers.put(found)
        gate.wait()
    connection.flush_calls(app)


def _prepare(app: Flask, sandbox: SandboxServer) -> Slot:
    with app.app_context():
        upgrade()
    sandbox.post("reset")
    with app_scope(app, PLATFORM) as session:
        owner = setting_up.add_third_party_app(session, COMPONENT["appid"], "基准", COMPONENT)
        fresh_ticket(session, owner, sandbox)
        owner_id = owner.id
    appid = sandbox.post("apps", count=1, authorized_to=COMPONENT["appid"])["apps"][0]["appid"]
    exchange.retrieve(app, owner_id, appid)
    return Slot(Token.AUTHORIZER, owner_id, COMPONENT["appid"], appid)


def _expire(app: Flask, slot: Slot, *, kill: bool) -> None:
    past = utcnow() - timedelta(hours=1)
    left = {"lease_owner": "killed", "lease_until": utcnow() + timedelta(seconds=0.3)} if kill else {}
    with app_scope(app, PLATFORM) as session:
        this = update(Credential).where(Credential.key == slot.key)
        session.execute(this.values(expires_at=past, **left))
        session.commit()


def _stored(app: Flask, slot: Slot) -> str | None:
    with app_scope(app, PLATFORM) as session:
        row = session.scalars(select(Credential).where(Credential.key == slot.key)).one()
        assert row.kind == CredentialKind.AUTHORIZER
        assert session.get_one(ThirdPartyApp, row.third_party_app_id)
        return row.access_token


def _round(
    app: Flask,
    sandbox: SandboxServer,
    slot: Slot,
    options: argparse.Namespace,
    gate: Barrier,
    answers: Answers,
) -> bool:
    before = sandbox.effects(str(slot.appid))
    _expire(app, slot, kill=options.kill)
    gate.wait()
    found = [item for _ in range(options.processes) for item in answers.get(timeout=120)]
    gate.wait()
    after = sandbox.effects(str(slot.appid))
    made = {name: after[name] - before[name] for name in ("refresh", "retrieve", "exchange")}
    tokens = {token for token, _ in found}
    seconds = sorted(seconds for _, seconds in found)
    wanted = (
        {"refresh": 0, "retrieve": 1, "exchange": 1} if options.kill else {"refresh": 1, "retrieve": 0, "exchange": 0}
    )
    good = made == wanted and tokens == {_stored(app, slot)}
    print(
        f"{len(found)} asked, {len(tokens)} token, refreshes {made['refresh']}, recoveries {made['exchange']}, "
        f"median {seconds[len(seconds) // 2] * 1000:.0f} ms, slowest {seconds[-1] * 1000:.0f} ms"
        + ("" if good else f"  WRONG {sorted(tokens)[:2]}")
    )
    return good


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", default="", help="a server's URL; a database of its own is made on it")
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args(arguments)
    os.environ["DOUZHOU_TEST_SERVER"] = options.database
    if not options.database:
        options.processes = 1  # SQLite means one process a file
    sandbox = SandboxServer(free_port())
    try:
        return _measure(options, sandbox)
    finally:
        sandbox.stop()


def _measure(options: argparse.Namespace, sandbox: SandboxServer) -> int:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="douzhou-tokens-") as folder:
        url = new_database(Path(folder), "tokens")
        # Small pools: the threads share them, and a server as installed takes a hundred connections in all.
        env = {**bench_environment(url, sandbox.url), "WORKER_THREADS": "1", "WEB_THREADS": "1"}
        app = create_app(env)
        slot = _prepare(app, sandbox)
        gate, answers = spawn.Barrier(options.processes + 1), spawn.Queue()
        children = [
            spawn.Process(target=_ask, args=(env, slot, options.threads, options.rounds, gate, answers))
            for _ in range(options.processes)
        ]
        for child in children:
            child.start()
        good = [_round(app, sandbox, slot, options, gate, answers) for _ in range(options.rounds)]
        for child in children:
            child.join()
    print(f"{sum(good)} of {len(good)} rounds with exactly one")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
