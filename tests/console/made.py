"""Rows of any table, made from its columns."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.types import State

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
    kind = column.type
    if isinstance(kind, State):
        return next(iter(kind.enum))
    if isinstance(kind, sa.JSON):
        return column.default.arg(None) if column.default is not None else None
    if isinstance(kind, sa.Boolean):
        return True
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.Numeric):
        return 1
    if isinstance(kind, sa.Date):
        return date(2025, 1, 1)
    if isinstance(kind, sa.DateTime):
        return utcnow().replace(tzinfo=None)
    if isinstance(kind, sa.types.TypeDecorator) and isinstance(kind.impl, sa.DateTime):
        return utcnow() - timedelta(seconds=number % 1000)
    if isinstance(kind, sa.LargeBinary):
        return b""
    if column.name == "active":
        return True
    return None if column.nullable else f"{number}{column.name}"[: getattr(kind, "length", None) or 40]
