"""One value on its way into a spreadsheet and back: nothing that a spreadsheet would run, no digit lost."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
LONGEST = 32_767  # characters in a spreadsheet's cell
EXACT_DIGITS = 15  # a spreadsheet's numbers hold no more
_PARTS = re.compile(r"([\s\u00ad\u200b-\u200f\u2060\ufeff]*+)(.*)", re.DOTALL)
_BREAK = re.compile(r"[\t\r\n]")
# What makes a spreadsheet calculate, also after blanks and in the full-width forms that some take for the same.
_SIGNS = frozenset("=+-@＝＋－＠﹢﹣﹦﹫")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u2060-\u2064\ufeff]")  # joiners are parts of emoji
_DIGITS = re.compile(r"0\d+|\d{16,}")


def runs(text: str) -> bool:
    """Whether a spreadsheet might take a text for a formula."""
    blank, rest = _parted(text)
    return bool(_BREAK.search(blank)) or _parted(rest.lstrip("'"))[1][:1] in _SIGNS


def _parted(text: str) -> tuple[str, str]:
    """The blanks that a text begins with, and the rest; in one go, however many they are."""
    found = _PARTS.fullmatch(text)
    return (found[1], found[2]) if found else ("", text)


def neutral(text: str) -> str:
    """The text so that a spreadsheet only shows it: an apostrophe goes before what would be calculated."""
    return f"'{text}" if runs(text) else text


def restored(text: str) -> str:
    """What `neutral` was given."""
    return text[1:] if text.startswith("'") and runs(text[1:]) else text


def plain(value: Any) -> str | int | float:
    """A value as a cell: times in Shanghai, yes and no in words, numbers only where a spreadsheet keeps them whole."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, int):
        return value if abs(value) < 10**EXACT_DIGITS else str(value)
    if isinstance(value, Decimal | float):
        return float(value)
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return aware.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return plain("、".join(str(item) for item in value))
    return neutral(_UNPRINTABLE.sub("", str(value))[: LONGEST - 1])


def for_csv(value: Any) -> str:
    """A cell of a CSV file. A long number gets a tab behind it, which keeps its digits when the file is opened."""
    made = plain(value)
    text = str(made)
    return f"{text}\t" if isinstance(made, str) and _DIGITS.fullmatch(text) else text


def from_cell(text: str) -> str:
    """A text of an uploaded file as a person sees it: nothing around it, no letter without width, no guard of ours.

    Control characters and those that turn the direction of text stay: the column they are for refuses them.
    """
    if text.isprintable() and text[:1] not in {"'", " "} and text[-1:] != " ":
        return text
    return restored(_INVISIBLE.sub("", text).strip())
