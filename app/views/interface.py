"""How lists ask the database: few robust filters, one count, a stable order, and the shown relations loaded at once."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask_appbuilder.models.filters import BaseFilter, BaseFilterConverter, Filters
from flask_appbuilder.models.sqla.interface import SQLAInterface
from sqlalchemy import BigInteger, Boolean, Date, Integer, Numeric, String, false, func, or_
from sqlalchemy.orm import Load

from app.models.base import State, UtcDateTime

SHANGHAI = ZoneInfo("Asia/Shanghai")
LONGEST_VALUE = 100
_KEY = re.compile(r"[0-9]{1,10}")
GREATEST = 2**31 - 1  # what an INTEGER column holds; PostgreSQL refuses the question for more
_ARGUMENT = re.compile(r"_flt_(\d)_(\w{1,64})")


def parse_key(text: Any) -> int | None:
    """A row's number as it stands in a URL or form; None when it is none."""
    return int(text) if _KEY.fullmatch(str(text)) and int(text) <= GREATEST else None


class _Filter(BaseFilter):
    """One condition on one column; a value that cannot be meant finds nothing, instead of failing."""

    def apply(self, query: Any, value: Any) -> Any:
        typed = self.typed(str(value)[:LONGEST_VALUE])
        return query.filter(false() if typed is None else self.condition(getattr(self.model, self.column_name), typed))

    def typed(self, value: str) -> Any:
        return typed_value(self.datamodel, self.column_name, value)

    def condition(self, column: Any, value: Any) -> Any:
        return column == value


class Is(_Filter):
    """Equal to."""

    name = "等于"
    arg_name = "eq"


class IsNot(_Filter):
    """Not equal to."""

    name = "不等于"
    arg_name = "neq"

    def condition(self, column: Any, value: Any) -> Any:
        return column != value


class Contains(_Filter):
    """Text within, wildcards taken literally."""

    name = "包含"
    arg_name = "ct"

    def condition(self, column: Any, value: Any) -> Any:
        return column.icontains(value, autoescape=True)


class AtLeast(_Filter):
    """From this number or day on."""

    name = "不小于"
    arg_name = "gte"

    def condition(self, column: Any, value: Any) -> Any:
        return column >= value


class AtMost(_Filter):
    """Up to this number, or the end of this day."""

    name = "不大于"
    arg_name = "lte"

    def condition(self, column: Any, value: Any) -> Any:
        return column < value + timedelta(days=1) if isinstance(value, datetime) else column <= value


class RelationIs(_Filter):
    """The related row, by its number."""

    name = "为"
    arg_name = "rel"

    def typed(self, value: str) -> Any:
        return parse_key(value)

    def apply(self, query: Any, value: Any) -> Any:
        key = parse_key(value)
        local = self.datamodel.get_relation_fk(self.column_name)
        return query.filter(false() if key is None else getattr(self.model, local.key) == key)


class QuickSearch(BaseFilter):
    """The search box: text within any of several columns. The value is `(columns, text)`."""

    name = "搜索"
    arg_name = "quick"

    def apply(self, query: Any, value: tuple[tuple[str, ...], str]) -> Any:
        columns, text = value
        found = [getattr(self.model, name).icontains(text[:LONGEST_VALUE], autoescape=True) for name in columns]
        return query.filter(or_(*found))


def typed_value(datamodel: Any, column_name: str, text: str) -> Any:
    """Text from a URL as the column's own type; None when it does not fit."""
    kind = datamodel.list_columns[column_name].type
    try:
        return _converted(kind, text)
    except (ValueError, OverflowError):
        return None


def _converted(kind: Any, text: str) -> Any:
    if isinstance(kind, State):
        return kind.enum(text)
    if isinstance(kind, UtcDateTime):
        day = date.fromisoformat(text[:10])
        return datetime.combine(day, datetime.min.time(), SHANGHAI) if 1 < day.year < 9999 else None
    if isinstance(kind, Date):
        return date.fromisoformat(text[:10])
    if isinstance(kind, Boolean):
        return {"1": True, "0": False}[text] if text in {"0", "1"} else None
    if isinstance(kind, Integer):
        number = int(text)
        return number if abs(number) <= (10**18 if isinstance(kind, BigInteger) else GREATEST) else None
    if isinstance(kind, Numeric):
        return float(text)
    return text


def kinds_of(datamodel: Any, column_name: str) -> tuple[type[BaseFilter], ...]:
    """The filters a column offers, in the order of their numbers in `_flt_<number>_<column>`."""
    if datamodel.is_relation(column_name):
        return (RelationIs,) if datamodel.is_relation_many_to_one(column_name) else ()
    kind = datamodel.list_columns[column_name].type
    if isinstance(kind, State | Boolean):
        return (Is, IsNot)
    if isinstance(kind, UtcDateTime | Date):
        return (AtLeast, AtMost)
    if isinstance(kind, Integer | Numeric):
        return (Is, AtLeast, AtMost)
    return (Contains, Is) if isinstance(kind, String) else ()


