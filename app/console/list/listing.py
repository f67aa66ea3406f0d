"""The list page of every screen: rows, columns, order, pages, the menu of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias
from urllib.parse import quote_plus, urlencode

from flask import redirect, request, url_for
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from markupsafe import Markup, escape

from app.console import cells
from app.console.filter.conditions import Conditions
from app.console.filter.readable import given
from app.console.filter.unread import Nothing, unread
from app.console.form.bulk import BulkPages
from app.console.kinds import kind_in
from app.console.kinds.face import face_of
from app.console.list.inline import InlineCells
from app.console.list.saved import default_query
from app.console.query.filters import ScopedFilters, filter_arguments, filters_from
from app.console.query.interface import Count
from app.data.kinds.plain import Relation
from app.i18n.html import html
from app.i18n.language import language
from app.i18n.sentence import Foreign, ours, said, say

Links: TypeAlias = "list[tuple[str, str]]"
Names: TypeAlias = "list[str]"
MAX_PAGE = 100
MAX_OFFSET = 1_000_000
LONG = 60  # letters, more than two lines of a cell hold
SIZES = (10, 25, 50, 100)
_PLAIN = re.compile(r"[\w.,-]+", re.ASCII)
# The routes that come with others.
PARTS = {
    "list": ("counts", "panel", "columns", "menu"),
    "edit": ("cell_form", "save_cell", "move", "bulk", "bulk_save"),
}


class ListPages(Conditions, InlineCells, BulkPages, ModelView):
    """Mixin of ConsoleView: the list."""

    include_route_methods: Any
    more_columns: ClassVar[list[str]] = []  # to choose besides the shown ones and the plain ones of the row's page
    empty_title: ClassVar[str] = ""  # said of an empty list instead of 还没有…
    empty_hint: ClassVar[str] = ""  # and what to do then
    number_columns: ClassVar[frozenset[str]] = frozenset()  # worked out, and at the right as counts and amounts are
    card_columns: ClassVar[
        list[str]
    ] = []  # what a phone's card shows; by itself the first few short ones and the state

    def __init__(self, **kwargs: Any) -> None:
        named = set(self.include_route_methods or {"list", "show", "add", "edit", "delete"})
        self.include_route_methods = named.union(*(parts for name, parts in PARTS.items() if name in named))
        super().__init__(**kwargs)

    @expose("/list/")
    @has_access
    def list(self) -> Any:
        if not request.args and (query := default_query(self.endpoint)):
            return redirect(f"{url_for(f'{self.endpoint}.list')}?{query}")
        return self.render_template(self.list_template, view=self, title=self.list_title, **self.list_context())

    def list_context(self) -> dict[str, Any]:
        number, size = _page_arguments(self.page_size)
        column, direction = self._order()
        names = self.chosen_columns()
        count, rows = self.datamodel.query(
            self.active_filters(), column, direction, page=number, page_size=size, select_columns=names
        )
        may = {name: self.may(name) for name in ("show", "add", "edit", "delete")}
        marks = self._marks(names, may)
        conditions, asked = self.condition_chips(), filter_arguments(self, request.args)
        batch, bulk = (self.batch_operations(), bool(self.bulk_names())) if rows else ([], False)
        exports = bool(rows) and self.may("export")
        draggable = bool(rows) and self.may_drag(column, direction, narrowed=bool(asked))
        spare = [name for name, on in (("grip", draggable), ("tick", batch or bulk or exports)) if on]
        return {
            "rows": self._rows(rows, names, [attributes for _label, attributes in marks], spare),
            "heads": [{**self._head(name, column, direction), "part": self._part(names, name)} for name in names],
            "paging": self._paging(count, number, size, len(rows)),
            "count": count,
            "may": may,
            "narrowed": bool(asked),
            "conditions": conditions,
            "chips": self.chips(),
            "batch": batch,
            "bulk": bulk,
            "exports": exports,
            "searchable": bool(self.search_columns),
            "query": request.query_string.decode(),
            "asked": urlencode(asked),
            "clear_url": self.clear_url(),
            "draggable": draggable,
            "unread": unread(self, request.args),
        }

    def active_filters(self, args: Any = None) -> ScopedFilters:
        """The view's own conditions and those of a request's arguments, this request's when none are given."""
        args = request.args if args is None else args
        filters: ScopedFilters = self.datamodel.get_filters(self.search_columns).add_filter_list(self.base_filters)
        if any(item.whole for item in unread(self, args)):
            filters._add_filter(Nothing(self.datamodel.get_pk_name(), self.datamodel), True)
            return filters
        asked = filters_from(self, args)
        for item, value in asked.get_filters_values():
            filters._add_filter(item, value)
        return filters

    def search_words(self) -> str:
        """What the search box looks in: 搜索名称、联系人."""
        labels = [re.split("（| \\(", str(said(self.label_of(name))))[0] for name in self.quick_columns]
        return str(said(f"搜索{('、' if language() == 'zh' else ', ').join(labels)}"))

    # Order and pages.

    def _order(self) -> tuple[str, str]:
        """(column, direction): `order=-created_at`, or FAB's `_oc_` and `_od_`."""
        asked = request.args.get("order", "")
        column = asked.removeprefix("-") or request.args.get(f"_oc_{self.endpoint}", "")
        way = request.args.get("way", "") or request.args.get(f"_od_{self.endpoint}", "")
        if column not in self.order_columns:
            return self.base_order or ("", "desc")
        if asked and not way:
            return column, "desc" if asked.startswith("-") else "asc"
        return column, "asc" if way == "asc" else "desc"

    def _head(self, name: str, column: str, direction: str) -> dict[str, Any]:
        asked = f"-{name}" if name == column and direction == "asc" else name
        url = self.link_with(order=asked, way=None, page=None) if name in self.order_columns else None
        return {
            "label": self.label_of(name),
            "url": url,
            "sorted": direction if name == column else "",
            "number": name in self.number_columns or face_of(kind_in(self, name)).at_right,
        }

    def _paging(self, count: Count, number: int, size: int, shown: int) -> dict[str, Any]:
        """Where the page stands. Beyond the cap nobody knows how many rows there are: there is no last page then."""
        pages = None if count.capped else max(1, -(-count // size))
        more = count.more or (pages is not None and number + 1 < pages)
        return {
            "count": f"{count:,}+" if count.capped else f"{count:,}",
            "many": count > min(SIZES),
            "pages": pages,
            "number": number + 1,
            "size": size,
            "first": number * size + 1 if shown else 0,
            "last": number * size + shown,
            "links": {
                "first": self.link_with(page=None) if number else None,
                "prev": self.link_with(page=number if number > 1 else None) if number else None,
                "next": self.link_with(page=number + 2) if more else None,
                "last": self.link_with(page=pages) if more and pages else None,
            },
            "by_size": [(choice, self.link_with(size=choice, psize=None, page=None)) for choice in SIZES],
        }

    def link_with(self, **changes: Any) -> str:
        """This list's address with some arguments changed; None removes one. Any change leads to the first page."""
        gone = {*changes, "page", f"page_{self.endpoint}"}
        values = [(name, value) for name, value in request.args.items(multi=True) if name not in gone and value]
        values += [(name, str(value)) for name, value in changes.items() if value is not None]
        query = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in values])
        query = query or ("saved=0" if default_query(self.endpoint) else "")
        return cells.list_address(f"{self.endpoint}.list") + (f"?{query}" if query else "")

    def clear_url(self) -> str:
        """This list without conditions; order, columns and size stay."""
        return self.link_with(**dict.fromkeys([*(name for name, _ in filter_arguments(self, request.args)), "saved"]))

    # Columns.

    def offered_columns(self) -> Names:
        """What one may choose to see: the list's columns, and the plain ones of the row's page."""
        plain = [name for name in self.show_columns if self._is_plain(name)]
        return [*dict.fromkeys([*self.list_columns, *self.more_columns, *plain])]

    def _is_plain(self, name: str) -> bool:
        """Whether a column is in the row itself and no document: shown in a list, it costs nothing."""
        in_row = name in self.datamodel.obj.__mapper__.columns
        return in_row and not kind_in(self, name).is_document and not name.endswith("_json")

    def chosen_columns(self) -> Names:
        """The columns to show, in their order: those of `cols=`, else the view's own."""
        asked = given(request.args, "cols").split(",")
        offered = set(self.offered_columns()) if asked != [""] else set()
        return [name for name in dict.fromkeys(asked) if name in offered] or self.list_columns

    @expose("/columns/", methods=["GET"])
    @has_access
    @permission_name("list")
    def columns(self) -> Any:
        """The dialog that says which columns are shown, and in which order."""
        shown = self.chosen_columns()
        names = [*shown, *(name for name in self.offered_columns() if name not in shown)]
        kept = [(name, value) for name, value in request.args.items() if name not in {"cols", "page", "saved"}]
        return self.render_template(
            "console/list/columns.html",
            view=self,
            kept=kept,
            columns=[(name, self.label_of(name), name in shown) for name in names],
        )

    # Rows.

    def _rows(self, rows: Any, names: Names, attributes: Names, spare: Names) -> Markup:
        """The rows in one piece of HTML: a template would take longer than the query to put two hundred cells
        together. What only a script can use, the box to tick and the buttons of a row, lists.js puts into the cells
        that are left for it. End tags of cells and rows may be left out, and are: a kilobyte."""
        before = "".join(f'<td class="{name}">' for name in spare)
        show = f"{self.endpoint}.show" if self.may("show") else ""
        columns = [(name, f"<td{marks}>", self._is_long(name)) for name, marks in zip(names, attributes, strict=True)]
        made = []
        for row in rows:
            made.append(f'<tr data-id="{row.id}">{before}')
            leading = show
            for name, tag, long in columns:
                value = self.first_cell(row, name) if leading else self.cell(row, name)
                if long:
                    value = _clipped(value)
                if leading:
                    value, leading = _leading(leading, row, value), ""
                made += (tag, "" if value is cells.DASH else value if type(value) is Markup else escape(value))
            made.append('<td class="acts">')
        return html("".join(made))

    def _is_long(self, name: str) -> bool:
        return face_of(kind_in(self, name)).is_long

    def _marks(self, names: Names, may: Mapping[str, bool]) -> Links:
        """What each column's cells carry: (label, attributes)."""
        inline = set(self.inline_names()) if may["edit"] else set()
        found = []
        for name in names:
            marks = ' class="n"' if name == names[0] else ""
            found.append((self.label_of(name), marks + (f' data-edit="{name}" tabindex="0"' if name in inline else "")))
        return found

    def _part(self, names: Names, name: str) -> str:
        """What a column is on a phone's card: the state beside the name, one of the few facts, or left out."""
        states = [item for item in names if item == self.chip_column or item.endswith("state")]
        short = [item for item in names[1:5] if not self._is_long(item)]
        facts = self.card_columns or [*dict.fromkeys([names[0], *states[:1], *short])][:5]
        return "state" if name in states[:1] else "fact" if name in facts else "none"

    def name_of(self, row: Any) -> str:
        """A row by name, or by number when its model has no name."""
        own = any("__str__" in vars(base) for base in type(row).__mro__[:-1])
        return Foreign(row) if own else say("{noun} #{number}", noun=ours(self.noun), number=row.id)

    def cell(self, row: Any, name: str) -> Any:
        """One column of one row as HTML."""
        if name in self.cells:
            made = self.cells[name](row)
            if type(made) is Markup:
                return made or cells.DASH
            return cells.shown(said(made) if type(made) is str else made)
        kind = kind_in(self, name)
        return face_of(kind).look(kind, getattr(row, name), name)

    def first_cell(self, row: Any, name: str) -> Any:
        """The column that leads to the row's own page: a related row in it is text."""
        if isinstance(kind_in(self, name), Relation) and name not in self.cells:
            return cells.shown(getattr(row, name))
        return self.cell(row, name)

    @expose("/menu/<pk>", methods=["GET"])
    @has_access
    @permission_name("list")
    def menu(self, pk: str) -> Any:
        """What can be done with one row, asked for when its menu is opened."""
        row = self.found(pk)
        links = [*self.row_links(row)]
        for name, text in (("edit", "编辑"), ("delete", "删除")):
            if self.may(name):
                links.append((text, url_for(f"{self.endpoint}.{name}", pk=row.id), name == "delete"))
        return self.render_template(
            "console/list/menu.html", view=self, row=row, links=links, blocked=self.blocked(row)
        )


def _leading(endpoint: str, row: Any, value: Any) -> Any:
    """The first column leads to the row's page, unless it holds a link or button already."""
    if "<a " in value or "<button" in value:
        return value
    return cells.link(cells.row_address(endpoint, row.id), value)


def _quoted(value: str) -> str:
    """A value of an address; most are a word or a number, of which a page has dozens."""
    return value if _PLAIN.fullmatch(value) else quote_plus(value, safe=",.!:=")


def _clipped(value: Any) -> Any:
    """A long text in two lines, whole on hover."""
    if "<" in value or len(value) < LONG:
        return value
    return Markup('<span class="clip" title="{0}">{0}</span>').format(value)


def _page_arguments(default: int) -> tuple[int, int]:
    """(page from 0, rows per page): whatever was asked for, never beyond the caps. FAB's `page_` counts from 0."""
    page, size = 0, default
    for name, value in request.args.items():
        kind, _, view = name.partition("_")
        if re.fullmatch(r"\d{1,7}", value, re.ASCII):
            if kind == "page":
                page = int(value) if view else max(0, int(value) - 1)
            elif kind in {"size", "psize"}:
                size = int(value)
    size = min(max(size, 1), MAX_PAGE)
    return min(page, MAX_OFFSET // size), size
