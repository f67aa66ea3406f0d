"""The record of calls: written behind, in batches, in order, and kept while the database is away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.douyin.client import CallRecord
from app.link import call_log
from app.link.call_log import CallLog, title_of
from app.models import ApiCall, Notification
from tests.conftest import PASSWORD, refresh


def record(**values: Any) -> CallRecord:
    plain = CallRecord(
        at=utcnow(),
        name="get_versions",
        method="GET",
        host="open",
        path="/api/x",
        component_appid="ttc",
        appid="tta",
        ms=7,
        http_status=200,
        err_no=0,
        log_id="L1",
        outcome="ok",
        request={"a": 1},
        answer="b",
    )
    return replace(plain, **values)


def written(session: Session) -> list[ApiCall]:
    refresh(session)
    return list(session.scalars(select(ApiCall).order_by(ApiCall.id)))


def test_a_call_is_written_as_it_was_and_cut_to_its_columns(app: Flask, session: Session) -> None:
    log, long = CallLog(app), "长" * 200
    whole = record()
    log(whole)
    log(record(name=long, path=long, component_appid=long, appid=None, log_id=long))
    assert log.flush() == 2
    one, cut = written(session)
    for name in ("at", "name", "method", "host", "path", "component_appid", "appid", "ms", "http_status", "err_no"):
        assert getattr(one, name) == getattr(whole, name), name
    assert (one.log_id, one.outcome, one.request, one.answer) == ("L1", "ok", {"a": 1}, "b")
    assert (cut.name, cut.path, cut.log_id) == (long[:64], long[:160], long[:64])
    assert (cut.component_appid, cut.appid) == (long[:64], "")


def test_more_than_a_batch_is_written_in_order(app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_log, "BATCH", 3)
    log = CallLog(app)
    for ms in range(7):
        log(record(ms=ms))
    assert (log.flush(), log.flush()) == (7, 0)
    assert [row.ms for row in written(session)] == list(range(7))


def test_what_cannot_be_written_waits_in_its_order(
    app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_log, "BATCH", 2)
    log = CallLog(app)
    for ms in range(5):
        log(record(ms=ms))
    write, asked = log._write, iter([True, False])

    def once_away(batch: list[CallRecord]) -> None:
        if not next(asked, True):
            raise OperationalError("insert", {}, Exception("away"))
        write(batch)

    monkeypatch.setattr(log, "_write", once_away)
    assert log.flush() == 2
    log(record(ms=5))
    assert log.flush() == 4
    assert [row.ms for row in written(session)] == list(range(6))


def test_while_nothing_can_be_written_the_oldest_go_first(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_log, "MOST_QUEUED", 3)
    log = CallLog(app)
    for ms in range(5):
        log(record(ms=ms))
    assert [kept.ms for kept in log._queue] == [2, 3, 4]


def test_what_is_left_is_written_at_the_end(app: Flask, session: Session) -> None:
    log = CallLog(app)
    log(record())
    log.close()
    log.close()
    assert len(written(session)) == 1 and log._stop.is_set()


def test_a_call_that_only_a_new_version_mends_is_told_once_a_day(app: Flask, session: Session) -> None:
    setting_up.add_user(session, "root", "platform_admin", password=PASSWORD)
    session.commit()
    log = CallLog(app)
    ours = next(err_no for err_no in call_log.OURS)
    for err_no in (ours, ours, 0, None):
        log(record(err_no=err_no))
    log.flush()
    log(record(err_no=ours))
    log.flush()
    refresh(session)
    [told] = session.scalars(select(Notification).where(Notification.kind == "call_refused"))
    assert title_of("get_versions") in told.title and "get_versions" not in told.title
    assert call_log.OURS[ours].meaning in told.title and told.body == call_log.OURS[ours].advice


def test_an_endpoint_that_is_none_of_ours_has_its_id_for_a_title() -> None:
    assert title_of("no_such_call") == "no_such_call" != title_of("get_versions")
