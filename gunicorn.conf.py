"""How the console is served, in the demo and in production alike (`gunicorn -c gunicorn.conf.py run:app`)."""

from __future__ import annotations

import faulthandler
import os
import resource
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from config import environment  # after the path: gunicorn reads this file before it adds the project

os.umask(0o077)  # before any log file or socket is made
_env = environment()
bind = _env.get("BIND") or "127.0.0.1:8080"
workers = int(_env.get("WEB_WORKERS") or "1")
worker_class = "app.web.server.Worker"  # threads that do not wait for slow clients
threads = int(_env.get("WEB_THREADS") or "16")
worker_connections = 2000  # those that wait or are kept open: 500 of each at most (app/web/server.py)
timeout = 60
graceful_timeout = 15
keepalive = 5
limit_request_line = 8190  # an address names up to 500 ticked rows
forwarded_allow_ips = ""  # PROXY_HOPS alone says whose X-Forwarded-* is believed
accesslog = None  # addresses carry authorisation codes; the proxy in front keeps its own log
errorlog = "-"
loglevel = "warning"
_stoppers: list[Any] = []
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_files = 8192 if _hard == resource.RLIM_INFINITY else min(_hard, 8192)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(_soft, _files), _hard))  # many systems begin with 1,024
faulthandler.enable()  # a crash below Python leaves every thread's stack in the log


def on_starting(_server: Any) -> None:
    """SQLite and embedded jobs live in one process: say so instead of starting a second one."""
    embedded = _env.get("EMBEDDED", "").strip().lower() in {"1", "true", "yes", "on"}
    sqlite = (_env.get("DATABASE_URL") or "sqlite").startswith("sqlite")
    if workers != 1 and (embedded or sqlite):
        why = "EMBEDDED=1" if embedded else "SQLite"
        sys.exit(f"{why} 只能配合一个 web 进程（needs WEB_WORKERS=1）：请修改 .env。")


def post_worker_init(worker: Any) -> None:
    """Small installations and the demo: scheduler and workers live in the one web process."""
    app = worker.app.callable
    if app.config["EMBEDDED"]:
        from app.jobs.run import start_embedded  # noqa: PLC0415  (only in the worker, after the fork)

        _stoppers.append(start_embedded(app))


def worker_exit(_server: Any, _worker: Any) -> None:
    for stop in _stoppers:
        stop()
