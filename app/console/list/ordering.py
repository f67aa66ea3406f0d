"""An order that people make by hand: one row is put between two others, with as few writes as that takes."""

from __future__ import annotations

from typing import Any

from app.errors import Refused
from app.i18n.sentence import say

STEP = 10
MOST = 2000  # an order kept by hand is short


def place(rows: list[Any], row: Any, column: str, *, before: int | None, after: int | None) -> list[Any]:
    """Move `row` among `rows` (in their present order) to stand before or after the row of a number; who changed.

    Refused when the neighbour is not there. The caller flushes and commits.
    """
    if len(rows) > MOST:
        raise Refused(say("超过 {most} 条记录，不能拖动排序：请直接填写排序值", most=MOST))
    others = [item for item in rows if item.id != row.id]
    at = next((place for place, item in enumerate(others) if item.id in {before, after}), None)
    if at is None:
        raise Refused("相邻的记录刚被删除或移动：请刷新后重试")
    at += others[at].id != before
    low = getattr(others[at - 1], column) if at else None
    high = getattr(others[at], column) if at < len(others) else None
    number = _between(low, high)
    if number is not None:
        setattr(row, column, number)
        return [row]
    return _numbered([*others[:at], row, *others[at:]], column)


def _between(low: int | None, high: int | None) -> int | None:
    """A number strictly between two; None when there is no room."""
    if high is None:
        return (low or 0) + STEP
    if low is None:
        return high // 2 if high > 1 else None
    return (low + high) // 2 if high - low > 1 else None


def _numbered(rows: list[Any], column: str) -> list[Any]:
    changed = []
    for number, item in enumerate(rows, 1):
        if getattr(item, column) != number * STEP:
            setattr(item, column, number * STEP)
            changed.append(item)
    return changed
