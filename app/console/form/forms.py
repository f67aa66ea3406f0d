"""Forms made from columns and from an operation's parameters: Chinese messages, values checked on the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, get_type_hints

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    HiddenField,
    IntegerField,
    PasswordField,
    SelectField,
    StringField,
    TextAreaField,
    ValidationError,
)
from wtforms.validators import InputRequired

from app.console.kinds import field_of, sealed_field
from app.console.kinds.fields import CodeField as CodeField
from app.console.kinds.fields import LetterField
from app.console.kinds.fields import options as options
from app.console.kinds.fields import required as required
from app.console.kinds.fields import stripped as stripped
from app.data import texts
from app.data.keys import parse_key
from app.data.tenancy import MerchantOwned
from app.errors import Refused
from app.i18n.sentence import ours, say


def chosen(label: str) -> InputRequired:
    """The same of a field in which one chooses."""
    return InputRequired(say("请选择{label}", label=ours(label)))


def sound(check: Callable[[str], str]) -> Callable[[Any, Field], None]:
    """A rule of the operations as a field's: `check` gives the value as it is kept, or refuses it."""

    def rule(_form: Any, field: Field) -> None:
        if field.data:
            try:
                field.data = check(field.data)
            except Refused as refused:
                raise ValidationError(refused.message) from None

    return rule


AS_TYPED = (PasswordField, HiddenField, CodeField, LetterField)  # what these hold is never cleaned


class ConsoleForm(FlaskForm):
    """What every form of the console is: its texts are cleaned, then required; none holds more lines than it shows."""

    def validate(self, extra_validators: Any = None) -> bool:
        """Check the fields; what their texts may not hold is said beside each."""
        for field in self:
            if isinstance(field, StringField) and not isinstance(field, AS_TYPED):
                _clean(field)
        sound = bool(super().validate(extra_validators))
        for field in self:
            if not isinstance(field, StringField) or isinstance(field, HiddenField) or not isinstance(field.data, str):
                continue
            if wrong := texts.fault(field.data, lines=isinstance(field, TextAreaField)):
                field.errors, sound = [*field.errors, wrong], False
        return sound


def _clean(field: Field) -> None:
    """What was typed and what the field made of it, as a text is kept: a name of wide blanks is no name."""
    lines = isinstance(field, TextAreaField)
    field.raw_data = field.raw_data and [texts.cleaned(str(raw), lines=lines) for raw in field.raw_data]
    field.data = texts.cleaned(field.data, lines=lines) if isinstance(field.data, str) else field.data


class RowForm(ConsoleForm):
    """A form of a row's columns. `rules` says which field is needed only when another one has a value:
    {"expires_on": ("plan", "*")}, or ("kind", ("gift", "cash")) for some values only."""

    rules: ClassVar[Mapping[str, tuple[str, Any]]] = {}
    conflict = False  # set when the row has changed since the form was opened

    def unneeded(self) -> list[str]:
        """The fields that the others' values make meaningless."""
        return [name for name in self.rules if name in self and not self._needed(name)]

    def _needed(self, name: str) -> bool:
        if name not in self.rules:
            return True
        other, values = self.rules[name]
        if other not in self or not self._needed(other):
            return False
        held = self[other].data
        return held not in (None, "", False) if values == "*" else str(held) in values

    def validate(self, extra_validators: Any = None) -> bool:
        """Check the fields that are needed; the others are emptied, whatever was typed into them."""
        for name in self.unneeded():
            field = self[name]
            field.process_errors, field.validators = [], []
            field.process_data(field.default() if callable(field.default) else field.default)
        return bool(super().validate(extra_validators))


class RowSelect(Field):
    """A related row, found by typing (no list of all rows) and looked up again, within the scope, when saved."""

    remote = True

    def __init__(self, label: str, model: type[Any], url: Callable[[], str], session: Callable[[], Any], **kwargs: Any):
        super().__init__(label, **kwargs)
        self.model, self.url, self.session = model, url, session
        self.raw = ""

    def process_formdata(self, valuelist: Sequence[str]) -> None:
        self.raw = valuelist[0].strip() if valuelist else ""
        key = parse_key(self.raw) if self.raw else None
        self.data = self.session().get(self.model, key) if key is not None else None
        if self.raw and self.data is None:
            raise ValidationError(say("所选的{label}不存在：请重新选择", label=ours(self.label.text)))

    def process_data(self, value: Any) -> None:
        self.data = value if isinstance(value, self.model) else None

    @property
    def chosen(self) -> tuple[str, str] | None:
        """(key, text) of the chosen row, for the page."""
        return (str(self.data.id), str(self.data)) if self.data is not None else None


