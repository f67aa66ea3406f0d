"""What a condition in an address says: the values between its commas, each with its signs taken off."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.console.query.filters import LONGEST_VALUE
from app.data import texts

LONGEST = 2000  # of one column's conditions
MOST_VALUES = 50


@dataclass(frozen=True)
class Part:
    """One of the values that a condition names."""

    text: str
    negative: bool = False
    exact: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it asks for rows that have nothing in the column."""
        return self.exact and not self.text

    @property
    def ends(self) -> tuple[str, str] | None:
        """The ends of a range, each perhaps empty; None when it is none."""
        first, dots, last = self.text.partition("..")
        return (first.strip(), last.strip()) if dots and (first or last) and not self.exact else None


def parts_of(text: str) -> list[Part]:
    """The values between the commas, with their signs taken off."""
    found = [part_of(piece) for piece in pieces_of(text[:LONGEST])]
    return [part for part in found if part is not None][:MOST_VALUES]


def pieces_of(text: str) -> list[str]:
    """What stands between the commas, as the texts that it is compared with are kept."""
    return [word for piece in re.split(r"(?<!\\),", text) if (word := texts.cleaned(piece))]


def part_of(piece: str) -> Part | None:
    """One value with its signs taken off; None for signs alone."""
    negative, piece = piece.startswith("!"), piece.removeprefix("!")
    exact, piece = piece.startswith("="), piece.removeprefix("=")
    if not piece and not exact:
        return None
    return Part(re.sub(r"\\(.)", r"\1", piece)[:LONGEST_VALUE], negative, exact)


def quoted(text: str) -> str:
    """A value as a condition holds it, when it has letters that mean something there."""
    text = re.sub(r"([\\,])", r"\\\1", text.strip())
    return f"\\{text}" if text.startswith(("!", "=")) else text
