"""What a person sees in a cell, from what a spreadsheet keeps of it: its raw value and its number format.

A cell is a text, or (for what no import may take for a value) a mark and a text: an error, a formula without its
result, a number whose last digits are lost.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

Cell = str | list[str]
ERROR, NO_RESULT, LOST_DIGITS, ROUNDED, UNCLEAR = "error", "no_result", "lost_digits", "rounded", "unclear"
UNSEEN, MERGED = "unseen", "merged"  # a value that its format does not show; a cell that is part of another
ERRORS = frozenset(
    {
        "#N/A",
        "#REF!",
        "#VALUE!",
        "#DIV/0!",
        "#NAME?",
        "#NUM!",
        "#NULL!",
        "#SPILL!",
        "#CALC!",
        "#GETTING_DATA",
    }
)
DATE, PERCENT, MIXED = "date", "%", "mixed"  # mixed: a per cent or not, as the value is
_BUILT_IN: dict[int, str] = {9: PERCENT, 10: PERCENT} | dict.fromkeys(
    [*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)], DATE
)
_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_CONDITION = re.compile(r"\[[<>=]")
_DATE_PARTS = re.compile(r"[ymdhs]|aaa")
_PLACES = re.compile(r"[0#?]")
_GENERAL = ("general", "通用格式")
_ZEROS = re.compile(r"0{2,}")
_LAST_DAY = 2_958_466  # 9999-12-31 and one
_EXACT = 10**15  # a spreadsheet's numbers hold no more digits than fifteen
_EXPONENT = re.compile(r"[+-]?\d(?:\.\d+)?E\+\d{2,}", re.IGNORECASE)
_KEPT_AS_TEXT = re.compile(r'="([^"]*)"')  # how a spreadsheet's people keep leading zeros in a CSV file


def kind_of_format(number: int, codes: dict[int, str]) -> str:
    """What a number format makes of a number: a date, a per cent, `00…` for leading zeros, or nothing."""
    return _kind_of_code(codes[number]) if number in codes else _BUILT_IN.get(number, "")


@cache
def _kind_of_code(written: str) -> str:
    sections = [section.strip().lower() for section in _LITERAL.sub("", written).split(";")]
    numbers = [section for section in sections if _PLACES.search(section) or _is_general(section)]
    per_cents = ["%" in section for section in numbers]
    if any(per_cents):
        return PERCENT if all(per_cents) else MIXED
    code = sections[0]
    if _is_general(code) or "@" in code:
        return ""
    if _DATE_PARTS.search(code):
        return DATE
    return code if _ZEROS.fullmatch(code) else ""


def _is_general(section: str) -> bool:
    return any(word in section for word in _GENERAL)


def unseen(number: int, codes: dict[int, str]) -> str:
    """Which values a number format shows nothing of: `+`, `-`, `0` and `@` for texts. All four in `;;;`."""
    return _unseen_by(codes[number]) if number in codes else ""


@cache
def _unseen_by(written: str) -> str:
    bare = _LITERAL.sub(lambda found: "" if found[0][0] in "_*[" or not found[0].strip('"\\ ') else "x", written)
    sections = [section.strip() for section in bare.split(";")]
    if _CONDITION.search(written) and any(sections):
        return ""  # which section a value has is its condition's to say
    if len(sections) == 1:
        return "+-0" if not sections[0] and "*" in written else ""  # an empty one is the general format
    text = sections.pop() if len(sections) == 4 or "@" in sections[-1] else "@"  # a section of its own, the last
    plus, minus, nought = sections[0], sections[1 % len(sections)], sections[2 if len(sections) > 2 else 0]
    return "".join(sign for sign, section in zip("+-0@", (plus, minus, nought, text), strict=True) if not section)


def number(raw: str, kind: str, *, from_1904: bool) -> Cell:
    """A number as it is shown, with all the digits that a spreadsheet keeps: 0.05 in a per-cent format is `5%`."""
    if not kind and len(raw) < 16 and raw.isascii() and raw.isdigit() and (raw[0] != "0" or raw == "0"):
        return raw
    try:
        value = float(raw.replace("_", "?"))  # Python reads 1_0 as ten
    except ValueError:
        return raw.strip()
    if not math.isfinite(value):
        return raw.strip()
    if kind == DATE and (shown := moment(value, from_1904=from_1904)):
        return shown
    if abs(value) >= _EXACT:
        return [LOST_DIGITS, raw]
    exact = Decimal(f"{value:.15g}")
    if kind == MIXED:
        return [UNCLEAR, raw]
    if kind == PERCENT:
        return f"{_plain(exact.scaleb(2))}%"
    text = _plain(exact)
    return text.zfill(len(kind)) if kind.startswith("0") and text.isdigit() else text


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"-0", ""} else text


def moment(days: float, *, from_1904: bool) -> str:
    """A day that a spreadsheet counts as a date, a time or both; nothing for one that no calendar has."""
    if not 0 <= days < _LAST_DAY:
        return ""
    seconds = round(days * 86400)
    if seconds < 86400 and not from_1904:
        return str(timedelta(seconds=seconds)).zfill(8) if seconds else ""
    first = datetime(1904, 1, 1) if from_1904 else datetime(1899, 12, 30 if days >= 60 else 31)  # noqa: DTZ001  (a sheet knows no time zone)
    found = first + timedelta(seconds=seconds)
    return found.date().isoformat() if seconds % 86400 == 0 else found.isoformat(sep=" ")


def text(value: str, *, delimited: bool = False) -> Cell:
    """A text; a spreadsheet's words for an error are no text, and in a CSV file neither is a rounded number."""
    if value[:1] == "#" and value in ERRORS:
        return [ERROR, value]
    if delimited and "+" in value and _EXPONENT.fullmatch(value):
        return [ROUNDED, value]
    if delimited and value[:2] == '="' and (kept := _KEPT_AS_TEXT.fullmatch(value)):
        return kept[1]
    return value


def shown(cell: Cell) -> str:
    """What stands in a cell, for a page or a file of refused rows."""
    return cell if isinstance(cell, str) else cell[1]


def returned(cell: Cell) -> str | float:
    """A refused cell in the file that goes back: sent again as it is, it is refused again."""
    if isinstance(cell, str):
        return cell
    mark, raw = cell
    if mark in {NO_RESULT, UNCLEAR, UNSEEN, MERGED}:
        return "#N/A"
    return float(raw) if mark in {LOST_DIGITS, ROUNDED} else raw


def letters(place: int) -> str:
    """A column's name by its place: 0 is A."""
    found, left = "", place + 1
    while left:
        left, rest = divmod(left - 1, 26)
        found = chr(65 + rest) + found
    return found


def place_of(name: str) -> int:
    """A column's place by its name; -1 for what is no column of a spreadsheet."""
    if not (name.isascii() and name.isalpha() and len(name) < 4):
        return -1
    found = 0
    for letter in name.upper():
        found = found * 26 + ord(letter) - 64
    return found - 1
