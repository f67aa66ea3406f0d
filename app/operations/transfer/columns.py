"""What an import's columns are: a head, how text becomes a value, what is allowed; made from the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Boolean, Date, Integer, Numeric, String, Text

from app import texts
from app.errors import Refused
from app.models.base import State

INTEGER_LIMIT = 2**31 - 1
LONGEST_SHOWN = 80
YES_OR_NO = ("是", "否")
_DATE = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?:[ T]0?0:00(?::00)?)?")
_SERIAL = re.compile(r"[1-9]\d{4}")
_ZERO_DAY = date(1899, 12, 30)  # from which a spreadsheet counts the days of a date whose format was lost
_DAYS = range(36_526, 73_051)  # this century's: another number of five digits is no date
_PLAIN_NUMBER = re.compile(r"(?a)[+-]?(?:\d+\.?\d*|\.\d+)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
LONGEST_WORD = 200  # characters of a name, a number, a date: whatever is longer is none


def halved(text: str) -> str:
    """Digits, letters and signs in their narrow form: １３８ is 138. What has another meaning, ５² or ①, stays."""
    if len(text) > LONGEST_WORD:
        raise Refused(f"内容太长：最多 {LONGEST_WORD} 个字")
    return text.translate(_NARROW).strip()


def keep(row: Any, name: str, value: Any) -> bool:
    """Set an attribute where it differs; whether it did. Text that only came out of a file otherwise is the same."""
    held = getattr(row, name)
    if held == value or (isinstance(held, str) and isinstance(value, str) and tidy(held) == value):
        return False
    setattr(row, name, value)
    return True


@dataclass(frozen=True)
class Column:
    """One column of an import. `parse` gives the value or is Refused; `apply` sets it and says whether that changed
    the row; `show` is what may be seen of it. `related` finds another row by its text instead: (model, its column).
    `rule` says what is allowed, by the column's type."""

    name: str
    label: str
    parse: Callable[[str], Any]
    required: bool = False
    help: str = ""
    example: str = ""
    values: tuple[str, ...] = ()
    words: Mapping[Any, str] = field(default_factory=dict)
    rule: str = ""
    text: bool = True
    related: tuple[type[Any], str] | None = None
    apply: Callable[[Any, Any], bool] | None = None
    show: Callable[[Any], Any] | None = None

    def put(self, row: Any, value: Any) -> bool:
        return self.apply(row, value) if self.apply else keep(row, self.attribute, value)

    @property
    def attribute(self) -> str:
        return f"{self.name}_id" if self.related else self.name

    @property
    def is_text(self) -> bool:
        """Whether it holds a text, in which digits are no number: a name, a phone number, an identifier."""
        return self.text and self.related is None

    def shown(self, row: Any) -> str:
        """The row's value as a preview says it."""
        value = self.show(row) if self.show else getattr(row, self.name)
        if isinstance(value, bool):
            return "是" if value else "否"
        if isinstance(value, float):
            return f"{value:.10g}"
        return self.words.get(value) or ("" if value is None else str(value)[:LONGEST_SHOWN])


@dataclass(frozen=True)
class ImportSpec:
    """An import: its model, its columns, and the column by which a row is known again. `mark` is the column that the
    console gave the row and that never changes: it goes before the key, which may then be changed. `check` refuses a
    whole row."""

    model: type[Any]
    noun: str
    columns: Sequence[Column]
    key: str
    mark: str = ""
    check: Callable[[Any], None] = lambda _row: None
    aliases: Mapping[str, str] = field(default_factory=dict)  # other heads people use, by column

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def key_column(self) -> Column:
        return self.column(self.key)


def of_model(model: type[Any], name: str, label: str, words: Mapping[Any, str] | None = None, **more: Any) -> Column:
    """A column of the model itself: what its type and length allow is what the form allows."""
    column = model.__mapper__.columns[name]
    needed = not column.nullable and column.default is None
    parse, rule = _parser(column.type, label, words or {})
    values = tuple((words or {}).get(item, str(item)) for item in getattr(column.type, "enum", None) or ())
    return Column(
        name, label, parse, required=more.pop("required", needed), values=values, words=words or {}, rule=rule,
        text=isinstance(column.type, String) and not values, **more,
    )  # fmt: skip


