"""Editing a few of a row's columns: the form of just these, and the rules that bind them to the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm.attributes import get_history

from app.console.form.forms import RowForm, model_form
from app.errors import Refused


def partial_form(view: Any, columns: Sequence[str], *, editing: bool) -> type[RowForm]:
    """The form of some columns. A rule counts in it only when both its columns are there; see `check`."""
    made = model_form(view, columns, editing=editing, alone=True)
    made.rules = {name: rule for name, rule in view.field_rules.items() if {name, rule[0]} <= set(columns)}
    return made


def check(view: Any, row: Any) -> None:
    """What the whole form would do: the screen's own check, and its rules about what is needed only with another.

    Refused for a new value that the row has no use for; an old one is emptied when its use has just ended.
    """
    for name, (other, values) in view.field_rules.items():
        held = getattr(row, other)
        needed = held not in (None, "", False) if values == "*" else str(held) in values
        if needed or getattr(row, name) in (None, ""):
            continue
        if get_history(row, name).has_changes():
            raise Refused(_useless(view.label_of(name), view.label_of(other)), field=name)
        if get_history(row, other).has_changes():
            setattr(row, name, _blank(row, name))
    view.pre_update(row)


def _useless(label: str, other: str) -> str:
    return f"现在的{other}用不到{label}：请先修改{other}"


def _blank(row: Any, name: str) -> Any:
    column = type(row).__mapper__.columns[name]
    if column.default is not None and column.default.is_scalar:
        return column.default.arg
    return None if column.nullable else ""
