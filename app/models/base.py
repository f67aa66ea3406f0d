"""What all tables share: times, ids, the state machine's `move_to`, and JSON that PostgreSQL and MariaDB both keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from flask_appbuilder import Model
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from app.errors import Refused

E = TypeVar("E", bound=StrEnum)
BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts only INTEGER keys by itself
Json = JSON()


def utcnow() -> datetime:
    """Now, aware, in UTC: the only clock of the models and operations."""
    return datetime.now(UTC)


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


WORDS: dict[type[StrEnum], Mapping[Any, str]] = {}  # every enum's states in words
TONES: dict[type[StrEnum], Mapping[str, str]] = {}  # and their colours, of the enums that say them themselves


def worded(words: Mapping[str, str], *, tones: Mapping[str, str] | None = None) -> Callable[[type[E]], type[E]]:
    """Say a state enum's words, by value, for lists, forms, filters and the log; and its colours: good (done and well),
    busy (under way), warn (look at it), bad (act), mute (over). A state without one is mute."""

    def register(enum: type[E]) -> type[E]:
        values = {str(state) for state in enum}
        if set(words) != values or not set(tones or ()) <= values:
            raise TypeError(f"{enum.__name__}: the words and colours must be those of its states")
        WORDS[enum], TONES[enum] = dict(words), dict(tones or {})
        return enum

    return register


class Timestamps:
    """When a row was made and last changed, UTC."""

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, onupdate=utcnow, nullable=False)


class StateMachine:
    """A `state` column whose moves are a table: `NEXT[state]` is the set of states that may follow."""

    NEXT: ClassVar[Mapping[Any, frozenset[Any]]]
    WORDS: ClassVar[Mapping[Any, str]]
    state: Any

    def may_move(self, target: StrEnum) -> bool:
        return target in self.NEXT[self.state]

    def move_to(self, target: StrEnum) -> Self:
        """Take the next state; Refused when the table has no such move."""
        if not self.may_move(target):
            raise Refused(f"当前状态「{self.WORDS[self.state]}」不能变为「{self.WORDS[target]}」")
        self.state = target
        return self


__all__ = ["BigId", "Json", "Model", "State", "StateMachine", "Timestamps", "UtcDateTime", "utcnow", "worded"]
