"""What an audit entry says in words: each column's label, its value before and after, what differs marked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from flask_appbuilder import Model
from markupsafe import Markup, escape
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.console import cells
from app.console.places import column_label, view_named
from app.data.kinds import kind_of
from app.data.kinds.apart import Bare, Document
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Several
from app.data.kinds.plain import Moment, YesNo
from app.data.tenancy import scope_of, tenancy_of
from app.i18n.sentence import listed, ours, said
from app.models.kit.audit import CHANGED, CHANGED_PERSON, AuditEntry

LONGEST_MARKED = 600  # letters: comparing texts letter by letter takes their product
ALIKE = 0.4  # texts that share less are shown as wholly new
NOTHING = "—"
SAID: dict[str, dict[Any, str]] = {}


def say_detail(name: str, words: Mapping[Any, str]) -> None:
    """Say what the values mean of what `record` wrote under a name that is no column, for every line of the log;
    declared by the screen that knows them."""
    SAID[name] = dict(words)


LOGGED = frozenset({CHANGED, CHANGED_PERSON})  # what the log says in place of what it must not hold


@dataclass(frozen=True)
class Change:
    """One column of one entry, as shown."""

    name: str
    label: str
    before: Markup
    after: Markup


class Reader:
    """Reads entries for one session: the rows that foreign keys name are looked up once for all of them."""

    def __init__(self, session: Session, entries: Iterable[AuditEntry]) -> None:
        self.session = session
        self.names = self._names(entries)

    def _names(self, entries: Iterable[AuditEntry]) -> dict[tuple[type[Any], Any], str]:
        wanted: dict[type[Any], set[Any]] = defaultdict(set)
        for entry in entries:
            for name in {**entry.before, **entry.after}:
                model = target_of(entry.subject_type, name)
                if model is not None and not self._hidden(model):
                    wanted[model] |= {held.get(name) for held in (entry.before, entry.after)} - {None}
        found = {}
        for model, keys in wanted.items():
            numbers = [key for key in keys if isinstance(key, int)]
            for row in self.session.scalars(select(model).where(model.id.in_(numbers))):
                found[model, row.id] = str(row)
        return found

    def _hidden(self, model: type[Any]) -> bool:
        return scope_of(self.session).is_merchant and tenancy_of(model) == "platform"

    def changes(self, entry: AuditEntry, allowed: Collection[str] | None = None) -> list[Change]:
        """An entry's columns in the order of their names; of `allowed` ones only, where it is given."""
        names = sorted({**entry.before, **entry.after})
        return [self._change(entry, name) for name in names if allowed is None or name in allowed]

    def _change(self, entry: AuditEntry, name: str) -> Change:
        before, after = (self.spoken(entry.subject_type, name, held.get(name)) for held in (entry.before, entry.after))
        show = replaced if _is_whole(model_of(entry.subject_type), name) else marked
        return Change(name, label_of(entry.subject_type, name), *show(before, after))

    def spoken(self, subject_type: str, name: str, value: Any) -> str:
        """A logged value in words."""
        if value in (None, "", [], {}):
            return NOTHING
        model = target_of(subject_type, name)
        if model is not None and (model, value) in self.names:
            return self.names[model, value]
        return spoken(model_of(subject_type), name, value)


def spoken(model: type[Any] | None, name: str, value: Any) -> str:
    """A logged value in words: by its kind, and of what is no plain column by what it looks like."""
    if isinstance(value, str) and value in LOGGED:
        return str(said(value))
    if name == "quiet" and isinstance(value, dict):
        return f"{value.get('from')}–{value.get('to')}"
    if name == "view" and isinstance(value, str) and (screen := view_named(value)) is not None:
        return str(said(screen.list_title))
    kind = kind_in(model, name)
    return _as_it_looks(name, value) if kind is None or isinstance(kind, Document | Bare) else _of_kind(kind, value)


