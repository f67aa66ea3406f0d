"""Lists: each request has its own filters, pages are capped, only named columns are searched or sorted, no N+1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.extensions import db
from app.models import Industry, Merchant
from tests.conftest import Actors
from tests.pages import submit, text_of


def _merchants(session: Session, count: int) -> None:
    trade = Industry(name="行业")
    session.add_all(Merchant(name=f"商户{number:04d}", industry=trade) for number in range(count))
    session.commit()


def _names(html: str) -> set[str]:
    return set(re.findall(r"商户\d{4}", html.split("<tbody>")[1] if "<tbody>" in html else ""))


def test_eight_threads_never_see_each_others_search(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    _merchants(session, 8)
    clients = [client_for("operator") for _ in range(8)]

    def search(number: int) -> list[set[str]]:
        return [_names(text_of(clients[number], f"/merchantview/list/?q=商户{number:04d}")) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(search, range(8)))
    assert found == [[{f"商户{number:04d}"}] * 20 for number in range(8)]


@pytest.mark.parametrize("argument", ["psize=100000", "psize_MerchantView=100000"])
def test_a_page_never_holds_more_than_a_hundred_rows(session: Session, operator: FlaskClient, argument: str) -> None:
    _merchants(session, 120)
    assert len(_names(text_of(operator, f"/merchantview/list/?{argument}"))) == 100


def test_pages_follow_each_other_without_gap_or_repeat(session: Session, operator: FlaskClient) -> None:
    _merchants(session, 60)
    pages = [_names(text_of(operator, f"/merchantview/list/?psize=25&page={number}")) for number in range(1, 5)]
    assert [len(page) for page in pages] == [25, 25, 10, 0]
    assert len(set().union(*pages)) == 60


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page=x",
        "psize=0",
        "psize=abc",
        "page=99999999999999999999",
        "order=nothing&way=up",
        "_flt_9_state=x",
        "_flt_0_state=nonsense",
        "_flt_0_industry=abc",
        "_flt_0_industry=99999999999999999999",
        "_flt_0_expires_on=31-31",
        "_flt_x_name=1",
        "q=%25%27%22",
        "_flt_0_nothing=1",
        "_oc_MerchantView=industry.name&_od_MerchantView=asc",
    ],
)
def test_malformed_arguments_are_answered(session: Session, operator: FlaskClient, query: str) -> None:
    _merchants(session, 3)
    assert operator.get(f"/merchantview/list/?{query}").status_code in {200, 400}


@pytest.mark.parametrize("column", ["phone_hash", "phone_sealed", "row_uid", "remarks"])
def test_columns_that_are_not_named_neither_filter_nor_sort(
    session: Session, operator: FlaskClient, column: str
) -> None:
    _merchants(session, 3)
    plain = re.findall(r"商户\d{4}", text_of(operator, "/merchantview/list/"))
    for query in (f"_flt_0_{column}=zzz", f"order={column}&way=asc", f"_oc_MerchantView={column}&_od_MerchantView=asc"):
        answer = operator.get(f"/merchantview/list/?{query}")
        assert answer.status_code == 400 or re.findall(r"商户\d{4}", answer.get_data(as_text=True)) == plain


def test_wildcards_in_a_search_are_letters(session: Session, operator: FlaskClient) -> None:
    _merchants(session, 3)
    assert not _names(text_of(operator, "/merchantview/list/?q=%25"))


def test_a_state_filter_finds_its_rows_only(full: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, "/miniprogramview/list/?_flt_0_state=authorized")
    assert full.alice_app.appid in page
    assert full.bob_app.appid not in page


@pytest.mark.parametrize("flag", ["lapsing", "lacking", "live"])
def test_a_dashboard_number_leads_to_its_rows(full: Actors, operator: FlaskClient, flag: str) -> None:
    page = text_of(operator, f"/miniprogramview/list/?{flag}=1")
    assert full.alice_app.appid in page
    assert full.bob_app.appid not in page


def test_a_whole_phone_number_finds_its_merchant(session: Session, actors: Actors, operator: FlaskClient) -> None:
    actors.bob.phone = "13900139000"
    session.commit()
    for number in ("13900139000", "139****9000", "%2B86 139-0013-9000", "0086 13900139000", "139\u30000013\u00a09000"):
        page = text_of(operator, f"/merchantview/list/?q={number}")
        assert "鲍勃面馆" in page
        assert "爱丽丝花店" not in page
    assert "鲍勃面馆" not in text_of(operator, "/merchantview/list/?q=13900139000&state=suspended")


def test_a_merchant_that_is_called_by_a_number_is_found_by_it(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    actors.alice.name, actors.bob.contact = "400-811-7117", "13900139000"
    session.commit()
    for number, name in (("400-811-7117", "400-811-7117"), ("13900139000", actors.bob.name)):
        assert name in text_of(operator, f"/merchantview/list/?q={number}").split("<tbody", 1)[1]
        found = operator.get("/palette/search", query_string={"q": number}).get_json()["items"]
        assert name in {item["title"] for item in found if item["group"] == "商户"}


def test_several_numbers_and_what_is_shown_of_one_are_found_by_both_searches(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    actors.alice.phone, actors.bob.phone = "13800138000", "13900139000"
    session.commit()
    for typed, names in (
        ("13800138000/13900139000", {actors.alice.name, actors.bob.name}),
        ("139****9000", {"鲍勃面馆"}),
    ):
        page = operator.get("/merchantview/list/", query_string={"q": typed}).get_data(as_text=True)
        assert {name for name in (actors.alice.name, actors.bob.name) if name in page} == names
        found = operator.get("/palette/search", query_string={"q": typed}).get_json()["items"]
        assert {item["title"] for item in found if item["group"] == "商户"} == names


@pytest.mark.parametrize("typed", ["0571-88880003 转 801", "400 800 8888", "%2B852 9123 4567"])
def test_a_number_that_is_no_mobiles_is_found_as_it_was_typed(
    session: Session, actors: Actors, operator: FlaskClient, typed: str
) -> None:
    answer = submit(operator, f"/merchantview/edit/{actors.bob.id}", phone=typed.replace("%2B", "+"))
    assert answer.status_code == 302
    for asked in (typed, typed.split(" 转")[0], typed.replace(" ", "")):
        page = text_of(operator, f"/merchantview/list/?q={asked}")
        assert "鲍勃面馆" in page and "爱丽丝花店" not in page
        items = operator.get(f"/palette/search?q={asked}").get_json()["items"]
        assert [item["title"] for item in items if item["group"] == "商户"] == ["鲍勃面馆"]


def test_several_numbers_in_a_form_are_refused_with_what_to_do(actors: Actors, operator: FlaskClient) -> None:
    answer = submit(operator, f"/merchantview/edit/{actors.bob.id}", phone="13800138000/13900139000")
    assert answer.status_code == 422 and "请只填写一个，其余的写在备注里" in answer.get_data(as_text=True)


def test_a_mini_programs_number_finds_its_merchant(full: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, f"/merchantview/list/?q={full.bob_app.appid}")
    assert "鲍勃面馆" in page
    assert "爱丽丝花店" not in page


@contextmanager
def _counted() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: object, _k: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_more_rows_take_no_more_statements(session: Session, operator: FlaskClient) -> None:
    _merchants(session, 3)
    with _counted() as few:
        text_of(operator, "/merchantview/list/?psize=100")
    session.add_all(Merchant(name=f"又一家{n}", industry=Industry(name=f"行业{n}")) for n in range(40))
    session.commit()
    with _counted() as many:
        text_of(operator, "/merchantview/list/?psize=100")
    assert len(many) <= len(few)
