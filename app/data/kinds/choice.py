"""Kinds of a few values that have words: one of them, or several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Self

from sqlalchemy import JSON

from app.data.kinds.base import Kind, Operator
from app.data.types import WORDS, State
from app.data.written import halved
from app.errors import Refused
from app.i18n.sentence import ours, say

_APART = re.compile(r"[、，,;；/\n]")


class Choice(Kind, types=(State,)):
    """One of an enum's; its words are those that the enum says, unless others are given."""

    operators: ClassVar[tuple[Operator, ...]] = ("eq", "neq")
    is_open = False  # whether there may be values that are none of them

    def __init__(self, enum: type[StrEnum], words: Mapping[Any, str] | None = None) -> None:
        self.enum, self._words = enum, words

    @classmethod
    def of(cls, column: Any) -> Self:
        return cls(column.type.enum)

    @property
    def members(self) -> tuple[Any, ...]:
        """What there is to choose from."""
        return tuple(self.enum)

    @property
    def words(self) -> Mapping[Any, str]:
        return self._words or WORDS.get(self.enum) or {}

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.word(item) for item in self.members)

    def word(self, value: Any) -> str:
        return self.words.get(value, str(value))

    def worded(self, words: Mapping[Any, str]) -> Choice:
        """The same where its values are called otherwise."""
        return type(self)(self.enum, words)

    def parse(self, text: str, label: str) -> Any:
        known = {str(item): item for item in self.members} | {words: item for item, words in self.words.items()}
        found = known.get(text) or known.get(halved(text).lower())
        if found is None:
            raise Refused(
                say("{label}应为 {words} 之一", label=ours(label), words=[ours(word) for word in self.words.values()])
            )
        return found

    def asked(self, text: str) -> Any:
        return self.enum(text)

    def plain(self, value: Any) -> str:
        return "" if value is None else self.word(value)

    def encode(self, value: Any) -> Any:
        return None if value is None else str(value)

    def decode(self, held: Any) -> Any:
        return None if held is None else self.enum(held)


class Listed(Choice, named="listed"):
    """One of a few texts that have words, in a column that takes any: what is not among them is its own word."""

    operators, holds_text, is_open = ("ct", "eq"), True, True

    def __init__(self, words: Mapping[Any, str]) -> None:
        self._words = words

    @classmethod
    def of(cls, column: Any) -> Self:
        return cls(column.info["words"])

    @property
    def members(self) -> tuple[Any, ...]:
        return tuple(self.words)

    @property
    def words(self) -> Mapping[Any, str]:
        return self._words or {}

    def worded(self, words: Mapping[Any, str]) -> Choice:
        return Listed(words)

    def asked(self, text: str) -> Any:
        return text

    def decode(self, held: Any) -> Any:
        return held


class Several(Choice, named="several"):
    """Several of an enum's, or of texts that have words, in a JSON column, in the order in which these stand."""

    operators, is_document, held = (), True, (JSON,)

    def __init__(self, enum: type[StrEnum] | None, words: Mapping[Any, str] | None = None) -> None:
        self.each = Listed(words or {}) if enum is None else Choice(enum, words)

    @classmethod
    def of(cls, column: Any) -> Self:
        enum, words = column.info.get("of"), column.info.get("words")
        if not enum and not words:
            raise TypeError(f"{column} does not say of what it holds several: 'of' an enum, or 'words'")
        return cls(enum, words)

    @property
    def members(self) -> tuple[Any, ...]:
        return self.each.members

    @property
    def words(self) -> Mapping[Any, str]:
        return self.each.words

    def parse(self, text: str, label: str) -> list[str]:
        found = {self.each.parse(part, label) for piece in _APART.split(text) if (part := piece.strip())}
        return [str(item) for item in self.members if item in found]

    def asked(self, text: str) -> str:
        """One that is among them."""
        return str(self.each.asked(text))

    def plain(self, value: Any) -> str:
        return "、".join(self.word(item) for item in value or ())

    def encode(self, value: Any) -> Any:
        return [str(item) for item in value or ()]

    def decode(self, held: Any) -> Any:
        """In their order; of texts also those that nobody knows, behind the others."""
        held = list(held or ())
        known = [str(item) for item in self.members if item in held]
        return known + [str(item) for item in held if item not in known] if self.each.is_open else known

    def same(self, one: Any, other: Any) -> bool:
        return set(one or ()) == set(other or ())
