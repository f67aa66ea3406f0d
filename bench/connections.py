"""How many connections to a database server the processes of production hold under load, and what the pages answer.

    python -m bench.connections --database URL [--apps 2000] [--latency 0.1]

Two web processes, two workers and a scheduler, by the commands of docs/deploy.md; a batch of submissions against canned
answers, while 16 clients load a page over and over. Exits 1 when more than 80 connections were seen, a page failed, or
a submission is missing or double.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import requests
import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.models import OperationRun, RunState
from bench.batch import fill, judge, queue, start_canned
from tests.conftest import ROOT, bench_environment, new_database
from tests.waiting import answers, free_port, wait_for

CLIENTS = 16
MOST = 80
OPEN = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()",
}


@contextmanager
def processes(env: dict[str, str], folder: Path) -> Iterator[list[int]]:
    """All that production runs; their process numbers."""
    binary = Path(sys.executable).parent
    flask = [str(binary / "flask"), "--app", "run"]
    commands = [
        [str(binary / "gunicorn"), "-c", "gunicorn.conf.py", "run:app"],
        [*flask, "worker"],
        [*flask, "worker"],
        [*flask, "scheduler"],
    ]
    with (folder / "log").open("w", encoding="utf-8") as said:
        started = [subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=said) for command in commands]
        try:
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


def visit(address: str, over: threading.Event) -> Counter[int]:
    """One client: the log-in page again and again; how often each status was answered."""
    seen: Counter[int] = Counter()
    with requests.Session() as client:
        while not over.is_set():
            seen[client.get(f"{address}/login/", timeout=30).status_code] += 1
    return seen


def left(app: Flask) -> int:
    with app_scope(app, PLATFORM) as session:
        unfinished = OperationRun.state.not_in([RunState.SUCCEEDED, RunState.FAILED])
        return session.scalar(sa.select(sa.func.count(OperationRun.id)).where(unfinished)) or 0


def watch(app: Flask, url: str, seconds: float) -> int:
    """Until the batch is over: the most connections of others that were seen at once."""
    engine, most, until = sa.create_engine(url, poolclass=sa.NullPool), 0, time.monotonic() + seconds
    own = 2  # this one's, and that which counts what is left
    while time.monotonic() < until and left(app):
        for _ in range(10):
            with engine.connect() as connection:
                most = max(most, int(connection.exec_driver_sql(OPEN[engine.dialect.name]).scalar() or 0) - own)
            time.sleep(0.05)
    return most


def measure(app: Flask, env: dict[str, str], folder: Path, address: str) -> tuple[int, Counter[int], float]:
    over = threading.Event()
    with processes(env, folder):
        wait_for(lambda: answers(f"{address}/healthz"), said=lambda: (folder / "log").read_text(encoding="utf-8"))
        with ThreadPoolExecutor(CLIENTS) as clients:
            seen = [clients.submit(visit, address, over) for _ in range(CLIENTS)]
            began = time.monotonic()
            most = watch(app, env["DATABASE_URL"], 300)
            took = time.monotonic() - began
            over.set()
        return most, sum((one.result() for one in seen), Counter[int]()), took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--apps", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--database", default="")
    chosen = parser.parse_args()
    if not chosen.database:
        print("SQLite has no connections to count: --database URL")
        return 0
    os.environ["DOUZHOU_TEST_SERVER"] = chosen.database
    folder, port, web = Path(tempfile.mkdtemp(prefix="douzhou-connections-")), free_port(), free_port()
    url, address = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{web}"
    canned = start_canned(port, chosen.latency)
    try:
        env = bench_environment(new_database(folder, "connections"), url)
        env |= {"DOUZHOU_ENV": str(folder / "none"), "LOG_LEVEL": "WARNING", "BIND": f"127.0.0.1:{web}"}
        env |= {"WEB_WORKERS": "2", "PUBLIC_URL": address}
        app = create_app(env)
        with app.app_context():
            upgrade()
        queue(app, fill(app, chosen.apps))
        most, pages, took = measure(app, {**os.environ, **env}, folder, address)
        print(f"connections at most {most}; {sum(pages.values()) / took:.0f} pages/s {dict(pages)}; batch {took:.1f} s")
        return 1 if judge(app, url, chosen.apps) or most > MOST or set(pages) != {200} else 0
    finally:
        canned.terminate()
        canned.wait()


if __name__ == "__main__":
    sys.exit(main())
