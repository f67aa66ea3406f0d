"""What waits for a channel is sent at least once: when, how often, by how many workers, and what the log keeps."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.jobs.run import run_now
from app.models import (
    ChannelKind,
    DeliveryState,
    JobRun,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    User,
)
from app.notices import channels, deliveries
from app.notices.channels import Address, Message
from app.notices.deliveries import PAUSES, send_channel, send_due
from tests.conftest import Actors, change, refresh
from tests.notices.receivers import Receiver

D = NotificationDelivery


@pytest.fixture
def hook(session: Session, actors: Actors, desk: None, receiver: Receiver) -> int:
    """The operator's webhook on the receiver."""
    with writing():
        refresh(session)
        user = session.scalars(sa.select(User).where(User.username == "operator")).one()
        row = NotificationChannel(user_id=user.id, kind=ChannelKind.WEBHOOK, name="我的系统")
        row.address = Address(f"http://127.0.0.1:{receiver.port}/in", "whs_key").packed()
        session.add(row)
        session.commit()
        return row.id


def queue(session: Session, hook: int, count: int = 1, **given: Any) -> list[int]:
    with writing():
        refresh(session)
        user_id = session.get_one(NotificationChannel, hook).user_id
        base = session.scalar(sa.select(sa.func.count(D.id)))
        rows = [
            D(
                **(
                    {
                        "channel_id": hook,
                        "user_id": user_id,
                        "kind": "audit_passed",
                        "title": f"第 {base + n} 条",
                        "dedup": f"d{base + n}",
                    }
                    | given
                )
            )
            for n in range(count)
        ]
        session.add_all(rows)
        session.commit()
        return [row.id for row in rows]


def delivery(session: Session, key: int) -> D:
    refresh(session)
    return session.get_one(D, key)


def due_now(session: Session, key: int) -> None:
    change(session, session.get_one(D, key), not_before=utcnow())


def test_what_is_due_is_sent_and_logged(app: Flask, session: Session, hook: int, receiver: Receiver) -> None:
    (key,) = queue(session, hook)
    assert send_due(app) == {"sent": 1}
    assert send_due(app) == {}
    row = delivery(session, key)
    assert (row.state, row.attempts, row.error, row.owner) == (DeliveryState.SENT, 1, "", None)
    assert row.sent_at is not None and [got.json["title"] for got in receiver.got] == ["第 0 条"]


def test_what_is_not_due_waits(app: Flask, session: Session, hook: int, receiver: Receiver) -> None:
    queue(session, hook, not_before=utcnow() + timedelta(minutes=1))
    assert send_due(app) == {}
    assert receiver.got == []