class ConsoleFilterConverter(BaseFilterConverter):
    """Which filters a column has; none for JSON and for relations to many."""

    def convert(self, col_name: str) -> list[BaseFilter]:
        return [kind(col_name, self.datamodel) for kind in kinds_of(self.datamodel, col_name)]


class ScopedFilters(Filters):
    """Active filters of one request. Made often, so it converts the searched columns only."""

    def _get_filters(self, cols: list[str]) -> dict[str, list[BaseFilter]]:
        wanted = [name for name in cols if name in self.search_columns]
        return dict(super()._get_filters(wanted))


class ScopedInterface(SQLAInterface):
    """FAB's data model with our filters; the relations in `eager` (`a`, `a.b`) are loaded with the page's rows."""

    filter_converter_class = ConsoleFilterConverter

    def __init__(self, obj: type[Any], *, eager: tuple[str, ...] = ()) -> None:
        self.eager = eager
        super().__init__(obj)

    def get_filters(self, search_columns: list[str] | None = None, search_filters: Any = None) -> ScopedFilters:
        return ScopedFilters(self.filter_converter_class, self, search_columns, search_filters)

    def get(self, id: Any, filters: Any = None, select_columns: Any = None, outer_default_load: bool = False) -> Any:  # noqa: A002, FBT001, FBT002
        """The row within the session's scope and the view's own filters; None for a foreign or absent one."""
        key = parse_key(id)
        if key is None:
            return None
        query = self.session.query(self.obj).options(*self._loading()).filter(self.get_pk() == key)
        return self.apply_filters(query, filters).one_or_none()

    def query(  # type: ignore[override]
        self,
        filters: Any = None,
        order_column: str = "",
        order_direction: str = "",
        page: int | None = None,
        page_size: int | None = None,
        **_unused: Any,
    ) -> tuple[int, list[Any]]:
        """(how many match, the page's rows)."""
        query = self.apply_filters(self.session.query(self.obj), filters)
        count = query.with_entities(func.count(self.get_pk())).scalar() or 0
        rows = self._ordered(query.options(*self._loading()), order_column, order_direction)
        return count, self.apply_pagination(rows, page, page_size).all()

    def keys(self, filters: Any) -> list[int]:
        """The numbers of all rows that match, in order."""
        query = self.apply_filters(self.session.query(self.obj), filters)
        return [key for (key,) in query.with_entities(self.get_pk()).order_by(self.get_pk())]

    def _loading(self) -> list[Any]:
        return [self._path(name.split(".")) for name in self.eager]

    def _path(self, names: list[str]) -> Any:
        option, model = Load(self.obj), self.obj
        for name in names:
            option = option.selectinload(getattr(model, name))
            model = model.__mapper__.relationships[name].mapper.class_
        return option

    def _ordered(self, query: Any, column: str, direction: str) -> Any:
        key = self.get_pk()
        descending = direction != "asc"
        ordered = [getattr(self.obj, column)] if column else []
        return query.order_by(*(item.desc() if descending else item.asc() for item in (*ordered, key)))


def filters_from(view: Any, args: Any) -> ScopedFilters:
    """The filters that a request's arguments ask for, of the columns the view allows; the rest is ignored."""
    filters = view.datamodel.get_filters(view.search_columns)
    offered = filters.get_search_filters()
    for name in sorted(args):
        match = _ARGUMENT.fullmatch(name)
        value = str(args.get(name, "")).strip()
        if match and value and int(match[1]) < len(offered.get(match[2], ())):
            filters.add_filter_index(match[2], int(match[1]), value)
    for name, (_label, kind) in view.flags.items():
        if args.get(name) == "1":
            filters.add_filter(view.datamodel.get_pk_name(), kind, True)
    text = str(args.get("q", "")).strip()
    if text and view.quick_columns:
        filters.add_filter(view.quick_columns[0], QuickSearch, (tuple(view.quick_columns), text))
    return filters  # type: ignore[no-any-return]


def filter_arguments(view: Any, args: Any) -> list[tuple[str, str]]:
    """The arguments that `filters_from` reads, to ask for the same again."""
    return [
        (name, value)
        for name, value in args.items()
        if value and (name == "q" or name in view.flags or _ARGUMENT.fullmatch(name))
    ]


def condition(name_: str, make: Any) -> type[BaseFilter]:
    """A filter without a value of its own: `make()` gives the condition, at the time of asking."""

    class Condition(BaseFilter):
        """See `condition`."""

        name = name_
        arg_name = f"flag_{id(make)}"

        def apply(self, query: Any, value: Any) -> Any:
            return query.filter(make())

    return Condition
