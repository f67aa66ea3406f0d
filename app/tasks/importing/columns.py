"""What an import's columns are: a head, how text becomes a value, what is allowed; made from the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.data.kinds import kind_of
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice
from app.data.kinds.plain import Day, Relation, Words
from app.errors import DeclarationError

LONGEST_SHOWN = 80


def keep(row: Any, name: str, value: Any, kind: Kind | None = None) -> bool:
    """Set an attribute where it differs; whether it did. What reads the same stays as it is."""
    held = getattr(row, name)
    if held == value or (kind is not None and held is not None and kind.same(held, value)):
        return False
    setattr(row, name, value)
    return True


@dataclass(frozen=True)
class Column:
    """One column of an import. `parse` gives the value or is Refused; `apply` sets it and says whether that changed
    the row; `show` is what may be seen of it. `related` finds another row by its text instead: (model, its column).
    `kind` is that of its values, `rule` says what it allows."""

    name: str
    label: str
    parse: Callable[[str], Any]
    required: bool = False
    help: str = ""
    example: str = ""
    kind: Kind = field(default_factory=Words)
    rule: str = ""
    related: tuple[type[Any], str] | None = None
    apply: Callable[[Any, Any], bool] | None = None
    show: Callable[[Any], Any] | None = None

    def put(self, row: Any, value: Any) -> bool:
        return self.apply(row, value) if self.apply else keep(row, self.attribute, value, self.kind)

    @property
    def attribute(self) -> str:
        return f"{self.name}_id" if self.related else self.name

    @property
    def is_text(self) -> bool:
        """Whether it holds a text, in which digits are no number: a name, a phone number, an identifier."""
        return self.kind.holds_text and self.related is None

    @property
    def is_day(self) -> bool:
        """Whether it holds a day, which a workbook may count from 1904."""
        return isinstance(self.kind, Day)

    @property
    def values(self) -> tuple[str, ...]:
        """The few values that there are, in words."""
        return self.kind.values

    def shown(self, row: Any) -> str:
        """The row's value as a preview says it."""
        value = self.show(row) if self.show else getattr(row, self.name)
        if self.show or self.related:
            return "" if value is None else str(value)[:LONGEST_SHOWN]
        return self.kind.plain(value)[:LONGEST_SHOWN]


@dataclass(frozen=True)
class ImportSpec:
    """An import: its model, its columns, and the column by which a row is known again. `mark` is the column that the
    console gave the row and that never changes: it goes before the key, which may then be changed. `check` refuses a
    whole row. `spread` puts what one column says of another there, before the values of a row (None: a new one) are
    set."""

    model: type[Any]
    noun: str
    columns: Sequence[Column]
    key: str
    mark: str = ""
    check: Callable[[Any], None] = lambda _row: None
    spread: Callable[[Any, dict[str, Any]], None] = lambda _row, _values: None
    aliases: Mapping[str, str] = field(default_factory=dict)  # other heads people use, by column

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def key_column(self) -> Column:
        return self.column(self.key)


def of_model(model: type[Any], name: str, label: str, words: Mapping[Any, str] | None = None, **more: Any) -> Column:
    """A column of the model itself: what its kind allows is what the form allows."""
    column = model.__mapper__.columns[name]
    try:
        kind = kind_of(column)
    except TypeError as error:  # a kind that there is not
        raise DeclarationError(str(error)) from None
    if words is not None and isinstance(kind, Choice):
        kind = kind.worded(words)
    needed = not column.nullable and column.default is None
    return Column(
        name,
        label,
        lambda text: kind.parse(text, label),
        required=more.pop("required", needed),
        kind=kind,
        rule=kind.rule,
        **more,
    )


def by_name(name: str, label: str, model: type[Any], column: str, **more: Any) -> Column:
    """Another row, named by one of its columns."""
    return Column(name, label, str, related=(model, column), kind=Relation(), **more)
