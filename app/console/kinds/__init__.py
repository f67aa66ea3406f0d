"""The console's half of `app.data.kinds`: here the fields by which forms ask for each kind; its look in lists and
pages, and how a list is asked about it, stand beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wtforms import (
    BooleanField,
    Field,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import Length, Optional

from app.console.kinds.fields import DayField, DocumentField, TypedField, YesNoField, options, required, stripped
from app.data.kinds import kind_of
from app.data.kinds.apart import Bare, Document
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed, Several
from app.data.kinds.plain import Day, Fraction, Money, Number, Relation, Words, YesNo


@dataclass(frozen=True)
class Asked:
    """What a field is made of. `alone`: it stands without its form, as in a list's cell."""

    label: str
    description: str
    default: Any
    needed: bool
    alone: bool

    @property
    def common(self) -> dict[str, Any]:
        return {"label": self.label, "description": self.description, "default": self.default}

    @property
    def rules(self) -> list[Any]:
        return [required(self.label)] if self.needed else [Optional()]


def _words(kind: Words, asked: Asked) -> Field:
    made = TextAreaField if kind.several_lines else StringField
    length = Length(max=kind.longest, message=f"最多 {kind.longest} 个字")
    return made(**asked.common, validators=[*asked.rules, length], filters=[stripped])


def _typed(kind: Kind, asked: Asked) -> Field:
    return TypedField(**asked.common, kind=kind, validators=asked.rules)


def _fraction(kind: Fraction, asked: Asked) -> Field:
    return TypedField(
        **asked.common, kind=kind, written=lambda value: f"{value:.{kind.places}f}", validators=asked.rules
    )


def _money(kind: Money, asked: Asked) -> Field:
    return TypedField(
        **asked.common, kind=kind, written=lambda fen: f"{kind.exported(fen):.2f}", validators=asked.rules
    )


def _choice(kind: Choice, asked: Asked) -> Field:
    return SelectField(
        **asked.common,
        validators=asked.rules[:1] if asked.needed else [],
        choices=options((str(value), kind.word(value)) for value in kind.members),
        coerce=lambda text: kind.asked(text) if text else None,
    )


def _several(kind: Several, asked: Asked) -> Field:
    offered = options((str(value), kind.word(value)) for value in kind.members)
    return SelectMultipleField(**asked.common, validators=asked.rules if asked.needed else [], choices=offered)


def _yes_or_no(_kind: YesNo, asked: Asked) -> Field:
    return YesNoField(**asked.common) if asked.alone else BooleanField(**asked.common)


def _day(kind: Day, asked: Asked) -> Field:
    return DayField(**asked.common, kind=kind, validators=asked.rules)


def _document(_kind: Document, asked: Asked) -> Field:
    return DocumentField(**asked.common, validators=asked.rules)


FIELDS: dict[type[Kind], Callable[[Any, Asked], Field]] = {
    Words: _words,
    Number: _typed,
    Fraction: _fraction,
    Money: _money,
    YesNo: _yes_or_no,
    Day: _day,
    Several: _several,
    Choice: _choice,
    Document: _document,
}


def field_of(column: Any, label: str, description: str, *, alone: bool = False) -> Field:
    """The field of one plain column, by the kind of its values. TypeError for what no form holds: times, secrets."""
    kind = kind_of(column)
    made = next((FIELDS[base] for base in type(kind).__mro__ if base in FIELDS), None)
    if made is None:
        raise TypeError(f"{column} has no form field")
    needed = not column.nullable and column.default is None
    return made(kind, Asked(label, description, _default(column), needed, alone))


def kind_in(view: Any, name: str) -> Kind:
    """The kind of a name's values as a screen has them: its relations are rows, its `column_words` are the words.

    Bare for what stands in no column of the screen's table.
    """
    held: dict[str, Kind] = view.__dict__.setdefault("_kinds", {})
    if name not in held:
        held[name] = _kind_in(view, name)
    return held[name]


def _kind_in(view: Any, name: str) -> Kind:
    datamodel = view.datamodel
    if name not in datamodel.list_properties:
        return Bare()
    if datamodel.is_relation(name):
        related = datamodel.get_related_model(name).__tablename__
        return Relation(related) if datamodel.is_relation_many_to_one(name) else Bare()
    kind, words = kind_of(datamodel.list_columns[name]), view.column_words.get(name)
    if words is None:
        return kind
    return kind.worded(words) if isinstance(kind, Choice) else Listed(words)


def _default(column: Any) -> Any:
    return column.default.arg if column.default is not None and column.default.is_scalar else None
