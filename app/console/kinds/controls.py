"""How a list is asked about the values of each kind: the operators of the panel, what is typed, and the SQL of it."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Literal, TypeAlias

from sqlalchemy import ColumnElement, String, and_, cast, false, or_

from app.console.kinds.parts import Part
from app.console.query.search import equals, within
from app.data.clock import SHANGHAI, utcnow
from app.data.kinds.base import Kind

Options: TypeAlias = "list[tuple[str, str]]"
Operators: TypeAlias = tuple[tuple[str, str], ...]
Clause: TypeAlias = ColumnElement[bool]
ANY, BLANK, FILLED, RAW = "any", "blank", "filled", "raw"
TIMES = (("today", "今天"), ("-7d..", "近 7 天"), ("-30d..", "近 30 天"), ("-90d..", "近 90 天"))
AHEAD = (("today..+7d", "未来 7 天"), ("today..+30d", "未来 30 天"), ("today..+90d", "未来 90 天"))
RANGE = ("range", "范围")
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:[T ].*)?")
_AWAY = re.compile(r"([+-]?)(\d{1,4})d")  # a plus that nobody quoted came as a space
_NAMED = {"today": 0, "yesterday": -1, "tomorrow": 1}
NOW = "now"


class Control:
    """One of the panel's controls. `operators` are (name, words), in the order in which they are offered."""

    name: ClassVar[str]  # for the script that writes the address
    operators: ClassVar[Operators] = (("is", "是"), ("not", "不是"))
    ahead: ClassVar[Operators] = ()  # those of what lies ahead: when something ends
    picks: ClassVar[Literal["", "one", "several", "rows"]] = ""  # of what is offered; empty where it is typed
    typed: ClassVar[str] = "search"  # the type of the field then
    decimal: ClassVar[bool] = False  # with the keys of numbers on a phone
    two: ClassVar[bool] = False  # with a field for each end
    looks_within: ClassVar[bool] = False  # for a text inside a text, by reading every row where no index helps

    blank: ClassVar[bool] = False  # whether a value that is there may be an empty one

    def options(self, kind: Any) -> Options:
        """(value, words) of all there is to pick from; empty where these are rows, or nothing."""
        return []

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        """What a column must be for one value of a condition; what cannot be meant finds nothing."""
        value = kind.meant(part.text)
        return false() if value is None else column == value

    def nothing(self, kind: Kind, column: Any) -> Clause:
        """What a column must be to have no value."""
        made: Clause = or_(column.is_(None), column == "") if kind.holds_text else column.is_(None)
        return made

    def state(self, parts: list[Part], text: str) -> dict[str, Any]:
        """A condition of one sign as the control shows it: operator and values; what it cannot show stays text."""
        return {"op": "not" if parts[0].negative else "is", "values": [part.text for part in parts]}


class Rows(Control):
    name, picks = "row", "rows"


class Choices(Control):
    name, picks = "choice", "several"

    def options(self, kind: Any) -> Options:
        return [(str(member), kind.word(member)) for member in kind.members]


class Several(Choices):
    """Of several in a document, any: it is read as a text, in every row."""

    name, blank = "choice", True
    operators = (("is", "包含"), ("not", "不包含"))

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        value = kind.meant(part.text)
        return false() if value is None else cast(column, String).contains(json.dumps(value), autoescape=True)

    def nothing(self, kind: Kind, column: Any) -> Clause:
        return or_(column.is_(None), cast(column, String).in_(("[]", "null")))


class Flag(Control):
    name, picks = "flag", "one"
    operators = (("is", "是"),)

    def options(self, kind: Any) -> Options:
        return [("1", "是"), ("0", "否")]

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        value = kind.meant(part.text)
        return false() if value is None else column.is_(value)

    def state(self, parts: list[Part], text: str) -> dict[str, Any]:
        return raw(text) if len(parts) > 1 else super().state(parts, text)


class Text(Control):
    name, looks_within, blank = "text", True, True
    operators = (("has", "包含"), ("lacks", "不包含"), ("is", "等于"), ("not", "不等于"))

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        model, name = column.class_, column.key
        found: Clause = equals(model, name, part.text) if part.exact else within(model, [name], part.text)
        return found

    def state(self, parts: list[Part], text: str) -> dict[str, Any]:
        first = parts[0]
        if len(parts) > 1:
            return raw(text)
        op = ("not" if first.negative else "is") if first.exact else ("lacks" if first.negative else "has")
        return {"op": op, "values": [first.text]}


class Number(Control):
    name, typed, decimal, two = "number", "text", True, True
    operators = (("is", "等于"), ("not", "不等于"), RANGE)

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        if part.ends is None:
            return super().sql(kind, column, part)
        low, high = (kind.meant(text) if text else None for text in part.ends)
        if (part.ends[0] and low is None) or (part.ends[1] and high is None):
            return false()
        return and_(*([column >= low] if part.ends[0] else []), *([column <= high] if part.ends[1] else []))

    def state(self, parts: list[Part], text: str) -> dict[str, Any]:
        if len(parts) > 1:
            return raw(text)
        if (ends := parts[0].ends) is None:
            return super().state(parts, text)
        return raw(text) if parts[0].negative else {"op": "range", "values": list(ends)}


class Day(Control):
    name, typed, two = "day", "date", True
    operators = (*TIMES, RANGE)
    over: ClassVar[tuple[str, str]] = ("..yesterday", "已过期")  # a day is not over before it ends
    ahead = (*AHEAD, over, TIMES[0], RANGE)

    def sql(self, kind: Kind, column: Any, part: Part) -> Clause:
        ends = part.ends or (part.text, part.text)
        first, last = (self.bounds(text) if text else None for text in ends)
        if (ends[0] and first is None) or (ends[1] and last is None):
            return false()
        return and_(*([column >= first[0]] if first else []), *([column < last[1]] if last else []))

    def bounds(self, text: str) -> tuple[Any, Any] | None:
        """Where what a text names begins, and where what follows it begins; None for what names none."""
        return period(text)

    def state(self, parts: list[Part], text: str) -> dict[str, Any]:
        first = parts[0]
        if len(parts) > 1 or first.negative:
            return raw(text)
        if text in SPOKEN:
            return {"op": text, "values": []}
        return {"op": "range", "values": list(first.ends or (first.text, first.text))}


class Time(Day):
    name = "time"
    over = ("..now", "已过期")  # a moment is over at once
    ahead = (*AHEAD, over, TIMES[0], RANGE)

    def bounds(self, text: str) -> tuple[Any, Any] | None:
        if text == NOW:
            return utcnow(), utcnow()
        days = period(text)
        if days is None:
            return None
        first, after = (datetime.combine(day, datetime.min.time(), SHANGHAI) for day in days)
        return first, after


SPOKEN = dict((*TIMES, *AHEAD, Day.over, Time.over))


def raw(text: str) -> dict[str, Any]:
    """A condition that no control shows: the text that it is."""
    return {"op": RAW, "values": [text]}


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
