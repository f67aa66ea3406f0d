"""The console's half of kinds: the field by which a form asks for each, what it shows again and what it refuses."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.datastructures import MultiDict

from app.console.form import merge
from app.console.form.forms import ConsoleForm
from app.console.kinds import field_of
from app.data.kinds import kind_of
from app.data.types import State, UtcDateTime, worded
from app.errors import Refused


@worded({"small": "小", "large": "大"})
class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


def form_of(app: Flask, column: Any, typed: list[str] | None, held: Any = None, *, alone: bool = False) -> Any:
    made = type("OneForm", (ConsoleForm,), {"value": field_of(column, "内容", "", alone=alone)})
    with app.test_request_context("/", method="POST"):
        data = None if typed is None else MultiDict([("value", text) for text in typed])
        form = made(formdata=data, data={"value": held}, meta={"csrf": False})
        form.validate()
        form.shown = str(form.value())
        return form


MONEY = sa.Column("x", sa.Integer, nullable=False, info={"kind": "money"})
SEVERAL = sa.Column("x", sa.JSON, nullable=False, info={"kind": "several", "of": Size})
MOMENT = sa.Column("x", UtcDateTime)
PHONE = sa.Column("x", sa.String(20), info={"kind": "phone"})
SIZE = sa.Column("x", State(Size), nullable=False, default=Size.SMALL)
COUNT = sa.Column("x", sa.Integer, nullable=False, default=3, info={"kind": "count"})
NAME = sa.Column("x", sa.String(4), nullable=False, info={"kind": "name"})


@pytest.mark.parametrize(
    ("column", "typed", "value"),
    [
        (NAME, ["花\u200b\u3000店"], "花 店"),
        (MONEY, ["1,234.5"], 123450),
        (SEVERAL, ["small", "large"], ["small", "large"]),
        (sa.Column("x", sa.JSON), ['{"a": "x\u200b"}'], {"a": "x\u200b"}),
        (sa.Column("x", State(Size)), ["large"], Size.LARGE),
        (sa.Column("x", sa.Integer), ["7"], 7),
        (MOMENT, ["2027-12-31T18:00"], datetime(2027, 12, 31, 10, tzinfo=UTC)),
        (MOMENT, ["2027/12/31 18:00"], datetime(2027, 12, 31, 10, tzinfo=UTC)),
        (PHONE, ["+86 138-0013-8000"], "13800138000"),
    ],
)
def test_what_is_typed_becomes_the_value(app: Flask, column: Any, typed: list[str], value: Any) -> None:
    form = form_of(app, column, typed)
    assert (form.errors, form.value.data) == ({}, value)


@pytest.mark.parametrize(
    ("column", "typed", "says"),
    [
        (NAME, ["\u3000\u200b"], "请填写内容"),
        (NAME, ["花花花花店"], "最多 4 个字"),
        (MONEY, ["0.001"], "内容最多 2 位小数"),
        (MONEY, [""], "请填写内容"),
        (SEVERAL, ["huge"], "内容应为 小、大 之一"),
        (SIZE, ["huge"], "内容应为 小、大 之一"),
        (SIZE, [""], "请选择内容"),
        (COUNT, [" "], "请填写内容"),
        (sa.Column("x", sa.Date, nullable=False, default=date(2027, 1, 5)), [""], "请填写内容"),
        (sa.Column("x", sa.JSON, nullable=False, default={"a": 1}), [""], "请填写内容"),
        (sa.Column("x", sa.JSON), ["{"], "内容应为 JSON"),
    ],
)
def test_what_cannot_be_meant_is_said_beside_the_field_and_stays_typed(
    app: Flask, column: Any, typed: list[str], says: str
) -> None:
    form = form_of(app, column, typed)
    assert form.value.errors and says in form.value.errors[0]


@pytest.mark.parametrize("column", [SIZE, COUNT])
def test_what_has_a_default_may_be_left_out_of_what_is_sent(app: Flask, column: Any) -> None:
    assert form_of(app, column, []).value.errors == []


def test_of_what_may_be_nothing_nothing_may_be_chosen(app: Flask) -> None:
    maybe = form_of(app, sa.Column("x", State(Size)), [""], Size.SMALL)
    assert (maybe.value.errors, maybe.value.data) == ([], None)
    assert '<option selected value="">无</option>' in maybe.shown
    assert "无" not in form_of(app, SIZE, None, Size.SMALL).shown


@pytest.mark.parametrize("held", [[], ["large"], ["small", "large"]])
def test_several_are_sent_again_as_they_were_shown(app: Flask, held: list[str]) -> None:
    """As 恢复 and the page of two edits do."""
    made = type("OneForm", (ConsoleForm,), {"value": field_of(SEVERAL, "内容", "")})
    with app.test_request_context("/"):
        shown = made(formdata=None, data={"value": held}, meta={"csrf": False})
        again = made(formdata=MultiDict(merge.wires(shown, ["value"])), meta={"csrf": False})
        assert again.validate() == bool(held) and again.value.data == held
        assert merge.read(shown.value) == ("、".join({"small": "小", "large": "大"}[item] for item in held) or "—")


def test_what_is_held_is_shown_as_it_is_typed(app: Flask) -> None:
    assert 'value="1234.50"' in form_of(app, MONEY, None, 123450).shown
    assert "&#34;花&#34;" in form_of(app, sa.Column("x", sa.JSON), None, ["花"]).shown
    assert 'value="0.001"' in form_of(app, MONEY, ["0.001"]).shown


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    "typed",
    [
        "5.555",
        "0.004",
        "1_0",
        "1e1",
        "5.5%",
        "１２",
        "1,200",
        "1_200",
        "123456",
        "-3",
        "abc",
        "2027/1/5",
        "2027年1月5日",
    ]
    + ["20270105", "2027-02-30", "NaN", "5.0", "¥3", "3 元", "9" * 30],
)
@pytest.mark.parametrize(
    "column",
    [
        sa.Column("x", sa.Integer),
        sa.Column("x", sa.Integer, info={"kind": "count"}),
        sa.Column("x", sa.Integer, info={"kind": "money"}),
        sa.Column("x", sa.Numeric(5, 2, asdecimal=False), info={"kind": "percent"}),
        sa.Column("x", sa.Numeric(5, 2)),
        sa.Column("x", sa.Date),
    ],
    ids=["number", "count", "money", "percent", "fraction", "day"],
)
def test_a_form_takes_what_an_import_takes_and_nothing_else(
    app: Flask, column: Any, typed: str, *, alone: bool
) -> None:
    try:
        wanted: Any = kind_of(column).parse(typed, "内容")
    except Refused as refused:
        wanted = refused.message
    form = form_of(app, column, [typed], alone=alone)
    assert (form.value.errors[0] if form.value.errors else form.value.data) == wanted
    assert f'value="{typed}"' in form.shown  # nothing typed is lost


@pytest.mark.parametrize("kind", [sa.LargeBinary()])
def test_what_no_form_holds_has_no_field(kind: Any) -> None:
    with pytest.raises(TypeError, match="no form field"):
        field_of(sa.Column("x", kind), "内容", "")
