"""The system page: who may see it, what it says of the system, and that it holds no secret; the jobs' history; metrics."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.jobs import schedule
from app.jobs.dispatch import Dispatcher
from app.jobs.housekeeping import clean
from app.models import (
    ApiCall,
    AuthorizationState,
    Door,
    Heartbeat,
    InboundEvent,
    JobRun,
    OperationRun,
    RunState,
    ThirdPartyApp,
)
from app.operations import vitals
from app.views import system
from tests.conftest import COMPONENT, Actors
from tests.pages import text_of, visible


@pytest.fixture
def admin(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("platform_admin")


def vital(client: FlaskClient, title: str) -> tuple[str, str]:
    """(tone, words) of one vital on the page."""
    text = text_of(client, "/system/live")
    found = re.search(rf'dot-(\w+)"[^>]*></i><b>{title}</b><span>(.*?)</span>', text, re.DOTALL)
    assert found, title
    return found[1], visible(found[2])


@pytest.mark.parametrize(
    ("role", "status"),
    [("platform_admin", 200), ("auditor", 200), ("operator", 403), ("owner", 403), ("staff", 403), ("clerk", 403)],
)
@pytest.mark.parametrize("path", ["/system/", "/system/live"])
def test_only_those_who_run_it_look_at_the_system(
    actors: Actors, client_for: Callable[..., FlaskClient], role: str, status: int, path: str
) -> None:
    client = client_for(role, actors.alice if role in {"owner", "staff", "clerk"} else None)
    assert client.get(path).status_code == status


def test_the_page_holds_no_secret(
    app: Flask, admin: FlaskClient, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "SMTP_URL": "smtps://me:mail-pass@smtp.internal:465",
        "METRICS_TOKEN": "metrics-token-4711",
        "DOUYIN_OPEN_URL": "https://user:proxy-pass@proxy.internal",
    }
    for name, value in told.items():
        monkeypatch.setitem(app.config, name, value)
    text = text_of(admin, "/system/")
    secret = [app.config[name] for name in ("SECRET_KEY", "JWT_SECRET_KEY", "DATA_KEYS", "INDEX_KEY")]
    secret += ["mail-pass", "metrics-token-4711", "proxy-pass", *list(COMPONENT.values())[1:]]
    secret += [app.config["SQLALCHEMY_DATABASE_URI"]]
    assert not [value for value in secret if value in text]
    shown = dict(re.findall(r"<dt><code>(\w+)</code></dt><dd>([^<]*)</dd>", text))
    assert (shown["SECRET_KEY"], shown["METRICS_TOKEN"]) == ("已设置", "已设置")
    assert shown["DOUYIN_OPEN_URL"] == "proxy.internal"


def test_no_setting_is_shown_that_is_not_named(app: Flask) -> None:
    with app.app_context():
        assert {name for _, name, _ in system.settings()} == set(system.PLAIN) | set(system.SECRET)
    assert not {name for name in system.PLAIN if re.search(r"SECRET|KEY|PASSWORD|DATABASE|REDIS|SMTP|_TOKEN$", name)}


def test_versions_name_the_database_and_say_that_it_fits_the_code(admin: FlaskClient) -> None:
    words = visible(text_of(admin, "/system/"))
    assert re.search(r"数据库 (SQLite|PostgreSQL|MariaDB|MySQL) [\d.]+", words)
    assert "与代码一致" in words
    assert re.search(r"SQLAlchemy \d", words)


def beating(app: Flask, session: Session) -> Dispatcher:
    """A worker that has been there for long enough to have said so once."""
    dispatcher = Dispatcher(app)
    dispatcher._beat()  # not yet: it has only begun
    assert session.get(Heartbeat, vitals.process_name()) is None
    session.rollback()
    dispatcher.beaten -= vitals.BEAT
    dispatcher._beat()
    return dispatcher


def test_a_worker_is_known_by_its_heartbeat(app: Flask, session: Session, admin: FlaskClient) -> None:
    assert vital(admin, "工作进程")[0] == "warn"
    dispatcher = beating(app, session)
    dispatcher.pool.shutdown()
    tone, words = vital(admin, "工作进程")
    assert tone == "good"
    assert "1 个在运行" in words
    assert vitals.process_name() in text_of(admin, "/system/live")


def test_a_worker_beats_at_most_once_in_its_interval(app: Flask, session: Session) -> None:
    dispatcher = beating(app, session)
    first = session.get_one(Heartbeat, vitals.process_name()).seen_at
    dispatcher._beat()
    session.rollback()
    session.expire_all()
    assert session.get_one(Heartbeat, vitals.process_name()).seen_at == first
    dispatcher.beaten -= vitals.BEAT
    dispatcher._beat()
    dispatcher.pool.shutdown()
    session.rollback()
    session.expire_all()
    assert session.get_one(Heartbeat, vitals.process_name()).seen_at > first


def _heartbeat(session: Session, name: str, ago: timedelta) -> None:
    at = utcnow() - ago
    session.add(Heartbeat(name=name, started_at=at, seen_at=at, in_hand=2, size=16))
    session.commit()


def test_a_worker_that_fell_silent_counts_as_stopped(session: Session, actors: Actors, admin: FlaskClient) -> None:
    _heartbeat(session, "silent:1", timedelta(minutes=5))
    session.add(
        OperationRun(
            operation="release",
            door=Door.ROW,
            state=RunState.QUEUED,
            subject_type="mini_program",
            appid="tt",
            subject_id=actors.alice_app.id,
            lock_key="mini_program:1",
            not_before=utcnow() - timedelta(minutes=9),
        )
    )
    session.commit()
    tone, words = vital(admin, "工作进程")
    assert tone == "bad"
    assert "没有在运行的工作进程" in words
    assert "1 项等待执行" in words
    assert "已停止" in visible(text_of(admin, "/system/live"))


def test_old_heartbeats_are_cleared_away(app: Flask, session: Session) -> None:
    _heartbeat(session, "old:1", timedelta(days=2))
    _heartbeat(session, "new:1", timedelta(minutes=1))
    clean(app)
    session.rollback()
    session.expire_all()
    assert [row.name for row in session.query(Heartbeat)] == ["new:1"]


def test_the_scheduler_is_late_when_its_slots_are(session: Session, admin: FlaskClient) -> None:
    now = utcnow()
    session.add_all(
        JobRun(job=job, slot="1", outcome="ok", started_at=now, finished_at=now) for job in schedule.SCHEDULE
    )
    session.commit()
    assert vital(admin, "调度器")[0] == "good"
    session.query(JobRun).filter_by(job="sync_audits").update({"started_at": now - timedelta(hours=1)})
    session.commit()
    tone, words = vital(admin, "调度器")
    assert tone == "warn"
    assert "1 项没有按时执行" in words
    session.query(JobRun).update({"started_at": now - timedelta(days=1)})
    session.commit()
    assert vital(admin, "调度器")[0] == "bad"


@pytest.mark.parametrize(
    ("outcome", "tone"), [("ok", "good"), ("error", "good"), ("no_answer", "bad"), ("timeout", "bad")]
)
def test_douyin_is_out_of_reach_when_the_latest_call_had_no_answer(
    session: Session, admin: FlaskClient, outcome: str, tone: str
) -> None:
    now = utcnow()
    calls = [(now - timedelta(minutes=number + 1), "ok") for number in range(30)] + [(now, outcome)]
    session.add_all(ApiCall(at=at, name="x", method="POST", path="/x", outcome=what) for at, what in calls)
    session.commit()
    assert vital(admin, "抖音接口")[0] == tone


def test_calls_are_counted_in_their_hours(session: Session) -> None:
    hour = utcnow().replace(minute=0, second=0, microsecond=0)
    lines = [
        (hour, "ok"),
        (hour - timedelta(seconds=1), "error"),
        (hour - timedelta(hours=2), "timeout"),
        (hour - timedelta(hours=23), "ok"),
        (hour - timedelta(hours=23, seconds=1), "ok"),
    ]
    session.add_all(ApiCall(at=at, name="x", method="POST", path="/x", outcome=what) for at, what in lines)
    session.commit()
    _starts, found = vitals.calls_by_hour(session)
    assert found["ok"] == [1, *[0] * 22, 1]
    assert found["error"][-2:] == [1, 0]
    assert found["silent"][-3:] == [1, 0, 0]


def test_authorisations_are_counted_by_how_long_they_last(session: Session, actors: Actors) -> None:
    for row, days in ((actors.alice_app, 3), (actors.bob_app, 20)):
        row.state, row.refresh_expires_at = AuthorizationState.AUTHORIZED, utcnow() + timedelta(days=days)
    actors.bob_app.token_fault = "刷新失败"
    session.commit()
    found = vitals.tokens(session)
    assert (found.ages, found.faulty, found.unknown) == ([1, 0, 1, 0], 1, 0)


def test_a_failed_push_shows(session: Session, admin: FlaskClient, third_party_app: ThirdPartyApp) -> None:
    assert vital(admin, "事件推送")[0] == "mute"
    session.add(
        InboundEvent(
            unique_key="k", event="PUSH", third_party_app_id=third_party_app.id, receiver="message", state="failed"
        )
    )
    session.commit()
    tone, words = vital(admin, "事件推送")
    assert tone == "bad"
    assert "1 条处理失败" in words


def test_sizes_are_known_for_every_table(session: Session, actors: Actors) -> None:
    found = dict(vitals.table_rows(session))
    if session.get_bind().dialect.name == "sqlite":  # the servers' own estimates come after their next analysis
        assert found["merchant"] == 2
        assert found["web_session"] == 0
    assert {"merchant", "mini_program", "heartbeat", "audit_entry"} <= set(found)
    assert (vitals.database_size(session) or 0) > 10_000


# Scheduled jobs.


@pytest.fixture
def ran(session: Session) -> None:
    now = utcnow()
    for number in range(25):
        failed = number in {3, 24}
        session.add(
            JobRun(
                job="sync_audits",
                slot=str(number),
                outcome="failed" if failed else "ok",
                started_at=now,
                finished_at=now + timedelta(seconds=1.5),
                result=f"第 {number} 次",
            )
        )
    session.add(JobRun(job="housekeeping", slot="1", outcome="ok", started_at=now, actor_name="小王"))
    session.commit()


def test_a_job_has_its_last_twenty_slots(ran: None, admin: FlaskClient) -> None:
    text = text_of(admin, "/jobs/")
    row = text.split("sync_audits</code>")[1].split("</tr>")[0]
    assert row.count('<i class="slot-') == 20
    assert row.count('<i class="slot-failed"') == 1


def test_the_history_of_a_job_names_each_slot(ran: None, admin: FlaskClient) -> None:
    words = visible(text_of(admin, "/jobs/sync_audits/history"))
    assert "第 24 次" in words
    assert "第 5 次" in words
    assert "第 4 次" not in words
    assert "1.5 秒" in words
    assert "小王" in visible(text_of(admin, "/jobs/housekeeping/history"))
    assert "还没有执行过" in visible(text_of(admin, "/jobs/sync_info/history"))


def test_a_jobs_history_is_a_page_for_people_and_a_part_for_the_dialog(ran: None, admin: FlaskClient) -> None:
    page = text_of(admin, "/jobs/sync_audits/history")
    part = admin.get("/jobs/sync_audits/history", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert 'aria-label="主菜单"' in page
    assert "data-close-dialog" not in page
    assert "<html" not in part
    assert "data-close-dialog" in part
    assert "第 24 次" in part


def test_the_history_of_no_job_is_not_found(admin: FlaskClient) -> None:
    assert admin.get("/jobs/nothing/history").status_code == 404


def test_failed_jobs_can_be_shown_alone(ran: None, admin: FlaskClient) -> None:
    words = visible(text_of(admin, "/jobs/?failed=1"))
    assert "查询审核结果" in words
    assert "清理过期数据" not in words


def test_the_newest_run_of_each_job_is_the_one_with_the_greatest_number(app: Flask, ran: None) -> None:
    with app_scope(app, PLATFORM) as own:
        found = schedule.last_runs(own)
    assert {job: run.result for job, run in found.items()} == {"sync_audits": "第 24 次", "housekeeping": ""}


# Metrics.


def metrics(app: Flask, address: str, **headers: str) -> Any:
    return app.test_client().get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=headers)


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("203.0.113.9", 404), ("", 404)])
def test_without_a_token_only_this_machine_is_measured(app: Flask, address: str, status: int) -> None:
    assert metrics(app, address).status_code == status


@pytest.mark.parametrize(
    ("header", "status"), [("Bearer right-token", 200), ("Bearer wrong", 404), ("right-token", 404), ("", 404)]
)
def test_with_a_token_it_must_be_shown(app: Flask, monkeypatch: pytest.MonkeyPatch, header: str, status: int) -> None:
    monkeypatch.setitem(app.config, "METRICS_TOKEN", "right-token")
    assert metrics(app, "203.0.113.9", Authorization=header).status_code == status
    assert metrics(app, "127.0.0.1").status_code == 404
