"""Conditions as an address says them, for people to read and keep: `state=active,suspended`, `created_at=2025-01..`.

a            text columns: contains; all others: is           =a      is exactly
!a  !=a      the opposite                                     =  !=   empty, not empty
a,b          any of them (`\\,` is a comma in a text)          a..b  a..  ..b   from, to
2025  2025-01  2025-01-31  today  yesterday                   times: a year, a month, a day
-7d..  today..+7d  ..now                                      the last seven days, the next seven, what is over by now
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from flask_appbuilder.models.filters import BaseFilter
from sqlalchemy import Boolean, ColumnElement, Date, Integer, Numeric, String, and_, false, not_, or_

from app.models.base import State, UtcDateTime, utcnow
from app.views.interface import LONGEST_VALUE, SHANGHAI, Contains, parse_key, typed_value
from app.views.search import narrowed

LONGEST = 2000  # of one column's conditions
MOST_VALUES = 50
EMPTY = ""
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:[T ].*)?")
_AWAY = re.compile(r"([+-]?)(\d{1,4})d")  # a plus that nobody quoted came as a space
_NAMED = {"today": 0, "yesterday": -1, "tomorrow": 1}
NOW = "now"


@dataclass(frozen=True)
class Part:
    """One of the values that a condition names."""

    text: str
    negative: bool = False
    exact: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it asks for rows that have nothing in the column."""
        return self.exact and not self.text

    @property
    def ends(self) -> tuple[str, str] | None:
        """The ends of a range, each perhaps empty; None when it is none."""
        first, dots, last = self.text.partition("..")
        return (first.strip(), last.strip()) if dots and (first or last) and not self.exact else None


def parts_of(text: str) -> list[Part]:
    """The values between the commas, with their signs taken off."""
    found = [_part(piece.strip()) for piece in _pieces(text[:LONGEST])]
    return [part for part in found if part is not None][:MOST_VALUES]


def _pieces(text: str) -> list[str]:
    return re.split(r"(?<!\\),", text)


def _part(piece: str) -> Part | None:
    if not piece:
        return None
    negative, piece = piece.startswith("!"), piece.removeprefix("!")
    exact, piece = piece.startswith("="), piece.removeprefix("=")
    if not piece and not exact:
        return None
    return Part(re.sub(r"\\(.)", r"\1", piece)[:LONGEST_VALUE], negative, exact)


def quoted(text: str) -> str:
    """A value as a condition holds it, when it has letters that mean something there."""
    text = re.sub(r"([\\,])", r"\\\1", text.strip())
    return f"\\{text}" if text.startswith(("!", "=")) else text


def kind_of(view: Any, name: str) -> str:
    """How a column is asked about: row, choice, flag, time, day, number or text; empty when it cannot be."""
    datamodel = view.datamodel
    if datamodel.is_relation(name):
        return "row" if datamodel.is_relation_many_to_one(name) else ""
    kind = datamodel.list_columns[name].type
    if isinstance(kind, State) or name in view.choices:
        return "choice"
    kinds = ((Boolean, "flag"), (UtcDateTime, "time"), (Date, "day"), ((Integer, Numeric), "number"), (String, "text"))
    return next((word for types, word in kinds if isinstance(kind, types)), "")


# Times.


def period(text: str) -> tuple[date, date] | None:
    """The first day that a text names and the day after the last; None for what names none."""
    today = utcnow().astimezone(SHANGHAI).date()
    if text in _NAMED:
        return _one_day(today + timedelta(days=_NAMED[text]))
    if match := _AWAY.fullmatch(text):
        days = max(0, int(match[2]) - 1)  # today is the first of seven, forwards and backwards
        return _one_day(today + timedelta(days=-days if match[1] == "-" else days))
    match = _DAY.fullmatch(text)
    if not match or not 1 < int(match[1]) < 9998:
        return None
    try:
        return _named(int(match[1]), int(match[2] or 0), int(match[3] or 0))
    except ValueError:
        return None


def _one_day(day: date) -> tuple[date, date]:
    return day, day + timedelta(days=1)


def _named(year: int, month: int, day: int) -> tuple[date, date]:
    if day:
        return date(year, month, day), date(year, month, day) + timedelta(days=1)
    if month:
        return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
    return date(year, 1, 1), date(year + 1, 1, 1)


def _bounds(text: str, *, times: bool) -> tuple[Any, Any] | None:
    """Where what a text names begins, and where what follows it begins; None for what names none."""
    if text == NOW and times:
        return utcnow(), utcnow()
    days = period(text)
    if days is None or not times:
        return days
    first, after = (datetime.combine(day, datetime.min.time(), SHANGHAI) for day in days)
    return first, after


def _when(column: Any, part: Part, *, times: bool) -> ColumnElement[bool]:
    ends = part.ends or (part.text, part.text)
    first, last = (_bounds(text, times=times) if text else None for text in ends)
    if (ends[0] and first is None) or (ends[1] and last is None):
        return false()
    conditions = [column >= first[0]] if first else []
    conditions += [column < last[1]] if last else []
    return and_(*conditions)


