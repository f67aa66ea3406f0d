"""What a push costs to take in: ours beside a plain Flask application that verifies, decrypts and inserts by Core.

    python -m bench.events [--pushes 2000] [--database URL] [--backlog 10800]

Both behind the product's own settings of gunicorn with one process, 16 and 64 connections kept open. Then what it costs
to pick the due ones out of a backlog, of one app and of as many apps, in a database without fresh statistics. Exits 1
when a push that was told `success` is not stored, or anything but `success` was answered.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.factory import create_app
from app.models import InboundEvent, InboundState, ThirdPartyApp
from app.operations.inbound import process, queues
from bench.events_worker import EVENTS, METADATA, floor
from tests.conftest import COMPONENT, ROOT, bench_environment, free_port, new_database
from tests.pushes import sealed
from tests.waiting import answers, wait_for

CONNECTIONS = (16, 64)
NOWHERE = "http://127.0.0.1:1"
TICKS = os.sysconf("SC_CLK_TCK")
PICKS, WORKED = 5, 500
CHUNK = 2000


@dataclass
class Load:
    """What one load told: seconds, how long each push waited for its answer, and answers that were not `success`."""

    seconds: float = 0.0
    cpu: float = 0.0
    waits: list[float] = field(default_factory=list)
    wrong: int = 0

    @property
    def good(self) -> int:
        return len(self.waits) - self.wrong


def bodies(count: int, of: str) -> list[bytes]:
    """Requests ready for the wire, each another message of a user to one of a hundred apps."""
    found = []
    for number in range(count):
        event = {"AppId": f"ttpush{number % 100:04d}", "MsgType": "text", "Content": f"{of} {number} 你好"}
        body = sealed({**event, "FromUserName": f"user-{number}", "CreateTime": "2026-01-01 08:00:00"})
        head = f"POST /douyin/callback/{COMPONENT['appid']}/message HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        found.append(head.encode() + body)
    return found


def send(port: int, requests: list[bytes], connections: int) -> Load:
    """All of them over so many connections kept open, each with one request on its way at a time."""
    load, waiting, chooser = Load(), deque(requests), selectors.DefaultSelector()
    began: dict[socket.socket, float] = {}

    def next_on(connection: socket.socket) -> None:
        if waiting:
            began[connection] = time.monotonic()
            connection.sendall(waiting.popleft())
        else:
            chooser.unregister(connection)
            connection.close()

    started = time.monotonic()
    for _ in range(min(connections, len(requests))):
        connection = socket.create_connection(("127.0.0.1", port))
        chooser.register(connection, selectors.EVENT_READ, data=bytearray())
        next_on(connection)
    while chooser.get_map():
        for key, _ in chooser.select(timeout=30):
            connection: socket.socket = key.fileobj  # type: ignore[assignment]
            key.data.extend(connection.recv(65536))
            if (whole := _answered(key.data)) is None:
                continue
            load.waits.append(time.monotonic() - began[connection])
            load.wrong += not whole.startswith(b"HTTP/1.1 200") or not whole.endswith(b"success")
            key.data.clear()
            next_on(connection)
    load.seconds = time.monotonic() - started
    return load


def _answered(data: bytearray) -> bytes | None:
    """The whole answer once it is there; both servers tell its length."""
    head, end, body = bytes(data).partition(b"\r\n\r\n")
    if not end:
        return None
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    return bytes(data) if len(body) >= length else None


@contextmanager
def served(what: str, env: dict[str, str], port: int) -> Iterator[list[int]]:
    """One web process behind the product's settings; its pids, the arbiter's first."""
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", what]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env, "BIND": f"127.0.0.1:{port}"})
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/healthz"), process=server)
        yield [server.pid, *_children(server.pid)]
    finally:
        server.terminate()
        server.wait(30)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def spent(pids: list[int]) -> float:
    """Seconds of the processor that these processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS


def measure(what: str, env: dict[str, str], pushes: int) -> dict[int, Load]:
    port, found = free_port(), {}
    with served(what, env, port) as pids:
        send(port, bodies(200, "warm"), 16)
        for connections in CONNECTIONS:
            requests = bodies(pushes, f"{connections}")
            before = spent(pids)
            found[connections] = send(port, requests, connections)
            found[connections].cpu = spent(pids) - before
    return found


