"""What the log's lines say of values, by the kinds of their columns."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase

from app.console.row import changes
from app.data.types import State, UtcDateTime, worded


@worded({"cash": "现金", "qr": "扫码"})
class Payment(StrEnum):
    CASH = "cash"
    QR = "qr"


class _Tables(DeclarativeBase):
    """A table of this module's own."""


class Till(_Tables):
    """A column of each kind."""

    __tablename__ = "till"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(8))
    price = sa.Column(sa.Integer, info={"kind": "money"})
    drawers = sa.Column(sa.Integer, info={"kind": "count"})
    discount = sa.Column(sa.Numeric(5, 2), info={"kind": "percent"})
    takes = sa.Column(sa.JSON, info={"kind": "several", "of": Payment})
    main = sa.Column(State(Payment))
    checked = sa.Column(UtcDateTime)
    bought = sa.Column(sa.Date)
    open = sa.Column(sa.Boolean)
    rest = sa.Column(sa.JSON)
    phone = sa.Column(sa.String(20), info={"kind": "phone"})


@pytest.fixture(autouse=True)
def _page(app: Flask) -> Iterator[None]:
    with app.test_request_context("/"):
        yield


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("price", 199950, "¥1,999.50"),
        ("price", "of old", "of old"),
        ("drawers", 3, "3"),
        ("discount", "88.50", "88.5"),
        ("discount", "5", "5"),
        ("takes", ["qr", "cash"], "现金、扫码"),
        ("main", "qr", "扫码"),
        ("main", "coins", "coins"),
        ("checked", "2027-01-05T10:00:00+00:00", "2027-01-05 18:00"),
        ("bought", "2027-01-05", "2027-01-05"),
        ("open", False, "否"),
        ("rest", {"a": ["花"]}, '{"a": ["花"]}'),
        ("rest", ["a", "b"], "a、b"),
        ("name", "停用", "停用"),
        ("name", 5, "5"),
        ("phone", "138****8000", "138****8000"),
        ("phone", "已更改", "已更改"),
        ("nothing", "2027-01-05T10:00:00+00:00", "2027-01-05T10:00:00+00:00"),
        ("seen_at", "2027-01-05T10:00:00+00:00", "2027-01-05 18:00"),
    ],
)
def test_a_value_is_said_by_its_kind(name: str, value: Any, words: str) -> None:
    assert changes.spoken(Till, name, value) == words


def test_what_is_no_text_is_told_as_a_whole() -> None:
    told = {name: changes._is_whole(Till, name) for name in Till.__mapper__.columns.keys()}
    assert {name for name, whole in told.items() if not whole} == {"name", "phone", "rest"}


def test_words_are_said_in_the_readers_language_and_names_are_not(app: Flask) -> None:
    with app.test_request_context("/", headers={"Cookie": "locale=en"}):
        assert changes.spoken(Till, "open", True) == "Yes"
        assert changes.spoken(Till, "name", "停用") == "停用"
