"""One value on its way into a spreadsheet and back: nothing that a spreadsheet would run, no digit lost."""

from __future__ import annotations

import re

_PARTS = re.compile(r"([\s\u00ad\u200b-\u200f\u2060\ufeff]*+)(.*)", re.DOTALL)
_BREAK = re.compile(r"[\t\r\n]")
# What makes a spreadsheet calculate, also after blanks and in the full-width forms that some take for the same.
_SIGNS = frozenset("=+-@＝＋－＠﹢﹣﹦﹫")
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u2060-\u2064\ufeff]")  # joiners are parts of emoji


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


def from_cell(text: str) -> str:
    """A text of an uploaded file as a person sees it: nothing around it, no letter without width, no guard of ours.

    Control characters and those that turn the direction of text stay: the column they are for refuses them.
    """
    if text.isprintable() and text[:1] not in {"'", " "} and text[-1:] != " ":
        return text
    return restored(_INVISIBLE.sub("", text).strip())
