"""Requests made from the API's own description (schemathesis): what it allows, and what it does not. None gets a 5xx.

    python -m bench.openapi [--requests 100000] [--seed 7] [--seconds 3600]

In this process, over a SQLite of its own with two merchants' rows; operations are queued and not performed. Prints the
answers by status and address. Exits 1 at a 5xx.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from flask import Flask
from flask_migrate import upgrade
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from app.api.operators import operations as operations_api
from app.cli import setup as setting_up
from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from tests.conftest import bench_environment
from tests.world import ALICE, Principal, build, principal, text_keys

APPID = text_keys(ALICE)[1]
ROUND = 20  # requests of one address at a time
WHO = ("operator_token", "owner_token")
BY_HAND = frozenset({"host", "content-length", "transfer-encoding", "authorization"})  # headers that the client makes


class Attack:
    """Sends what is made from the description, and counts the answers."""

    def __init__(self, asker: Principal) -> None:
        self.asker = asker
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.faults: list[str] = []
        self.schema = schemathesis.openapi.from_dict(asker.open("/api/v1/_openapi").get_json())

    def run(self, requests: int, *, start: int, until: float) -> None:
        """A round of each address and method after another, until the requests or the time are used up."""
        made = [
            st.one_of(*(result.ok().as_strategy(generation_mode=mode) for mode in GenerationMode))
            for result in self.schema.get_all_operations()
        ]
        for number, strategy in enumerate(itertools.cycle(made)):
            if self.answers.total() >= requests or time.monotonic() >= until:
                return
            self._ask(strategy, start + number)

    def _ask(self, strategy: Any, start: int) -> None:
        @seed(start)
        @settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        @given(strategy)
        def one(case: Any) -> None:
            self._send(case)

        one()

    def _send(self, case: Any) -> None:
        made = case.as_transport_kwargs(base_url="http://127.0.0.1")
        more = {name: made[name] for name in ("data", "json") if made.get(name) is not None}
        if isinstance(more.get("json"), dict) and "appid" in more["json"] and self.answers.total() % 2:
            more["json"] = {**more["json"], "appid": APPID}
        headers = {name: value for name, value in (made.get("headers") or {}).items() if name.lower() not in BY_HAND}
        headers = {name: value for name, value in headers.items() if "\n" not in f"{value}" and "\r" not in f"{value}"}
        path = made["url"].removeprefix("http://127.0.0.1")
        if "{" in case.operation.path and self.answers.total() % 3 == 0:
            path = re.sub(r"[^/]+$", str(ALICE), path)
        query = {name: str(value) for name, value in (made.get("params") or {}).items()}
        if path.endswith("/logout"):
            headers["Authorization"] = "Bearer none"  # or all that follows would be asked by nobody
        answer = self.asker.open(path, made["method"], headers=headers, query_string=query or None, **more)
        self.answers[made["method"], case.operation.path, answer.status_code] += 1
        if answer.status_code >= 500:
            self.faults.append(f"{answer.status_code} {made['method']} {path} {query} {more}"[:600])


def attack(app: Flask, requests: int, *, start: int, seconds: float = 1e9) -> dict[str, Attack]:
    """Attacks of those who have a token, each with its share."""
    until = time.monotonic()
    operations_api.WAIT_SECONDS = 0
    done = {name: Attack(principal(app, name)) for name in WHO}  # before their failed log-ins are too many
    for one in done.values():
        until += seconds / len(WHO)
        one.run(requests // len(WHO), start=start, until=until)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so many at the latest")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="douzhou-openapi-"))
    app = create_app(bench_environment(f"sqlite:///{folder / 'openapi.db'}", "http://127.0.0.1:9"))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    logging.disable(logging.WARNING)
    with app.app_context():
        upgrade()
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
        build(session)
    started, faults = time.monotonic(), 0
    for name, done in attack(app, chosen.requests, start=chosen.seed, seconds=chosen.seconds).items():
        print(f"{name}: {done.answers.total():,} requests")
        for (method, path, status), number in sorted(done.answers.items()):
            print(f"  {method:5} {path:44} {status} {number:>7,}")
        print("\n".join(done.faults[:20]))
        faults += len(done.faults)
    print(f"{time.monotonic() - started:.0f} s, {faults} 5xx")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
