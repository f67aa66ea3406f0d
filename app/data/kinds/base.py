"""What a kind of value is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from app.data import texts

Operator = Literal["eq", "neq", "ct", "gte", "lte", "rel"]


class Kind:
    """What the values of a column are. A value is as the column holds it; None is no value, of every kind.

    `operators` are its conditions, in the order of their numbers in an address.
    """

    operators: ClassVar[tuple[Operator, ...]] = ()
    holds_text: ClassVar[bool] = False  # in which digits are no number: a name, a phone number, an identifier
    is_document: ClassVar[bool] = False  # of parts: too much for a list, and for a file's cell
    several_lines: bool = False
    rule: str = ""  # what is allowed, in words

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