def _of_kind(kind: Kind, value: Any) -> str:
    """As it was logged where the kind cannot read it any more, and where it is a mask."""
    try:
        held = kind.decode(value)
        if isinstance(kind, Choice):
            several = held if isinstance(kind, Several) else [held]
            return str(said(listed(ours(kind.words[item]) if item in kind.words else str(item) for item in several)))
        if isinstance(kind, YesNo):
            return str(said(kind.plain(held)))
        return (cells.local_time(held) if isinstance(kind, Moment) else kind.plain(held)) or _logged(value)
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError):
        return _logged(value)


def _logged(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_it_looks(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(said("是" if value else "否"))
    words = SAID.get(name) or {}
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return str(said(listed(ours(words[item]) if item in words else str(item) for item in value)))
    if not isinstance(value, str):
        return _logged(value)
    if value in words:
        return str(said(words[value]))
    return _time(value) if name == "until" or name.endswith("_at") else value


def _is_whole(model: type[Any] | None, name: str) -> bool:
    """Whether a value is told as a whole, not letter by letter: 审核中 becomes 审核通过, ¥19.90 becomes ¥20.00."""
    kind = kind_in(model, name)
    return name in SAID if kind is None else bool(kind.values) or not (kind.holds_text or isinstance(kind, Document))


def _time(value: str) -> str:
    try:
        return cells.local_time(datetime.fromisoformat(value))
    except ValueError:
        return value


@lru_cache(maxsize=1)
def _models() -> dict[str, type[Any]]:
    classes = (mapper.class_ for mapper in Model.registry.mappers)
    return {model.__tablename__: model for model in classes if tenancy_of(model)}


def model_of(subject_type: str) -> type[Any] | None:
    """The model that an entry is about; None for one of old."""
    return _models().get(subject_type)


def kind_in(model: type[Any] | None, name: str) -> Kind | None:
    """The kind of a model's column; None for what is no column of it."""
    return kind_of(model.__mapper__.columns[name]) if model is not None and name in model.__mapper__.columns else None


def target_of(subject_type: str, name: str) -> type[Any] | None:
    """The model that a foreign key's column leads to."""
    relation = relation_of(subject_type, name)
    return relation.mapper.class_ if relation is not None else None


def relation_of(subject_type: str, name: str) -> Any:
    """The relation of a foreign key's column; None for every other column."""
    model = model_of(subject_type)
    if model is None or not name.endswith("_id"):
        return None
    relations = model.__mapper__.relationships.values()
    return next(
        (
            item
            for item in relations
            if name in {column.key for column in item.local_columns} and item.direction.name == "MANYTOONE"
        ),
        None,
    )


def label_of(subject_type: str, name: str) -> str:
    """A column's label as its screen has it; a foreign key has that of its relation."""
    relation = relation_of(subject_type, name)
    related = column_label(subject_type, relation.key) if relation is not None else None
    return related or column_label(subject_type, name) or name


def replaced(before: str, after: str) -> tuple[Markup, Markup]:
    """Two values as HTML, the one taken away and the other put in its place."""
    if NOTHING in (before, after) or before == after:
        return escape(before), escape(after)
    return _wholly("del", before), _wholly("ins", after)


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Two values as HTML with what was taken away and what was added marked."""
    if NOTHING in (before, after) or before == after or max(len(before), len(after)) > LONGEST_MARKED:
        return replaced(before, after)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    if matcher.ratio() < ALIKE:
        return replaced(before, after)
    old, new = Markup(""), Markup("")
    for kind, start, end, begin, stop in matcher.get_opcodes():
        old += escape(before[start:end]) if kind == "equal" else _wholly("del", before[start:end])
        new += escape(after[begin:stop]) if kind == "equal" else _wholly("ins", after[begin:stop])
    return old, new


def _wholly(tag: str, text: str) -> Markup:
    return Markup("<{0}>{1}</{0}>").format(tag, text) if text else Markup("")