def show(ours: dict[int, Load], plain: dict[int, Load]) -> None:
    for connections in CONNECTIONS:
        pair = {"ours": ours[connections], "floor": plain[connections]}
        for name, load in pair.items():
            count, waits = len(load.waits), sorted(load.waits)
            print(
                f"{connections:3} connections  {name:6} {1000 * load.cpu / count:6.2f} ms CPU a push"
                f" {count / load.seconds:8.0f} pushes/s   p50 {1000 * waits[count // 2]:6.1f} ms"
                f"   p99 {1000 * waits[count * 99 // 100]:6.1f} ms   wrong {load.wrong}"
            )
        cpu = ours[connections].cpu / plain[connections].cpu
        rate = plain[connections].seconds / ours[connections].seconds
        print(f"{'':17} ratio  {cpu:6.2f} x CPU {rate:13.2f} x throughput")


def backlog(app: Flask, count: int, apps: int) -> None:
    """What it costs to pick the next due pushes out of many that wait."""
    with app_scope(app, PLATFORM) as session:
        session.execute(sa.delete(InboundEvent))
        owner_id = session.scalar(sa.select(ThirdPartyApp.id))
        now = utcnow()
        for start in range(0, count, CHUNK):
            rows = [
                {"unique_key": f"{n:064d}", "row_uid": f"{n:032d}", "third_party_app_id": owner_id, "event": "MESSAGE"}
                | {"receiver": "message", "appid": f"ttpush{n % apps:06d}", "received_at": now, "not_before": now}
                for n in range(start, min(start + CHUNK, count))
            ]
            session.execute(sa.insert(InboundEvent.__table__), rows)
        session.commit()
    wall, cpu = time.monotonic(), time.process_time()
    for _ in range(PICKS):
        found = len(queues.due(app, process.A_ROUND))
    wall, cpu = (time.monotonic() - wall) / PICKS, (time.process_time() - cpu) / PICKS
    print(f"{count} waiting of {apps} apps: a pick of {found} takes {1000 * wall:.1f} ms, {1000 * cpu:.1f} ms CPU here")
    wall, cpu = time.monotonic(), time.process_time()
    done = process.process_due(app, WORKED)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    print(f"{'':17} worked off: {done / wall:.0f} a second, {1000 * cpu / max(1, done):.2f} ms CPU each")


def stored(app: Flask) -> int:
    with app_scope(app, PLATFORM) as session:
        return (
            session.scalar(sa.select(sa.func.count(InboundEvent.id)).where(InboundEvent.state.in_(InboundState))) or 0
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pushes", type=int, default=2000)
    parser.add_argument("--database", default="")
    parser.add_argument("--backlog", type=int, default=10_800)
    chosen = parser.parse_args()
    if chosen.database:
        os.environ["DOUZHOU_TEST_SERVER"] = chosen.database
    folder = Path(tempfile.mkdtemp(prefix="douzhou-events-"))
    url = new_database(folder, "events")
    own = {"DOUZHOU_ENV": str(folder / "none"), "STORAGE_URL": f"file://{folder}/files", "LOG_LEVEL": "WARNING"}
    env = bench_environment(url, NOWHERE) | own
    floor_url = url if chosen.database else f"sqlite:///{folder / 'floor.db'}"
    app = create_app(env)
    with app.app_context():
        upgrade()
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
        setting_up.add_third_party_app(session, COMPONENT["appid"], "", COMPONENT)
        session.commit()
    METADATA.create_all(floor(floor_url))

    plain = measure("bench.events_worker:app", env | {"FLOOR_URL": floor_url}, chosen.pushes)
    ours = measure("run:app", env, chosen.pushes)
    show(ours, plain)
    with floor(floor_url).connect() as connection:
        kept = {"floor": connection.scalar(sa.select(sa.func.count(EVENTS.c.id))) or 0, "ours": stored(app)}
    told = {
        "floor": sum(load.good for load in plain.values()) + 200,
        "ours": sum(one.good for one in ours.values()) + 200,
    }
    lost = {name: told[name] - kept[name] for name in told}
    print(f"told success and not stored: {lost}")
    for apps in (1, chosen.backlog):
        backlog(app, chosen.backlog, apps)
    wrong = sum(load.wrong for load in (*plain.values(), *ours.values()))
    return 1 if wrong or any(lost.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
