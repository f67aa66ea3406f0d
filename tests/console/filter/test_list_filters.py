"""Conditions in a list's address: every form finds its rows, a wrong value finds none, hidden columns are not reached."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.console.base import ConsoleView
from app.console.kinds.controls import period
from app.console.kinds.face import face_of
from app.console.kinds.parts import MOST_VALUES, Part, parts_of, quoted
from app.data.clock import SHANGHAI, utcnow
from app.data.kinds import kind_of
from app.models import Industry, Merchant, MerchantState, MiniProgram, OperationRun, RunState
from tests.conftest import Actors
from tests.pages import text_of, visible

LIST = "/merchantview/list/"


@pytest.fixture
def shops(session: Session) -> dict[str, Merchant]:
    """Four merchants that differ in everything that is asked for below."""
    food, flowers = Industry(name="餐饮"), Industry(name="鲜花")
    rows = {
        "张三面馆": {"industry": food, "plan": "基础版", "commission_rate": 5, "expires_on": date(2025, 1, 31)},
        "李四面馆": {"industry": food, "plan": "专业版", "commission_rate": 10, "expires_on": date(2025, 2, 1)},
        "王五花店": {"industry": flowers, "plan": "", "commission_rate": 15, "expires_on": None},
        "A,B商行": {"industry": flowers, "plan": "专业版试用", "commission_rate": 20, "expires_on": date(2026, 5, 1)},
    }
    made = {name: Merchant(name=name, **values) for name, values in rows.items()}
    made["王五花店"].state = MerchantState.SUSPENDED
    for number, row in enumerate(made.values()):
        row.created_at = datetime(2025, 1, 1 + number, 20, tzinfo=UTC)  # the next day in Shanghai
    session.add_all(made.values())
    session.commit()
    return made


def found(client: FlaskClient, query: str) -> set[str]:
    """The first letters of the merchants that a list shows."""
    page = text_of(client, f"{LIST}?{query}")
    body = page.split("<tbody>")[1].split("</tbody>")[0] if "<tbody>" in page else ""
    return {name[0] for name in re.findall(r"(张三面馆|李四面馆|王五花店|A,B商行)</a>", body)}


ALL = "张李王A"
FORMS = [
    ("state=active", "张李A"),
    ("state=suspended", "王"),
    ("state=active,suspended", ALL),
    ("state=!suspended", "张李A"),
    ("state=active&state=suspended", ALL),
    ("name=面馆", "张李"),
    ("name=!面馆", "王A"),
    ("name==张三面馆", "张"),
    ("name=!=张三面馆", "李王A"),
    ("name=张,王", "张王"),
    ("name=A\\,B", "A"),
    ("name=面馆,!张三", "李"),
    ("plan=专业版", "李A"),
    ("plan==专业版", "李"),
    ("plan==", "王"),
    ("plan=!=", "张李A"),
    ("commission_rate=10", "李"),
    ("commission_rate=10..15", "李王"),
    ("commission_rate=..10", "张李"),
    ("commission_rate=15..", "王A"),
    ("commission_rate=!10", "张王A"),
    ("commission_rate=5,20", "张A"),
    ("expires_on=2025-01-31", "张"),
    ("expires_on=2025", "张李"),
    ("expires_on=2025-02", "李"),
    ("expires_on=2025-02-01..", "李A"),
    ("expires_on=..2025-01-31", "张"),
    ("expires_on==", "王"),
    ("expires_on=!2025", "王A"),
    ("expires_on=2025..2026", "张李A"),
    # 20:00 UTC is the next day in Shanghai.
    ("created_at=2025-01-02", "张"),
    ("created_at=2025-01-03..2025-01-04", "李王"),
    ("created_at=2025-01-01", ""),
    ("created_at=-7d..", ""),
    ("created_at=..-7d", ALL),
    ("state=active&name=面馆&commission_rate=10..", "李"),
    ("q=面馆&plan=基础版", "张"),
]


@pytest.mark.parametrize(("query", "names"), FORMS)
def test_every_form_of_a_condition_finds_its_rows(
    shops: dict[str, Merchant], operator: FlaskClient, query: str, names: str
) -> None:
    assert found(operator, query) == set(names)


def test_a_relation_is_asked_for_by_number(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    food, flowers = shops["张三面馆"].industry_id, shops["王五花店"].industry_id
    assert found(operator, f"industry={food}") == set("张李")
    assert found(operator, f"industry={food},{flowers}") == set(ALL)
    assert found(operator, f"industry=!{food}") == set("王A")


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense",
        "state=!nonsense",
        "industry=x",
        "industry=99999999999999999999",
        "industry=99",
        "expires_on=abc",
        "expires_on=2025-13",
        "expires_on=2025-02-30",
        "expires_on=..x",
        "expires_on=0001-01-01",
        "created_at=9999",
        "commission_rate=abc",
        "commission_rate=1..x",
        "commission_rate=1e999999",
        "name=%25",
        "name=_",
        "name=,",
        "name=" + "x" * 5000,
    ],
)
def test_a_value_that_cannot_be_meant_finds_nothing(
    shops: dict[str, Merchant], operator: FlaskClient, query: str
) -> None:
    if query == "name=,":  # names no value at all: it is no condition
        assert text_of(operator, f"{LIST}?{query}")
        return
    assert found(operator, query) == set()


def test_one_wrong_value_does_not_hide_what_the_others_find(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    assert found(operator, "state=nonsense,suspended") == {"王"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("_flt_0_state=suspended", "state=suspended"),
        ("_flt_1_state=suspended", "state=!suspended"),
        ("_flt_0_expires_on=2025-02-01", "expires_on=2025-02-01.."),
        ("_flt_1_expires_on=2025-01-31", "expires_on=..2025-01-31"),
        ("_flt_0_name=面馆", "name=面馆"),
        ("_flt_1_name=张三面馆", "name==张三面馆"),
    ],
)
def test_fabs_own_form_of_a_condition_still_works(
    shops: dict[str, Merchant], operator: FlaskClient, old: str, new: str
) -> None:
    assert found(operator, old) == found(operator, new) != set()


@pytest.mark.parametrize(
    "query",
    ["order=-name&state=active", "_oc_MerchantView=name&_od_MerchantView=desc&state=active", "order=name&way=desc"],
)
def test_an_order_is_one_word_and_fabs_two_still_work(
    shops: dict[str, Merchant], operator: FlaskClient, query: str
) -> None:
    names = re.findall(r"(张三面馆|李四面馆|A,B商行)</a>", text_of(operator, f"{LIST}?{query}"))
    assert names == sorted(names, reverse=True)
    assert len(names) == 3


def test_a_condition_stands_above_the_list_in_words_with_its_way_off(
    shops: dict[str, Merchant], operator: FlaskClient
) -> None:
    page = text_of(operator, f"{LIST}?name=!花&expires_on=2025-01..&order=name")
    assert "商户名称 不包含 花" in visible(page)
    assert "套餐到期日 从 2025-01" in visible(page)
    chips = re.findall(r'<span class="condition">.*?href="([^"]+)"', page)
    assert [parse_qs(urlsplit(url.replace("&amp;", "&")).query) for url in chips] == [
        {"expires_on": ["2025-01.."], "order": ["name"]},
        {"name": ["!花"], "order": ["name"]},
    ]
    clear = re.findall(r'class="conditions-clear" href="([^"]+)"', page)
    assert clear == [f"{LIST}?order=name"]


def test_a_relation_is_named_in_its_condition(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    page = visible(text_of(operator, f"{LIST}?industry={shops['王五花店'].industry_id}"))
    assert "行业 鲜花" in page


def test_the_panel_shows_each_condition_by_its_operator(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    page = text_of(
        operator, "/merchantview/panel/?name=!花&state=suspended&plan==&expires_on=2025..2026&page=3&order=name"
    )
    chosen = dict(re.findall(r'data-ask="(\w+)".*?<option value="(\w+|-\w+\.\.)" selected', page, re.DOTALL))
    assert chosen["name"] == "lacks"
    assert chosen["state"] == "is"
    assert chosen["plan"] == "blank"
    assert chosen["expires_on"] == "range"
    assert re.search(r'value="suspended" checked', page)
    assert 'name="order" value="name"' in page
    assert 'name="page"' not in page


def test_what_the_panel_has_no_control_for_is_kept_as_text(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    page = text_of(operator, "/merchantview/panel/?name=" + quote("面馆,!张三"))
    assert 'value="raw" selected' in page
    assert 'value="面馆,!张三"' in page


def test_states_stand_above_the_list_with_their_numbers_under_the_other_conditions(
    shops: dict[str, Merchant], operator: FlaskClient
) -> None:
    assert "正常 3 停用 1" in re.sub(r"\s+", " ", visible(text_of(operator, "/merchantview/counts/")))
    page = text_of(operator, "/merchantview/counts/?name=花&state=active")
    assert "全部 1 正常 0 停用 1" in re.sub(r"\s+", " ", visible(page))
    assert re.search(r'aria-current="true"><i class="tone-good"></i>正常', page)


def test_numbers_are_not_counted_beyond_the_cap(
    session: Session, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.console.filter.conditions.COUNTED", 5)
    trade = Industry(name="行业")
    session.add_all(Merchant(name=f"第{n}家", industry=trade) for n in range(9))
    session.commit()
    assert "+" in visible(text_of(operator, "/merchantview/counts/"))
    session.add_all(Merchant(name=f"另{n}", industry=trade, state=MerchantState.SUSPENDED) for n in range(2))
    session.commit()
    assert "停用 2" in visible(text_of(operator, "/merchantview/counts/?state=suspended&name=另"))


def test_columns_are_chosen_by_the_address_in_its_order(shops: dict[str, Merchant], operator: FlaskClient) -> None:
    page = text_of(operator, f"{LIST}?cols=state,name,key,state,nothing")
    heads = [re.sub(r"<.*?>", "", head) for head in re.findall(r'<th scope="col".*?</th>', page, re.DOTALL)]
    assert heads == ["状态", "商户名称", "商户标识"]
    assert len(re.findall(r'<th scope="col"', text_of(operator, f"{LIST}?cols=nothing"))) == 8


def test_a_long_text_is_cut_to_two_lines_and_whole_on_hover(
    session: Session, shops: dict[str, Merchant], operator: FlaskClient
) -> None:
    shops["张三面馆"].remarks = '"><b>' + "备注" * 50
    session.commit()
    page = text_of(operator, f"{LIST}?cols=name,remarks")
    assert page.count('<span class="clip" title="&#34;&gt;&lt;b&gt;备注') == 1


HIDDEN = re.compile(r"_sealed$|_hash$|^row_uid$|^row_version$|^password$|_hashes$|^totp_|^preferences$")


def _lists(app: Flask) -> list[ConsoleView]:
    views = app.appbuilder.baseviews  # type: ignore[attr-defined]
    return [view for view in views if isinstance(view, ConsoleView) and "list" in view.include_route_methods]


def test_no_form_of_an_address_reaches_a_column_that_is_not_named(
    app: Flask, full: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """Every list × every column of its model: neither filtered, sorted, shown, changed in a cell nor in bulk."""
    admin = client_for("platform_admin")
    walked = 0
    for view in _lists(app):
        shown, sought = set(view.offered_columns()), set(view.search_columns)
        changed = {*view.inline_columns, *view.bulk_columns}
        assert not [name for name in shown | sought | changed if HIDDEN.search(name)], view.endpoint
        base = f"{view.route_base}/list/"
        if admin.get(base).status_code != 200:
            continue
        plain = _rows(admin, base)
        for name in view.datamodel.obj.__mapper__.columns.keys():  # noqa: SIM118  (a collection of columns)
            walked += 1
            if name not in sought | set(view.flags):
                assert _rows(admin, f"{base}?{name}=zzz") == plain, (view.endpoint, name)
            if name not in view.order_columns:
                assert _rows(admin, f"{base}?order=-{name}") == plain, (view.endpoint, name)
            if name not in shown:
                assert _rows(admin, f"{base}?cols={name}") == plain, (view.endpoint, name)
            if name not in view.inline_columns:
                assert admin.get(f"{view.route_base}/cell/1/{name}").status_code == 404, (view.endpoint, name)
    assert walked > 200


def _rows(client: FlaskClient, url: str) -> list[str]:
    page = text_of(client, url)
    ids = re.findall(r'<tr data-id="(\d+)"', page)
    return [*ids, *re.findall(r'<th scope="col".*?</th>', re.sub(r'href="[^"]*"', "", page), re.DOTALL)]


def test_every_declaration_names_what_is_there(app: Flask) -> None:
    for view in _lists(app):
        columns = set(view.datamodel.obj.__mapper__.columns.keys()) | set(
            view.datamodel.obj.__mapper__.relationships.keys()
        )
        named = {*view.search_columns, *view.inline_columns, *view.bulk_columns}
        assert named <= columns, view.endpoint
        assert {*view.inline_columns, *view.bulk_columns} <= set(view.edit_columns), view.endpoint
        assert not view.chip_column or view.chip_column in view.search_columns, view.endpoint
        assert not view.order_by_drag or view.base_order == (view.order_by_drag, "asc"), view.endpoint
        assert not set(view.search_columns) & {"q", "page", "size", "order", "way", "cols", "saved", "all", "ids"}


def test_a_merchants_conditions_find_its_own_rows_only(full: Actors, client_for: Callable[..., FlaskClient]) -> None:
    bob = client_for("owner", full.bob)
    for query in ("", "?state=rejected", "?q=1.0", "?state=rejected,auditing&cols=number,state", "?merchant=1"):
        assert "1.0.1" not in text_of(bob, f"/myversionview/list/{query}").split("<main", 1)[1]
    assert "审核驳回 1" not in visible(text_of(bob, "/myversionview/counts/"))
    assert "审核驳回 1" in visible(text_of(client_for("owner", full.alice), "/myversionview/counts/"))


def test_a_rows_menu_offers_what_its_reader_may_do(
    session: Session, full: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator, auditor, bob = client_for("operator"), client_for("auditor"), client_for("owner", full.bob)
    path = f"/miniprogramview/menu/{full.alice_app.id}"
    assert "正在进行「发布上线」，请等它结束" in text_of(operator, path)
    session.rollback()
    session.execute(delete(OperationRun).where(OperationRun.state == RunState.UNKNOWN))
    session.commit()
    assert "/operate/upload_code" in text_of(operator, path)
    assert "/operate/" not in text_of(auditor, path)
    text_of(bob, path, 403)
    text_of(bob, f"/myminiprogramview/menu/{full.alice_app.id}", 404)
    text_of(operator, "/miniprogramview/menu/99999", 404)


def test_signs_within_a_value_are_kept() -> None:
    for text in ("a,b", "!a", "=a", "\\a", "a\\,b", "!=x", "a..b"):
        assert [part.text for part in parts_of(quoted(text))] == [text]
    assert parts_of("!=a,=b,!c") == [
        Part("a", negative=True, exact=True),
        Part("b", exact=True),
        Part("c", negative=True),
    ]


def test_periods_end_before_the_next_begins() -> None:
    today = (utcnow() + timedelta(hours=8)).date()
    assert period("2024-02") == (date(2024, 2, 1), date(2024, 3, 1))
    assert period("2024-12") == (date(2024, 12, 1), date(2025, 1, 1))
    assert period("2024") == (date(2024, 1, 1), date(2025, 1, 1))
    assert period("today") == (today, today + timedelta(days=1))
    assert period("-7d") == (today - timedelta(days=6), today - timedelta(days=5))
    assert period("+7d") == period(" 7d".strip()) == (today + timedelta(days=6), today + timedelta(days=7))
    assert period("yesterday") == (today - timedelta(days=1), today)
    assert period("nonsense") is None


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("expires_on=..yesterday", "张"),
        ("expires_on=..today", "张李"),
        ("expires_on=today..%2B7d", "李王"),
        ("expires_on=today..+7d", "李王"),
        ("expires_on=tomorrow..", "王A"),
        ("expires_on=today..%2B30d", "李王A"),
    ],
)
def test_what_lies_ahead_is_asked_for_like_what_is_past(
    session: Session, shops: dict[str, Merchant], operator: FlaskClient, query: str, names: str
) -> None:
    today = utcnow().astimezone(SHANGHAI).date()
    for row, days in zip(shops.values(), (-1, 0, 6, 29), strict=True):
        row.expires_on = today + timedelta(days=days)
    session.commit()
    assert found(operator, query) == set(names)


def test_a_moment_is_over_at_once_and_not_at_the_days_end(session: Session, actors: Actors) -> None:
    now = utcnow()
    column = MiniProgram.refresh_expires_at
    kind = kind_of(column)
    control = face_of(kind).control
    assert control is not None
    for row, hours in ((actors.alice_app, -1), (actors.bob_app, 1)):
        row.refresh_expires_at = now + timedelta(hours=hours)
    session.commit()
    over = select(MiniProgram.id).where(control.sql(kind, column, Part("..now")))
    assert session.scalars(over).all() == [actors.alice_app.id]


def test_a_column_that_lies_ahead_offers_what_ends_soon_and_what_is_over(
    shops: dict[str, Merchant], operator: FlaskClient
) -> None:
    page = text_of(operator, "/merchantview/panel/?expires_on=today..%2B30d")
    ask = page.partition('data-ask="expires_on"')[2].partition("</fieldset>")[0]
    assert '<option value="today..+30d" selected>未来 30 天' in ask and "已过期" in ask and "近 7 天" not in ask
    past = page.partition('data-ask="created_at"')[2].partition("</fieldset>")[0]
    assert "近 7 天" in past and "未来" not in past
    assert "未来 30 天" in visible(text_of(operator, f"{LIST}?expires_on=today..%2B30d"))


def test_no_more_values_are_read_than_a_person_would_name() -> None:
    assert len(parts_of(",".join("ab" for _ in range(5000)))) == MOST_VALUES
