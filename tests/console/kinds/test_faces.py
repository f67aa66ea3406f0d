"""How each kind looks in lists, on pages and cards, and how lists are asked about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.dialects import sqlite

from app.console import cells
from app.console.kinds.face import face_of
from app.console.kinds.parts import Part, parts_of
from app.data.kinds import kind_of
from app.data.kinds.apart import Bare, Document, Folded, Phone, Secret
from app.data.kinds.base import Kind
from app.data.types import State, UtcDateTime, worded
from app.models import Merchant


@worded({"small": "小<b>", "large": "大"}, tones={"large": "good"})
class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


MONEY = sa.Column(sa.Integer, info={"kind": "money"})
COUNT = sa.Column(sa.Integer, info={"kind": "count"})
SHARE = sa.Column(sa.Numeric(5, 2), info={"kind": "percent"})
SEVERAL = sa.Column(sa.JSON, info={"kind": "several", "of": Size})
PHONE = sa.Column(sa.String(20), info={"kind": "phone"})
SECRET = sa.Column(sa.Text, info={"kind": "secret"})
WORDED = sa.Column(sa.String(8), info={"words": {"a": "甲<i>"}})


@pytest.fixture(autouse=True)
def _page(app: Flask) -> Iterator[None]:
    with app.test_request_context("/"):
        yield


def shown(column: Any, value: Any) -> str:
    kind = kind_of(column)
    return str(face_of(kind).look(kind, value))


@pytest.mark.parametrize(
    ("column", "value", "html"),
    [
        (MONEY, 123450, "¥1,234.50"),
        (MONEY, 0, "¥0.00"),
        (COUNT, 12345, "12,345"),
        (COUNT, 0, "0"),
        (sa.Column(sa.Integer), 12345, "12345"),
        (SHARE, Decimal("5.5"), "5.50"),
        (sa.Column(sa.Date), date(2025, 3, 1), "2025-03-01"),
        (sa.Column(sa.Boolean), False, "否"),
        (sa.Column(sa.String(9)), "<b>", "&lt;b&gt;"),
        (PHONE, "13800138000", "138****8000"),
        (SECRET, "never to be seen", "已设置"),
    ],
)
def test_a_value_looks_as_its_kind(column: Any, value: Any, html: str) -> None:
    assert shown(column, value) == html


def test_words_are_labels_and_nothing_in_them_is_html() -> None:
    assert shown(sa.Column(State(Size)), Size.LARGE) == '<span class="state state-good">大</span>'
    assert shown(SEVERAL, ["small", "large"]).count('<span class="state') == 2
    assert "小&lt;b&gt;" in shown(SEVERAL, ["small"]) and "甲&lt;i&gt;" in shown(WORDED, "a")
    assert "b&lt;" in shown(WORDED, "b<")  # what it has no word for is shown as it is


def test_a_moment_is_a_time_for_machines_too() -> None:
    assert 'datetime="2025-03-01T18:05:09+08:00"' in shown(
        sa.Column(UtcDateTime), datetime(2025, 3, 1, 10, 5, 9, tzinfo=UTC)
    )


@pytest.mark.parametrize("column", [MONEY, COUNT, SHARE, SEVERAL, PHONE, SECRET, WORDED, sa.Column(sa.Boolean)])
def test_nothing_is_a_dash(column: Any) -> None:
    assert shown(column, None) == cells.DASH


def test_amounts_stand_at_the_right_and_numbers_that_name_something_do_not() -> None:
    at_right = [face_of(kind_of(column)).at_right for column in (MONEY, COUNT, SHARE, sa.Column(sa.Integer))]
    assert at_right == [True, True, True, False]
    assert face_of(kind_of(sa.Column(sa.Text))).is_long and not face_of(kind_of(WORDED)).is_long


def _all(kind: type[Kind]) -> Iterator[type[Kind]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("app.data.kinds."):
            yield below
            yield from _all(below)


def test_every_kind_has_a_face_and_one_that_has_none_is_told() -> None:
    for kind in _all(Kind):
        assert face_of(object.__new__(kind))

    class Odd(Kind):
        """Of no use."""

    with pytest.raises(LookupError, match="Odd has no face"):
        face_of(Odd())


def sql_of(column: Any, text: str) -> str:
    kind = kind_of(column)
    control = face_of(kind).control
    assert control is not None
    (part,) = parts_of(text)
    held = sa.column("x", column.type)
    made = control.sql(kind, held, part).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return str(made)


@pytest.mark.parametrize(
    ("column", "text", "sql"),
    [
        (MONEY, "12.5", "x = 1250"),
        (MONEY, "12..13.05", "x >= 1200 AND x <= 1305"),
        (MONEY, "0.001", "0"),
        (COUNT, "..7", "x <= 7"),
        (COUNT, "x..7", "0"),
        (WORDED, "a", "x = 'a'"),
        (sa.Column(State(Size)), "small", "x = 'small'"),
        (sa.Column(State(Size)), "huge", "0"),
        (SEVERAL, "small", "CAST(x AS VARCHAR) LIKE '%' || '\"small\"' || '%' ESCAPE '/'"),
        (SEVERAL, "huge", "0"),
        (sa.Column(sa.Boolean), "是", "x IS 1"),
        (sa.Column(sa.Boolean), "maybe", "0"),
        (sa.Column(sa.Date), "2025-02", "x >= '2025-02-01' AND x < '2025-03-01'"),
    ],
)
def test_a_condition_means_what_people_type(column: Any, text: str, sql: str) -> None:
    assert sql_of(column, text) == sql


@pytest.mark.parametrize("column", [PHONE, SECRET, sa.Column(sa.JSON), sa.Column(sa.LargeBinary)])
def test_what_no_list_is_asked_about_has_no_control(column: Any) -> None:
    assert face_of(kind_of(column)).control is None


def test_every_column_is_asked_about_but_documents_phones_secrets_and_twins() -> None:
    for table in Merchant.metadata.sorted_tables:
        for column in table.c:
            kind = kind_of(column)
            unasked = Secret, Document, Phone, Folded, Bare
            assert (face_of(kind).control is None) == isinstance(kind, unasked), column


def test_a_text_is_looked_for_within_and_exactly() -> None:
    control, kind = face_of(kind_of(sa.Column(sa.String(9)))).control, kind_of(sa.Column(sa.String(9)))
    assert control is not None
    assert str(control.sql(kind, Merchant.contact, Part("王", exact=True))).startswith("merchant.contact =")
    assert "instr" in str(control.sql(kind, Merchant.contact, Part("王")))
