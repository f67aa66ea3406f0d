"""Rows of any table, made from its columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.kinds import kind_of
from app.data.kinds.apart import Bare, Document
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed, Several
from app.data.kinds.plain import Day, Fraction, Moment, Money, Number, YesNo

_numbers = itertools.count(1000)


def fill(session: Session, table: sa.Table, count: int, merchant: int) -> list[int]:
    """Insert rows with parents of their own, half of them the merchant's; their keys."""
    keys: dict[str, list[Any]] = {
        column.name: _parents(session, column, count, merchant) for column in table.c if column.foreign_keys
    }
    first = next(_numbers) * 1000
    rows = [
        {column.name: keys[column.name][n] if column.name in keys else _value(column, first + n) for column in table.c}
        for n in range(count)
    ]
    session.execute(table.insert(), rows)
    return [row[next(iter(table.primary_key)).name] for row in rows]


def _parents(session: Session, column: sa.Column[Any], count: int, merchant: int) -> list[Any]:
    parent = next(iter(column.foreign_keys)).column.table
    if column.name == "merchant_id":
        return [merchant if n % 2 or not column.nullable else None for n in range(count)]
    if parent is column.table or (column.nullable and parent.name == "ab_user"):
        return [None] * count
    return fill(session, parent, count, merchant)


def _value(column: sa.Column[Any], number: int) -> Any:
    made = next((SAMPLES[base] for base in type(kind_of(column)).__mro__ if base in SAMPLES), None)
    if made is not None:
        return made(column, number)
    return None if column.nullable else f"{number}{column.name}"[: getattr(column.type, "length", None) or 40]


# What the columns of a kind hold, by the number of the row; texts of all kinds their own, or nothing.
SAMPLES: dict[type[Kind], Callable[[sa.Column[Any], int], Any]] = {
    Choice: lambda column, _number: next(iter(column.type.enum)),
    Listed: lambda column, number: f"{number}{column.name}"[: column.type.length],
    Document: lambda column, _number: column.default.arg(None) if column.default is not None else None,
    Several: lambda column, _number: [],
    YesNo: lambda _column, _number: True,
    Number: lambda _column, number: number,
    Money: lambda _column, number: number,
    Fraction: lambda _column, _number: 1,
    Day: lambda _column, _number: date(2025, 1, 1),
    Moment: lambda _column, number: utcnow() - timedelta(seconds=number % 1000),
    Bare: lambda _column, _number: b"",
}
