"""The console's half of `app.data.kinds`: a kind's face is one class in `faces`, which says how its values look, the
field by which forms ask for them, and how a list is asked about them."""

from __future__ import annotations

from typing import Any

from wtforms import Field

from app.console.kinds import faces as faces
from app.console.kinds.face import Asked, face_of
from app.data.kinds import kind_named, kind_of
from app.data.kinds.apart import Bare
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed
from app.data.kinds.plain import Relation


def field_of(column: Any, label: str, description: str, *, alone: bool = False) -> Field:
    """The field of one plain column, by the kind of its values. TypeError for what no form holds: twins, bytes."""
    default = column.default.arg if column.default is not None and column.default.is_scalar else None
    needed = not column.nullable and column.default is None
    kind = kind_of(column)
    return face_of(kind).field(kind, Asked(label, description, default, needed, alone, kept=not column.nullable))


def sealed_field(model: type[Any], name: str, label: str, description: str, *, needed: bool) -> Field:
    """The field of a sealed attribute, which is written and never shown."""
    kind = sealed_kind(model, name)
    return face_of(kind).field(kind, Asked(label, description, needed=needed))


def sealed_kind(model: type[Any], name: str) -> Kind:
    """The kind of a sealed attribute's values."""
    return kind_named(getattr(model, name).kind, f"{model.__name__}.{name}")()


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
    if name in getattr(datamodel.obj, "__sealed__", ()):
        return sealed_kind(datamodel.obj, name)
    if name not in datamodel.list_properties:
        return Bare()
    if datamodel.is_relation(name):
        related = datamodel.get_related_model(name).__tablename__
        return Relation(related) if datamodel.is_relation_many_to_one(name) else Bare()
    kind, words = kind_of(datamodel.list_columns[name]), view.column_words.get(name)
    if words is None:
        return kind
    return kind.worded(words) if isinstance(kind, Choice) else Listed(words)
