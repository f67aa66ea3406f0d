"""How a text that people type is kept: composed, without what cannot be seen, with plain blanks; and what is refused.

The one place for names, titles, remarks and words that are searched for, by whatever door they come. Never for
passwords, codes, secrets, keys, ext.json and pushes: those are kept letter for letter, or refused.
"""

from __future__ import annotations

import re
import unicodedata

from app.errors import Refused
from app.i18n.sentence import ours, say

# Control characters, C0 and C1 (a mail address with a line break is another header); those that turn the direction of
# what follows, so that a name reads as another; halves of surrogate pairs and what is no character at all.
_NEVER = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff\ufffe\uffff"
_IN_LINES = re.compile(f"[{_NEVER}]")
_IN_A_LINE = re.compile(f"[{_NEVER}\t\n\r\u2028\u2029]")
# What has no width, or turns the direction: it comes along when something is copied, and two names that look the same
# would be two. Fillers, joiners, marks of direction, selectors of variants, tags, what stood for a picture.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Within an emoji some of them are parts of what is seen: families, red hearts, keycaps, the flag of Scotland.
_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    "\u3297\u3299\U0001f000-\U0001faff]"
)
_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
_EMOJI = f"{_FLAG}|{_PICTURE}[\ufe0e\ufe0f]?(?:\u200d{_PICTURE}[\ufe0e\ufe0f]?)*|[0-9#*]\ufe0f\u20e3"
_LEFT_OUT = re.compile(f"({_EMOJI})|[{_UNSEEN}]")
_BLANK = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000"  # besides the plain one: wide, narrow, unbroken
_BLANKS = re.compile(f"[ {_BLANK}]+")
_ODD_BLANK = re.compile(f"[{_BLANK}]")
_BREAK = re.compile("\r\n|[\r\u2028\u2029]")
_BEFORE_BREAK = re.compile("[ \t]+(?=\n)")
_BRACKETS = str.maketrans("【】〔〕〖〗「」『』《》〈〉[]{}<>", "()" * 10)
UNSEEN = "含有看不见的控制字符：请删除后重试"
BROKEN = "不能换行，也不能含有制表符和看不见的控制字符"


def cleaned(text: str, *, lines: bool = False) -> str:
    """A text as it is kept: composed (NFC), without what is not seen, nothing around it. Twice is once.

    In a line every run of blanks is one plain blank. With `lines` each is a plain one of its own, so that what is
    indented stays so, and every end of a line is one.
    """
    text = unicodedata.normalize("NFC", _LEFT_OUT.sub(lambda found: found[1] or "", text))
    if lines:
        return _BEFORE_BREAK.sub("", _ODD_BLANK.sub(" ", _BREAK.sub("\n", text))).strip()
    return _BLANKS.sub(" ", text).strip()


def folded(text: str) -> str:
    """What a text reads as, to compare it by: wide letters narrow, every bracket round, no capitals."""
    before = ""
    while before != text:  # what one step leaves, another may still fold
        before = text
        text = unicodedata.normalize("NFKC", cleaned(text)).translate(_BRACKETS).casefold()
    return text


def fault(text: str, *, lines: bool = False) -> str:
    """What is wrong with a text, as a sentence without its subject; empty when nothing is. `lines`: it may have
    several lines, and tabs."""
    if lines:
        return UNSEEN if _IN_LINES.search(text) else ""
    return BROKEN if _IN_A_LINE.search(text) else ""


def allowed(text: str, label: str, *, field: str | None = None, lines: bool = False) -> str:
    """The same text, letter for letter; Refused, by the name it has for people, when it holds what it may not."""
    wrong = fault(text, lines=lines)
    if wrong == UNSEEN:
        raise Refused(say("{label}含有看不见的控制字符：请删除后重试", label=ours(label)), field=field)
    if wrong:
        raise Refused(say("{label}不能换行，也不能含有制表符和看不见的控制字符", label=ours(label)), field=field)
    return text


def checked(text: str, label: str, *, field: str | None = None, lines: bool = False) -> str:
    """The text as it is kept; Refused, by the name it has for people, when it holds what it may not."""
    return allowed(cleaned(text, lines=lines), label, field=field, lines=lines)
