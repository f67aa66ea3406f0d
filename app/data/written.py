"""Numbers and days as people write them, and as spreadsheets leave them in cells."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal

from app.errors import Refused
from app.i18n.sentence import ours, say

LONGEST_WORD = 200  # characters of a number, a date, a choice: whatever is longer is none
PLAIN_NUMBER = re.compile(r"(?a)[+-]?(?:\d+\.?\d*|\.\d+)")  # Python reads more: 1_0, 1e1, Infinity
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DATE = re.compile(r"(\d{4})(?:[-/.年](\d{1,2})[-/.月](\d{1,2})日?|(\d{2})(\d{2}))(?:[ T]0?0:00(?::00)?)?")
_SERIAL = re.compile(r"[1-9]\d{4}")
_ZERO_DAY = date(1899, 12, 30)  # from which a spreadsheet counts the days of a date whose format was lost
_FROM_1904 = 1462  # days between a spreadsheet's two first days
_DAYS = range(36_526, 73_051)  # this century's: another number of five digits is no date
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def halved(text: str) -> str:
    """Digits, letters and signs in their narrow form: １３８ is 138. What has another meaning, ５² or ①, stays."""
    if len(text) > LONGEST_WORD:
        raise Refused(say("内容太长：最多 {longest_word} 个字", longest_word=LONGEST_WORD))
    return text.translate(_NARROW).strip()


def digits(text: str, label: str, *, unit: str = "") -> str:
    """What may be a number, without the commas between thousands, and without the per cent where that is its unit."""
    text = halved(text)
    if text.endswith("%") and not unit:
        raise Refused(say("{label}应为数字，不是百分比：请把单元格格式改为常规后填写数字", label=ours(label)))
    text = text.removesuffix("%").strip()
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def number(text: str, label: str, *, unit: str = "") -> Decimal:
    """A number as it is written. Refused, by the label, when it is none."""
    text = digits(text, label, unit=unit)
    if not PLAIN_NUMBER.fullmatch(text):
        raise Refused(say("{label}应为数字", label=ours(label)))
    return Decimal(text)


def day(text: str) -> date | None:
    """A day as it is written, or as the number that a spreadsheet's cell holds of one; None when it is none."""
    text = halved(text)
    if _SERIAL.fullmatch(text) and int(text) in _DAYS:
        return _ZERO_DAY + timedelta(days=int(text))
    match = _DATE.fullmatch(text)
    try:
        return date(*(int(part) for part in match.groups() if part)) if match else None
    except ValueError:
        return None


def counted_from_1900(text: str) -> str:
    """A day of a workbook that counts from 1904, where its format was lost: as every other workbook counts it."""
    narrow = text.translate(_NARROW).strip()
    return str(int(narrow) + _FROM_1904) if _SERIAL.fullmatch(narrow) else text