# One value of each kind of column, as SQL.


def _number(view: Any, name: str, column: Any, part: Part) -> ColumnElement[bool]:
    ends = part.ends or (part.text, part.text)
    low, high = (typed_value(view.datamodel, name, text) if text else None for text in ends)
    if (ends[0] and low is None) or (ends[1] and high is None):
        return false()
    if part.ends is None:
        return column == low  # type: ignore[no-any-return]
    return and_(*([column >= low] if ends[0] else []), *([column <= high] if ends[1] else []))


def _row(view: Any, name: str, _column: Any, part: Part) -> ColumnElement[bool]:
    key = parse_key(part.text)
    return false() if key is None else _column_of(view, name) == key


def _equal(view: Any, name: str, column: Any, part: Part) -> ColumnElement[bool]:
    value = typed_value(view.datamodel, name, part.text)
    return false() if value is None else column == value


def _flag(_view: Any, _name: str, column: Any, part: Part) -> ColumnElement[bool]:
    value = {"1": True, "true": True, "是": True, "0": False, "false": False, "否": False}.get(part.text.lower())
    return false() if value is None else column.is_(value)


def _text(view: Any, name: str, column: Any, part: Part) -> ColumnElement[bool]:
    if part.exact:
        return column == part.text  # type: ignore[no-any-return]
    return Contains(name, view.datamodel).condition(column, part.text)  # type: ignore[no-any-return]


SQL: dict[str, Callable[[Any, str, Any, Part], ColumnElement[bool]]] = {
    "row": _row,
    "choice": _equal,
    "flag": _flag,
    "number": _number,
    "text": _text,
    "time": lambda _view, _name, column, part: _when(column, part, times=True),
    "day": lambda _view, _name, column, part: _when(column, part, times=False),
}


def _column_of(view: Any, name: str) -> Any:
    datamodel = view.datamodel
    local = datamodel.get_relation_fk(name).key if datamodel.is_relation(name) else name
    return getattr(datamodel.obj, local)


def can_be_meant(view: Any, name: str, text: str) -> bool:
    """Whether every value of a condition can be read, and none is cut off."""
    kind, pieces = kind_of(view, name), [piece.strip() for piece in _pieces(text) if piece.strip()]
    parts = [_part(piece) for piece in pieces]
    if kind not in SQL or not parts or None in parts:
        return False
    if len(text) > LONGEST or len(parts) > MOST_VALUES or max(map(len, pieces)) > LONGEST_VALUE:
        return False
    column = _column_of(view, name)
    return not any(
        part and not part.is_empty and SQL[kind](view, name, column, part).compare(false()) for part in parts
    )


def clause(view: Any, name: str, text: str) -> ColumnElement[bool]:
    """What a column must be, as SQL. A value that cannot be meant finds nothing."""
    kind, column = kind_of(view, name), _column_of(view, name)
    if kind not in SQL:
        return false()
    wanted, others = [], []
    for part in parts_of(text):
        if part.is_empty:
            blank = or_(column.is_(None), column == "") if kind in {"text", "choice"} and _is_text(view, name) else None
            made = blank if blank is not None else column.is_(None)
        else:
            made = SQL[kind](view, name, column, part)
        if not part.negative:
            wanted.append(made)
        elif made.compare(false()):
            others.append(made)
        else:
            others.append(not_(made) if part.is_empty else or_(column.is_(None), not_(made)))
    if not wanted and not others:
        return false()
    return and_(*([or_(*wanted)] if wanted else []), *others)


def _is_text(view: Any, name: str) -> bool:
    kind = view.datamodel.list_columns[name].type
    return isinstance(kind, String) and not isinstance(kind, State)


class Readable(BaseFilter):
    """A condition from an address. `scans`: the database reads every row for it."""

    name = "条件"
    arg_name = "readable"

    def __init__(self, view: Any, column_name: str, text: str) -> None:
        super().__init__(column_name, view.datamodel)
        self.view, self.text = view, text
        self.scans = kind_of(view, column_name) == "text" and not all(part.exact for part in parts_of(text))

    def apply(self, query: Any, value: Any) -> Any:
        query = query.filter(clause(self.view, self.column_name, self.text))
        wanted = [part for part in parts_of(self.text) if not part.negative]
        if not self.scans or not wanted or any(part.exact for part in wanted):
            return query
        texts = [part.text for part in wanted]
        return narrowed(query, self.datamodel.session, self.model, [self.column_name], texts)


def given(args: Any, name: str) -> str:
    """A column's condition in a request's arguments; several of one name are any of them."""
    values = args.getlist(name) if hasattr(args, "getlist") else [args.get(name, "")]
    return ",".join(str(value).strip() for value in values if str(value).strip())[:LONGEST]


def conditions(view: Any, args: Any) -> dict[str, str]:
    """The readable conditions of a request on the columns that the view lets one search."""
    found = {name: given(args, name) for name in view.search_columns if name in args}
    return {name: text for name, text in found.items() if parts_of(text) and kind_of(view, name)}
