"""The fields of forms that kinds of value need beyond WTForms' own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wtforms import (
    Field,
    PasswordField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired, StopValidation
from wtforms.widgets import DateInput, DateTimeLocalInput, TextArea, TextInput

from app.data.clock import SHANGHAI
from app.data.kinds.apart import Document
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Several
from app.errors import Refused
from app.i18n.sentence import ours, say


def stripped(value: Any) -> Any:
    """Text without the blanks around it."""
    return value.strip() if isinstance(value, str) else value


def required(label: str) -> InputRequired:
    return InputRequired(say("请填写{label}", label=ours(label)))


def not_emptied(missing: str) -> Callable[[Any, Field], None]:
    """The rule that a value may be left out of what is sent, but not taken away; `missing` is said of that."""

    def rule(_form: Any, field: Field) -> None:
        if field.raw_data and not str(field.raw_data[0]).strip():
            field.errors = []
            raise StopValidation(missing)
        if not field.raw_data:
            field.errors = []
            raise StopValidation

    return rule


def no_longer_than(longest: int) -> Callable[[Any, Field], None]:
    """The rule that a text has at most so many letters."""

    def rule(_form: Any, field: Field) -> None:
        if len(field.data or "") > longest:
            raise ValidationError(say("最多 {longest} 个字", longest=longest))

    return rule


def options(pairs: Iterable[tuple[str, str]]) -> list[SelectChoice]:
    """Choices of a select field from (value, text)."""
    return [SelectChoice(value, text) for value, text in pairs]


class CodeField(StringField):
    """A code, a secret or a key: kept letter for letter as it was typed, without the blanks around it."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, **{"filters": [stripped], **kwargs})


class LetterField(TextAreaField):
    """Several lines kept letter for letter, as a program reads them."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, **{"filters": [stripped], **kwargs})


class KindField(Field):
    """What was typed, as a kind reads it in an import, too; what it refuses is said beside the field, and stays typed.

    `written` says how one would type a value.
    """

    def __init__(self, label: str, kind: Kind, written: Callable[[Any], str] = str, **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.kind, self.written = kind, written

    def process_formdata(self, valuelist: Sequence[str]) -> None:
        text = valuelist[0].strip() if valuelist else ""
        self.data = _read(self.kind, text, self.label.text) if text else None

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else self.written(self.data)


class SecretField(PasswordField):
    """Written, never shown: an empty one keeps what is stored."""

    written_only = True

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            setattr(obj, name, self.data.strip())


class PhoneField(KindField):
    """A phone number: written, never shown but as it is typed; an empty one keeps what is stored."""

    widget = TextInput()
    written_only = True

    def __init__(self, label: str, kind: Kind, **kwargs: Any) -> None:
        super().__init__(label, kind, **{"render_kw": {"autocomplete": "off"}, **kwargs})

    def process_data(self, value: Any) -> None:
        self.data = None

    def populate_obj(self, obj: Any, name: str) -> None:
        if self.data:
            setattr(obj, name, self.data)


class TypedField(KindField):
    """A number or an amount, as people write it: a field of type number would not take 1,200 or 5 %."""

    widget = TextInput()

    def __init__(self, label: str, kind: Kind, written: Callable[[Any], str] = str, **kwargs: Any) -> None:
        super().__init__(label, kind, written, **{"render_kw": {"inputmode": "decimal"}, **kwargs})


class DayField(KindField):
    """A date: the browser's own calendar gives it as ISO, other programs as they like."""

    widget = DateInput()


class MomentField(KindField):
    """A moment, of the clock in Shanghai wherever the browser stands."""

    widget = DateTimeLocalInput()

    def __init__(self, label: str, kind: Kind, **kwargs: Any) -> None:
        super().__init__(label, kind, lambda value: value.astimezone(SHANGHAI).strftime("%Y-%m-%dT%H:%M"), **kwargs)


class DocumentField(KindField):
    """JSON, checked and kept as a value."""

    widget = TextArea()

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, Document(), _indented, **kwargs)


def _indented(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


class ChoiceField(SelectField):
    """One of a few, as a kind reads it; `blank`: or none of them."""

    def __init__(self, label: str, kind: Choice, *, blank: bool = False, **kwargs: Any) -> None:
        none = [("", "无")] if blank else []
        offered = options([*none, *((str(value), kind.word(value)) for value in kind.members)])
        super().__init__(label, choices=offered, coerce=lambda value: value or None, validate_choice=False, **kwargs)
        self.kind = kind

    def process_formdata(self, valuelist: Sequence[str]) -> None:
        if valuelist:
            self.data = _read(self.kind, valuelist[0], self.label.text) if valuelist[0].strip() else None


class SeveralField(SelectMultipleField):
    """Several of a few."""

    def __init__(self, label: str, kind: Several, **kwargs: Any) -> None:
        offered = options((str(value), kind.word(value)) for value in kind.members)
        super().__init__(label, choices=offered, validate_choice=False, **kwargs)
        self.kind = kind

    def process_formdata(self, valuelist: Sequence[str]) -> None:
        found = [str(_read(self.kind.each, text, self.label.text)) for text in valuelist if text.strip()]
        self.data = self.kind.decode(found)


def _read(kind: Kind, text: str, label: str) -> Any:
    try:
        return kind.parse(text, label)
    except Refused as refused:
        raise ValueError(refused.message) from None


class YesNoField(SelectField):
    """Yes or no in words, where an empty box would not say which of the two is meant."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, choices=options([("1", "是"), ("0", "否")]), coerce=_yes_or_no, **kwargs)


def _yes_or_no(value: Any) -> bool:
    known = {"1": True, "True": True, "0": False, "False": False}
    if str(value) not in known:
        raise ValueError("neither yes nor no")
    return known[str(value)]
