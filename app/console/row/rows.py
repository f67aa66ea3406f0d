"""The pages of one row: show, new, edit, delete; saving with lost updates merged and errors beside their field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from flask import abort, flash, redirect, request, url_for
from flask_appbuilder import expose, has_access
from flask_appbuilder.security.decorators import permission_name
from markupsafe import Markup
from sqlalchemy import update
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import RelationshipDirection
from sqlalchemy.orm.exc import StaleDataError

from app.console import cells
from app.console.form import merge
from app.console.form.forms import ConsoleForm, RowSelect, attach
from app.console.places import hidden_from
from app.console.row.history import HistoryPages
from app.console.row.tabs import Panel, Related, Timeline
from app.data.clock import utcnow
from app.data.engine import taken
from app.data.keys import parse_key
from app.data.names import twinned
from app.errors import Refused
from app.i18n.html import html
from app.i18n.sentence import ours, said, say

Names: TypeAlias = "list[str]"
Action: TypeAlias = "Mapping[str, str] | None"  # text, label, url: the one thing to do next
CONFLICT = "这条记录刚被他人或系统更新：请核对最新内容后再保存（您填写的内容仍在下方）"
OVERVIEW = "overview"


class Conflict(Refused):
    """The row changed since its form was opened."""


class RowPages(HistoryPages):
    """Mixin of ConsoleView: one row."""

    tabs: ClassVar[tuple[Related | Panel, ...]] = ()  # besides 概览 and 时间线
    state_columns: ClassVar[tuple[str, ...]] = ("state",)  # shown as labels beside the name
    copied: ClassVar[str] = ""  # the column of the number that people paste elsewhere
    form_sections: ClassVar[list[tuple[str, list[str]]]] = []
    field_rules: ClassVar[Mapping[str, tuple[str, Any]]] = {}  # see RowForm
    add_form: Any
    edit_form: Any
    show_sections: ClassVar[Any]
    noun: Any
    include_route_methods: Any

    def __init__(self, **kwargs: Any) -> None:
        methods = set(self.include_route_methods or {"list", "show", "add", "edit", "delete"})
        self.include_route_methods = methods | ({"history", "tab", "revert"} if "show" in methods else set())
        super().__init__(**kwargs)

    def found(self, pk: Any) -> Any:
        """The row, or 404 alike for foreign and absent ones."""
        row = self.datamodel.get(pk, self._base_filters)
        return row if row is not None else abort(404)

    # The page.

    @expose("/show/<pk>", methods=["GET"])
    @has_access
    def show(self, pk: str) -> Any:
        """The row's page; with `drawer=1` its overview alone, for the list to show beside itself."""
        row = self.found(pk)
        drawer = request.args.get("drawer") == "1"
        todo = self.next_action(row)
        return self.render_template(
            self.show_template,
            view=self,
            row=row,
            layout="console/show/drawer.html" if drawer else "appbuilder/base.html",
            drawer=drawer,
            title=said(self.name_of(row)),
            number=self._number(row),
            states=self.states(row),
            sections=[(title, [self._line(row, name) for name in names]) for title, names in self.show_sections],
            next_action=todo,
            actions=[item for item in self.page_actions(row) if item[1] != (todo or {}).get("url")],
            blocked=self.blocked(row),
            may={name: self.may(name) for name in ("edit", "delete", "list")},
            answer=self.answer(row),
            **self._tabs_context(row, request.args.get("tab", "")),
            **self.show_context(row),
        )

    def _line(self, row: Any, name: str) -> tuple[str, str, Any]:
        label, value = str(self.label_columns.get(name, name)), getattr(row, name, None)
        if isinstance(value, datetime) and name not in self.cells:
            return name, label, full_time(value)
        return name, label, self.cell(row, name)

    def _number(self, row: Any) -> Any:
        value = getattr(row, self.copied, "") if self.copied else ""
        return cells.copyable(value) if value else Markup("<span>#{}</span>").format(row.id)

    def states(self, row: Any) -> list[Any]:
        """The labels beside the name."""
        return [self.cell(row, name) for name in self.state_columns if hasattr(row, name)]

    def answer(self, row: Any) -> Any:
        """What an operation just found of the row, if the address asks for it."""
        return None

    def next_action(self, row: Any) -> Action:
        """What to do next with the row: a sentence, and the button that does it where the reader may."""
        return None

    def page_actions(self, row: Any) -> Any:
        """(text, address[, dangerous]) of the buttons of the page besides 编辑 and 删除."""
        return self.row_links(row)

    def show_context(self, row: Any) -> dict[str, Any]:
        """What a view's own page needs besides the sections."""
        return {}

    # Tabs.

    def open_tabs(self) -> list[Any]:
        """The tabs that the reader may open."""
        return [item for item in (*self.tabs, Timeline()) if item.open_to(self)]

    def _tabs_context(self, row: Any, asked: str) -> dict[str, Any]:
        tabs = self.open_tabs()
        chosen = next((item for item in tabs if item.key == asked), None)
        return {
            "tabs": tabs,
            "open_tab": chosen.key if chosen else OVERVIEW,
            "tab_url": lambda item: url_for(f"{self.endpoint}.tab", pk=row.id, tab=item.key),
            "page_url": url_for(f"{self.endpoint}.show", pk=row.id),
            "panel_html": self._panel(chosen, row) if chosen else None,
        }

    @expose("/tab/<pk>/<tab>", methods=["GET"])
    @has_access
    @permission_name("show")
    def tab(self, pk: str, tab: str) -> Any:
        """What stands in one tab, when it is opened."""
        row = self.found(pk)
        chosen = next((item for item in self.open_tabs() if item.key == tab), None) or abort(404)
        return self._panel(chosen, row)

    def _panel(self, item: Any, row: Any) -> Markup:
        return html(self.render_template(item.template, view=self, row=row, **item.context(self, row)))

    # Forms.

    @expose("/add", methods=["GET", "POST"])
    @has_access
    def add(self) -> Any:
        form = self.add_form()
        if not form.is_submitted():
            self.prefill_related(form)
        elif self._valid(form, self.datamodel.obj, self.add_columns, self.pre_add):
            row = self.datamodel.obj()
            if self._saved(form, row, self.add_columns, self.pre_add):
                flash(say("已新建{noun}「{name}」", noun=ours(self.noun), name=self.name_of(row)), "success")
                return redirect(self.after_save(row))
        ask_again(form, form, self.add_columns)
        return self._form_page(form, self.add_columns, self.add_title, self.get_redirect())

    def prefill_related(self, form: Any) -> None:
        """Choose the related rows that the address names (`?merchant=1`): those in the scope; others are ignored."""
        for name in self.add_columns:
            key = parse_key(request.args.get(name, ""))
            if key is not None and isinstance(form[name], RowSelect) and not hidden_from(form[name].model):
                form[name].data = self.datamodel.session.get(form[name].model, key)

    @expose("/edit/<pk>", methods=["GET", "POST"])
    @has_access
    def edit(self, pk: str) -> Any:
        row = self.found(pk)
        name, back = self.name_of(row), self.row_url(row) or self.get_redirect()
        title = say("{what}「{name}」", what=ours(self.edit_title), name=name)
        if request.method != "POST":
            form = self._as_opened(self.edit_form(obj=row), row)
            return self._form_page(form, self.edit_columns, title, back)
        form = self.edit_form(formdata=merge.chosen(self, pk, request.form), obj=row)
        valid = self._valid(form, lambda: row, self.edit_columns, self.pre_update)
        if valid and self._saved(form, row, self.edit_columns, self.pre_update):
            flash(say("已保存{noun}「{name}」", noun=ours(self.noun), name=self.name_of(row)), "success")
            return redirect(self.after_save(row))
        if not form.conflict:
            ask_again(form, form, self.edit_columns)
            self.prefill_form(form, row.id)
            return self._form_page(form, self.edit_columns, title, back)
        return self._merge_page(form, self.found(pk), title, back)

    def _as_opened(self, form: Any, row: Any) -> Any:
        """A form with the mark of what it shows, and of the row that it shows."""
        form.seen_mark.data, form.opened.data = self.mark_of(row), merge.sign(self, row)
        self.prefill_form(form, row.id)
        return form

    def mark_of(self, row: Any) -> str:
        return row_mark(row)

    def _merge_page(self, form: Any, row: Any, title: str, back: str) -> Any:
        """The row changed meanwhile: show both, keep what was typed, ask where both changed the same."""
        renewed, found = merge.merged(self, form, row)
        self._as_opened(renewed, row)
        attach(renewed, CONFLICT, None)
        ask_again(renewed, form, self.edit_columns)
        return self._form_page(renewed, self.edit_columns, title, back, differences=found)

    def _form_page(self, form: ConsoleForm, columns: Names, title: str, back: str, **more: Any) -> Any:
        page = self.render_template(
            self.form_template,
            view=self,
            form=form,
            columns=columns,
            title=title,
            back=back,
            sections=self._form_sections(columns),
            rules=getattr(form, "rules", {}),
            **more,
        )
        return page, 422 if form.errors else 200

    def _form_sections(self, columns: Names) -> list[tuple[str, Names]]:
        """The form's columns under their titles; those that no section names stand first."""
        named = [(title, [name for name in names if name in columns]) for title, names in self.form_sections]
        known = {name for _title, names in named for name in names}
        rest = [name for name in columns if name not in known]
        return [(title, names) for title, names in [("", rest), *named] if names]

    def after_save(self, row: Any) -> str:
        url: str = self.row_url(row) or self.get_redirect()
        return url

    def _valid(self, form: ConsoleForm, row: Callable[[], Any], columns: Names, check: Callable[[Any], None]) -> bool:
        """Whether the fields are right. Where some are not, what is to be said of the others is said in the same
        round, and not only after they are mended."""
        if form.validate():
            return True
        sound = [name for name in columns if not form[name].errors]
        if len(sound) < len(columns):
            with self.datamodel.session.no_autoflush:
                refused = self._refusals(form, row(), sound, check, whole=False)
            self.datamodel.session.rollback()
            for item in refused:
                if item.field in sound:
                    attach(form, item.message, item.field)
        return False

    def _refusals(
        self, form: ConsoleForm, row: Any, names: Names, check: Callable[[Any], None], *, whole: bool
    ) -> list[Refused]:
        """What the fields and the screen's own rule refuse; `row` then has the values."""
        found: list[Refused] = []
        for name in names:
            try:
                form[name].populate_obj(row, name)
            except Refused as refused:
                found.append(refused)
        try:
            check(row)
        except Refused as refused:
            found.append(refused)
        except (AttributeError, TypeError, ValueError, ArithmeticError):
            if whole and not found:
                raise  # otherwise the rule needs a value that is still to be mended
        return found

    def _saved(self, form: ConsoleForm, row: Any, columns: Names, check: Callable[[Any], None]) -> bool:
        session = self.datamodel.session
        editing = row.id is not None
        try:
            if editing:
                claim(session, row, form.seen_mark.data)
            with session.no_autoflush:
                refused = self._refusals(form, row, columns, check, whole=True)
            for item in refused[1:]:
                attach(form, item.message, item.field)
            if refused:
                raise refused[0]
            session.add(row)
            session.flush()
            (self.post_update if editing else self.post_add)(row)
            session.commit()
        except (Refused, IntegrityError, DataError, StaleDataError) as error:
            session.rollback()
            if isinstance(error, Conflict | StaleDataError):
                form.conflict = True
            attach(form, *explain(error, self.datamodel.obj))
            return False
        return True

    @expose("/delete/<pk>", methods=["GET", "POST"])
    @has_access
    def delete(self, pk: str) -> Any:
        row = self.found(pk)
        form = ConsoleForm()
        name, back = self.name_of(row), self.row_url(row) or self.get_redirect()
        if form.is_submitted() and form.validate() and self._deleted(form, row):
            flash(say("已删除{noun}「{name}」", noun=ours(self.noun), name=name), "success")
            return redirect(self.get_redirect())
        page = self.render_template(
            "console/delete.html",
            view=self,
            form=form,
            title=say("删除{noun}「{name}」", noun=ours(self.noun), name=name),
            back=back,
            touched=self.touched(row),
            along=self.gone_along(row),
        )
        return page, 422 if form.errors else 200

    def touched(self, row: Any) -> list[tuple[str, int]]:
        """(what, how many) of the rows that belong to a row, of the lists that its page has."""
        lists = [item for item in self.tabs if isinstance(item, Related)]
        return [(item.title, count) for item in lists if (count := item.count(row))]

    def gone_along(self, row: Any) -> list[tuple[str, int]]:
        """(what, how many) of what is deleted with the row."""
        return []

    def _deleted(self, form: ConsoleForm, row: Any) -> bool:
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


