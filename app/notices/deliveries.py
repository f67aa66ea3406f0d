"""Sending what waits for channels: claimed by a lease, sent with no transaction open, tried again at growing pauses.

A worker that dies between the answer and our commit leaves its claim to lapse, and the message goes out once more: at
least once, with the same id (`X-Douzhou-Delivery`, 编号 in texts) both times, by which a receiver knows the repetition.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from app.data.claims import Claims
from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.i18n.sentence import cut
from app.models import DeliveryState, NotificationChannel, NotificationDelivery, User
from app.models.kit.notification import ChannelKind
from app.notices import channels
from app.notices.channels import Address, Message
from app.notices.egress import Undelivered
from app.notices.tell import after_quiet

log = structlog.get_logger(__name__)
PAUSES = (1, 5, 15, 60)  # minutes before the second, third, … try; after the last it has failed
LEASE = timedelta(seconds=90)  # longer than one message can take
AT_ONCE = 4  # channels
A_CLAIM = 50  # pieces of news for one channel
SINGLY = 3  # more than this that wait for one channel go as one message: bots allow 20 a minute
TEST_PAUSE = timedelta(seconds=10)
D = NotificationDelivery
CLAIMS = Claims(D)


@dataclass(frozen=True)
class Claimed:
    """News for one channel that this worker holds, as messages by the delivery's number."""

    channel_id: int
    kind: ChannelKind
    address: Address | None  # None: it could not be opened
    messages: dict[int, Message]
    mark: str  # the claim's own: whoever took it over since has another


def send_due(app: Flask) -> Counter[str]:
    """Send what is due, a few channels side by side; counts by the state that came of it (`again`: a retry is due)."""
    with app_scope(app, PLATFORM) as session, reading():
        ids = list(session.scalars(select(D.channel_id).where(_claimable(utcnow())).distinct().limit(200)))
    counts: Counter[str] = Counter()
    if ids:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notices") as pool:
            for found in pool.map(lambda channel_id: send_channel(app, channel_id), ids):
                counts.update(found)
    return counts


def _claimable(now: datetime) -> Any:
    return and_(D.state == DeliveryState.QUEUED, D.not_before <= now, CLAIMS.free(now))


def send_channel(app: Flask, channel_id: int) -> Counter[str]:
    """Claim what is due for one channel and send it, singly or as one message."""
    claimed = _claim(app, channel_id)
    if claimed is None:
        return Counter()
    counts: Counter[str] = Counter()
    for ids, message in _bundled(app, claimed.messages):
        problem = _try(app, claimed, message)
        counts.update(_close(app, claimed, ids, problem))
    return counts


def _claim(app: Flask, channel_id: int) -> Claimed | None:
    now = utcnow()
    with app_scope(app, PLATFORM) as session:
        due = select(D.id).where(D.channel_id == channel_id, _claimable(now)).order_by(D.id).limit(A_CLAIM)
        ids = list(session.scalars(due))
        mark, ours = CLAIMS.take_each(session, ids, _claimable(now), span=LEASE, attempts=D.attempts + 1)
        session.commit()
        channel = session.get(NotificationChannel, channel_id)
        rows = list(session.scalars(select(D).where(D.id.in_(ours), D.owner == mark).order_by(D.id)))
        if channel is None or not rows:
            return None
        if not channel.active:
            _skip(session, mark)
            return None
        messages = {row.id: _message(app, row) for row in rows}
        return Claimed(channel.id, channel.kind, channels.opened(channel), messages, mark)


def _skip(session: Session, mark: str) -> None:
    values = {"state": DeliveryState.SKIPPED, "error": "渠道已停用", "owner": None, "lease_until": None}
    session.execute(update(D).where(D.owner == mark).values(**values).execution_options(synchronize_session=False))
    session.commit()


def _message(app: Flask, row: NotificationDelivery) -> Message:
    return Message(
        id=str(row.id),
        kind=row.kind,
        level=row.level,
        title=row.title,
        body=row.body,
        at=row.created_at.isoformat(),
        url=_link(app, row.subject_type, row.subject_id),
    )


def _link(app: Flask, table: str, number: int | None) -> str:
    base = str(app.config["PUBLIC_URL"])
    return f"{base}/notices/to/{table}/{number}" if table and number is not None else f"{base}/notices/"


