"""Calls to Douyin as rows: queued by the client's observer, written in batches by a thread of its own."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin import CALLS
from app.douyin.client import CallRecord
from app.douyin.errors import CODES, Code
from app.errors import ErrorKind
from app.i18n.sentence import ours, say
from app.models import ApiCall
from app.notices.tell import tell

log = structlog.get_logger(__name__)

EVERY = 1.0
MOST_QUEUED = 20_000  # when the database is away, old records go before memory does
BATCH = 500
OURS = {err_no: code for err_no, code in CODES.items() if code.kind in {ErrorKind.FAULT, ErrorKind.RETIRED}}


def title_of(name: str) -> str:
    """The platform's Chinese name of an endpoint, by its operation id; the id where it is none of ours."""
    call = CALLS.get(name)
    return call.title() if call is not None else name


class CallLog:
    """Takes `CallRecord`s without waiting; `flush` writes what has come so far."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._queue: deque[CallRecord] = deque(maxlen=MOST_QUEUED)
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        self._stop = threading.Event()
        atexit.register(self.close)

    def __call__(self, record: CallRecord) -> None:
        self._queue.append(record)
        if self._pid != os.getpid():
            self._start()

    def flush(self) -> int:
        """Write everything queued; gives the number of rows. Records that cannot be written stay queued."""
        written = 0
        with self._writing:
            while batch := self._next_batch():
                try:
                    self._write(batch)
                except SQLAlchemyError as problem:
                    self._queue.extendleft(reversed(batch))
                    log.warning("calls_not_recorded", error=type(problem).__name__, queued=len(self._queue))
                    break
                written += len(batch)
        return written

    def close(self) -> None:
        """Write what is left; nothing of it may break the end of the process."""
        self._stop.set()
        if self._queue:
            self.flush()

    def _start(self) -> None:
        """By the first record of each process: a forked worker has none of its parent's threads."""
        with self._starting:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._run, name="call-log", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            if self._queue:
                self.flush()

    def _next_batch(self) -> list[CallRecord]:
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _write(self, batch: list[CallRecord]) -> None:
        with app_scope(self._app, PLATFORM) as session:
            session.execute(insert(ApiCall), [_row(record) for record in batch])
            for name, err_no in sorted({(record.name, record.err_no or 0) for record in batch}):
                if err_no in OURS:
                    _tell(session, name, OURS[err_no])
            session.commit()


def _tell(session: Session, name: str, code: Code) -> None:
    """A call that cannot go well until the product is changed: whoever runs it hears of it, once a day."""
    tell(
        session,
        "call_refused",
        dedup=f"{name}:{code.kind}:{utcnow():%Y%m%d}",
        title=say("接口「{call}」不可用：{why}", call=ours(title_of(name)), why=ours(code.meaning)),
        body=code.advice,
    )


def _row(record: CallRecord) -> dict[str, Any]:
    return {
        "at": record.at,
        "name": record.name[:64],
        "method": record.method,
        "host": record.host,
        "path": record.path[:160],
        "component_appid": record.component_appid[:64],
        "appid": (record.appid or "")[:64],
        "ms": record.ms,
        "http_status": record.http_status,
        "err_no": record.err_no,
        "log_id": record.log_id[:64],
        "outcome": record.outcome,
        "request": record.request,
        "answer": record.answer,
    }