def by_name(name: str, label: str, model: type[Any], column: str, **more: Any) -> Column:
    """Another row, named by one of its columns."""
    return Column(name, label, str, related=(model, column), **more)


def _parser(kind: Any, label: str, words: Mapping[Any, str]) -> tuple[Callable[[str], Any], str]:
    """How text becomes a value of a type, and what is allowed, in words."""
    if isinstance(kind, State):
        return _choice(kind.enum, label, words), ""
    if isinstance(kind, Boolean):
        return _yes_or_no(label), " 或 ".join(YES_OR_NO)
    if isinstance(kind, Date):
        return _day(label), "日期"
    if isinstance(kind, Integer):
        return _whole(label), "整数"
    if isinstance(kind, Numeric):
        rule = "数字；百分比格式的单元格按显示的数读取，5% 即 5" if "%" in label else "数字"
        return _decimal(label, kind.scale or 0, kind.precision or 10), rule
    if isinstance(kind, Text):
        return _text(label, 5000, lines=True), "最多 5000 个字"
    if isinstance(kind, String):
        longest = kind.length or 255
        return _text(label, longest), f"最多 {longest} 个字"
    raise TypeError(f"{label} has a type that no import holds")


def tidy(text: str) -> str:
    """A text as it comes back from a file: other ends of lines, nothing around it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _text(label: str, longest: int, *, lines: bool = False) -> Callable[[str], str]:
    def parse(text: str) -> str:
        text = texts.checked(tidy(text), label, lines=lines)
        if len(text) > longest:
            raise Refused(f"{label}最多 {longest} 个字，现在有 {len(text)} 个")
        return text

    return parse


def _choice(enum: Any, label: str, words: Mapping[Any, str]) -> Callable[[str], Any]:
    known = {str(item): item for item in enum} | {words[item]: item for item in words}
    offered = "、".join(words.values())

    def parse(text: str) -> Any:
        found = known.get(text) or known.get(halved(text).lower())
        if found is None:
            raise Refused(f"{label}应为 {offered} 之一")
        return found

    return parse


def _yes_or_no(label: str) -> Callable[[str], bool]:
    known = {"是": True, "1": True, "true": True, "否": False, "0": False, "false": False}

    def parse(text: str) -> bool:
        found = known.get(halved(text).lower())
        if found is None:
            raise Refused(f"{label}应为 是 或 否")
        return found

    return parse


def _day(label: str) -> Callable[[str], date]:
    def parse(text: str) -> date:
        text = halved(text)
        if _SERIAL.fullmatch(text) and int(text) in _DAYS:
            return _ZERO_DAY + timedelta(days=int(text))
        match = _DATE.fullmatch(text)
        try:
            return date(*(int(part) for part in match.groups() if part)) if match else _refuse_day(label)
        except ValueError:
            return _refuse_day(label)

    return parse


def _refuse_day(label: str) -> date:
    raise Refused(f"{label}应为日期，例如 2027-12-31")


def _whole(label: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        text = _number(text, label)
        text = text.split(".")[0] if re.fullmatch(r"(?a)[+-]?\d+\.0+", text) else text
        if not re.fullmatch(r"(?a)[+-]?\d{1,10}", text) or abs(int(text)) > INTEGER_LIMIT:
            raise Refused(f"{label}应为整数")
        return int(text)

    return parse


def _decimal(label: str, places: int, precision: int) -> Callable[[str], float]:
    """A column whose head names the per cent as its unit takes a number with the sign and without it."""
    unit = "%" if "%" in label else ""

    def parse(text: str) -> float:
        text = _number(text, label, unit)
        if not _PLAIN_NUMBER.fullmatch(text):  # Python reads more: 1_0, 1e1, Infinity
            raise Refused(f"{label}应为数字")
        number = Decimal(text)
        if abs(number) >= 10 ** (precision - places):
            raise Refused(f"{label}应为不超过 {precision - places} 位整数的数字")
        if number != round(number, places):
            raise Refused(f"{label}最多 {places} 位小数")
        return float(number)

    return parse


def _number(text: str, label: str, unit: str = "") -> str:
    text = halved(text)
    if text.endswith("%") and not unit:
        raise Refused(f"{label}应为数字，不是百分比：请把单元格格式改为常规后填写数字")
    text = text.removesuffix("%").strip()
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
