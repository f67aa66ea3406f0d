"""The face of every kind, in the order of `app.data.kinds`."""

from __future__ import annotations

from functools import partial
from typing import Any

from markupsafe import Markup, escape
from wtforms import BooleanField, Field, StringField, TextAreaField

from app.console import cells
from app.console.kinds import controls
from app.console.kinds.face import Asked, Face, Shown
from app.console.kinds.fields import (
    ChoiceField,
    DayField,
    DocumentField,
    MomentField,
    PhoneField,
    SecretField,
    SeveralField,
    TypedField,
    YesNoField,
    no_longer_than,
    stripped,
)
from app.console.places import page_for
from app.data.kinds.apart import Bare, Document, Folded, Phone, Secret
from app.data.kinds.choice import Choice, Several
from app.data.kinds.plain import Count, Day, Fraction, Lines, Moment, Money, Number, Relation, Words, YesNo
from app.i18n.sentence import said


class Text(Face, kind=Words):
    """A line."""

    control = controls.Text()
    made: type[Field] = StringField

    def field(self, kind: Words, asked: Asked) -> Field:
        rules = [*asked.rules, no_longer_than(kind.longest)]
        return self.made(**asked.common, validators=rules, filters=[stripped])


class LongText(Text, kind=Lines):
    """Several lines."""

    is_long = True
    made = TextAreaField


class WholeNumber(Face, kind=Number):
    """A number as it is: it may name something."""

    control = controls.Number()

    def field(self, kind: Number, asked: Asked) -> Field:
        written = partial(self.typed, kind)
        return TypedField(**asked.common, kind=kind, validators=asked.value_rules, written=written)

    def typed(self, _kind: Any, value: Any) -> str:
        """A value as one would type it."""
        return str(value)


class Amount(WholeNumber, kind=Count):
    """How many: with commas between the thousands."""

    at_right = True

    def cell(self, _kind: Count, value: Any, _name: str) -> Shown:
        return f"{value:,}"


class Share(WholeNumber, kind=Fraction):
    """A number with its places behind the point, all of them."""

    at_right = True

    def cell(self, kind: Fraction, value: Any, _name: str) -> Shown:
        return f"{value:,.{kind.places}f}"

    def typed(self, kind: Fraction, value: Any) -> str:
        return f"{value:.{kind.places}f}"


class Yuan(WholeNumber, kind=Money):
    """An amount of money."""

    at_right = True

    def cell(self, kind: Money, value: Any, _name: str) -> Shown:
        return kind.plain(value)

    def typed(self, kind: Money, value: Any) -> str:
        return f"{kind.exported(value):.2f}"


class Answer(Face, kind=YesNo):
    """Yes or no."""

    control = controls.Flag()

    def cell(self, kind: YesNo, value: Any, _name: str) -> Shown:
        return str(said(kind.plain(value)))

    def field(self, _kind: YesNo, asked: Asked) -> Field:
        return YesNoField(**asked.common) if asked.alone else BooleanField(**asked.common)


class Date(Face, kind=Day):
    """A day."""

    control = controls.Day()

    def cell(self, kind: Day, value: Any, _name: str) -> Shown:
        return kind.plain(value)

    def field(self, kind: Day, asked: Asked) -> Field:
        return DayField(**asked.common, kind=kind, validators=asked.value_rules)


class Time(Face, kind=Moment):
    """A moment, of Shanghai's clock."""

    control = controls.Time()

    def cell(self, _kind: Moment, value: Any, _name: str) -> Shown:
        return cells.clock(value)

    def field(self, kind: Moment, asked: Asked) -> Field:
        return MomentField(**asked.common, kind=kind, validators=asked.value_rules)


class State(Face, kind=Choice):
    """One of a few, with its colour."""

    control = controls.Choices()

    def cell(self, kind: Choice, value: Any, _name: str) -> Shown:
        return cells.state(value, kind.words)

    def field(self, kind: Choice, asked: Asked) -> Field:
        return ChoiceField(**asked.common, kind=kind, blank=not asked.kept, validators=asked.choice_rules)


class States(Face, kind=Several):
    """Several of a few."""

    control = controls.Several()

    def cell(self, kind: Several, value: Any, _name: str) -> Shown:
        return Markup(" ").join(cells.state(item, kind.words) for item in kind.decode(value)) or cells.DASH

    def field(self, kind: Several, asked: Asked) -> Field:
        return SeveralField(**asked.common, kind=kind, validators=asked.choice_rules if asked.needed else [])


class Row(Face, kind=Relation):
    """Another row: its name, which leads to its page. Its field is found by typing, and the form makes it."""

    control = controls.Rows()

    def cell(self, kind: Relation, value: Any, _name: str) -> Shown:
        return cells.link(page_for(kind.table, value.id), value)


class Sealed(Face, kind=Secret):
    """What is written and never shown."""

    def cell(self, kind: Secret, value: Any, _name: str) -> Shown:
        return escape(kind.plain(value)) or cells.DASH

    def field(self, _kind: Secret, asked: Asked) -> Field:
        return SecretField(**asked.common, validators=asked.rules, render_kw={"autocomplete": "new-password"})


class PhoneNumber(Face, kind=Phone):
    """Its mask."""

    def cell(self, kind: Phone, value: Any, _name: str) -> Shown:
        return kind.plain(value) or cells.DASH

    def field(self, kind: Phone, asked: Asked) -> Field:
        return PhoneField(**asked.common, kind=kind, validators=asked.rules)


class Json(Face, kind=Document):
    """A value of parts."""

    is_long = True

    def field(self, _kind: Document, asked: Asked) -> Field:
        return DocumentField(**asked.common, validators=asked.value_rules)


class Twin(Face, kind=Folded):
    """In no screen."""


class Bytes(Face, kind=Bare):
    """What stands in no column, too: as it is."""
