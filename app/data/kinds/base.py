"""What a kind of value is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from app.data import texts

Operator = Literal["eq", "neq", "ct", "gte", "lte", "rel"]
NAMED: dict[str, type[Kind]] = {}  # by what a column's `info["kind"]` says
TYPED: dict[type[Any], type[Kind]] = {}  # by a column's type, where it says nothing


class Kind:
    """What the values of a column are. A value is as the column holds it; None is no value, of every kind.

    `operators` are its conditions, in the order of their numbers in an address. A class says which columns are of it:
    `class Money(Kind, named="money")` those with `info={"kind": "money"}`, `types=(Boolean,)` those of a type and of
    what is made from it, as far as no other kind names that.
    """

    operators: ClassVar[tuple[Operator, ...]] = ()
    holds_text: ClassVar[bool] = False  # in which digits are no number: a name, a phone number, an identifier
    is_document: ClassVar[bool] = False  # of parts: too much for a list, and for a file's cell
    several_lines: bool = False
    rule: str = ""  # what is allowed, in words
    held: ClassVar[tuple[type[Any], ...]] = ()  # types of column that a kind by name can be of; () = any

    def __init_subclass__(cls, *, named: str = "", types: tuple[type[Any], ...] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if named:
            NAMED[named] = cls
        TYPED.update(dict.fromkeys(types, cls))

    @classmethod
    def of(cls, column: Any) -> Self:
        """The kind of one column that is of this class."""
        return cls()

    @property
    def values(self) -> tuple[str, ...]:
        """The few values that there are, in words; empty where there are many."""
        return ()

    def clean(self, text: str) -> str:
        """What was typed, as it is read."""
        return texts.cleaned(text)

    def parse(self, text: str, label: str) -> Any:
        """The value that somebody typed, in a form, a command or a cell. Refused says what is wrong, by the label."""
        raise NotImplementedError

    def asked(self, text: str) -> Any:
        """The value that a condition in an address names; None when it cannot be meant."""
        return text

    def meant(self, text: str) -> Any:
        """The same, where what cannot be read is not meant either."""
        try:
            return self.asked(text)
        except (ValueError, ArithmeticError):
            return None

    def plain(self, value: Any) -> str:
        """A value in words, for people."""
        return "" if value is None else str(value)

    def exported(self, value: Any) -> Any:
        """A value as a cell of a file: text, a number, a date, a time or None."""
        return self.plain(value)

    def encode(self, value: Any) -> Any:
        """A value as JSON keeps it: in a task, in the log."""
        return value

    def decode(self, held: Any) -> Any:
        """What `encode` made, as the column holds it."""
        return held

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are one to whoever reads them."""
        return bool(one == other)
