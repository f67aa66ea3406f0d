"""How lists ask the database: few robust filters, one count, a stable order, and the shown relations loaded at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from flask_appbuilder.models.filters import BaseFilter
from flask_appbuilder.models.sqla.interface import SQLAInterface
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Load

from app.console.query.filters import ConsoleFilterConverter, ScopedFilters, kinds_of
from app.console.query.plan import Plan, naming_of
from app.console.query.search import SOME
from app.data.keys import parse_key
from app.data.tenancy import scope_of

COUNTED = 10_000  # rows are counted up to here: "10,000+" says as much to a reader and costs the same in every table
FOUND = 500  # the same for a text search, which reads every row on its way
DEEP = 500  # from this offset on only keys are skipped over, not whole rows
MANY_FOR = 30.0  # seconds for which more rows than COUNTED are taken to be still so many
REMEMBERED = 256


class Count(int):
    """How many rows match. `capped`: there are more than it says; `more`: rows follow the page that was asked for."""

    capped: bool
    more: bool

    def __new__(cls, number: int, *, capped: bool = False, more: bool = False) -> Count:
        made = super().__new__(cls, number)
        made.capped, made.more = capped, more
        return made


class _Order(NamedTuple):
    """How a page is ordered, and which columns it shows."""

    column: str
    descending: bool
    shown: frozenset[str]


class ScopedInterface(SQLAInterface):
    """FAB's data model with our filters, and pages of rows that cost the same in a small and a great table.

    The relations in `eager` (`a`, `a.b`) come with the rows. A list leaves the columns in `leave` in the database.
    No row of the list lacks the relations in `always`, though their column may be empty: an order by them can then
    follow the related table's index.
    """

    filter_converter_class = ConsoleFilterConverter

    def __init__(
        self,
        obj: type[Any],
        *,
        eager: tuple[str, ...] = (),
        leave: tuple[str, ...] = (),
        always: tuple[str, ...] = (),
    ) -> None:
        self.eager, self.leave, self.always = eager, leave, frozenset(always)
        self._filters_of: dict[str, list[BaseFilter]] = {}
        self._filters_on: dict[tuple[str, ...], dict[str, list[BaseFilter]]] = {}
        self._many: dict[Any, float] = {}
        self._plans: dict[Any, Plan] = {}
        self._statements: dict[Any, Select[Any]] = {}
        super().__init__(obj)

    # Filters: their objects hold no state, so a column's serve every request.

    def filters_of(self, column: str) -> list[BaseFilter]:
        """The filters a column offers."""
        if column not in self._filters_of:
            self._filters_of[column] = [kind(column, self) for kind in kinds_of(self, column)]
        return self._filters_of[column]

    def filters_on(self, columns: tuple[str, ...]) -> dict[str, list[BaseFilter]]:
        """The filters of some columns, without those that offer none."""
        if columns not in self._filters_on:
            offered = {name: self.filters_of(name) for name in columns}
            self._filters_on[columns] = {name: kinds for name, kinds in offered.items() if kinds}
        return self._filters_on[columns]

    def get_filters(self, search_columns: list[str] | None = None, search_filters: Any = None) -> ScopedFilters:
        return ScopedFilters(self.filter_converter_class, self, search_columns, search_filters)

    # Rows.

    def get(self, id: Any, filters: Any = None, select_columns: Any = None, outer_default_load: bool = False) -> Any:
        """The row within the session's scope and the view's own filters; None for a foreign or absent one."""
        key = parse_key(id)
        if key is None:
            return None
        statement = select(self.obj).options(*self._whole).where(self._key == key)
        return self.session.scalars(self.apply_filters(statement, filters)).unique().one_or_none()

    def query(
        self,
        filters: Any = None,
        order_column: str = "",
        order_direction: str = "",
        page: int | None = None,
        page_size: int | None = None,
        select_columns: Sequence[str] | None = None,
        **_unused: Any,
    ) -> tuple[Count, list[Any]]:
        """(how many match, the page's rows). Counted only when the page does not tell, and never beyond a cap.

        `select_columns` names what is shown besides the list's usual columns.
        """
        matching = self.apply_filters(self._all, filters)
        order = _Order(order_column, order_direction != "asc", frozenset(select_columns or ()))
        size, offset = page_size, (page or 0) * (page_size or 0)
        if size and filters and any(getattr(item, "scans", False) for item in filters.filters):
            return self._searched(matching, order, offset, size)
        rows = self._page(matching, order, offset, None if size is None else size + 1)
        if size is None or (len(rows) <= size and (rows or not offset)):
            return Count(offset + len(rows)), rows
        return self._counted(matching, known=offset + len(rows), more=len(rows) > size), rows[:size]

    def keys(
        self, filters: Any, order_column: str = "", order_direction: str = "asc", *, most: int | None = None
    ) -> list[int]:
        """The numbers of all rows that match, in order; of the first `most` where that is given."""
        matching = self.apply_filters(select(self._key), filters)
        order = _Order(order_column, order_direction != "asc", frozenset())
        return list(self.session.scalars(self._ordered(matching, order).limit(most)))

    def _searched(self, matching: Select[Any], order: _Order, offset: int, size: int) -> tuple[Count, list[Any]]:
        """A page of what holds a text: of a few rows, or of so many that they are met soon on the order's way."""
        some, keys = matching.get_execution_options().get(SOME), []
        if some:
            keys = list(self.session.scalars(matching.where(self._key.in_(some)).limit(FOUND + 1)))
        if len(keys) <= FOUND:
            keys = list(self.session.scalars(matching.limit(FOUND + 1)))
        if len(keys) <= FOUND:
            return self._among(keys, order, offset, size)
        rows = self._page(matching, order, offset, size + 1)
        return Count(FOUND, capped=True, more=len(rows) > size), rows[:size]

    def _among(self, keys: list[int], order: _Order, offset: int, size: int) -> tuple[Count, list[Any]]:
        """A page of a few rows that are known by their keys: the database does not read the others again."""
        count = Count(len(keys), more=offset + size < len(keys))
        if offset >= len(keys):
            return count, []
        return count, self._page(select(self._key).where(self._key.in_(keys)), order, offset, size)

    def _counted(self, matching: Select[Any], *, known: int, more: bool) -> Count:
        if known > COUNTED:
            return Count(COUNTED, capped=True, more=more)
        if scope_of(self.session()).is_merchant:  # few rows; and a count of a subquery could not be held to them
            return Count(self.session.scalar(matching.with_only_columns(func.count(self._key))) or 0, more=more)
        if self._known_many(matching):
            return Count(COUNTED, capped=True, more=more)
        some = matching.limit(COUNTED + 1).subquery()
        number = self.session.scalar(select(func.count()).select_from(some)) or 0
        if number > COUNTED:
            self._remember_many(matching)
        return Count(min(number, COUNTED), capped=number > COUNTED, more=more)

    # Rows beyond the cap stay beyond it for a while: the same question is not asked for every page.

    def _known_many(self, matching: Select[Any]) -> bool:
        return self._many.get(_question(matching), 0.0) > time.monotonic()

    def _remember_many(self, matching: Select[Any]) -> None:
        if len(self._many) >= REMEMBERED:
            self._many.clear()
        if (question := _question(matching)) is not None:
            self._many[question] = time.monotonic() + MANY_FOR

    def _page(self, matching: Select[Any], order: _Order, offset: int, limit: int | None) -> list[Any]:
        """Rows in a stable order, as plain objects where only relations to one row are shown."""
        plan = self._plan_of(order)
        asked = (order, offset, limit) if matching is self._all else None
        statement = self._statements.get(asked) if asked else None
        if statement is None:
            statement = self._of_page(matching, order, offset, limit)
            statement = plan.reading(statement) if plan else statement.with_only_columns(self.obj).options(*self._whole)
            if asked:  # nobody's conditions are in it: every reader's first page is this one
                _hold(self._statements, asked, statement)
        if plan is None:
            return list(self.session.scalars(statement))
        return plan.rows(self.session.execute(statement))

    def _of_page(self, matching: Select[Any], order: _Order, offset: int, limit: int | None) -> Select[Any]:
        """Far into a table only keys are walked over; the page's rows are joined to them."""
        statement = self._ordered(matching, order)
        if offset:
            statement = statement.offset(offset)
        if limit is not None:
            statement = statement.limit(limit)
        if offset < DEEP:
            return statement
        kept = statement.subquery()
        return self._ordered(select(self._key).join(kept, kept.c[self.get_pk_name()] == self._key), order)

    def _ordered(self, statement: Select[Any], order: _Order) -> Select[Any]:
        """By the column, or by what a related row is called; then by number, so that pages never overlap."""
        ordered = [self._key]
        if order.column and self.is_relation(order.column):
            relation = getattr(self.obj, order.column)
            statement = statement.join(relation, isouter=order.column not in self._present)
            ordered = [naming_of(relation.property.mapper.class_)[0], self._key]
        elif order.column:
            ordered = [getattr(self.obj, order.column), self._key]
        return statement.order_by(*(item.desc() if order.descending else item.asc() for item in ordered))

    # Loading.

    @cached_property
    def _key(self) -> Any:
        return self.get_pk()

    @cached_property
    def _all(self) -> Select[Any]:
        return select(self._key)

    @cached_property
    def _present(self) -> frozenset[str]:
        """The relations that every row has."""
        relations = self.obj.__mapper__.relationships
        needed = {
            item.key for item in relations if not item.uselist and not any(key.nullable for key in item.local_columns)
        }
        return self.always | needed

    @cached_property
    def _whole(self) -> list[Any]:
        return [self._path(name.split(".")) for name in self.eager]

    def _plan_of(self, order: _Order) -> Plan | None:
        """What the rows of a list are made of; None when relations to many come with them: mapped rows hold those."""
        if any(getattr(self.obj, name.partition(".")[0]).property.uselist for name in self.eager):
            return None
        asked = (order.column if self.is_relation(order.column) else "", order.shown)
        if asked not in self._plans:
            names = [
                column.key
                for column in self.obj.__mapper__.column_attrs
                if column.key not in self.leave or column.key in order.shown
            ]
            shown = (name for name in sorted(order.shown) if self.is_relation(name))
            one = [name for name in shown if not getattr(self.obj, name).property.uselist]
            _hold(self._plans, asked, Plan(self.obj, names, [*self.eager, *one], joined=asked[0]))
        return self._plans[asked]

    def _path(self, names: Sequence[str]) -> Any:
        """A relation to one row comes in the same statement, one to many in a statement of its own."""
        option, model = Load(self.obj), self.obj
        for name in names:
            relation = model.__mapper__.relationships[name]
            attribute = getattr(model, name)
            option = option.selectinload(attribute) if relation.uselist else option.joinedload(attribute)
            model = relation.mapper.class_
        return option


def _hold(store: dict[Any, Any], key: Any, made: Any) -> None:
    """Keep what was made; the oldest gives way when there is much."""
    if len(store) >= REMEMBERED:
        store.pop(next(iter(store)), None)
    store[key] = made


def _question(matching: Select[Any]) -> Any:
    """What a statement asks, its values included, as something to look up by."""
    known = matching._generate_cache_key()
    return (COUNTED, known.key, repr([item.effective_value for item in known.bindparams])) if known else None
