"""How the console is served, in the demo and in production alike (`gunicorn -c gunicorn.conf.py run:app`)."""

from __future__ import annotations

import os
from typing import Any

bind = os.environ.get("BIND", "127.0.0.1:8080")
workers = int(os.environ.get("WEB_WORKERS", "1"))
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "16"))
timeout = 60
graceful_timeout = 15
keepalive = 5
accesslog = None  # addresses carry authorisation codes; the proxy in front keeps its own log
errorlog = "-"
loglevel = "warning"
_stoppers: list[Any] = []


def post_worker_init(worker: Any) -> None:
    """Small installations and the demo: scheduler and workers live in the one web process."""
    if os.environ.get("EMBEDDED", "").lower() in {"1", "true", "yes", "on"}:
        if workers != 1:
            raise SystemExit("EMBEDDED=1 只能配合一个 web 进程（WEB_WORKERS=1）：请修改设置。")
        from app.jobs import start_embedded  # noqa: PLC0415  (only in the worker, after the fork)

        _stoppers.append(start_embedded(worker.app.callable))


def worker_exit(_server: Any, _worker: Any) -> None:
    for stop in _stoppers:
        stop()
