"""Kinds of one plain value: texts, numbers, amounts, yes and no, days and moments, other rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Numeric, String, Text

from app.data import texts, written
from app.data.clock import SHANGHAI
from app.data.keys import GREATEST_INTEGER, parse_key
from app.data.kinds.base import Kind
from app.data.types import SentenceText, UtcDateTime
from app.data.written import halved
from app.errors import Refused
from app.i18n.sentence import ours, say

LONGEST_LINES = 5000
GREATEST_BIG = 10**18
GREATEST_FEN = 10**15
YES_OR_NO = {True: "是", False: "否"}
_KNOWN_YES = dict.fromkeys(("是", "1", "true", "on", "yes", "y"), True) | dict.fromkeys(
    ("否", "0", "false", "off", "no", "n"), False
)


class Words(Kind, types=(String,)):
    """A text, of one line or of several."""

    operators, holds_text = ("ct", "eq"), True

    def __init__(self, longest: int = 255, *, lines: bool = False) -> None:
        self.longest, self.several_lines, self.rule = longest, lines, f"最多 {longest} 个字"

    @classmethod
    def of(cls, column: Any) -> Self:
        return cls(column.type.length or 255)

    def clean(self, text: str) -> str:
        return texts.cleaned(text, lines=self.several_lines)

    def parse(self, text: str, label: str) -> str:
        text = texts.checked(text, label, lines=self.several_lines)
        if len(text) > self.longest:
            raise Refused(
                say(
                    "{label}最多 {longest} 个字，现在有 {number} 个",
                    label=ours(label),
                    longest=self.longest,
                    number=len(text),
                )
            )
        return text

    def same(self, one: Any, other: Any) -> bool:
        """Also where they differ in blanks and in what is not seen."""
        return self.clean(one or "") == self.clean(other or "")


class Lines(Words, types=(Text, SentenceText)):
    """A text of several lines."""

    def __init__(self, longest: int = LONGEST_LINES) -> None:
        super().__init__(longest, lines=True)

    @classmethod
    def of(cls, column: Any) -> Self:
        return cls()


class Name(Words, named="name"):
    """What people tell rows apart by. A twin beside the column (`app.data.names`) makes one of what reads the same, for
    searches and for uniqueness; a capital corrected is a change all the same."""

    held = (String,)


class Number(Kind, types=(Integer,)):
    """A whole number."""

    operators = ("eq", "gte", "lte")
    rule = "整数"

    def __init__(self, greatest: int = GREATEST_INTEGER) -> None:
        self.greatest = greatest

    @classmethod
    def of(cls, column: Any) -> Self:
        return cls(GREATEST_BIG if isinstance(column.type, BigInteger) else GREATEST_INTEGER)

    def parse(self, text: str, label: str) -> int:
        text = written.digits(text, label)
        text = text.split(".")[0] if re.fullmatch(r"(?a)[+-]?\d+\.0+", text) else text
        if not re.fullmatch(r"(?a)[+-]?\d{1,19}", text) or abs(int(text)) > self.greatest:
            raise Refused(say("{label}应为整数", label=ours(label)))
        return int(text)

    def asked(self, text: str) -> int | None:
        try:
            return self.parse(text, "")
        except Refused:
            return None

    def exported(self, value: Any) -> Any:
        return value


class Count(Number, named="count"):
    """How many or how much: a number that is read as one, and no name of anything."""

    held = (Integer,)


class Fraction(Kind, types=(Numeric,)):
    """A number with places behind the point."""

    operators = ("eq", "gte", "lte")
    rule, unit = "数字", ""

    def __init__(self, places: int = 2, precision: int = 10, made: Callable[[str], Any] = Decimal) -> None:
        self.places, self.precision, self.made = places, precision, made

    @classmethod
    def of(cls, column: Any) -> Self:
        held = column.type
        if held.scale is None:
            raise TypeError(f"{column} does not say how many places it has: Numeric(5, 2)")
        return cls(held.scale, held.precision or 10, Decimal if held.asdecimal else float)

    def parse(self, text: str, label: str) -> Any:
        number = written.number(text, label, unit=self.unit)
        if abs(number) >= 10 ** (self.precision - self.places):
            raise Refused(
                say("{label}应为不超过 {places} 位整数的数字", label=ours(label), places=self.precision - self.places)
            )
        if number != round(number, self.places):
            raise Refused(say("{label}最多 {places} 位小数", label=ours(label), places=self.places))
        return self.made(str(number))

    def asked(self, text: str) -> float | None:
        try:
            return float(written.number(text, "", unit=self.unit))
        except Refused:
            return None

    def plain(self, value: Any) -> str:
        return "" if value is None else f"{Decimal(str(value)).normalize():f}"

    def exported(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> Any:
        return str(value) if isinstance(value, Decimal) else value  # JSON has floats itself

    def decode(self, held: Any) -> Any:
        return None if held is None else self.made(str(held))


class Percent(Fraction, named="percent"):
    """A share, kept as the number before the sign: 5.5 for 5.5 %."""

    held = (Numeric,)

    rule, unit = "数字；百分比格式的单元格按显示的数读取，5% 即 5", "%"


class Money(Kind, named="money"):
    """An amount in fen; people read and write yuan."""

    held = (Integer,)
    operators = ("eq", "gte", "lte")
    rule = "金额（元），最多两位小数"

    def parse(self, text: str, label: str) -> int:
        text = re.sub(r"^([+-]?)[¥￥]\s*", r"\1", halved(text)).removesuffix("元").strip()
        fen = written.number(text, label) * 100
        if fen != int(fen):
            raise Refused(say("{label}最多 2 位小数", label=ours(label)))
        if abs(fen) > GREATEST_FEN:
            raise Refused(say("{label}超出范围", label=ours(label)))
        return int(fen)

    def asked(self, text: str) -> int | None:
        try:
            return self.parse(text, "")
        except Refused:
            return None

    def plain(self, value: Any) -> str:
        if value is None:
            return ""
        whole, rest = divmod(abs(value), 100)
        return f"{'-' if value < 0 else ''}¥{whole:,}.{rest:02}"

    def exported(self, value: Any) -> Any:
        return None if value is None else Decimal(value) / 100


class YesNo(Kind, types=(Boolean,)):
    """Yes or no."""

    operators = ("eq", "neq")

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(YES_OR_NO.values())

    def parse(self, text: str, label: str) -> bool:
        found = _KNOWN_YES.get(halved(text).lower())
        if found is None:
            raise Refused(say("{label}应为 是 或 否", label=ours(label)))
        return found

    def asked(self, text: str) -> bool | None:
        return _KNOWN_YES.get(text.lower())

    def plain(self, value: Any) -> str:
        return "" if value is None else YES_OR_NO[bool(value)]


class Day(Kind, types=(Date,)):
    """A date."""

    operators = ("gte", "lte")
    rule = "日期"

    def parse(self, text: str, label: str) -> date:
        day = written.day(text)
        if day is None:
            raise Refused(say("{label}应为日期，例如 2027-12-31", label=ours(label)))
        return day

    def asked(self, text: str) -> date | None:
        return date.fromisoformat(text[:10])

    def exported(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> Any:
        return None if value is None else value.isoformat()

    def decode(self, held: Any) -> Any:
        return date.fromisoformat(held) if held else None


class Moment(Kind, types=(DateTime, UtcDateTime)):
    """A point in time: UTC in the database, Shanghai's for people."""

    operators = ("gte", "lte")
    rule = "时间"

    @classmethod
    def of(cls, column: Any) -> Self:
        table = getattr(column, "table", None)
        if isinstance(column.type, DateTime) and table is not None and not table.name.startswith("ab_"):  # FAB's own
            raise TypeError(f"{column} would keep a time without its zone: its type is UtcDateTime")
        return cls()

    def parse(self, text: str, label: str) -> datetime:
        try:
            moment = datetime.fromisoformat(halved(text).replace("/", "-"))
        except ValueError:
            raise Refused(say("{label}应为时间，例如 2027-12-31 18:00", label=ours(label))) from None
        if not 1 < moment.year < 9999:  # with a zone it would be none that there is
            raise Refused(say("{label}超出范围", label=ours(label)))
        return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)

    def asked(self, text: str) -> datetime | None:
        """The beginning of a day."""
        day = date.fromisoformat(text[:10])
        return datetime.combine(day, datetime.min.time(), SHANGHAI) if 1 < day.year < 9999 else None

    def plain(self, value: Any) -> str:
        return "" if value is None else value.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")

    def exported(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> Any:
        return None if value is None else value.isoformat()

    def decode(self, held: Any) -> Any:
        return datetime.fromisoformat(held) if held else None


class Relation(Kind):
    """Another row, by its number; whoever has a session looks it up. `table` is where, as far as anybody said."""

    operators = ("rel",)

    def __init__(self, table: str = "") -> None:
        self.table = table

    def parse(self, text: str, label: str) -> int:
        key = parse_key(text.strip())
        if key is None:
            raise Refused(say("所选的{label}不存在：请重新选择", label=ours(label)))
        return key

    def asked(self, text: str) -> int | None:
        return parse_key(text)

    def encode(self, value: Any) -> Any:
        return getattr(value, "id", value)
