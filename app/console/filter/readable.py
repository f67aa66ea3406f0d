"""Conditions as an address says them, for people to read and keep: `state=active,suspended`, `created_at=2025-01..`.

a            text columns: contains; all others: is           =a      is exactly
!a  !=a      the opposite                                     =  !=   empty, not empty
a,b          any of them (`\\,` is a comma in a text)          a..b  a..  ..b   from, to
2025  2025-01  2025-01-31  today  yesterday                   times: a year, a month, a day
-7d..  today..+7d  ..now                                      the last seven days, the next seven, what is over by now
"""

from __future__ import annotations

from typing import Any

from flask_appbuilder.models.filters import BaseFilter
from sqlalchemy import ColumnElement, and_, false, not_, or_

from app.console.kinds import kind_in
from app.console.kinds.controls import Control
from app.console.kinds.face import face_of
from app.console.kinds.parts import LONGEST, MOST_VALUES, Part, part_of, parts_of, pieces_of
from app.console.query.filters import LONGEST_VALUE
from app.console.query.search import narrowed


def control_of(view: Any, name: str) -> Control | None:
    """How a column is asked about; None when it cannot be."""
    return face_of(kind_in(view, name)).control


def _column_of(view: Any, name: str) -> Any:
    datamodel = view.datamodel
    local = datamodel.get_relation_fk(name).key if datamodel.is_relation(name) else name
    return getattr(datamodel.obj, local)


def can_be_meant(view: Any, name: str, text: str) -> bool:
    """Whether every value of a condition can be read, and none is cut off."""
    control, pieces = control_of(view, name), pieces_of(text)
    parts = [part_of(piece) for piece in pieces]
    if control is None or not parts or None in parts:
        return False
    if len(text) > LONGEST or len(parts) > MOST_VALUES or max(map(len, pieces)) > LONGEST_VALUE:
        return False
    kind, column = kind_in(view, name), _column_of(view, name)
    return not any(part and not part.is_empty and control.sql(kind, column, part).compare(false()) for part in parts)


def clause(view: Any, name: str, text: str) -> ColumnElement[bool]:
    """What a column must be, as SQL. A value that cannot be meant finds nothing."""
    control = control_of(view, name)
    if control is None:
        return false()
    wanted, others = [], []
    for part in parts_of(text):
        made = _of_part(view, name, control, part)
        if not part.negative:
            wanted.append(made)
        elif made.compare(false()):
            others.append(made)
        else:
            column = _column_of(view, name)
            others.append(not_(made) if part.is_empty else or_(column.is_(None), not_(made)))
    if not wanted and not others:
        return false()
    return and_(*([or_(*wanted)] if wanted else []), *others)


def _of_part(view: Any, name: str, control: Control, part: Part) -> ColumnElement[bool]:
    kind, column = kind_in(view, name), _column_of(view, name)
    if not part.is_empty:
        return control.sql(kind, column, part)
    return control.nothing(kind, column)


class Readable(BaseFilter):
    """A condition from an address. `scans`: the database reads every row for it."""

    name = "条件"
    arg_name = "readable"

    def __init__(self, view: Any, column_name: str, text: str) -> None:
        super().__init__(column_name, view.datamodel)
        self.view, self.text = view, text
        control = control_of(view, column_name)
        self.scans = control is not None and control.looks_within and not all(part.exact for part in parts_of(text))

    def apply(self, query: Any, value: Any) -> Any:
        query = query.filter(clause(self.view, self.column_name, self.text))
        wanted = [part for part in parts_of(self.text) if not part.negative]
        if not self.scans or not wanted or any(part.exact for part in wanted):
            return query
        sought = [part.text for part in wanted]
        return narrowed(query, self.datamodel.session, self.model, [self.column_name], sought)


def given(args: Any, name: str) -> str:
    """A column's condition in a request's arguments; several of one name are any of them."""
    values = args.getlist(name) if hasattr(args, "getlist") else [args.get(name, "")]
    return ",".join(str(value).strip() for value in values if str(value).strip())[:LONGEST]


def conditions(view: Any, args: Any) -> dict[str, str]:
    """The readable conditions of a request on the columns that the view lets one search."""
    found = {name: given(args, name) for name in view.search_columns if name in args}
    return {name: text for name, text in found.items() if parts_of(text) and control_of(view, name)}
