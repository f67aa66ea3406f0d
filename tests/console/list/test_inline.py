"""Cells edited in the list and rows put in order by hand: the rules of the edit form, and nothing beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.console.list.ordering import place
from app.models import AuditEntry, Industry, Merchant
from app.views.merchant import MerchantView
from tests.conftest import Actors, change, csrf_token, refresh
from tests.pages import submit, text_of


def cell(row: object, column: str, view: str = "merchantview") -> str:
    return f"/{view}/cell/{row.id}/{column}"  # type: ignore[attr-defined]


def save(client: FlaskClient, path: str, **values: str):
    """Open a cell and send it with some fields changed."""
    page = text_of(client, path)
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page)) | values
    return client.post(path, data=fields | {"csrf_token": csrf_token(client, "/savedviews/of/MerchantView")})


def test_a_cell_is_saved_and_audited(session: Session, actors: Actors, operator: FlaskClient) -> None:
    answer = save(operator, cell(actors.alice, "plan"), plan=" 旗舰版 ")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, "旗舰版")
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).plan == "旗舰版"
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert (entry.actor_name, entry.action, entry.after) == ("operator0", "update", {"plan": "旗舰版"})


def test_what_the_form_refuses_is_told_in_the_cell(session: Session, actors: Actors, operator: FlaskClient) -> None:
    for value, words in (("长" * 33, "最多 32 个字"),):
        answer = save(operator, cell(actors.alice, "plan"), plan=value)
        assert answer.status_code == 422
        assert words in answer.get_data(as_text=True)
        assert value in answer.get_data(as_text=True)
    assert "必填" not in text_of(operator, cell(actors.alice, "plan"))
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).plan == ""


def test_the_screens_own_check_counts_in_a_cell(
    session: Session, actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MerchantView, "inline_columns", ["commission_rate"])
    answer = save(operator, cell(actors.alice, "commission_rate"), commission_rate="101")
    assert answer.status_code == 422
    assert "佣金比例应在 0 到 100 之间" in answer.get_data(as_text=True)


def test_a_cell_keeps_the_forms_rules_about_other_columns(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    answer = save(operator, cell(actors.alice, "expires_on"), expires_on="2027-01-31")
    assert answer.status_code == 422  # an end of no plan
    assert "请先修改套餐" in answer.get_data(as_text=True)
    save(operator, cell(actors.alice, "plan"), plan="专业版")
    assert save(operator, cell(actors.alice, "expires_on"), expires_on="2027-01-31").status_code == 200
    save(operator, cell(actors.alice, "contact"), contact="王女士")
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).expires_on == date(2027, 1, 31)
    save(operator, cell(actors.alice, "plan"), plan="")
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).expires_on is None


def test_of_two_who_edit_a_cell_one_is_told(session: Session, actors: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, cell(actors.alice, "plan"))
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page))
    change(session, session.get_one(Merchant, actors.alice.id), contact="别人改的")
    token = csrf_token(operator, "/savedviews/of/MerchantView")
    answer = operator.post(cell(actors.alice, "plan"), data=fields | {"plan": "我的", "csrf_token": token})
    assert answer.status_code == 422
    assert "刚被" in answer.get_data(as_text=True)
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).plan == ""


def test_only_named_columns_of_rows_that_are_there_have_a_field(actors: Actors, operator: FlaskClient) -> None:
    for column in ("name", "phone", "phone_sealed", "key", "industry", "remarks", "nothing"):
        text_of(operator, cell(actors.alice, column), 404)
    text_of(operator, "/merchantview/cell/99999/plan", 404)


def test_a_reader_edits_no_cell(actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    auditor = client_for("auditor")
    text_of(auditor, cell(actors.alice, "plan"), 403)
    assert "data-edit" not in text_of(auditor, "/merchantview/list/")
    text_of(client_for("owner", actors.bob), cell(actors.alice, "plan"), 403)


def test_a_cell_without_a_token_is_not_saved(session: Session, actors: Actors, operator: FlaskClient) -> None:
    assert operator.post(cell(actors.alice, "plan"), data={"plan": "x"}).status_code == 400


# Order.


@pytest.fixture
def trades(session: Session) -> list[Industry]:
    rows = [Industry(name=name, position=place) for name, place in (("甲", 1), ("乙", 2), ("丙", 2), ("丁", 9))]
    session.add_all(rows)
    session.commit()
    return rows


def order(session: Session) -> str:
    refresh(session)
    return "".join(session.scalars(select(Industry.name).order_by(Industry.position, Industry.id)))


def move(client: FlaskClient, row: Industry, **near: int):
    token = csrf_token(client, "/savedviews/of/IndustryView")
    return client.post(f"/industryview/move/{row.id}", data={"csrf_token": token} | near)


@pytest.mark.parametrize(
    ("moved", "near", "expected"),
    [
        (3, {"before": 0}, "丁甲乙丙"),
        (0, {"after": 3}, "乙丙丁甲"),
        (0, {"after": 1}, "乙甲丙丁"),
        (3, {"before": 1}, "甲丁乙丙"),
        (2, {"before": 1}, "甲丙乙丁"),
        (1, {"before": 1}, "甲乙丙丁"),
    ],
)
def test_a_row_is_put_between_two_others(
    session: Session, trades: list[Industry], operator: FlaskClient, moved: int, near: dict[str, int], expected: str
) -> None:
    answer = move(operator, trades[moved], **{name: trades[place].id for name, place in near.items()})
    assert answer.status_code == (409 if near == {"before": moved} else 204)
    assert order(session) == expected


def test_where_there_is_room_one_row_is_written(session: Session, trades: list[Industry]) -> None:
    assert place(trades, trades[0], "position", before=trades[3].id, after=None) == [trades[0]]
    assert trades[0].position == 5


def test_a_neighbour_that_is_gone_is_told(session: Session, trades: list[Industry], operator: FlaskClient) -> None:
    answer = move(operator, trades[0], after=99999)
    assert answer.status_code == 409
    assert "刷新" in answer.get_data(as_text=True)
    assert order(session) == "甲乙丙丁"


def test_a_list_is_put_in_order_only_when_all_of_it_is_shown_in_that_order(
    trades: list[Industry], operator: FlaskClient, client_for: Callable[..., FlaskClient]
) -> None:
    grip = '<td class="grip">'
    assert grip in text_of(operator, "/industryview/list/")
    for query in ("order=name", "order=-position", "q=甲", "name=甲"):
        assert grip not in text_of(operator, f"/industryview/list/?{query}")
    auditor = client_for("auditor")
    assert grip not in text_of(auditor, "/industryview/list/")
    assert move(auditor, trades[0], after=trades[1].id).status_code == 403


def test_a_list_without_an_order_of_its_own_has_no_move(actors: Actors, operator: FlaskClient) -> None:
    token = csrf_token(operator, "/savedviews/of/MerchantView")
    assert operator.post(f"/merchantview/move/{actors.alice.id}", data={"csrf_token": token}).status_code == 404


def test_the_edit_form_and_the_cell_do_not_undo_each_other(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    save(operator, cell(actors.alice, "plan"), plan="专业版")
    submit(operator, f"/merchantview/edit/{actors.alice.id}", contact="王女士")
    refresh(session)
    row = session.get_one(Merchant, actors.alice.id)
    assert (row.plan, row.contact) == ("专业版", "王女士")
