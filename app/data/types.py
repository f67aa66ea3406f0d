"""Types of columns: times in UTC, states as text with their words, ids, and JSON that all three databases keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from operator import eq
from typing import Any, TypeVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, Text, or_, type_coerce
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator

from app.i18n.sentence import MARK, restored, stored

E = TypeVar("E", bound=StrEnum)
BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys by itself
Json = JSON()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time to the microsecond, on SQLite, PostgreSQL and MariaDB alike; refuses naive times."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name in {"mysql", "mariadb"} else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time was given to a UTC column")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class State(TypeDecorator[Any]):
    """A StrEnum kept as text, so that a new state needs no change of the database's types."""

    impl = String(32)
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(self.enum(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else self.enum(value)


class SentenceText(TypeDecorator[str]):
    """What is said to people and kept: a sentence comes back as one, to be said in the reader's language, a foreign
    text as foreign. The column begins with the finished Chinese, so that it is searched like any text."""

    impl = Text
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[str]):
        """A text is found by its words, however it is made."""

        def operate(self, op: Any, *other: Any, **kwargs: Any) -> Any:
            found = super().operate(op, *other, **kwargs)
            if op is not eq or not isinstance(other[0], str):
                return found
            return or_(found, type_coerce(self.expr, Text).startswith(f"{other[0]}{MARK}", autoescape=True))

    comparator_factory = Comparator

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else stored(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else restored(value)


TONES = frozenset({"good", "busy", "warn", "bad", "mute"})


class Words(dict[Any, str]):
    """What the values of a state, or of any column that holds one of a few, are called; and the colours of some.

    Colours are good (done and well), busy (under way), warn (look at it), bad (act), mute (over): mute where none is
    said.
    """

    def __init__(self, words: Mapping[Any, str], tones: Mapping[str, str] | None = None) -> None:
        super().__init__(words)
        self.tones = dict(tones or {})

    def but(self, words: Mapping[str, str], tones: Mapping[str, str] | None = None) -> Words:
        """The same with some values called otherwise, or with more of them."""
        return Words({**self, **words}, {**self.tones, **(tones or {})})


WORDS: dict[type[StrEnum], Words] = {}  # of every enum that says them: `worded`


def worded(words: Mapping[str, str], *, tones: Mapping[str, str] | None = None) -> Callable[[type[E]], type[E]]:
    """Say a state enum's words, by value, for lists, forms, filters and the log; and its colours (see Words)."""

    def register(enum: type[E]) -> type[E]:
        values = {str(state) for state in enum}
        if set(words) != values or not set(tones or ()) <= values:
            raise TypeError(f"{enum.__name__}: the words and colours must be those of its states")
        if odd := sorted(set((tones or {}).values()) - TONES):
            raise TypeError(f"{enum.__name__}: {', '.join(odd)} is no colour, but one of {', '.join(sorted(TONES))}")
        WORDS[enum] = Words({state: words[str(state)] for state in enum}, tones)
        return enum

    return register


def words_in(column: Any) -> Mapping[Any, str] | None:
    """What the values of a column are called: its enum's words, else what it says in `info["words"]`; None for any
    other column."""
    enum = getattr(column.type, "enum", None)
    said: Mapping[Any, str] | None = WORDS.get(enum) if enum is not None else column.info.get("words")
    return said


def words_of(enum: type[StrEnum]) -> Words:
    """What an enum's states are called, in its order. LookupError when it says no words."""
    return WORDS[enum]
