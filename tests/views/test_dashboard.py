"""The workbench: each number is that of the list behind it, a merchant sees its own, many rows cost few statements."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.data.clock import SHANGHAI, utcnow
from app.extensions import db
from app.kept import kept_of
from app.link import connection
from app.models import (
    AuthorizationState,
    Door,
    InboundEvent,
    InboundState,
    JobRun,
    MiniProgram,
    OperationRun,
    RunState,
    Template,
    ThirdPartyApp,
    Version,
    VersionEvent,
    VersionState,
)
from app.operations import fleet
from app.views import dashboard
from tests.conftest import Actors
from tests.pages import text_of, visible

LARGE = "73012345678901234"


@pytest.fixture(autouse=True)
def _nothing_kept(app: Flask) -> None:
    kept_of(app).forget("trends")


def _app(actors: Actors, number: int, **values: Any) -> MiniProgram:
    values = {"merchant_id": actors.alice.id, "permissions": [1, 2], "state": AuthorizationState.AUTHORIZED} | values
    owner = actors.alice_app.third_party_app_id
    return MiniProgram(third_party_app_id=owner, appid=f"ttfleet{number:012d}", name=f"第{number}号", **values)


def _fleet(actors: Actors) -> Iterator[MiniProgram]:
    """Mini-programs of every kind that is counted, in numbers that differ from each other."""
    now = utcnow()
    long_ago, soon = now - timedelta(days=9), now + timedelta(days=3)
    kinds: list[tuple[int, dict[str, Any]]] = [
        (2, {"audit_state": "rejected", "uploaded_version": "1.0.1"}),
        (3, {"audit_state": "auditing", "audit_since": long_ago, "uploaded_version": "1.0.1"}),
        (4, {"audit_state": "auditing", "audit_since": now}),
        (5, {"refresh_expires_at": soon}),
        (6, {"permissions": [1]}),
        (7, {"audit_state": "approved", "uploaded_version": "1.0.2"}),
        (8, {"live_version": "1.0.0", "live_template_id": f"{LARGE}1"}),
        (1, {"live_version": "1.0.0", "live_template_id": ""}),
        (9, {"state": AuthorizationState.REVOKED}),
        (10, {"merchant_id": None, "audit_state": "rejected", "live_version": "1.0.0"}),
    ]
    number = 0
    for count, values in kinds:
        for _ in range(count):
            number += 1
            yield _app(actors, number, **values)


def _run(actors: Actors, state: RunState, at: datetime) -> OperationRun:
    app = actors.alice_app
    return OperationRun(
        operation="release",
        door=Door.ROW,
        state=state,
        created_at=at,
        merchant_id=app.merchant_id,
        appid=app.appid,
        subject_type="mini_program",
        subject_id=app.id,
        mini_program_id=app.id,
        lock_key=f"mini_program:{app.id}",
    )


@pytest.fixture
def busy(session: Session, actors: Actors, third_party_app: ThirdPartyApp) -> Actors:
    """A platform where something of each kind needs a person."""
    now = utcnow()
    session.add_all(_fleet(actors))
    session.add_all([_run(actors, RunState.UNKNOWN, now)] + [_run(actors, RunState.FAILED, now) for _ in range(2)])
    session.add(_run(actors, RunState.FAILED, now - timedelta(days=2)))
    session.add(Template(third_party_app_id=third_party_app.id, template_id=f"{LARGE}1", version="2.7.1"))
    session.add_all(
        InboundEvent(
            unique_key=f"k{number}",
            event="PACKAGE_AUDIT",
            third_party_app_id=third_party_app.id,
            receiver="message",
            state=InboundState.FAILED,
        )
        for number in range(3)
    )
    session.add_all(
        JobRun(job=job, slot=slot, outcome=outcome)
        for job, slot, outcome in (
            ("sync_audits", "1", "ok"),
            ("sync_audits", "2", "failed"),
            ("housekeeping", "1", "failed"),
            ("housekeeping", "2", "ok"),
            ("a_job_that_is_no_more", "1", "failed"),
        )
    )
    session.commit()
    return actors


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "ROLLBACK", "COMMIT", "PRAGMA")):
            statements.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def numbers(text: str) -> list[tuple[str, int]]:
    """(address, number) of every link of the page that is a number."""
    found = re.findall(
        r'<a\b[^>]*href="([^"]*)"[^>]*>((?:(?!</a>).)*?<b>([\d,]+)</b>(?:(?!</a>).)*?)</a>', text, re.DOTALL
    )
    return [(html.unescape(url), int(number.replace(",", ""))) for url, _words, number in found]


def rows_of(client: FlaskClient, url: str) -> int:
    joint = "&" if "?" in url else "?"
    text = text_of(client, f"{url}{joint}psize=100")
    if url.startswith("/jobs/"):
        return text.count("立即执行</button>")
    return len(re.findall(r"<tr[^>]* data-id=", text))


def test_every_number_of_the_workbench_is_that_of_its_list(busy: Actors, operator: FlaskClient) -> None:
    main = text_of(operator, "/").split("<main", 1)[1]
    found = numbers(main)
    wrong = [(url, number, rows_of(operator, url)) for url, number in found if rows_of(operator, url) != number]
    assert not wrong
    assert len({url for url, _ in found}) == len(found) == len(dashboard.NEEDS) + len(dashboard.STAGES) + 2
    assert sum(number > 0 for _, number in found) == len(found)


def test_what_needs_a_person_is_counted_as_it_was_made(busy: Actors, operator: FlaskClient) -> None:
    found = dict(numbers(text_of(operator, "/")))
    by_view = {item.title: url for item in dashboard.NEEDS for url in found if _leads(url, item)}
    expected = {
        "审核被驳回": 2,
        "审核超时未出结果": 3,
        "授权 7 天内到期": 5,
        "缺少必要权限": 6,
        "待认领小程序": 10,
        "结果待核实": 1,
        "24 小时内失败的操作": 2,
        "执行失败的定时任务": 1,
        "处理失败的推送": 3,
        "第三方应用异常": 1,
    }
    assert {title: found[url] for title, url in by_view.items()} == expected


def _leads(url: str, item: dashboard.Shown) -> bool:
    path = "/jobs/" if item.view == "JobView" else f"/{item.view.lower()}/list/"
    arguments = "&".join(f"{name}={value}" for name, value in item.arguments.items())
    return url == (f"{path}?{arguments}" if arguments else path)


def test_nothing_to_do_looks_calm(session: Session, actors: Actors, operator: FlaskClient) -> None:
    actors.alice_app.third_party_app.ticket_at = utcnow()
    session.commit()
    text = text_of(operator, "/")
    assert text.count("need-calm") == len(dashboard.NEEDS)
    assert "need-bad" not in text
    assert "need-warn" not in text


def test_an_empty_platform_says_where_to_begin(app: Flask, operator: FlaskClient) -> None:
    words = visible(text_of(operator, "/"))
    assert "还没有小程序" in words
    assert "还没有操作" in words
    assert "还没有上线的版本" in words
    assert "这段时间没有审核或发布" in visible(text_of(operator, "/trends"))


def test_what_comes_first_is_what_there_is_something_of(busy: Actors, operator: FlaskClient, session: Session) -> None:
    session.query(JobRun).delete()
    session.commit()
    tones = re.findall(r'class="need need-(\w+)"', text_of(operator, "/"))
    assert tones[-1] == "calm"
    assert tones.index("calm") == len(tones) - 1


def test_versions_in_the_field_beyond_the_first_eight_stand_together(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    session.add_all(
        _app(actors, number * 100 + copy, live_version="1.0.0", live_template_id=f"{LARGE}{number}")
        for number in range(1, 12)
        for copy in range(number)
    )
    session.commit()
    text = text_of(operator, "/")
    assert "其他 3 个版本" in visible(text)
    ring = next(chart for chart in charts(text) if chart["type"] == "ring")
    assert [item["value"] for item in ring["items"]] == [11, 10, 9, 8, 7, 6, 5, 4, 6]
    assert ring["items"][-1]["name"] == "其他"


def charts(text: str) -> list[dict[str, Any]]:
    return [json.loads(html.unescape(found)) for found in re.findall(r'data-chart="([^"]*)"', text)]


def test_the_workbench_costs_few_statements_however_much_there_is(
    app: Flask, busy: Actors, operator: FlaskClient, session: Session
) -> None:
    text_of(operator, "/")
    connection.breaker(app).forget()  # it looks anew every few seconds: now it does both times
    with counted(app) as few:
        text_of(operator, "/")
    session.add_all(_app(busy, 1000 + number, live_version="1.0.0", audit_state="auditing") for number in range(60))
    session.add_all(_run(busy, RunState.SUCCEEDED, utcnow()) for _ in range(30))
    session.commit()
    connection.breaker(app).forget()
    with counted(app) as many:
        text_of(operator, "/")
    assert len(few) == len(many) <= 16


# Days.


@pytest.fixture
def days(session: Session, actors: Actors) -> Actors:
    """Audits of two days in Shanghai, one of them just before and after midnight there."""
    midnight = datetime.now(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    app = actors.alice_app
    lines = [
        ("auditing", midnight - timedelta(seconds=1)),
        ("auditing", midnight),
        ("approved", midnight),
        ("approved", midnight - timedelta(days=1)),
        ("approved", midnight - timedelta(days=3)),
        ("rejected", midnight),
        ("released", midnight - timedelta(days=29)),
        ("released", midnight - timedelta(days=29, seconds=1)),
        ("note", midnight),
    ]
    session.add_all(
        VersionEvent(
            merchant_id=app.merchant_id,
            mini_program_id=app.id,
            number="1.0.1",
            kind=kind,
            at=at.astimezone(utcnow().tzinfo),
        )
        for kind, at in lines
    )
    for number, minutes in enumerate((10, 30, 95)):
        session.add(
            Version(
                merchant_id=app.merchant_id,
                mini_program_id=app.id,
                number=f"1.0.{number}",
                state=VersionState.APPROVED,
                submitted_at=utcnow() - timedelta(minutes=minutes),
                decided_at=utcnow(),
            )
        )
    session.commit()
    return actors


def test_days_begin_at_midnight_in_shanghai(session: Session, days: Actors) -> None:
    found = fleet.trends(session, 30)
    assert found.counts["submitted"][-2:] == [1, 1]
    assert found.counts["approved"][-4:] == [1, 0, 1, 1]
    assert found.counts["rejected"][-1] == 1
    assert found.counts["released"] == [1] + [0] * 29
    assert len(found.days) == 30
    assert found.days[-1] == datetime.now(SHANGHAI).date()


def test_rates_and_the_median_are_of_the_same_days(session: Session, days: Actors) -> None:
    found = fleet.trends(session, 30)
    assert found.approval == pytest.approx(3 / 4)
    assert found.median is not None
    assert round(found.median.total_seconds() / 60) == 30
    assert found.decided == 3


@pytest.mark.parametrize("length", [7, 30, 90])
def test_every_total_of_the_days_is_that_of_its_list(days: Actors, operator: FlaskClient, length: int) -> None:
    found = numbers(text_of(operator, f"/trends?days={length}"))
    assert len(found) == 4
    assert [rows_of(operator, url) for url, _ in found] == [number for _, number in found]


def test_every_day_of_the_table_is_that_of_its_list(days: Actors, operator: FlaskClient) -> None:
    text = text_of(operator, "/trends?days=30")
    cells = re.findall(r'<td class="num"><a href="([^"]*)">(\d+)</a>', text)
    assert sum(int(number) for _, number in cells) == 7
    assert all(rows_of(operator, html.unescape(url)) == int(number) for url, number in cells)


def test_the_chart_holds_what_the_table_says(days: Actors, operator: FlaskClient) -> None:
    (chart,) = charts(text_of(operator, "/trends?days=7"))
    assert len(chart["labels"]) == 7
    assert {series["name"]: sum(series["values"]) for series in chart["series"]} == {
        "提交审核": 2,
        "审核通过": 3,
        "审核驳回": 1,
        "发布上线": 0,
    }


@pytest.mark.parametrize("asked", ["", "0", "-1", "100000", "x", "30;drop"])
def test_days_are_capped(days: Actors, operator: FlaskClient, asked: str) -> None:
    (chart,) = charts(text_of(operator, f"/trends?days={asked}"))
    assert len(chart["labels"]) == 30


def test_the_days_are_counted_once_a_minute(app: Flask, days: Actors, operator: FlaskClient) -> None:
    text_of(operator, "/trends")
    with counted(app) as statements:
        text_of(operator, "/trends")
    assert not [text for text in statements if "version_event" in text]


# The merchant's first page.


def test_a_merchant_sees_its_own_and_has_no_days_of_the_platform(
    session: Session, busy: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    owner = client_for("owner", busy.bob)
    words = visible(text_of(owner, "/"))
    assert "鲍勃面馆" in words
    assert "爱丽丝" not in words
    assert "号" not in re.sub(r"账号|AppID", "", words)
    assert owner.get("/trends").status_code == 404


def test_a_merchant_reads_why_it_was_rejected_and_what_to_do(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    app = actors.alice_app
    app.state, app.permissions = AuthorizationState.AUTHORIZED, [1, 2]
    app.uploaded_version = app.audit_version = "1.0.3"
    app.audit_state = "rejected"
    session.add(
        Version(
            merchant_id=app.merchant_id,
            mini_program_id=app.id,
            number="1.0.3",
            state=VersionState.REJECTED,
            uploaded_at=utcnow(),
            submitted_at=utcnow(),
            decided_at=utcnow(),
            reason="缺少营业执照",
        )
    )
    session.commit()
    words = visible(text_of(client_for("owner", actors.alice), "/"))
    assert "缺少营业执照" in words
    assert "审核驳回" in words
    assert "请按驳回原因修改" in words
    assert "有 1 个小程序需要您处理" in words


def test_a_merchant_without_a_mini_program_is_told_how_to_get_one(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    session.delete(actors.bob_app)
    session.commit()
    assert "请联系您的服务商获取授权链接" in visible(text_of(client_for("owner", actors.bob), "/"))
