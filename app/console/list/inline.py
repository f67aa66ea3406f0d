"""Changing a row inside the list: one cell at a time, or its place in an order that people make by hand."""

from __future__ import annotations

from typing import Any, ClassVar

from flask import abort, request
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.console.form import partial
from app.console.form.forms import ConsoleForm
from app.console.list import ordering
from app.console.row.rows import explain
from app.data.keys import parse_key
from app.errors import Refused


class InlineCells(ModelView):
    """Mixin of ConsoleView: cells that are edited where they stand, rows that are dragged."""

    inline_columns: ClassVar[list[str]] = []
    order_by_drag: ClassVar[str] = ""  # a whole-number column; the list's order when it is sorted by it

    def inline_names(self) -> list[str]:
        """The columns that may be edited in the list: plain ones of the edit form."""
        plain = set(self.datamodel.obj.__mapper__.columns.keys()) - set(getattr(self.datamodel.obj, "__sealed__", ()))
        allowed = plain & set(self.edit_columns)
        return [name for name in self.inline_columns if name in allowed]

    @expose("/cell/<pk>/<column>", methods=["GET"])
    @has_access
    @permission_name("edit")
    def cell_form(self, pk: str, column: str) -> Any:
        """A cell as a field, with the row's mark as it is now."""
        row = self._editable(pk, column)
        form = self._form_of(column)(obj=row)
        form.seen_mark.data = self.mark_of(row)
        return self._cell_page(form, row, column)

    @expose("/cell/<pk>/<column>", methods=["POST"])
    @has_access
    @permission_name("edit")
    def save_cell(self, pk: str, column: str) -> Any:
        """Save one cell by the rules of the edit form; the cell as it then reads, or the field with what is wrong."""
        row = self._editable(pk, column)
        form = self._form_of(column)(obj=row)
        if form.validate() and self._saved(form, row, [column], lambda item: partial.check(self, item)):
            return str(self.cell(self.found(pk), column))
        return self._cell_page(form, row, column), 422

    def _editable(self, pk: str, column: str) -> Any:
        return self.found(pk) if column in self.inline_names() else abort(404)

    def _form_of(self, column: str) -> type[ConsoleForm]:
        return partial.partial_form(self, [column], editing=True)

    def _cell_page(self, form: ConsoleForm, row: Any, column: str) -> Any:
        errors = [*form[column].errors, *form.form_errors]
        return self.render_template(
            "console/list/cell.html", view=self, form=form, field=form[column], row=row, column=column, errors=errors
        )

    # Order.

    def may_drag(self, column: str, direction: str, *, narrowed: bool) -> bool:
        """Whether the list as it is shown can be put in order by hand: all of it, sorted by that order."""
        return (
            bool(self.order_by_drag)
            and not narrowed
            and (column, direction) == (self.order_by_drag, "asc")
            and (self.may("edit"))
        )

    @expose("/move/<pk>", methods=["POST"])
    @has_access
    @permission_name("edit")
    def move(self, pk: str) -> Any:
        """Put a row before or after another one: `before` or `after` is the other's number."""
        if not self.order_by_drag:
            abort(404)
        row, session = self.found(pk), self.datamodel.session
        query = self.datamodel.apply_filters(session.query(self.datamodel.obj), self._base_filters)
        ordered = query.order_by(getattr(self.datamodel.obj, self.order_by_drag), self.datamodel.get_pk())
        before, after = (parse_key(request.form.get(name, "")) for name in ("before", "after"))
        try:
            changed = ordering.place(
                ordered.limit(ordering.MOST + 1).all(), row, self.order_by_drag, before=before, after=after
            )
            for item in changed:
                self.pre_update(item)
            session.commit()
        except (Refused, IntegrityError, StaleDataError) as error:
            session.rollback()
            return explain(error, self.datamodel.obj)[0], 409
        return "", 204