def _bundled(app: Flask, messages: dict[int, Message]) -> list[tuple[Sequence[int], Message]]:
    """Each message by itself, or all of them as one when they are many."""
    if len(messages) <= SINGLY:
        return [([number], message) for number, message in messages.items()]
    all_of_them = list(messages.values())
    worst = next((level for level in ("bad", "warn", "good") if any(m.level == level for m in all_of_them)), "info")
    one = Message(
        id=all_of_them[0].id,
        kind="digest",
        level=worst,
        title=f"{len(messages)} 条新通知",
        body="\n".join(f"· {message.title}" for message in all_of_them),
        url=_link(app, "", None),
        at=all_of_them[-1].at,
    )
    return [(list(messages), one)]


def _try(app: Flask, claimed: Claimed, message: Message) -> Undelivered | None:
    """One sending, outside any transaction; None when the service took it."""
    if claimed.address is None:
        return Undelivered("渠道的地址无法解密，请重新填写", lasting=True)
    try:
        channels.send(app, claimed.kind, claimed.address, message)
    except Undelivered as problem:
        return problem
    except Refused as refused:
        return Undelivered(refused.message, lasting=True)
    except Exception as fault:  # one channel's fault must not stop the others
        log.exception("notice_not_sent", channel=claimed.channel_id)
        return Undelivered(f"内部错误（{type(fault).__name__}）")
    return None


def _close(app: Flask, claimed: Claimed, ids: Sequence[int], problem: Undelivered | None) -> Counter[str]:
    """Write what became of it, if the claim is still ours."""
    counts: Counter[str] = Counter()
    with app_scope(app, PLATFORM) as session:
        rows = session.scalars(select(D).where(D.id.in_(ids), D.owner == claimed.mark))
        for row in rows:
            row.owner = row.lease_until = None
            if problem is None:
                row.state, row.sent_at, row.error = DeliveryState.SENT, utcnow(), ""
            else:
                row.error = cut(problem.message, 500)
                _postpone(session, row, lasting=problem.lasting)
            counts["again" if row.state == DeliveryState.QUEUED else str(row.state)] += 1
        _note_fault(session, claimed.channel_id, problem)
        session.commit()
    return counts


def _postpone(session: Session, row: NotificationDelivery, *, lasting: bool) -> None:
    if lasting or row.attempts > len(PAUSES):
        row.state = DeliveryState.FAILED
        return
    again = utcnow() + timedelta(minutes=PAUSES[row.attempts - 1])
    person = session.get(User, row.user_id) if row.user_id is not None else None
    quiet = ((person.preferences if person is not None else None) or {}).get("quiet") or {}
    row.not_before = after_quiet(quiet, row.level, again)


def _note_fault(session: Session, channel_id: int, problem: Undelivered | None) -> None:
    """The channel's last fault for its owner's page; not a change worth an audit line."""
    text = "" if problem is None else cut(problem.message, 255)
    changed = update(NotificationChannel).where(NotificationChannel.id == channel_id, NotificationChannel.fault != text)
    session.execute(changed.values(fault=text).execution_options(synchronize_session=False))


def retry(session: Session, delivery: NotificationDelivery) -> None:
    """Have a failed or skipped one sent again, with all its tries; commits. Refused while it waits or was sent."""
    if delivery.state not in {DeliveryState.FAILED, DeliveryState.SKIPPED}:
        raise Refused("只有发送失败或已跳过的记录可以重新发送")
    delivery.state, delivery.attempts, delivery.not_before = DeliveryState.QUEUED, 0, utcnow()
    session.commit()


def test(app: Flask, channel_id: int) -> tuple[bool, str]:
    """Send a test message at once; whether it was taken, and what the service said. Refused when asked too often."""
    now = utcnow()
    with app_scope(app, PLATFORM) as session:
        lately = or_(NotificationChannel.tested_at.is_(None), NotificationChannel.tested_at < now - TEST_PAUSE)
        noted = update(NotificationChannel).where(NotificationChannel.id == channel_id, lately).values(tested_at=now)
        if rows_changed(session, noted) != 1:
            raise Refused("测试太频繁，请 10 秒后再试")
        session.commit()
        channel = session.get_one(NotificationChannel, channel_id)
        kind, address = channel.kind, channels.opened(channel)
    message = Message(
        id=f"test-{uuid.uuid4().hex[:12]}",
        kind="test",
        level="info",
        title="抖舟测试通知",
        body="收到这条消息，说明通知渠道可以使用。",
        url=_link(app, "", None),
        at=now.isoformat(),
    )
    problem = _try(app, Claimed(channel_id, kind, address, {}, ""), message)
    with app_scope(app, PLATFORM) as session:
        _note_fault(session, channel_id, problem)
        session.commit()
    return problem is None, "" if problem is None else problem.message