def model_form(view: Any, columns: Sequence[str], *, editing: bool, alone: bool = False) -> type[RowForm]:
    """A form class for a view's add or edit columns. Editing carries the hidden mark that tells lost updates,
    and what the form showed when it was opened."""
    members: dict[str, Any] = {name: _member(view, name, editing=editing, alone=alone) for name in columns}
    for name in view.value_checks.keys() & members.keys():
        given = members[name].kwargs
        given["validators"] = [*given.get("validators", ()), sound(view.value_checks[name])]
    if editing:
        members |= {"seen_mark": HiddenField(), "opened": HiddenField()}
    members["rules"] = dict(view.field_rules)
    return type(f"{type(view).__name__}Form", (RowForm,), members)


def _member(view: Any, name: str, *, editing: bool, alone: bool) -> Field:
    model = view.datamodel.obj
    label = str(view.label_columns.get(name, name))
    help_text = str(view.description_columns.get(name, ""))
    if name in getattr(model, "__sealed__", ()):
        needed = name in view.required_secrets and not editing
        return sealed_field(model, name, label, "留空则保持不变" if editing else help_text, needed=needed)
    if view.datamodel.is_relation(name):
        return RowSelect(
            label,
            view.datamodel.get_related_model(name),
            lambda: view.choices_url(name),
            lambda: view.datamodel.session,
            description=help_text,
            validators=[chosen(label)] if _relation_needed(view, name) else [],
        )
    return field_of(model.__mapper__.columns[name], label, help_text, alone=alone)


def _relation_needed(view: Any, name: str) -> bool:
    """Whether a relation must be chosen. An owned row's merchant, too: empty means that nobody has claimed it yet."""
    if name in view.optional_columns:
        return False
    owner = issubclass(view.datamodel.obj, MerchantOwned) and view.datamodel.get_relation_fk(name).key == "merchant_id"
    return owner or not view.datamodel.is_nullable(name)


def params_form(params: type[Any], choices: Mapping[str, list[tuple[str, str]]]) -> type[ConsoleForm]:
    """A form class for an operation's parameters; labels, help and choices come from each field's metadata.

    Only the shape is asked for here: `parse_params` decides what is valid, and its refusals are shown beside the field.
    """
    hints = get_type_hints(params)
    members = {item.name: _param_field(item, hints[item.name], choices) for item in dataclasses.fields(params)}
    return type("ParamsForm", (ConsoleForm,), members)


def _param_field(item: dataclasses.Field[Any], hint: Any, choices: Mapping[str, list[tuple[str, str]]]) -> Field:
    label = item.metadata.get("label", item.name)
    needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    common: dict[str, Any] = {"label": label, "description": item.metadata.get("help", "")}
    common["validators"] = [required(label)] if needed else []
    if item.name in choices:
        blank = [] if needed else [("", "请选择")]
        return SelectField(**common, choices=options(blank + choices[item.name]), validate_choice=False)
    if hint is bool:
        return BooleanField(**common)
    if hint is int:
        return IntegerField(**common)
    if item.metadata.get("as_typed"):
        return (LetterField if item.metadata.get("multiline") else CodeField)(**common)
    return (TextAreaField if item.metadata.get("multiline") else StringField)(**common, filters=[stripped])


def given_params(form: ConsoleForm, params: type[Any]) -> dict[str, Any]:
    """What was typed, by parameter name."""
    return {item.name: form[item.name].data for item in dataclasses.fields(params)}


def as_text(value: Any) -> Any:
    """A proposed default as a form field holds it."""
    return "，".join(str(item) for item in value) if isinstance(value, list | tuple) else value


def attach(form: ConsoleForm, message: str, field: str | None) -> None:
    """Put a refusal beside its field, or above the form when it names none."""
    if field and field in form:
        form[field].errors = [*form[field].errors, message]
    else:
        form.form_errors = [*form.form_errors, message]
