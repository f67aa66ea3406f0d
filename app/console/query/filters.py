"""Filters: what may be asked of a column, and how it is read from an address."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from flask_appbuilder.models.filters import BaseFilter, BaseFilterConverter, Filters
from sqlalchemy import false

from app.console.query.search import equals, narrowed, within
from app.data import texts
from app.data.keys import parse_key
from app.data.kinds import kind_of

LONGEST_VALUE = 100
ARGUMENT = re.compile(r"_flt_(\d)_(\w{1,64})")


class _Filter(BaseFilter):
    """One condition on one column; a value that cannot be meant finds nothing, instead of failing."""

    scans = False  # whether the database reads every row for it

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

    def condition(self, column: Any, value: Any) -> Any:
        return equals(self.model, self.column_name, value) if isinstance(value, str) else column == value


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

    scans = True

    def apply(self, query: Any, value: Any) -> Any:
        sought = [str(value)[:LONGEST_VALUE]]
        return narrowed(super().apply(query, value), self.datamodel.session, self.model, [self.column_name], sought)

    def condition(self, column: Any, value: Any) -> Any:
        return within(self.model, [self.column_name], value)


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


FILTERS: dict[str, type[_Filter]] = {kind.arg_name: kind for kind in (Is, IsNot, Contains, AtLeast, AtMost, RelationIs)}


class QuickSearch(BaseFilter):
    """The search box: text within any of several columns. The value is `(columns, text)`."""

    name = "搜索"
    arg_name = "quick"
    scans = True

    def apply(self, query: Any, value: tuple[tuple[str, ...], str]) -> Any:
        columns, text = value[0], value[1][:LONGEST_VALUE]
        query = query.filter(within(self.model, columns, text))
        return narrowed(query, self.datamodel.session, self.model, columns, [text])


def typed_value(datamodel: Any, column_name: str, text: str) -> Any:
    """Text from a URL as the column's own type; None when it does not fit."""
    return kind_of(datamodel.list_columns[column_name]).meant(text)


def kinds_of(datamodel: Any, column_name: str) -> tuple[type[BaseFilter], ...]:
    """The filters a column offers, in the order of their numbers in `_flt_<number>_<column>`."""
    if datamodel.is_relation(column_name):
        return (RelationIs,) if datamodel.is_relation_many_to_one(column_name) else ()
    return tuple(FILTERS[operator] for operator in kind_of(datamodel.list_columns[column_name]).operators)


class ConsoleFilterConverter(BaseFilterConverter):
    """Which filters a column has; none for JSON and for relations to many."""

    def convert(self, col_name: str) -> list[BaseFilter]:
        kinds: list[BaseFilter] = self.datamodel.filters_of(col_name)
        return kinds


class ScopedFilters(Filters):
    """Active filters of one request. Made often, so it converts the searched columns only, and those once."""

    def _get_filters(self, cols: list[str]) -> dict[str, list[BaseFilter]]:
        searched = tuple(name for name in cols if name in self.search_columns)
        kinds: dict[str, list[BaseFilter]] = self.datamodel.filters_on(searched)
        return kinds


def filters_from(view: Any, args: Any) -> ScopedFilters:
    """The filters that a request's arguments ask for, of the columns the view allows; the rest is ignored."""
    filters: ScopedFilters = view.datamodel.get_filters(view.search_columns)
    offered = filters.get_search_filters()
    for name in sorted(args):
        match = ARGUMENT.fullmatch(name)
        value = texts.cleaned(str(args.get(name, "")))
        if match and value and int(match[1]) < len(offered.get(match[2], ())):
            filters.add_filter_index(match[2], int(match[1]), value)
    view.add_conditions(filters, args)
    for name, (_label, kind) in view.flags.items():
        if args.get(name) == "1":
            filters.add_filter(view.datamodel.get_pk_name(), kind, True)
    text = texts.cleaned(str(args.get("q", "")))
    if text and view.quick_columns:
        filters.add_filter(view.quick_columns[0], QuickSearch, (tuple(view.quick_columns), text))
    return filters


def filter_arguments(view: Any, args: Any) -> list[tuple[str, str]]:
    """The arguments that `filters_from` reads, to ask for the same again."""
    return [
        (name, value)
        for name, value in args.items(multi=True)
        if value and (name == "q" or name in view.flags or name in view.search_columns or ARGUMENT.fullmatch(name))
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
