"""How the values of each kind look: in a list's cell, on a row's page, on a phone's card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from markupsafe import Markup, escape

from app.console import cells
from app.console.places import page_for
from app.data.kinds.apart import Bare, Document, Folded, Phone, Secret
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Several
from app.data.kinds.plain import Count, Day, Fraction, Moment, Money, Number, Relation, Words, YesNo
from app.i18n.sentence import said

Shown = Markup | str


@dataclass(frozen=True)
class Look:
    """`cell` gives HTML of a value that is there, from its kind and its column's name; nothing is a dash, of all."""

    cell: Callable[[Any, Any, str], Shown]
    at_right: bool = False  # in a list, where numbers are compared by their length
    is_long: bool = False  # a list shows two lines of it, and a phone's card none by itself

    def of(self, kind: Kind, value: Any, name: str = "") -> Shown:
        return cells.DASH if value is None or value == "" else self.cell(kind, value, name)


def _bare(_kind: Kind, value: Any, name: str) -> Shown:
    """What a text, a number that names something, or what stands in no column looks like."""
    return cells.shown(value, name=name)


def _plain(kind: Kind, value: Any, _name: str) -> Shown:
    return escape(kind.plain(value)) or cells.DASH


def _count(_kind: Count, value: Any, _name: str) -> Shown:
    return f"{value:,}"


def _fraction(kind: Fraction, value: Any, _name: str) -> Shown:
    return f"{value:,.{kind.places}f}"


def _yes_or_no(kind: YesNo, value: Any, _name: str) -> Shown:
    return str(said(kind.plain(value)))


def _moment(_kind: Moment, value: Any, _name: str) -> Shown:
    return cells.clock(value)


def _choice(kind: Choice, value: Any, _name: str) -> Shown:
    return cells.state(value, kind.words)


def _several(kind: Several, value: Any, _name: str) -> Shown:
    return Markup(" ").join(cells.state(item, kind.words) for item in kind.decode(value)) or cells.DASH


def _row(kind: Relation, value: Any, _name: str) -> Shown:
    return cells.link(page_for(kind.table, value.id), value)


_LOOKS: Mapping[type[Kind], Look] = {
    Words: Look(_bare),
    Number: Look(_bare),
    Count: Look(_count, at_right=True),
    Fraction: Look(_fraction, at_right=True),
    Money: Look(_plain, at_right=True),
    YesNo: Look(_yes_or_no),
    Day: Look(_plain),
    Moment: Look(_moment),
    Choice: Look(_choice),
    Several: Look(_several),
    Relation: Look(_row),
    Phone: Look(_plain),
    Secret: Look(_plain),
    Document: Look(_bare, is_long=True),
    Folded: Look(_bare),
    Bare: Look(_bare),
}


@lru_cache(maxsize=1024)
def look_of(kind: Kind) -> Look:
    """How a kind looks. LookupError for one that nobody gave a look."""
    look = next((_LOOKS[base] for base in type(kind).__mro__ if base in _LOOKS), None)
    if look is None:
        raise LookupError(f"{type(kind).__name__} has no look")
    return replace(look, is_long=look.is_long or kind.several_lines)
