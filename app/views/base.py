"""The base of every screen: lists, pages and forms on FAB's routes and permissions, with our own query and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias
from urllib.parse import urlencode

from flask import abort, flash, has_request_context, redirect, request, url_for
from flask_appbuilder import ModelView, expose, has_access
from flask_wtf import FlaskForm
from sqlalchemy import UniqueConstraint, update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.errors import Refused
from app.models.base import utcnow
from app.views import cells
from app.views.forms import RowSelect, attach, model_form
from app.views.interface import ScopedFilters, filter_arguments, filters_from, kinds_of, parse_key
from app.views.words import LABELS, WORDS

Names: TypeAlias = "list[str]"  # in the classes below `list` is a page
Links: TypeAlias = "list[tuple[str, str]]"
MAX_PAGE = 100
MAX_OFFSET = 1_000_000
CONFLICT = "这条记录刚被他人或系统更新：请核对最新内容后再保存（您填写的内容仍在下方）"
READ = frozenset({"list", "show"})
CRUD = READ | {"add", "edit", "delete"}


class ConsoleView(ModelView):
    """What platform and merchant screens share. Columns are allow-lists: what is not named is not shown, searched,
    sorted or edited."""

    include_route_methods = READ
    noun = ""  # what one row is called
    list_title = ""
    list_columns: Any
    label_columns: Any = None
    show_sections: ClassVar[list[tuple[str, list[str]]]] = []
    quick_columns: ClassVar[list[str]] = []
    flags: ClassVar[dict[str, tuple[str, Any]]] = {}  # filters without a value, by argument: (label, filter)
    choices: ClassVar[dict[str, Mapping[Any, str]]] = {}  # words of text columns that hold a state
    cells: ClassVar[dict[str, Callable[[Any], Any]]] = {}  # how a column is shown, from its row
    extra_fields: ClassVar[dict[str, Callable[[str, str], Any]]] = {}
    required_secrets: ClassVar[tuple[str, ...]] = ()
    list_template = "console/list.html"
    show_template = "console/show.html"
    form_template = "console/form.html"
    save_words: ClassVar[str] = "保存"
    empty_words = "没有符合条件的记录"
    intro = ""
    page_size = 25

    # FAB's own set-up fills every list that is empty with all columns; here an empty list stays empty.

    def _init_properties(self) -> None:
        for name in (
            "search_columns", "order_columns", "add_columns", "edit_columns", "base_filters", "related_views",
            "search_exclude_columns",
        ):  # fmt: skip
            setattr(self, name, list(getattr(self, name) or []))
        for name in ("description_columns", "validators_columns", "formatters_columns", "add_form_extra_fields"):
            setattr(self, name, dict(getattr(self, name) or {}))
        self.label_columns = {**LABELS, **(self.label_columns or {})}
        self.list_columns = list(self.list_columns)
        self.show_columns = [name for _title, names in self.show_sections for name in names]
        self._related_views: list[Any] = []
        self._base_filters = self.datamodel.get_filters().add_filter_list(self.base_filters)

    def _init_forms(self) -> None:
        self.add_form = model_form(self, self.add_columns, editing=False)
        self.edit_form = model_form(self, self.edit_columns, editing=True)
        self.search_form = FlaskForm

    def _init_titles(self) -> None:
        self.list_title = self.list_title or self.noun
        self.add_title, self.edit_title = f"新建{self.noun}", f"编辑{self.noun}"
        self.show_title = self.title = self.list_title

    @property
    def _filters(self) -> ScopedFilters:
        """The request's own filters. FAB keeps one object per view for all threads, so one saw another's search."""
        if not has_request_context():
            return self.datamodel.get_filters(self.search_columns)  # type: ignore[no-any-return]
        held = request.environ.setdefault("douzhou.filters", {})
        if self.endpoint not in held:
            held[self.endpoint] = filters_from(self, request.args)
        return held[self.endpoint]  # type: ignore[no-any-return]

    @_filters.setter
    def _filters(self, _value: Any) -> None:
        """FAB assigns its shared object at set-up; it is not kept."""

    def update_redirect(self) -> None:
        """FAB writes every address into the session; pages here say where they lead."""

    def get_redirect(self) -> str:
        return url_for(f"{self.endpoint}.list")

    # Where a reader may go.

    def may(self, method: str) -> bool:
        """Whether this route exists and the user may use it."""
        name = f"can_{method}"
        if method not in (self.include_route_methods or CRUD) or name not in self.base_permissions:
            return False
        return bool(self.appbuilder.sm.has_access(name, self.class_permission_name))

    def row_url(self, row: Any) -> str | None:
        return url_for(f"{self.endpoint}.show", pk=row.id) if self.may("show") else None

    def choices_url(self, column: str) -> str:
        return url_for("ChoicesView.choices", view=self.endpoint, column=column)

    def row_links(self, row: Any) -> Any:
        """(text, address[, dangerous]) of the buttons of a row besides show, edit and delete."""
        return []

    def page_links(self) -> Links:
        """(text, address) of the buttons above the list besides 新建."""
        return []

    def batch_operations(self) -> Any:
        """Operations offered on many rows."""
        return []

    # The list.

    @expose("/list/")
    @has_access
    def list(self) -> Any:
        return self.render_template(self.list_template, view=self, title=self.list_title, **self.list_context())

    def list_context(self) -> dict[str, Any]:
        filters = self.active_filters()
        number, size = _page_arguments(self.page_size)
        column, direction = self._order()
        count, rows = self.datamodel.query(filters, column, direction, page=number, page_size=size)
        may = {name: self.may(name) for name in ("show", "add", "edit", "delete")}
        return {
            "rows": [self._row(row, may) for row in rows],
            "heads": [self._head(name, column, direction) for name in self.list_columns],
            "controls": self.controls(),
            "count": count, "number": number, "size": size, "pages": max(1, -(-count // size)),
            "may": may, "narrowed": bool(self._filters.filters), "link": self.link_with,
            "filter_arguments": filter_arguments(self, request.args), "flags": self._flags(),
            "batch": self.batch_operations() if rows else [],
        }  # fmt: skip

    def active_filters(self) -> ScopedFilters:
        """The view's own conditions and the request's."""
        filters = self.datamodel.get_filters(self.search_columns).add_filter_list(self.base_filters)
        for item, value in self._filters.get_filters_values():
            filters._add_filter(item, value)
        return filters  # type: ignore[no-any-return]

    def _order(self) -> tuple[str, str]:
        column = request.args.get("order", "") or request.args.get(f"_oc_{self.endpoint}", "")
        direction = request.args.get("way", "") or request.args.get(f"_od_{self.endpoint}", "")
        if column in self.order_columns:
            return column, "asc" if direction == "asc" else "desc"
        return self.base_order or ("", "desc")

    def _head(self, name: str, column: str, direction: str) -> dict[str, Any]:
        way = "asc" if name == column and direction == "desc" else "desc"
        return {
            "name": name,
            "label": self.label_columns.get(name, name),
            "url": self.link_with(order=name, way=way, page=None) if name in self.order_columns else None,
            "sorted": direction if name == column else "",
        }

    def _row(self, row: Any, may: Mapping[str, bool]) -> dict[str, Any]:
        links = []
        if may["edit"]:
            links.append(("编辑", url_for(f"{self.endpoint}.edit", pk=row.id)))
        if may["delete"]:
            links.append(("删除", url_for(f"{self.endpoint}.delete", pk=row.id)))
        return {
            "id": row.id,
            "name": self.name_of(row),
            "cells": [
                (name, self.label_columns.get(name, name), self._list_cell(row, name, may))
                for name in self.list_columns
            ],
            "links": [*self.row_links(row), *links],
        }

    def _list_cell(self, row: Any, name: str, may: Mapping[str, bool]) -> Any:
        """The first column leads to the row's page, unless it holds a link or button already."""
        value = self.cell(row, name)
        if name != self.list_columns[0] or not may["show"] or "<a " in value or "<button" in value:
            return value
        return cells.link(url_for(f"{self.endpoint}.show", pk=row.id), value)

    def name_of(self, row: Any) -> str:
        """A row by name, or by number when its model has no name."""
        own = any("__str__" in vars(base) for base in type(row).__mro__[:-1])
        return str(row) if own else f"{self.noun} #{row.id}"

    def cell(self, row: Any, name: str) -> Any:
        """One column of one row as HTML."""
        if name in self.cells:
            return cells.shown(self.cells[name](row))
        return cells.shown(getattr(row, name), name=name, words=self.choices.get(name))

    def _flags(self) -> Links:
        """(label, address without it) of the flags that narrow this list."""
        held = [name for name in self.flags if request.args.get(name) == "1"]
        return [(self.flags[name][0], self.link_with(**{name: None})) for name in held]

    def link_with(self, **changes: Any) -> str:
        """This list's address with some arguments changed; None removes one."""
        values = {name: value for name, value in request.args.items() if name not in changes}
        values |= {name: str(value) for name, value in changes.items() if value is not None}
        return f"{url_for(f'{self.endpoint}.list')}?{urlencode(values)}"

    def controls(self) -> Any:
        """The filter bar: one entry per search column."""
        return [control for name in self.search_columns for control in self._controls_of(name)]

    def _controls_of(self, name: str) -> Any:
        kinds = kinds_of(self.datamodel, name)
        label = self.label_columns.get(name, name)
        base = {"label": label, "name": f"_flt_0_{name}", "value": request.args.get(f"_flt_0_{name}", "")}
        if self.datamodel.is_relation(name):
            key = parse_key(base["value"])
            chosen = self.datamodel.session.get(self.datamodel.get_related_model(name), key) if key else None
            return [base | {"kind": "row", "url": self.choices_url(name), "chosen": chosen}]
        options = self._options(name)
        if options is not None:
            exact = f"_flt_{[kind.arg_name for kind in kinds].index('eq')}_{name}"
            value = request.args.get(exact, "")
            return [base | {"kind": "choice", "name": exact, "value": value, "options": options}]
        if kinds and kinds[0].arg_name == "gte":
            last = f"_flt_1_{name}"
            return [
                base | {"kind": "date", "label": f"{label}从"},
                base | {"kind": "date", "label": "到", "name": last, "value": request.args.get(last, "")},
            ]
        return [base | {"kind": "text"}]

    def _options(self, name: str) -> Links | None:
        kind = self.datamodel.list_columns[name].type
        if name in self.choices:
            return [(str(value), words) for value, words in self.choices[name].items()]
        if enum := getattr(kind, "enum", None):
            return [(str(value), WORDS[enum][value]) for value in enum]
        return [("1", "是"), ("0", "否")] if kind.python_type is bool else None

    # One row.

    def found(self, pk: Any) -> Any:
        """The row, or 404 alike for foreign and absent ones."""
        row = self.datamodel.get(pk, self._base_filters)
        return row if row is not None else abort(404)

    @expose("/show/<pk>", methods=["GET"])
    @has_access
    def show(self, pk: str) -> Any:
        row = self.found(pk)
        sections = [(title, [self._line(row, name) for name in names]) for title, names in self.show_sections]
        may = {name: self.may(name) for name in ("edit", "delete", "list")}
        return self.render_template(
            self.show_template,
            view=self,
            row=row,
            sections=sections,
            title=self.name_of(row),
            may=may,
            **self.show_context(row),
        )

    def _line(self, row: Any, name: str) -> tuple[str, str, Any]:
        return name, str(self.label_columns.get(name, name)), self.cell(row, name)

    def show_context(self, row: Any) -> dict[str, Any]:
        """What a view's own page needs besides the sections."""
        return {}

    # Forms.

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        form = self.add_form()
        if form.is_submitted() and form.validate():
            row = self.datamodel.obj()
            if self._saved(form, row, self.add_columns, self.pre_add):
                flash(f"已新建{self.noun}「{self.name_of(row)}」", "success")
                return redirect(self.after_save(row))
        return self._form_page(form, self.add_columns, self.add_title, self.get_redirect())

    @expose("/edit/<pk>", methods=["GET", "POST"])
    @has_access
    def edit(self, pk: str) -> Any:
        row = self.found(pk)
        form = self.edit_form(obj=row)
        name, back = self.name_of(row), self.row_url(row) or self.get_redirect()
        if not form.is_submitted():
            form.seen_mark.data = row_mark(row)
            self.prefill_form(form, row.id)
        elif form.validate() and self._saved(form, row, self.edit_columns, self.pre_update):
            flash(f"已保存{self.noun}「{self.name_of(row)}」", "success")
            return redirect(self.after_save(row))
        return self._form_page(form, self.edit_columns, f"{self.edit_title}「{name}」", back)

    def _form_page(self, form: FlaskForm, columns: Names, title: str, back: str) -> Any:
        page = self.render_template(self.form_template, view=self, form=form, columns=columns, title=title, back=back)
        return page, 422 if form.errors else 200

    def after_save(self, row: Any) -> str:
        return self.row_url(row) or self.get_redirect()

    def _saved(self, form: FlaskForm, row: Any, columns: Names, check: Callable[[Any], None]) -> bool:
        session = self.datamodel.session
        editing = row.id is not None
        try:
            if editing:
                claim(session, row, form.seen_mark.data)
            with session.no_autoflush:
                for name in columns:
                    form[name].populate_obj(row, name)
                check(row)
            session.add(row)
            session.flush()
            (self.post_update if editing else self.post_add)(row)
            session.commit()
        except (Refused, IntegrityError, DataError, StaleDataError) as error:
            session.rollback()
            attach(form, *explain(error, self.datamodel.obj))
            return False
        return True

    @expose("/delete/<pk>", methods=["GET", "POST"])
    @has_access
    def delete(self, pk: str) -> Any:
        row = self.found(pk)
        form = FlaskForm()
        name, back = self.name_of(row), self.row_url(row) or self.get_redirect()
        if form.is_submitted() and form.validate() and self._deleted(form, row):
            flash(f"已删除{self.noun}「{name}」", "success")
            return redirect(self.get_redirect())
        title = f"删除{self.noun}「{name}」"
        return self.render_template("console/delete.html", view=self, form=form, title=title, back=back)

    def _deleted(self, form: FlaskForm, row: Any) -> bool:
        session = self.datamodel.session
        try:
            self.pre_delete(row)
            session.delete(row)
            session.commit()
        except (Refused, IntegrityError, StaleDataError) as error:
            session.rollback()
            message = error.message if isinstance(error, Refused) else "还有其他数据引用它：请先处理那些数据"
            attach(form, message, None)
            return False
        return True

    def related_field(self, column: str) -> type[Any] | None:
        """The model behind a relation that this view's forms or filters offer; None for any other name."""
        if column not in {*self.add_columns, *self.edit_columns, *self.search_columns}:
            return None
        return self.datamodel.get_related_model(column) if self.datamodel.is_relation(column) else None


