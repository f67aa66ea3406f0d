"""Kinds of value: what may be asked of one, how it is read and cleaned, said, exported, encoded and compared.

`kind_of(column)` chooses by the column's type, or by `info={"kind": …}` where the type says too little: a String may be
a name, an Integer an amount of money. How each kind looks in lists and forms is its half in `app.console.kinds`.
Nobody else asks a column for its type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Date, DateTime, Integer, Numeric, String, Text

from app.data.keys import GREATEST_INTEGER
from app.data.kinds.apart import Bare, Document, Folded, Phone, Secret
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed, Several
from app.data.kinds.plain import Count, Day, Fraction, Moment, Money, Name, Number, Percent, Words, YesNo
from app.data.types import SentenceText, State, UtcDateTime

LONGEST_LINES = 5000
GREATEST_BIG = 10**18


def _fraction(kind: type[Fraction], column: Any) -> Fraction:
    type_ = column.type
    return kind(type_.scale or 0, type_.precision or 10, Decimal if type_.asdecimal else float)


def _whole(column: Any) -> Number:
    return Number(GREATEST_BIG if isinstance(column.type, BigInteger) else GREATEST_INTEGER)


def _line(column: Any) -> Kind:
    words = column.info.get("words")
    return Words(column.type.length or 255) if words is None else Listed(words)


_BY_INFO: Mapping[str, Callable[[Any], Kind]] = {
    "name": lambda column: Name(column.type.length or 255),
    "count": lambda column: Count(_whole(column).greatest),
    "money": lambda _column: Money(),
    "percent": lambda column: _fraction(Percent, column),
    "phone": lambda _column: Phone(),
    "secret": lambda _column: Secret(),
    "folded": lambda _column: Folded(),
    "several": lambda column: Several(column.info.get("of"), column.info.get("words")),
}
_BY_TYPE: tuple[tuple[tuple[type[Any], ...], Callable[[Any], Kind]], ...] = (  # the first that fits
    ((State,), lambda column: Choice(column.type.enum)),
    ((Boolean,), lambda _column: YesNo()),
    ((UtcDateTime, DateTime), lambda _column: Moment()),
    ((Date,), lambda _column: Day()),
    ((Integer,), _whole),
    ((Numeric,), lambda column: _fraction(Fraction, column)),
    ((JSON,), lambda _column: Document()),
    ((Text, SentenceText), lambda _column: Words(LONGEST_LINES, lines=True)),
    ((String,), _line),
)


@lru_cache(maxsize=4096)
def kind_of(column: Any) -> Kind:
    """The kind of a column's values. TypeError for a column that asks for a kind that there is not."""
    if (named := getattr(column, "info", {}).get("kind")) is not None:
        if named not in _BY_INFO:
            raise TypeError(f"{column} asks for a kind of value that there is not: {named}")
        return _BY_INFO[named](column)
    return next((made(column) for types, made in _BY_TYPE if isinstance(column.type, types)), Bare())
