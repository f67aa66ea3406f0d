"""Refused pushes: collected in the process, written about once a second, whatever a flood of forged ones costs.

A row and a transaction for each would let anyone who knows the address hold the one writer of an SQLite file. What a
process has collected is at most a hundred pushes and a number per reason.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.crypto import Reason
from app.douyin.errors import clean
from app.kept import kept_of
from app.models import RefusedPush, RefusedPushCount

log = structlog.get_logger(__name__)

KEPT = 100  # places in the ring
EVERY = 1.0
TRIES = 3  # two processes that count a reason for the first time: one of them begins again

# What a reason means, and what to do about it; for our own page only. The sender gets the same answer to all.
WORDS: Mapping[str, tuple[str, str]] = {
    Reason.SIGNATURE: (
        "签名不一致",
        "消息校验 Token 与开放平台填写的不一致，或者推送不是抖音发来的。收不到票据时，请从开放平台复制后重新填写。",
    ),
    Reason.STALE: (
        "时间相差太多",
        "推送上的时间与本机时间相差超过允许的范围，或者是旧推送被重放。请核对服务器的时钟（NTP）。",
    ),
    Reason.APPID: (
        "第三方应用不符",
        "地址里的 AppID 没有登记，或者推送属于另一个第三方应用。请核对 AppID，以及在开放平台填写的接收地址。",
    ),
    Reason.TP_APPID: (
        "内容属于别的第三方应用",
        "签名正确，但内容写着另一个第三方应用。请核对两个应用是否填写了相同的 Token 和密钥。",
    ),
    Reason.CIPHERTEXT: ("密文不完整", "密文不是有效的 base64，或者长度不对，可能在中途被截断或改写。请检查反向代理。"),
    Reason.PADDING: ("解密失败", "消息加解密 Key 与开放平台填写的不一致。请到开放平台复制 Key 重新填写。"),
    Reason.LENGTH: ("解密后内容不完整", "消息加解密 Key 与开放平台填写的不一致。请到开放平台复制 Key 重新填写。"),
    Reason.KEY: ("本系统保存的密钥无效", "保存的消息加解密 Key 不是有效的 43 个字符。请在第三方应用页面重新填写。"),
    Reason.MESSAGE: ("内容不是 JSON", "签名和解密都正确，但内容不是 JSON 对象。请在开放平台确认推送格式。"),
    Reason.ENVELOPE: ("不是推送的格式", "缺少签名、时间或密文，多半是扫描或误访问，可以忽略。"),
    Reason.SIZE: ("内容过大", "超过 64 KB，抖音的推送没有这么大，多半是扫描或误访问，可以忽略。"),
}


class Refusals:
    """What this process has refused and not written yet. One per application."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._begin()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """Empty: also in a forked child, which has none of its parent's threads and must not count its pushes again."""
        self._last: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._collecting, self._writing = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._written_at = 0.0

    def add(self, component_appid: str, receiver: str, reason: str, *, remote: str, size: int) -> None:
        """Count one. Whoever finds that nobody wrote for a second writes; the thread takes what stays behind."""
        entry: dict[str, Any] = {
            "at": utcnow(),
            "component_appid": clean(component_appid)[:64],
            "receiver": receiver,
            "reason": str(reason),
            "remote": remote[:64],
            "size": size,
        }
        with self._collecting:
            self._last.append(entry)
            self._counts[entry["reason"]] += 1
            due = time.monotonic() - self._written_at >= EVERY
        self._start()
        if due:
            self.flush(wait=False)

    def flush(self, *, wait: bool = True) -> int:
        """Write what has come; gives how many pushes. Unless it may `wait`, one that is under way is enough."""
        if not self._writing.acquire(blocking=wait):
            return 0
        try:
            last, counts = self._taken()
            if not counts:
                return 0
            try:
                self._write(last, counts)
            except SQLAlchemyError as problem:
                self._put_back(last, counts)
                log.warning("refused_pushes_not_noted", error=type(problem).__name__, waiting=counts.total())
                return 0
            return counts.total()
        finally:
            self._writing.release()

    def close(self) -> None:
        """Write what is left at the end of the process."""
        self._stop.set()
        self.flush()

    def _taken(self) -> tuple[list[dict[str, Any]], Counter[str]]:
        with self._collecting:
            last, counts = list(self._last), self._counts
            self._last.clear()
            self._counts, self._written_at = Counter(), time.monotonic()
        return last, counts

    def _put_back(self, last: list[dict[str, Any]], counts: Counter[str]) -> None:
        with self._collecting:
            self._last = deque([*last, *self._last], maxlen=KEPT)
            self._counts.update(counts)

    def _start(self) -> None:
        """The thread, by the first refusal of each process."""
        if self._thread is None:
            with self._collecting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="refused-pushes", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            if self._counts:
                self.flush()

    def _write(self, last: list[dict[str, Any]], counts: Counter[str]) -> None:
        for left in range(TRIES, 0, -1):
            with app_scope(self._app, PLATFORM) as session:
                try:
                    _store(session, last, counts)
                    session.commit()
                    return
                except IntegrityError:
                    session.rollback()
                    if left == 1:
                        raise


def _store(session: Session, last: list[dict[str, Any]], counts: Counter[str]) -> None:
    """Counts, then the ring. The rows of the counts are locked first: the numbers of the ring are theirs."""
    locked = select(RefusedPushCount.reason, RefusedPushCount.count).order_by(RefusedPushCount.reason).with_for_update()
    known = dict(session.execute(locked).all())
    table = RefusedPushCount.__table__
    for reason, count in counts.items():
        if reason in known:
            session.execute(update(table).where(table.c.reason == reason).values(count=table.c.count + count))
        else:
            session.execute(insert(table).values(reason=reason, count=count))
    total = sum(known.values()) + counts.total()
    first = total - len(last) + 1
    rows = [{**entry, "number": number, "id": place(number)} for number, entry in enumerate(last, first)]
    session.execute(delete(RefusedPush.__table__).where(RefusedPush.__table__.c.id.in_([row["id"] for row in rows])))
    session.execute(insert(RefusedPush.__table__), rows)


def place(number: int) -> int:
    """Where in the ring the number-th refused push stands: 1 to 100."""
    return (number - 1) % KEPT + 1


def collector(app: Flask) -> Refusals:
    """The application's one collector."""
    return kept_of(app).one("refusals", lambda: Refusals(app))


def flush(app: Flask) -> int:
    """Write what this process has collected: for pages that read it. Gives how many pushes."""
    return collector(app).flush()


def counts(session: Session) -> dict[str, int]:
    """How many pushes were refused for each reason, ever; the most frequent first."""
    order = (RefusedPushCount.count.desc(), RefusedPushCount.reason)
    found = session.execute(select(RefusedPushCount.reason, RefusedPushCount.count).order_by(*order))
    return dict(found.all())