def full_time(value: datetime) -> Markup:
    """A time on a row's page: exactly, and how long ago while that says something."""
    text = Markup("<time>{}</time>").format(cells.local_time(value))
    near = abs(utcnow() - value) < cells.RECENT if value.tzinfo else False
    return text + Markup(' <span class="quiet">{}</span>').format(cells.clock(value)) if near else text


def ask_again(shown: ConsoleForm, typed: ConsoleForm, columns: Names) -> None:
    """Say beside each secret that was typed that it is not there any more: no page carries one back."""
    for name in columns:
        if typed[name].type == "SecretField" and typed[name].data and not shown[name].errors:
            attach(shown, "出于安全，密钥不会回填：请重新填写", name)


def row_mark(row: Any) -> str:
    """What a row looked like when its form was opened: its version number, or the time of its last change."""
    version = getattr(row, "row_version", None)
    return str(version) if version is not None else row.changed_at.isoformat()


def claim(session: Any, row: Any, mark: str | None) -> None:
    """Refuse an edit of a row that changed since its form was opened; of two at once, one is refused."""
    if mark != row_mark(row):
        raise Conflict(CONFLICT)
    if hasattr(row, "row_version"):
        return  # its version_id_col settles the race at the flush
    model, seen = type(row), row.changed_at
    unchanged = update(model).where(model.id == row.id, model.changed_at == seen)
    taken = session.execute(unchanged.values(changed_at=utcnow()))
    if taken.rowcount != 1:
        raise Conflict(CONFLICT)


def explain(error: Exception, model: type[Any]) -> tuple[str, str | None]:
    """(sentence, field) for what a save was refused by; never the database's own text."""
    if isinstance(error, Refused):
        return error.message, error.field
    if isinstance(error, StaleDataError):
        return CONFLICT, None
    if isinstance(error, DataError):
        return "有数值超出可保存的范围：请检查后重试", None
    if isinstance(error, IntegrityError) and (columns := taken(error, model.__table__)):
        return "与已有记录重复：请换一个", _field_of(model, columns[-1])
    return "与已有数据冲突：请检查是否重复，或所选的记录是否已被删除", None


def _field_of(model: type[Any], column: str) -> str:
    """The form's name of a column: a number of another row is asked for as that row, a folded name as the name."""
    column = twinned(model, column)
    related = (item for item in model.__mapper__.relationships if item.direction is RelationshipDirection.MANYTOONE)
    return next((item.key for item in related if column in {own.name for own in item.local_columns}), column)
