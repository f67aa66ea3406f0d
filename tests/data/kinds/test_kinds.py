"""Kinds of value: chosen by a column, read, said, exported, encoded and compared."""

from __future__ import annotations

import ast
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_appbuilder import Model
from hypothesis import given
from hypothesis import strategies as st

from app.data.kinds import kind_of
from app.data.kinds.apart import Bare, Document, Phone, Secret
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed, Several
from app.data.kinds.plain import (
    Count,
    Day,
    Fraction,
    Lines,
    Moment,
    Money,
    Name,
    Number,
    Percent,
    Relation,
    Words,
    YesNo,
)
from app.data.types import BigId, State, UtcDateTime
from app.errors import Refused

ROOT = Path(__file__).resolve().parents[3]
KINDS = ROOT / "app/data/kinds"


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


WORDS = {Size.SMALL: "小", Size.LARGE: "大"}
SIZE = Choice(Size, WORDS)
SEVERAL = Several(Size, WORDS)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (sa.Column(sa.String(8)), Words),
        (sa.Column(sa.Text), Lines),
        (sa.Column(sa.String(8), info={"kind": "name"}), Name),
        (sa.Column(sa.Integer), Number),
        (sa.Column(BigId), Number),
        (sa.Column(sa.Integer, info={"kind": "money"}), Money),
        (sa.Column(sa.Integer, info={"kind": "count"}), Count),
        (sa.Column(sa.String(8), info={"words": {"a": "甲"}}), Listed),
        (sa.Column(sa.Numeric(5, 2)), Fraction),
        (sa.Column(sa.Numeric(5, 2), info={"kind": "percent"}), Percent),
        (sa.Column(sa.Boolean), YesNo),
        (sa.Column(sa.Date), Day),
        (sa.Column(UtcDateTime), Moment),
        (sa.Column(sa.DateTime), Moment),
        (sa.Column(State(Size)), Choice),
        (sa.Column(sa.JSON, info={"kind": "several", "of": Size}), Several),
        (sa.Column(sa.JSON), Document),
        (sa.Column(sa.Text, info={"kind": "secret"}), Secret),
        (sa.Column(sa.String(20), info={"kind": "phone"}), Phone),
        (sa.Column(sa.LargeBinary), Bare),
    ],
)
def test_a_column_says_which_kind_its_values_are_of(column: Any, kind: type[Any]) -> None:
    assert type(kind_of(column)) is kind
    assert kind_of(column) is kind_of(column)


