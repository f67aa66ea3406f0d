"""An edit of a row that changed meanwhile: what stood there, what stands there now, what was typed, and a choice.

A form carries what it showed when it was opened, signed (`opened`); of secrets only a keyed hash. A field that was
not touched takes the row's value of now; one that both changed is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, Field, SelectField, SelectMultipleField

from app.console import cells
from app.console.form.forms import ConsoleForm, RowSelect
from app.data.keys import parse_key
from app.data.secrets import keyring
from app.i18n.sentence import listed, ours
from app.models.kit.audit import AuditEntry

CHOICE = "merge-"  # the name of a field's choice is this and its own
THEIRS = "theirs"
LOOKED_BACK = 30  # entries of the log among which a column's last change is sought
NOT_SHOWN = "（不显示）"


@dataclass(frozen=True)
class Difference:
    """One field that changed since the form was opened, by whom, and what was typed."""

    name: str
    label: str
    opened: str
    now: str
    mine: str
    by: str  # who changed it, and when
    asked: bool  # both changed it: the reader chooses


def written_only(field: Field) -> bool:
    """Whether a field never shows what is stored."""
    return bool(getattr(field, "written_only", False))


Wire = str | list[str]


def wire(field: Field) -> Wire:
    """A field's value as a browser sends it; empty for none, several of a field that takes several."""
    if isinstance(field, SelectMultipleField):
        return [str(value) for value in field.data or ()]
    if isinstance(field, BooleanField):
        return "y" if field.data else ""
    if isinstance(field, RowSelect):
        return field.raw or (str(field.data.id) if field.data is not None else "")
    if isinstance(field, SelectField):
        return "" if field.data is None else str(field.data)
    return str(field._value())


def wires(form: ConsoleForm, names: Sequence[str]) -> dict[str, Wire]:
    return {name: wire(form[name]) for name in names}


def read(field: Field) -> str:
    """A field's value for people."""
    if isinstance(field, BooleanField):
        return "是" if field.data else "否"
    if written_only(field):
        return NOT_SHOWN if field.data else "—"
    if isinstance(field, RowSelect):
        return "—" if field.data is None else str(field.data)
    if isinstance(field, SelectField):
        return listed(ours(str(item.label)) for item in field.iter_choices() if item.selected) or "—"
    return str(field._value()) or "—"


def _signer(view: Any, key: Any) -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt=f"opened:{view.endpoint}:{key}")


def _seal_mark(row: Any, name: str) -> str:
    return keyring().fingerprint(str(getattr(row, f"{name}_sealed", None)))[:16]


def shown_values(view: Any, row: Any) -> dict[str, Wire]:
    """What the edit form of a row shows now; for what is never shown, a keyed hash of the ciphertext."""
    form = view.edit_form(formdata=None, obj=row)
    names = view.edit_columns
    return {name: _seal_mark(row, name) if written_only(form[name]) else wire(form[name]) for name in names}


def sign(view: Any, row: Any) -> str:
    """The hidden field that says what the form showed."""
    return str(_signer(view, row.id).dumps(shown_values(view, row)))


def opened_values(view: Any, key: Any, text: str | None) -> dict[str, Wire]:
    """What `sign` wrote; nothing when it was not written for this row."""
    try:
        held = _signer(view, key).loads(text or "")
    except BadSignature:
        return {}
    return dict(held) if isinstance(held, dict) else {}


def chosen(view: Any, key: Any, given: Mapping[str, Any]) -> MultiDict[str, str]:
    """What was sent, with the fields whose other value was chosen back at what the form had shown."""
    values: MultiDict[str, str] = MultiDict(given)
    opened = opened_values(view, parse_key(key), given.get("opened"))
    form = view.edit_form(formdata=None)
    for name in view.edit_columns:
        if given.get(CHOICE + name) == THEIRS:
            back = "" if written_only(form[name]) else opened.get(name, "")
            values.setlist(name, back if isinstance(back, list) else [back])
    return values


def merged(view: Any, form: ConsoleForm, row: Any) -> tuple[ConsoleForm, list[Difference]]:
    """(the form to show now, what differs): typed values kept, untouched ones renewed, ready to be sent again."""
    names = view.edit_columns
    opened = opened_values(view, row.id, form.opened.data)
    now = shown_values(view, row)
    mine = wires(form, names)
    then = _form_of(view, {name: value for name, value in opened.items() if not written_only(form[name])})
    current = view.edit_form(formdata=None, obj=row)
    changers = _changers(view, row)
    found, values = [], {}
    for name in names:
        secret, was = written_only(form[name]), opened.get(name)
        touched = bool(mine[name]) if secret else mine[name] != (now[name] if was is None else was)
        moved = was != now[name]
        values[name] = mine[name] if touched else "" if secret else now[name]
        if touched or moved:
            before, after = (NOT_SHOWN, NOT_SHOWN) if secret else (read(then[name]), read(current[name]))
            found.append(
                Difference(
                    name=name,
                    label=form[name].label.text,
                    opened=before if name in opened else "—",
                    now=after,
                    mine=read(form[name]) if touched else "—",
                    by=changers.get(name, "") if moved else "",
                    asked=touched and moved and (secret or mine[name] != now[name]),
                )
            )
    return _form_of(view, values), found


def _form_of(view: Any, values: Mapping[str, Wire]) -> ConsoleForm:
    form: ConsoleForm = view.edit_form(formdata=MultiDict(values))
    return form


def logged_name(view: Any, name: str) -> str:
    """The column under which the audit log keeps a form's field."""
    datamodel = view.datamodel
    if datamodel.is_relation(name):
        return str(datamodel.get_relation_fk(name).key)
    return f"{name}_sealed" if name in getattr(datamodel.obj, "__sealed__", ()) else name


def _changers(view: Any, row: Any) -> dict[str, str]:
    """Who changed each field last, and when, by the audit log."""
    subject = (AuditEntry.subject_type == row.__tablename__, AuditEntry.subject_id == str(row.id))
    edits = select(AuditEntry).where(*subject, AuditEntry.action == "update")
    entries = list(view.datamodel.session.scalars(edits.order_by(AuditEntry.id.desc()).limit(LOOKED_BACK)))
    found = {}
    for name in view.edit_columns:
        logged = logged_name(view, name)
        entry = next((item for item in entries if logged in item.after or logged in item.before), None)
        if entry is not None:
            found[name] = f"{entry.actor_name}，{cells.local_time(entry.at)}"
    return found
