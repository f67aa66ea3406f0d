"""The dispatcher: finds operation runs that are due and works them with a pool of threads in this process.

A batch begins with one run at a time and widens (1, 2, 4 ...), and so do a third-party app's single runs: a fault that
stood at the start is met by one run, not by as many as there are threads.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.link import connection, holds
from app.operations import vitals
from app.operations.perform import Due, due, perform

log = structlog.get_logger(__name__)
IDLE_SECONDS = 1.0
BUSY_SECONDS = 0.2  # between two looks into the queue while runs are in hand
A_LOOK = 64  # runs found by one look, handed out as threads get free
COLD_SECONDS = 10.0  # after that without a run, a third-party app begins with one again
Of = tuple[int | None, str | None]  # third-party app, batch
FIRST_BEAT = timedelta(seconds=3)  # after its start: a process that dies at once was never at work


class Widths:
    """How many runs of each third-party app and batch may be in hand at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._wide: dict[Of, int] = {}
        self._used: dict[Of, float] = {}

    def of(self, key: Of) -> int:
        return self._wide.get(key, 1)

    def ended(self, key: Of, *, held: bool) -> None:
        """A run is over: wider; where its third-party app is held, all of it back to one."""
        now = time.monotonic()
        self._used[key] = now
        self._wide[key] = min(self._most, 2 * self.of(key))
        for other, used in list(self._used.items()):
            if now - used > COLD_SECONDS or (held and other[0] == key[0]):
                del self._used[other], self._wide[other]


class Dispatcher:
    """One thread that looks for due runs, and a pool that performs them. Several processes may each have one."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.breaker = connection.breaker(app)
        self.size = int(app.config["WORKER_THREADS"])
        self.pool = ThreadPoolExecutor(self.size, thread_name_prefix="operation")
        self.woken = threading.Event()
        self.stopping = threading.Event()
        self.in_hand: dict[int, Of] = {}
        self.ready: deque[Due] = deque()
        self.widths = Widths(self.size)
        self.guard = threading.Lock()
        self.news = True  # something was queued since the last look
        self.looked = 0.0
        self.started = utcnow()
        self.beaten = self.started - vitals.BEAT + FIRST_BEAT
        self.thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)

    def start(self) -> None:
        self.app.extensions["operation_wakers"].append(self._wake)
        self.thread.start()

    def stop(self) -> None:
        """No new work is taken; what is in hand finishes or is taken over by its lease."""
        self.stopping.set()
        self.woken.set()
        if self._wake in (listeners := self.app.extensions["operation_wakers"]):
            listeners.remove(self._wake)
        self.thread.join(timeout=5)
        self.pool.shutdown(wait=True, cancel_futures=True)

    def run_forever(self) -> None:
        """For the worker process: in the calling thread."""
        self.app.extensions["operation_wakers"].append(self._wake)
        self._loop()

    def _wake(self) -> None:
        self.news = True
        self.woken.set()

    def _loop(self) -> None:
        while not self.stopping.is_set():
            try:
                self._beat()
                self.breaker.tend()
                self._round()
            except SQLAlchemyError as fault:  # the database is away: look again soon
                log.warning("dispatcher_database", fault=type(fault).__name__)
            self.woken.wait(BUSY_SECONDS if self.in_hand or self.ready else IDLE_SECONDS)
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

    def _round(self) -> None:
        """Hand out what was found; look again when that is used up, and not after every run."""
        self._hand_out()
        pause = BUSY_SECONDS if self.in_hand else IDLE_SECONDS
        rested = time.monotonic() - self.looked >= pause
        if self.ready or len(self.in_hand) >= self.size or not (self.news or rested):
            return
        self.news, self.looked = False, time.monotonic()
        with app_scope(self.app, PLATFORM) as session, reading():
            found = due(session, A_LOOK + len(self.in_hand))
            tried = bool(holds.standing(session).circuits)
        if tried:
            with app_scope(self.app, PLATFORM) as session:
                holds.nominate(session)
        with self.guard:
            self.ready.extend(item for item in found if item.id not in self.in_hand)
        self._hand_out()

    def _hand_out(self) -> None:
        """As many as there are free threads, and as each third-party app and Douyin itself allow."""
        window = self.breaker.window()
        most = self.size if window is None else min(self.size, window)
        begun = []
        with self.guard:
            used = Counter(self.in_hand.values())
            for _ in range(len(self.ready)):
                if len(self.in_hand) >= most:
                    break
                item = self.ready.popleft()
                key = (item.third_party_app_id, item.batch_id)
                if used[key] >= self.widths.of(key):
                    self.ready.append(item)
                    continue
                self.in_hand[item.id] = key
                used[key] += 1
                begun.append(item)
        for item in begun:
            self.pool.submit(self._work, item.id, (item.third_party_app_id, item.batch_id))

    def _work(self, run_id: int, key: Of) -> None:
        held = worked = False
        try:
            worked = perform(self.app, run_id)
            held = self.breaker.holds_app(key[0])
        except SQLAlchemyError as fault:  # not written: the lease ends and the run is read back
            log.warning("run_not_written", run=run_id, fault=type(fault).__name__)
        except Exception:  # the pool would swallow it silently
            log.exception("worker_fault", run=run_id)
        finally:
            with self.guard:
                self.in_hand.pop(run_id, None)
                if worked or held:  # one that another worker had tells nothing
                    self.widths.ended(key, held=held)
                if held:
                    self.ready = deque(item for item in self.ready if item.third_party_app_id != key[0])
            self.woken.set()