def test_a_kind_that_there_is_not_is_no_kind() -> None:
    with pytest.raises(TypeError, match="there is not: colour"):
        kind_of(sa.Column("x", sa.String(8), info={"kind": "colour"}))


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (sa.Column("x", sa.Integer, info={"kind": "percent"}), "its type is Numeric, not Integer"),
        (sa.Column("x", sa.Float, info={"kind": "percent"}), "its type is Numeric, not Float"),
        (sa.Column("x", sa.Numeric), "does not say how many places"),
        (sa.Column("x", sa.Numeric(9, 2), info={"kind": "money"}), "its type is Integer, not Numeric"),
        (sa.Column("x", sa.String(8), info={"kind": "count"}), "its type is Integer, not String"),
        (sa.Column("x", sa.Integer, info={"kind": "name"}), "its type is String, not Integer"),
        (sa.Column("x", sa.Integer, info={"kind": "several", "of": State}), "its type is JSON, not Integer"),
        (sa.Column("x", sa.JSON, info={"kind": "several"}), "does not say of what it holds several"),
        (sa.Table("till", sa.MetaData(), sa.Column("x", sa.DateTime)).c.x, "till.x would keep a time without its zone"),
    ],
)
def test_a_column_that_cannot_hold_its_kind_says_so(column: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        kind_of(column)


def test_every_column_of_every_table_has_a_kind_and_what_is_sealed_is_a_secret() -> None:
    for table in Model.metadata.sorted_tables:
        for column in table.c:
            kind = kind_of(column)
            is_secret = column.name.endswith("_sealed") or str(column) == "ab_user.password"  # a hash
            assert isinstance(kind, Secret) == is_secret, column


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (Words(8), " 花\u200b　店 ", "花 店"),
        (Words(20, lines=True), "一 \r\n\u3000二", "一\n 二"),
        (Name(8), "cafe\u0301", "caf\u00e9"),
        (Number(), "１,２００", 1200),
        (Number(), "5.0", 5),
        (Fraction(2, 5), "-5.50", Decimal("-5.50")),
        (Fraction(2, 5, float), "1.5", 1.5),
        (Percent(2, 5, float), "5.5%", 5.5),
        (Percent(2, 5, float), "５．５％", 5.5),
        (Money(), "¥1,234.50", 123450),
        (Money(), "－￥0.05", -5),
        (Money(), "12 元", 1200),
        (YesNo(), "TRUE", True),
        (YesNo(), "否", False),
        (Day(), "2027年1月5日", date(2027, 1, 5)),
        (Day(), "46392", date(2027, 1, 5)),
        (Moment(), "2027/01/05 18:00", datetime(2027, 1, 5, 10, tzinfo=UTC)),
        (SIZE, "大", Size.LARGE),
        (SIZE, "LARGE", Size.LARGE),
        (SEVERAL, "大、small，大", ["small", "large"]),
        (Relation(), " 7 ", 7),
        (Phone(), "+86 138-0013-8000", "13800138000"),
        (Secret(), " a\u200b b ", "a\u200b b"),
        (Document(), '{"a": "x\u200b\u3000"}', {"a": "x\u200b\u3000"}),
    ],
)
def test_what_is_typed_is_read(kind: Kind, typed: str, value: Any) -> None:
    assert kind.parse(typed, "内容") == value


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        (Words(2), "花花店", "内容最多 2 个字，现在有 3 个"),
        (Words(9), "花\n店", "不能换行"),
        (Number(), "1.5", "内容应为整数"),
        (Number(), "1e3", "内容应为整数"),
        (Number(), str(2**31), "内容应为整数"),
        (Number(), "5%", "不是百分比"),
        (Fraction(), "NaN", "内容应为数字"),
        (Fraction(2, 5), "1000", "不超过 3 位整数"),
        (Percent(2, 5), "5.555", "最多 2 位小数"),
        (Money(), "0.001", "最多 2 位小数"),
        (Money(), "1_0", "内容应为数字"),
        (Money(), "9" * 30, "超出范围"),
        (YesNo(), "也许", "内容应为 是 或 否"),
        (Day(), "2027-02-30", "内容应为日期"),
        (Moment(), "明天", "内容应为时间"),
        (SIZE, "中", "内容应为 小、大 之一"),
        (SEVERAL, "大、中", "内容应为 小、大 之一"),
        (Relation(), "x", "所选的内容不存在"),
        (Phone(), "12", "内容格式不正确"),
        (Phone(), "13800138000/13900139000", "多个号码"),
        (Secret(), "a\x00", "内容不能换行"),
        (Document(), "{", "内容应为 JSON"),
        (Document(), "NaN", "内容应为 JSON"),
        (Document(), "[" * 100_000, "内容应为 JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_label(kind: Kind, typed: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        kind.parse(typed, "内容")


MONEY = st.integers(-(10**12), 10**12)
SAMPLES: list[tuple[Kind, st.SearchStrategy[Any]]] = [
    (Words(2000, lines=True), st.text(st.characters(categories=["L", "N"]), max_size=50)),
    (Number(), st.integers(-(2**31) + 1, 2**31 - 1)),
    (Fraction(2, 9), st.decimals(-9999, 9999, places=2)),
    (Percent(2, 5, float), st.integers(0, 10000).map(lambda cents: cents / 100)),
    (Money(), MONEY),
    (YesNo(), st.booleans()),
    (Day(), st.dates()),
    (Moment(), st.datetimes(timezones=st.just(UTC))),
    (SIZE, st.sampled_from(Size)),
    (SEVERAL, st.lists(st.sampled_from(["small", "large"]), unique=True).map(SEVERAL.decode)),
    (Document(), st.dictionaries(st.text(), st.lists(st.integers()))),
    (Phone(), st.just("0571-88880003-801")),
]


@pytest.mark.parametrize(("kind", "values"), SAMPLES, ids=lambda item: type(item).__name__)
@given(data=st.data())
def test_what_is_encoded_is_json_and_comes_back(kind: Kind, values: Any, data: Any) -> None:
    value = data.draw(values)
    held = json.loads(json.dumps(kind.encode(value)))
    assert kind.same(kind.decode(held), value)
    assert kind.decode(kind.encode(None)) in (None, [])
    assert isinstance(kind.plain(value), str) and kind.plain(None) == ""


@given(MONEY)
def test_an_amount_is_read_as_it_is_said(fen: int) -> None:
    assert Money().parse(Money().plain(fen), "金额") == fen
    assert Money().exported(fen) * 100 == fen


@pytest.mark.parametrize(
    ("kind", "values"), SAMPLES[:3] + SAMPLES[5:7] + SAMPLES[8:10], ids=lambda item: type(item).__name__
)
@given(data=st.data())
def test_what_a_file_holds_is_read_as_the_same(kind: Kind, values: Any, data: Any) -> None:
    value = data.draw(values)
    written = str(kind.exported(value))
    if written:
        assert kind.same(kind.parse(written, "内容"), value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Document(), '"\\ud800"'),
        (Document(), "1e999"),
        (Document(), '{"a": -1e999}'),
        (Document(), "NaN"),
        (Moment(), "0001-01-01"),
        (Moment(), "9999-12-31 23:00"),
    ],
)
def test_what_nothing_could_keep_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(Refused):
        kind.parse(text, "内容")


