"""The tabs of a row's page: lists of other rows that belong to it, and parts of its own; read when they are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import url_for

from app.console import cells
from app.console.places import view_named
from app.console.query.filters import RelationIs
from app.extensions import appbuilder

MOST = 20


@dataclass(frozen=True)
class Related:
    """The newest rows of another view, by the relation (`column`) that leads from them to the page's row."""

    key: str
    title: str
    view: str  # the other view's name: views know each other both ways
    column: str
    add: bool = False  # whether its 新建 takes the page's row as `?<column>=`
    hide: tuple[str, ...] = ()  # columns that say the same in every row
    template: str = "console/show/related.html"

    def open_to(self, _owner: Any) -> bool:
        other = view_named(self.view)
        return other is not None and bool(other.may("list"))

    def context(self, _owner: Any, row: Any) -> dict[str, Any]:
        """The rows' cells, how many there are, and where all of them stand."""
        other = view_named(self.view)
        names = [name for name in other.list_columns if name not in (self.column, *self.hide)]
        count, rows = self._newest(other, row)
        address = url_for(f"{self.view}.list", **{self.column: row.id})
        return {
            "heads": [other.label_columns.get(name, name) for name in names],
            "rows": [self._cells(other, item, names) for item in rows],
            "count": count,
            "all_url": address,
            "noun": other.noun,
            "most": MOST,
            "add_url": self._add_url(other, row),
        }

    def count(self, row: Any) -> int:
        """How many rows belong to `row`."""
        other = view_named(self.view)
        return int(other.datamodel.query(self._filters(other, row), page=0, page_size=1)[0])

    def _filters(self, other: Any, row: Any) -> Any:
        filters = other.datamodel.get_filters([self.column]).add_filter_list(other.base_filters)
        filters.add_filter(self.column, RelationIs, row.id)
        return filters

    def _newest(self, other: Any, row: Any) -> tuple[int, list[Any]]:
        found: tuple[int, list[Any]] = other.datamodel.query(
            self._filters(other, row), "", "desc", page=0, page_size=MOST
        )
        return found

    def _cells(self, other: Any, item: Any, names: list[str]) -> list[tuple[str, Any]]:
        shown = [(other.label_columns.get(name, name), other.cell(item, name)) for name in names[1:]]
        label, first = other.label_columns.get(names[0], names[0]), other.first_cell(item, names[0])
        if "<a " not in first and "<button" not in first:
            first = cells.link(other.row_url(item), first)
        return [(label, first), *shown]

    def _add_url(self, other: Any, row: Any) -> str | None:
        allowed = appbuilder().sm.has_access("can_add", other.class_permission_name)
        return url_for(f"{self.view}.add", **{self.column: row.id}) if self.add and allowed else None


@dataclass(frozen=True)
class Panel:
    """A tab with a template of its own; `context` gives what it shows of a row."""

    key: str
    title: str
    template: str
    make: Callable[[Any], dict[str, Any]]

    def open_to(self, _owner: Any) -> bool:
        return True

    def context(self, _owner: Any, row: Any) -> dict[str, Any]:
        return self.make(row)


@dataclass(frozen=True)
class Timeline:
    """Who changed the row, when and how: on every page of a model whose changes are logged."""

    key: str = "history"
    title: str = "变更记录"
    template: str = "console/show/history.html"

    def open_to(self, owner: Any) -> bool:
        return bool(getattr(owner.datamodel.obj, "__audited__", False))

    def context(self, owner: Any, row: Any) -> dict[str, Any]:
        return dict(owner.history_context(row))
