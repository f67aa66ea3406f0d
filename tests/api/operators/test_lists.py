"""REST lists: what they answer, and what is made once for all who ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from flask import Flask
from flask_appbuilder.models.sqla import filters as fab
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.api.operators.models import MiniProgramApi
from app.data.tenancy import PLATFORM, app_scope, merchant_scope
from app.models import MiniProgram
from bench.console_site import counted
from tests.api.operators.test_operations_api import Rest
from tests.conftest import Actors

pytestmark = pytest.mark.any_database("the statements are SQLAlchemy's; tests/security asks every list on each of them")
LIST = "/api/v1/mini_programs/"


@pytest.fixture
def rest(app: Flask, actors: Actors) -> Iterator[Rest]:
    yield Rest(app, "operator")


def ask(rest: Rest, question: str, path: str = LIST) -> Any:
    return rest.get(f"{path}?q={quote(question)}")


def test_pages_come_by_the_key_where_no_order_is_asked_for(rest: Rest, session: Session) -> None:
    keys = sorted(session.scalars(select(MiniProgram.id)))
    found = [ask(rest, f"(page:{page},page_size:1)").json for page in range(len(keys))]
    assert [answer["ids"] for answer in found] == [[key] for key in keys]
    assert {answer["count"] for answer in found} == {len(keys)}


def test_an_order_is_followed_both_ways(rest: Rest) -> None:
    up, down = (ask(rest, f"(order_column:appid,order_direction:{way})").json["ids"] for way in ("asc", "desc"))
    assert len(up) > 1
    assert up == down[::-1]


def test_a_condition_counts_what_it_gives(rest: Rest, actors: Actors) -> None:
    answer = ask(rest, f"(filters:!((col:appid,opr:eq,value:{actors.alice_app.appid})))").json
    assert (answer["count"], answer["ids"]) == (1, [actors.alice_app.id])
    assert answer["result"][0]["merchant"] == {"key": actors.alice.key, "name": actors.alice.name}


def test_the_count_is_of_the_merchants_own_rows(app: Flask, actors: Actors) -> None:
    asked = MiniProgramApi.datamodel
    with app_scope(app, PLATFORM):
        assert asked.query()[0] > 1
    with app_scope(app, merchant_scope(actors.alice.id)):
        count, rows = asked.query(select_columns=["id", "merchant.name"])
        assert (count, {row.merchant_id for row in rows}) == (len(rows), {actors.alice.id})
        assert asked.get(actors.alice_app.id).appid == actors.alice_app.appid
        assert asked.get(actors.bob_app.id) is None


def test_columns_that_are_named_are_all_that_is_given(rest: Rest, actors: Actors) -> None:
    for question in ("(columns:!(merchant.key))", "(select_columns:!(merchant.key))"):
        rows = {tuple(row) for row in ask(rest, question).json["result"]}
        assert rows == {("merchant",)}
        assert set(ask(rest, question, f"{LIST}{actors.alice_app.id}").json["result"]) >= {"merchant"}


@pytest.mark.parametrize("question", ["(keys:!(nothing))", "(keys:x)", "(columns:!(1))"])
@pytest.mark.parametrize("one", [False, True])
def test_a_question_of_another_shape_is_refused(rest: Rest, actors: Actors, question: str, *, one: bool) -> None:
    answer = ask(rest, question, f"{LIST}{actors.alice_app.id}" if one else LIST)
    assert answer.status_code == 400
    assert answer.json["message"].startswith("Not a valid rison schema ")


def test_nothing_that_is_constant_is_made_again(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No schema is looked over, and no column's filters are made but the one that is asked for."""
    question = "(filters:!((col:state,opr:eq,value:authorized)))"
    ask(rest, question)
    made: list[str] = []

    def refuse(*_given: Any, **_named: Any) -> None:
        made.append("a schema")

    plain = fab.BaseFilter.__init__

    def noted(self: Any, column: str, *rest: Any, **named: Any) -> None:
        made.append(column)
        plain(self, column, *rest, **named)

    monkeypatch.setattr(jsonschema.Draft202012Validator, "check_schema", refuse)
    monkeypatch.setattr(fab.BaseFilter, "__init__", noted)
    assert ask(rest, question).status_code == 200
    assert made == ["state"]


def test_a_list_takes_as_many_statements_for_many_rows_as_for_one(
    app: Flask, rest: Rest, session: Session, actors: Actors
) -> None:
    engine = session.get_bind()

    def statements(size: int) -> int:
        with counted(engine) as sent:
            assert len(ask(rest, f"(page_size:{size})").json["result"]) == size
        return len(sent)

    statements(1)
    assert statements(2) == statements(1) == 4
