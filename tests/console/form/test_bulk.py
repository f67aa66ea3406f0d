"""Many rows at once: ticked or all that match, confirmed by number, at once or in the background, each audited."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import Refused
from app.models import AuditEntry, Industry, Merchant, MerchantState, Task, TaskKind, TaskState
from app.tasks import bulk, pool
from app.tasks.tables import Hooks
from app.views.merchant import MerchantView
from tests.conftest import Actors, change, refresh
from tests.pages import text_of, visible

PAGE = "/merchantview/bulk/"


@pytest.fixture
def shops(session: Session) -> list[Merchant]:
    trade = Industry(name="餐饮")
    rows = [Merchant(name=f"面馆{n:03d}", industry=trade, plan="基础版") for n in range(6)]
    session.add_all([*rows, Industry(name="鲜花")])
    session.commit()
    return rows


def plans(session: Session) -> list[str]:
    refresh(session)
    return list(session.scalars(select(Merchant.plan).order_by(Merchant.id)))


def picked(rows: list[Merchant]) -> str:
    return PAGE + "?" + "&".join(f"ids={row.id}" for row in rows)


def send(client: FlaskClient, page: str, **values: Any):
    """Open the page of a bulk edit and send it back as a browser does: its hidden fields, and what is ticked."""
    html = text_of(client, page).split("bulk-form", 1)[1]
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html)
    data: dict[str, list[str]] = {}
    for name, value in hidden:
        data.setdefault(name, []).append(value.replace("&amp;", "&"))
    for name, value in values.items():
        data[name] = value if isinstance(value, list) else [value]
    return client.post(PAGE, data=data)


def test_the_page_names_how_many_and_changes_nothing(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    page = visible(text_of(operator, picked(shops[:3])))
    assert "将修改 3 条商户" in page
    assert "面馆000" in page
    assert plans(session) == ["基础版"] * 6


def test_ticked_rows_get_the_ticked_columns_each_with_its_audit_row(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    flowers = session.scalars(select(Industry.id).where(Industry.name == "鲜花")).one()
    answer = send(
        operator,
        picked(shops[:3]),
        columns=["plan", "industry", "state"],
        plan="专业版",
        industry=str(flowers),
        state="suspended",
        remarks="没有勾选",
    )
    assert answer.headers["Location"] == "/merchantview/list/"
    assert plans(session) == ["专业版"] * 3 + ["基础版"] * 3
    rows = list(session.scalars(select(Merchant).order_by(Merchant.id).limit(3)))
    assert {(row.industry_id, row.state, row.remarks) for row in rows} == {(flowers, MerchantState.SUSPENDED, "")}
    entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "update")).all()
    assert [entry.after["plan"] for entry in entries if entry.subject_type == "merchant"] == ["专业版"] * 3
    assert "已修改 3 条" in visible(text_of(operator, "/merchantview/list/"))


def test_all_that_match_are_changed_beyond_the_page(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    page = f"{PAGE}?all=1&view=MerchantView&query=name%3D%E9%9D%A2%E9%A6%8600%26plan%3D%E5%9F%BA%E7%A1%80%E7%89%88"
    assert "将修改 6 条商户" in visible(text_of(operator, page))
    answer = send(operator, page, columns="plan", plan="年度版")
    assert plans(session) == ["年度版"] * 6
    assert "name=" in answer.headers["Location"]


def test_a_set_that_changed_since_it_was_shown_is_confirmed_again(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    answer = send(operator, f"{PAGE}?all=1&query=", columns="plan", plan="x", count="5")
    assert answer.status_code == 409
    assert "刚有变化" in answer.get_data(as_text=True)
    assert plans(session) == ["基础版"] * 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"columns": [], "plan": "x"}, "请勾选要修改的项目"),
        ({"columns": "plan", "plan": "长" * 40}, "最多 32 个字"),
        ({"columns": "industry", "industry": ""}, "请选择行业"),
        ({"columns": "industry", "industry": "9999"}, "不存在"),
        ({"columns": "state", "state": "nonsense"}, ""),
        ({"columns": "expires_on", "expires_on": "2025-02-31"}, ""),
    ],
)
def test_what_the_form_refuses_changes_nothing(
    session: Session, shops: list[Merchant], operator: FlaskClient, values: dict[str, Any], words: str
) -> None:
    answer = send(operator, picked(shops), **values)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert plans(session) == ["基础版"] * 6


def test_a_value_that_the_screen_refuses_is_said_beside_its_field(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    answer = send(operator, picked(shops), columns="commission_rate", commission_rate="150")
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert "佣金比例应在 0 到 100 之间" in page and 'value="150' in page
    refresh(session)
    assert session.scalar(select(func.max(Merchant.commission_rate))) == 0


def test_a_row_that_the_screen_refuses_is_counted_and_the_others_are_changed(
    session: Session, shops: list[Merchant], operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_some(_view: Any, row: Merchant) -> None:
        if row.name == "面馆003":
            raise Refused("这家不能改")

    monkeypatch.setattr(MerchantView, "pre_update", only_some)
    send(operator, picked(shops), columns="plan", plan="年度版")
    page = visible(text_of(operator, "/merchantview/list/"))
    assert "已修改 5 条" in page
    assert "这家不能改（1 条）" in page
    assert plans(session).count("年度版") == 5


@pytest.mark.parametrize(
    "query", ["", "ids=99999", "ids=1,99999", "ids=x", "ids=" + "9" * 30, "all=1&query=name%3Dzzz"]
)
def test_rows_that_are_not_there_are_not_changed(operator: FlaskClient, shops: list[Merchant], query: str) -> None:
    text_of(operator, f"{PAGE}?{query}", 404)


@pytest.mark.parametrize("column", ["phone", "phone_sealed", "key", "name", "row_version", "id", "nothing"])
def test_a_column_that_is_not_named_is_not_changed(
    session: Session, shops: list[Merchant], operator: FlaskClient, column: str
) -> None:
    before = text_of(operator, "/merchantview/list/?size=100").count("面馆")
    answer = send(operator, picked(shops), columns=column, **{column: "13800138000"})
    assert answer.status_code == 422
    assert text_of(operator, "/merchantview/list/?size=100").count("面馆") == before


def test_a_reader_changes_nothing(shops: list[Merchant], client_for: Callable[..., FlaskClient]) -> None:
    auditor = client_for("auditor")
    text_of(auditor, picked(shops), 403)
    page = text_of(auditor, "/merchantview/list/")
    assert "批量修改" not in page and 'id="picked-export"' in page


def test_of_rows_ticked_on_other_pages_those_that_are_gone_are_left_out_and_counted(
    session: Session, shops: list[Merchant], operator: FlaskClient
) -> None:
    page = f"{PAGE}?kept=1&ids={shops[0].id},{shops[1].id},99998,99999"
    shown = visible(text_of(operator, page))
    assert "有 2 条已被删除或不可见，不再包含" in shown and "将修改 2 条商户" in shown
    send(operator, page, columns="plan", plan="专业版")
    assert plans(session) == ["专业版"] * 2 + ["基础版"] * 4
    text_of(operator, f"{PAGE}?kept=1&ids=99998,99999", 404)
    text_of(operator, f"{PAGE}?ids={','.join(str(key) for key in range(1, 502))}", 404)


def test_lists_without_bulk_columns_have_no_page(full: Actors, operator: FlaskClient) -> None:
    text_of(operator, "/industryview/bulk/?ids=1", 404)


def test_many_rows_are_changed_in_the_background_by_the_same_rules(
    app: Flask, session: Session, shops: list[Merchant], operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.console.form.bulk.AT_ONCE", 2)
    send(operator, picked(shops), columns="plan", plan="年度版")
    refresh(session)
    (task,) = session.scalars(select(Task))
    assert (task.kind, task.state, task.total, task.view) == (TaskKind.BULK_EDIT, TaskState.QUEUED, 6, "MerchantView")
    assert task.params == {"model": "merchant", "ids": [row.id for row in shops], "values": {"plan": "年度版"}}
    assert plans(session) == ["基础版"] * 6
    session.rollback()
    assert pool.perform(app, task.id)
    assert plans(session) == ["年度版"] * 6
    task = session.get_one(Task, task.id)
    assert (task.state, task.done, task.message) == (TaskState.SUCCEEDED, 6, "已修改 6 条")
    names = set(session.scalars(select(AuditEntry.actor_name).where(AuditEntry.action == "update")))
    assert names == {"operator0"}


def test_a_background_edit_keeps_the_screens_own_checks(
    app: Flask, session: Session, shops: list[Merchant], operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.console.form.bulk.AT_ONCE", 2)
    send(operator, picked(shops), columns="commission_rate", commission_rate="15")
    refresh(session)
    task = session.scalars(select(Task)).one()
    task_id = task.id
    change(session, task, params=task.params | {"values": {"commission_rate": 150}})
    pool.perform(app, task_id)
    refresh(session)
    assert "佣金比例应在 0 到 100 之间（6 条）" in session.get_one(Task, task_id).message
    assert session.scalar(select(func.max(Merchant.commission_rate))) == 0


def test_rows_that_are_gone_or_refused_do_not_stop_the_others(session: Session, shops: list[Merchant]) -> None:
    def check(row: Merchant) -> None:
        if row.name == "面馆001":
            raise Refused("这家不行")

    ids = [row.id for row in shops] + [99999]
    told: list[tuple[int, int]] = []
    outcome = bulk.change(
        session,
        Merchant,
        ids,
        {"plan": "新"},
        hooks=Hooks(check, lambda _row: None),
        progress=lambda done, failed: told.append((done, failed)),
    )
    assert outcome.words() == "已修改 5 条，2 条未修改：记录已被删除或不可见（1 条）；这家不行（1 条）"
    assert told == [(5, 2)]
    assert plans(session) == ["新", "基础版", "新", "新", "新", "新"]


def test_a_row_that_conflicts_is_left_and_the_rest_of_its_chunk_is_changed(
    session: Session, shops: list[Merchant]
) -> None:
    outcome = bulk.change(session, Merchant, [row.id for row in shops], {"name": "同名"})
    assert (outcome.changed, outcome.refused["与已有记录重复"]) == (1, 5)


def test_an_edit_ends_when_it_is_told_to(
    session: Session, shops: list[Merchant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    outcome = bulk.change(session, Merchant, [row.id for row in shops], {"plan": "新"}, progress=lambda *_: False)
    assert outcome.changed == 2
    assert plans(session).count("新") == 2


def test_ticked_rows_lead_to_the_operations_page_with_what_was_asked_for(
    session: Session, full: Actors, operator: FlaskClient
) -> None:
    page = text_of(operator, "/miniprogramview/list/?state=authorized&q=爱")
    bar = page.split('id="picked"', 1)[1]
    query = re.search(r'name="query" value="([^"]*)"', bar)
    assert query is not None
    target = f"/operate/sync_app_info?view=MiniProgramView&all=1&query={query[1].replace('&amp;', '%26')}"
    confirm = text_of(operator, target)
    assert full.alice_app.appid in confirm
    assert full.bob_app.appid not in confirm
