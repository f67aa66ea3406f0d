"""Which characters a text that people type may hold: what cannot be seen, or turns what is seen around, is refused."""

from __future__ import annotations

import re

from app.errors import Refused

# Control characters, C0 and C1 (a mail address with a line break is another header); those that turn the direction of
# what follows, so that a name reads as another; halves of surrogate pairs and what is no character at all.
_NEVER = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\ufffe\uffff"
_IN_LINES = re.compile(f"[{_NEVER}]")
_IN_A_LINE = re.compile(f"[{_NEVER}\t\n\r\u2028\u2029]")
# Letters without width, which come along when something is copied: two names that look the same would be two. Joiners
# stay, they are parts of emoji.
_WIDTHLESS = re.compile(r"[\u00ad\u061c\u180e\u200b\u200e\u200f\u2060-\u2064\u3164\ufeff]")
UNSEEN = "含有看不见的控制字符：请删除后重试"
BROKEN = "不能换行，也不能含有制表符和看不见的控制字符"


def seen(text: str) -> str:
    """The text without letters that have no width."""
    return _WIDTHLESS.sub("", text)


def fault(text: str, *, lines: bool = False) -> str:
    """What is wrong with a text, as a sentence without its subject; empty when nothing is. `lines`: it may have
    several lines, and tabs."""
    if lines:
        return UNSEEN if _IN_LINES.search(text) else ""
    return BROKEN if _IN_A_LINE.search(text) else ""


def checked(text: str, label: str, *, field: str | None = None, lines: bool = False) -> str:
    """The same text; Refused, by the name it has for people, when it holds what it may not."""
    wrong = fault(text, lines=lines)
    if wrong == UNSEEN:
        raise Refused(f"{label}含有看不见的控制字符：请删除后重试", field=field)
    if wrong:
        raise Refused(f"{label}不能换行，也不能含有制表符和看不见的控制字符", field=field)
    return text