class PlatformView(ConsoleView):
    """A screen of the platform's people."""


class MerchantFace(ConsoleView):
    """A screen of a merchant's people; the session's scope holds it to their rows."""


def _page_arguments(default: int) -> tuple[int, int]:
    """(page from 0, rows per page): whatever was asked for, never beyond the caps."""
    asked = {"page": 0, "psize": default}
    for name, value in request.args.items():
        kind = name.split("_", 1)[0]
        if kind in asked and re.fullmatch(r"\d{1,7}", value):
            asked[kind] = int(value)
    size = min(max(asked["psize"], 1), MAX_PAGE)
    return min(asked["page"], MAX_OFFSET // size), size


def row_mark(row: Any) -> str:
    """What a row looked like when its form was opened: its version number, or the time of its last change."""
    version = getattr(row, "row_version", None)
    return str(version) if version is not None else row.changed_at.isoformat()


def claim(session: Any, row: Any, mark: str | None) -> None:
    """Refuse an edit of a row that changed since its form was opened; of two at once, one is refused."""
    if mark != row_mark(row):
        raise Refused(CONFLICT)
    if hasattr(row, "row_version"):
        return  # its version_id_col settles the race at the flush
    model, seen = type(row), row.changed_at
    unchanged = update(model).where(model.id == row.id, model.changed_at == seen)
    taken = session.execute(unchanged.values(changed_at=utcnow()))
    if taken.rowcount != 1:
        raise Refused(CONFLICT)


def explain(error: Exception, model: type[Any]) -> tuple[str, str | None]:
    """(sentence, field) for what a save was refused by; never the database's own text."""
    if isinstance(error, Refused):
        return error.message, error.field
    if isinstance(error, StaleDataError):
        return CONFLICT, None
    if isinstance(error, DataError):
        return "有数值超出可保存的范围：请检查后重试", None
    text = str(getattr(error, "orig", error))
    for column in _unique_columns(model):
        if re.search(rf"\b{column}\b", text):
            return "与已有记录重复：请换一个", column
    return "与已有数据冲突：请检查是否重复，或所选的记录是否已被删除", None


def _unique_columns(model: type[Any]) -> list[str]:
    table = model.__table__
    named = [column.name for column in table.columns if column.unique]
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            named += [column.name for column in list(constraint.columns)[::-1]]
    return list(dict.fromkeys(named))


__all__ = ["CRUD", "READ", "MerchantFace", "PlatformView", "RowSelect"]