def test_a_failure_is_tried_again_after_1_5_15_and_60_minutes_and_then_given_up(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    receiver.status = 500
    (key,) = queue(session, hook)
    for minutes in PAUSES:
        before = utcnow()
        assert send_due(app) == {"again": 1}
        row = delivery(session, key)
        assert before <= row.not_before - timedelta(minutes=minutes) <= utcnow()
        assert row.state == DeliveryState.QUEUED and "HTTP 500" in row.error
        due_now(session, key)
    assert send_due(app) == {"failed": 1}
    assert delivery(session, key).state == DeliveryState.FAILED
    assert len(receiver.got) == 5 and PAUSES == (1, 5, 15, 60)
    assert "HTTP 500" in session.get_one(NotificationChannel, hook).fault


def test_a_success_clears_the_channels_fault_and_a_person_may_have_a_failed_one_sent_again(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    (key,) = queue(session, hook, state=DeliveryState.FAILED, attempts=5)
    change(session, session.get_one(NotificationChannel, hook), fault="坏了")
    with writing():
        refresh(session)
        deliveries.retry(session, session.get_one(D, key))
    assert send_due(app) == {"sent": 1}
    assert delivery(session, key).attempts == 1
    assert session.get_one(NotificationChannel, hook).fault == ""


def test_a_retry_that_falls_into_quiet_hours_waits_for_their_end(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    receiver.status = 500
    local = utcnow() + timedelta(hours=8)
    quiet = {"from": f"{local - timedelta(hours=1):%H:%M}", "to": f"{local + timedelta(hours=3):%H:%M}"}
    (key,) = queue(session, hook)
    change(
        session, session.scalars(sa.select(User).where(User.username == "operator")).one(), preferences={"quiet": quiet}
    )
    send_due(app)
    assert delivery(session, key).not_before > utcnow() + timedelta(hours=2)


def test_a_channel_that_was_switched_off_meanwhile_is_skipped(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    (key,) = queue(session, hook)
    change(session, session.get_one(NotificationChannel, hook), active=False)
    send_due(app)
    assert delivery(session, key).state == DeliveryState.SKIPPED and receiver.got == []


def test_an_address_that_cannot_be_opened_or_may_not_be_sent_to_fails_at_once(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    (first,) = queue(session, hook)
    row = session.get_one(NotificationChannel, hook)
    change(session, row, address_sealed="k1:AAAA")
    assert send_due(app) == {"failed": 1}
    assert "无法解密" in delivery(session, first).error
    with writing():
        refresh(session)
        session.get_one(NotificationChannel, hook).address = Address("https://10.0.0.1/").packed()
        session.commit()
    (second,) = queue(session, hook)
    assert send_due(app) == {"failed": 1}
    assert "内部网络" in delivery(session, second).error


def test_an_address_of_another_service_is_given_nothing(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    (key,) = queue(session, hook)
    change(session, session.get_one(NotificationChannel, hook), kind=ChannelKind.FEISHU)
    assert send_due(app) == {"failed": 1}
    assert delivery(session, key).error
    assert receiver.got == []


@pytest.mark.parametrize("state", [DeliveryState.QUEUED, DeliveryState.SENT])
def test_what_waits_or_was_sent_is_not_sent_again_by_hand(session: Session, hook: int, state: DeliveryState) -> None:
    (key,) = queue(session, hook, state=state, attempts=2)
    with pytest.raises(Refused, match="只有发送失败"):
        deliveries.retry(session, delivery(session, key))
    assert (delivery(session, key).state, delivery(session, key).attempts) == (state, 2)


def test_many_that_wait_for_one_channel_go_as_one_message(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    queue(session, hook, 3)
    send_due(app)
    assert len(receiver.got) == 3
    queue(session, hook, 20, level="warn")
    assert send_due(app) == {"sent": 20}
    one = receiver.got[3].json
    assert len(receiver.got) == 4 and one["title"] == "20 条新通知" and one["level"] == "warn"
    assert one["body"].count("\n") == 19


def test_two_workers_send_once(app: Flask, session: Session, hook: int, receiver: Receiver) -> None:
    queue(session, hook, 3)
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        send_channel(app, hook)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got.json["title"] for got in receiver.got) == ["第 0 条", "第 1 条", "第 2 条"]


def test_no_transaction_is_open_while_a_message_is_on_its_way(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    queue(session, hook)
    written: list[str] = []

    def write_meanwhile() -> None:
        with app_scope(app, PLATFORM) as other:
            other.add(JobRun(job="x", slot="x"))
            other.commit()
            written.append("ok")

    receiver.before = write_meanwhile
    assert send_due(app) == {"sent": 1}
    assert written == ["ok"]


def test_a_worker_killed_between_the_answer_and_its_commit_repeats_the_message_with_the_same_id(
    app: Flask, session: Session, hook: int, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = queue(session, hook)
    with monkeypatch.context() as killed:
        killed.setattr(deliveries, "_close", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            send_channel(app, hook)
    assert send_due(app) == {}  # its lease still runs
    change(session, session.get_one(D, key), lease_until=utcnow() - timedelta(seconds=1))
    assert send_due(app) == {"sent": 1}
    assert [got.headers["X-Douzhou-Delivery"] for got in receiver.got] == [str(key)] * 2
    assert delivery(session, key).attempts == 2


def test_a_worker_that_was_thought_dead_writes_nothing_over_its_successors_word(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    (key,) = queue(session, hook)
    claimed = deliveries._claim(app, hook)
    assert claimed is not None
    change(session, session.get_one(D, key), lease_until=utcnow() - timedelta(seconds=1))
    assert send_due(app) == {"sent": 1}
    deliveries._close(app, claimed, [key], channels.Undelivered("zu spät", lasting=True))
    assert delivery(session, key).state == DeliveryState.SENT


def test_a_fault_of_ours_with_one_channel_leaves_the_others(
    app: Flask, session: Session, hook: int, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writing():
        refresh(session)
        bad = NotificationChannel(user_id=None, kind=ChannelKind.FEISHU, name="坏的")
        bad.address = Address("https://open.feishu.cn/open-apis/bot/v2/hook/abcdefgh1234").packed()
        session.add(bad)
        session.commit()
        other = bad.id

    def broken(*_: Any) -> str:
        raise ZeroDivisionError

    monkeypatch.setitem(channels._SENDERS, ChannelKind.FEISHU, broken)
    queue(session, other, user_id=None)
    queue(session, hook)
    assert send_due(app) == {"sent": 1, "again": 1}


def test_the_link_in_a_message_leads_to_what_it_is_about(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    queue(session, hook, subject_type="mini_program", subject_id=5)
    queue(session, hook)
    send_due(app)
    base = app.config["PUBLIC_URL"]
    assert [got.json["url"] for got in receiver.got] == [f"{base}/notices/to/mini_program/5", f"{base}/notices/"]


def test_a_test_message_is_sent_at_once_and_not_twice_in_ten_seconds(
    app: Flask, session: Session, hook: int, receiver: Receiver
) -> None:
    assert deliveries.test(app, hook) == (True, "")
    assert receiver.got[0].json["kind"] == "test"
    with pytest.raises(Exception, match="太频繁"):
        deliveries.test(app, hook)
    change(session, session.get_one(NotificationChannel, hook), tested_at=utcnow() - timedelta(minutes=1))
    receiver.status, receiver.answer = 401, b"unknown key"
    sent, words = deliveries.test(app, hook)
    assert not sent and "HTTP 401" in words and "unknown key" in words
    refresh(session)
    assert "HTTP 401" in session.get_one(NotificationChannel, hook).fault


# Housekeeping


def test_read_news_of_ninety_days_and_deliveries_of_thirty_are_deleted(app: Flask, session: Session, hook: int) -> None:
    with writing():
        refresh(session)
        user_id = session.get_one(NotificationChannel, hook).user_id
        for name, age, read in (("old", 91, True), ("unread", 91, False), ("young", 89, True)):
            at = utcnow() - timedelta(days=age)
            session.add(
                Notification(user_id=user_id, kind="x", title=name, dedup=name, at=at, read_at=at if read else None)
            )
        session.commit()
    queue(session, hook, created_at=utcnow() - timedelta(days=31), title="old", state=DeliveryState.SENT)
    queue(session, hook, title="young", state=DeliveryState.SENT)
    run_now(app, "housekeeping", "测试")
    refresh(session)
    assert set(session.scalars(sa.select(Notification.title))) == {"unread", "young"}
    assert list(session.scalars(sa.select(D.title))) == ["young"]


def test_a_message_holds_what_the_delivery_holds() -> None:
    assert set(Message.__dataclass_fields__) == {"id", "kind", "level", "title", "body", "url", "at"}