@pytest.mark.parametrize("kind", [Number(), Fraction(), Percent(), Money()])
@pytest.mark.parametrize("text", ["1e1", "1_0", "0x10", "", "NaN", "inf"])
def test_a_condition_takes_no_number_that_a_form_refuses(kind: Kind, text: str) -> None:
    assert kind.asked(text) is None


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(Money(), "¥1,234.50", 123450), (Money(), "5 元", 500), (Percent(), "5.5％", 5.5), (Number(), "1,200", 1200)],
)
def test_a_condition_takes_what_is_shown(kind: Kind, text: str, value: Any) -> None:
    assert kind.asked(text) == value


@pytest.mark.parametrize(
    ("kind", "asked", "value"),
    [
        (Words(), "a%", "a%"),
        (Number(), "7", 7),
        (Number(), str(2**31), None),
        (Fraction(), "inf", None),
        (Money(), "12.5", 1250),
        (Money(), "0.001", None),
        (Money(), "x", None),
        (YesNo(), "1", True),
        (YesNo(), "x", None),
        (Day(), "2027-01-05T00:00", date(2027, 1, 5)),
        (Moment(), "2027-01-05", datetime(2027, 1, 4, 16, tzinfo=UTC)),
        (SIZE, "large", Size.LARGE),
        (Relation(), "x", None),
    ],
)
def test_a_condition_names_a_value(kind: Kind, asked: str, value: Any) -> None:
    assert kind.asked(asked) == value


def test_a_secret_is_in_no_file_and_no_task() -> None:
    assert Secret().plain("x") == "已设置" and Secret().exported("x") is None
    with pytest.raises(TypeError):
        Secret().encode("x")
    assert Phone().plain("13800138000") == "138****8000"


def test_texts_that_read_the_same_are_the_same() -> None:
    assert Words(9).same("花\u200b店", "花店") and not Words(9).same("花店", "花 店")
    assert Phone().same("+86 13800138000", "138 0013 8000")
    assert SEVERAL.same(["small", "large"], ["large", "small"])


TYPES = {
    "State",
    "UtcDateTime",
    "Boolean",
    "Date",
    "DateTime",
    "Integer",
    "BigInteger",
    "Numeric",
    "String",
    "Text",
    "JSON",
}


def asked_for_types(source: str) -> list[int]:
    """The lines on which a value is asked whether it is of a column's type, or a column's type what it is."""
    tree = [*ast.walk(ast.parse(source))]
    types = [node.subject for node in tree if isinstance(node, ast.Match)]
    types += [node.args[0] for node in tree if isinstance(node, ast.Call) and node.args and asks(node.func)]
    return sorted({node.lineno for node in types if ast.unparse(node).endswith(".type")} | {*_asked_for(source)})


def asks(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id in {"isinstance", "issubclass", "type"}


def _asked_for(source: str) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and len(node.args) == 2]
    asked = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id in {"isinstance", "issubclass"}]
    names = {node.lineno: {item.id for item in ast.walk(node.args[1]) if isinstance(item, ast.Name)} for node in asked}
    attributes = {
        node.lineno: {item.attr for item in ast.walk(node.args[1]) if isinstance(item, ast.Attribute)} for node in asked
    }
    return [line for line in names if (names[line] | attributes[line]) & TYPES]


def test_nobody_else_asks_a_column_for_its_type() -> None:
    files = [path for room in ("app", "bench", "tests") for path in (ROOT / room).rglob("*.py") if path.parent != KINDS]
    found = {str(path): lines for path in files if (lines := asked_for_types(path.read_text()))}
    assert not found
    assert asked_for_types("isinstance(column.type, sa.String | State)") == [1]
    assert asked_for_types("if type(column.type).__name__ == 'Integer':\n    pass") == [1]
    assert asked_for_types("match column.type:\n    case sa.Integer():\n        pass") == [1]
    assert asked_for_types("isinstance(column.type, sa.LargeBinary)\nname.type") == [1]
