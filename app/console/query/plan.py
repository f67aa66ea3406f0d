"""Rows of a list as plain objects: what is only shown needs neither identity map nor instrumentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from types import FunctionType
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Select
from sqlalchemy.orm import aliased

from app.extensions import db

# By what a related row is shown, and ordered.
NAMING = ("name", "appid", "number", "username", "key", "version", "template_id", "title")
_OWN = (FunctionType, property, cached_property, classmethod, staticmethod)


def naming_of(model: type[Any]) -> list[Any]:
    """The columns by which a row is shown where it stands for itself, the foremost first."""
    columns = model.__mapper__.columns
    return [getattr(model, name) for name in NAMING if name in columns] or [model.id]


def _related_names(model: type[Any]) -> list[str]:
    """The columns by which a related row is named, and by which its own relations are found."""
    links = [key for key, column in model.__mapper__.columns.items() if column.foreign_keys]
    return [*(column.key for column in naming_of(model)), *links]


class Light:
    """A row's columns as attributes, with its model's own properties and methods. What was left in the database (a long
    text, a relation that no column shows) is read when it is asked for, as a mapped row would."""

    mapped: ClassVar[type[Any]]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "id" or not hasattr(self.mapped, name):
            raise AttributeError(f"{self.mapped.__name__} has no {name}")
        return getattr(db.session.get_one(self.mapped, self.id), name)


@cache
def light_class(model: Any) -> type[Light]:
    """The plain form of a model."""
    members: dict[str, Any] = {"mapped": model}
    columns = model.__mapper__.all_orm_descriptors
    for base in reversed(model.__mro__[:-1]):
        for name, member in vars(base).items():
            plain = isinstance(member, _OWN) or not hasattr(type(member), "__get__")
            if plain and name not in columns and (name == "__str__" or not name.startswith("_")):
                members[name] = member
    return type(model.__name__, (Light,), members)


class _Part(NamedTuple):
    """One object of a row: the columns it is made of, and whose relation it is."""

    kind: type[Light]
    names: tuple[str, ...]
    first: int  # of its columns
    last: int
    key: int  # the column that is NULL when nothing is related
    parent: int
    relation: str


class Plan:
    """What the rows of a list are made of: columns of the model and of the relations to one row that come with them."""

    def __init__(self, model: type[Any], names: Sequence[str], relations: Iterable[str], joined: str = "") -> None:
        """`relations` are paths (`a`, `a.b`); the statement has joined `joined` already."""
        self._columns: list[Any] = []
        self._joins: list[Any] = []
        self._parts: list[_Part] = []
        self._places: dict[str, tuple[int, Any]] = {"": (0, model)}
        self._add(model, model, names, 0, "")
        for path in relations:
            self._relate(path, joined)

    def _relate(self, path: str, joined: str) -> None:
        if path in self._places:
            return
        above, _, name = path.rpartition(".")
        if above:
            self._relate(above, joined)
        parent, holder = self._places[above]
        model = getattr(holder, name).property.mapper.class_
        entity = model if path == joined else aliased(model)
        if entity is not model:
            self._joins.append(getattr(holder, name).of_type(entity))
        self._places[path] = (len(self._parts), entity)
        self._add(model, entity, _related_names(model), parent, name)

    def _add(self, model: Any, entity: Any, names: Sequence[str], parent: int, relation: str) -> None:
        keys = [model.__mapper__.get_property_by_column(column).key for column in model.__mapper__.primary_key]
        whole = (*dict.fromkeys([*keys, *names]),)
        first = len(self._columns)
        self._columns += [getattr(entity, name) for name in whole]
        self._parts.append(_Part(light_class(model), whole, first, first + len(whole), first, parent, relation))

    def reading(self, statement: Select[Any]) -> Select[Any]:
        """A statement about the model, reading what the rows are made of."""
        statement = statement.with_only_columns(*self._columns)
        for relation in self._joins:
            statement = statement.outerjoin(relation)
        return statement

    def rows(self, found: Iterable[Any]) -> list[Any]:
        """The rows that such a statement found."""
        return [self._row(values) for values in found]

    def _row(self, values: Any) -> Any:
        made: list[Any] = []
        for kind, names, first, last, key, parent, relation in self._parts:
            if values[key] is None:
                row = None
            else:
                row = kind.__new__(kind)
                row.__dict__ = dict(zip(names, values[first:last], strict=True))
            if relation and made[parent] is not None:
                made[parent].__dict__[relation] = row
            made.append(row)
        return made[0]
