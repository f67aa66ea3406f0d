"""The dispatcher: finds operation runs that are due and works them with a pool of threads in this process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.database import reading
from app.models.base import utcnow
from app.operations import vitals
from app.operations.perform import due, perform
from app.tenancy import PLATFORM, app_scope

log = structlog.get_logger(__name__)
IDLE_SECONDS = 1.0
FIRST_BEAT = timedelta(seconds=3)  # after its start: a process that dies at once was never at work


class Dispatcher:
    """One thread that looks for due runs, and a pool that performs them. Several processes may each have one."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.size = int(app.config["WORKER_THREADS"])
        self.pool = ThreadPoolExecutor(self.size, thread_name_prefix="operation")
        self.woken = threading.Event()
        self.stopping = threading.Event()
        self.in_hand: set[int] = set()
        self.guard = threading.Lock()
        self.started = utcnow()
        self.beaten = self.started - vitals.BEAT + FIRST_BEAT
        self.thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)

    def start(self) -> None:
        self.app.extensions["operation_wakers"].append(self.woken.set)
        self.thread.start()

    def stop(self) -> None:
        """No new work is taken; what is in hand finishes or is taken over by its lease."""
        self.stopping.set()
        self.woken.set()
        self.thread.join(timeout=5)
        self.pool.shutdown(wait=True, cancel_futures=True)

    def run_forever(self) -> None:
        """For the worker process: in the calling thread."""
        self.app.extensions["operation_wakers"].append(self.woken.set)
        self._loop()

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self._beat()
                taken = self._round()
            except SQLAlchemyError as fault:  # the database is away: look again soon
                log.warning("dispatcher_database", fault=type(fault).__name__)
                taken = 0
            if not taken:
                self.woken.wait(IDLE_SECONDS)
                self.woken.clear()

    def _beat(self) -> None:
        """Say every few seconds that this process is at work; the system page knows workers by it."""
        now = utcnow()
        if now - self.beaten < vitals.BEAT:
            return
        self.beaten = now
        with app_scope(self.app, PLATFORM) as session:
            vitals.beat(session, self.started, in_hand=len(self.in_hand), size=self.size)
            session.commit()

    def _round(self) -> int:
        with self.guard:
            free = self.size - len(self.in_hand)
        if free <= 0:
            self.woken.wait(0.05)
            self.woken.clear()
            return 1
        with app_scope(self.app, PLATFORM) as session, reading():
            found = due(session, free + len(self.in_hand))
        with self.guard:
            fresh = [run_id for run_id in found if run_id not in self.in_hand][:free]
            self.in_hand.update(fresh)
        for run_id in fresh:
            self.pool.submit(self._work, run_id)
        return len(fresh)

    def _work(self, run_id: int) -> None:
        try:
            perform(self.app, run_id)
        except SQLAlchemyError as fault:  # not written: the lease ends and the run is read back
            log.warning("run_not_written", run=run_id, fault=type(fault).__name__)
        except Exception:  # noqa: BLE001  (the pool would swallow it silently)
            log.exception("worker_fault", run=run_id)
        finally:
            with self.guard:
                self.in_hand.discard(run_id)
            self.woken.set()
