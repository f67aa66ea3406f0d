"""The same values for many rows (批量修改): which columns, which values, how many rows; then at once or as a task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from flask import abort, flash, redirect, request, url_for
from flask_appbuilder import ModelView, expose, has_access
from flask_appbuilder.models.filters import BaseFilter
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from app.access.principal import current_actor
from app.console.filter.unread import refuse_unread
from app.console.form.forms import ConsoleForm, attach
from app.console.form.partial import check, partial_form
from app.console.query.filters import filter_arguments
from app.data.keys import parse_key
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models.kit.task import TaskKind
from app.tasks import bulk
from app.tasks.queue import new_task
from app.tasks.tables import Hooks

AT_ONCE = 200  # more rows than these are changed in the background
MOST_PICKED = 500  # ticked rows of one list: their numbers go into one address, which takes some 8,000 letters
SHOWN_NAMES = 10
LONGEST_BACK = 4000  # of a list's query


@dataclass(frozen=True)
class Picked:
    """Rows that were ticked, or all that match a list's conditions."""

    ids: list[int]
    arguments: list[tuple[str, str]]  # to ask for the same again
    shown: list[Any]
    gone: str = ""  # said of ticked rows that there are no more


def ticked_keys(values: Any) -> list[int]:
    """The numbers of the ticked rows in a request's values; 404 when one is none, or there are none or too many."""
    texts = [part.strip() for item in values.getlist("ids") for part in item.split(",") if part.strip()]
    keys = {parse_key(text) for text in texts[: MOST_PICKED + 1]}
    if not keys or None in keys or len(keys) > MOST_PICKED:
        abort(404)
    return sorted(key for key in keys if key is not None)


def still_there(values: Any, keys: list[int], known: set[int]) -> tuple[list[int], str]:
    """(those of the rows that there are, what to say of the others). 404 when one is foreign or absent: but of rows
    that were ticked on other pages (`kept=1`) some may be gone since, and that much is told of either."""
    lost = len(keys) - len(known)
    if lost and (values.get("kept") != "1" or not known):
        abort(404)
    return sorted(known), f"有 {lost} 条已被删除或不可见，不再包含" if lost else ""


def asked_conditions(values: Any) -> Any:
    """The conditions behind `all=1`: those in the address, or in a form the address that it was opened with."""
    return MultiDict(parse_qsl(values["query"], keep_blank_values=False)) if "query" in values else values


class Among(BaseFilter):
    """One of some rows."""

    name = "其中之一"
    arg_name = "among"

    def apply(self, query: Any, value: tuple[int, ...]) -> Any:
        return query.filter(getattr(self.model, self.column_name).in_(value))


class BulkPages(ModelView):
    """Mixin of ConsoleView: editing many rows."""

    bulk_columns: ClassVar[list[str]] = []
    most_picked: ClassVar[int] = MOST_PICKED

    def hooks(self) -> Hooks:
        """The rules of a save, for the task that makes it in the background."""
        return Hooks(partial(check, self), self.post_update)

    def bulk_names(self) -> list[str]:
        """The columns that may be changed for many rows by this user: those of the edit form, but no secret."""
        if not self.bulk_columns or not self.may("edit"):
            return []
        sealed = getattr(self.datamodel.obj, "__sealed__", ())
        return [name for name in self.bulk_columns if name in self.edit_columns and name not in sealed]

    @expose("/bulk/", methods=["GET"])
    @has_access
    @permission_name("edit")
    def bulk(self) -> Any:
        """Which columns, and what they become."""
        picked = self._picked(request.args)
        return self._bulk_page(picked, self._bulk_form(self.bulk_names(), formdata=None), [])

    @expose("/bulk/", methods=["POST"])
    @has_access
    @permission_name("edit")
    def bulk_save(self) -> Any:
        picked = self._picked(request.form)
        ticked = [name for name in self.bulk_names() if name in request.form.getlist("columns")]
        form = self._bulk_form(ticked)
        if not form.validate():
            return self._bulk_again(picked, form, ticked, 422)
        if not ticked:
            attach(form, "请勾选要修改的项目", None)
            return self._bulk_again(picked, form, ticked, 422)
        if request.form.get("count") != str(len(picked.ids)):
            attach(form, "符合条件的记录数刚有变化：请核对后再次确认", None)
            return self._bulk_again(picked, form, ticked, 409)
        values = {name: bulk.encoded(self.datamodel.obj, name, form[name].data) for name in ticked}
        try:
            self._try_first(picked, form, ticked)
            return self._change(picked, values)
        except Refused as refused:
            self.datamodel.session.rollback()
            attach(form, refused.message, refused.field)
            return self._bulk_again(self._picked(request.form), form, ticked, 422)

    def _try_first(self, picked: Picked, form: ConsoleForm, ticked: list[str]) -> None:
        """Refuse values that the first row's rules refuse: what is wrong in itself is said beside its field, once."""
        session, row = self.datamodel.session, picked.shown[0]
        try:
            with session.no_autoflush:
                for name in ticked:
                    form[name].populate_obj(row, name)
                self.pre_update(row)
        except Refused as refused:
            if refused.field in ticked:
                raise
        finally:
            session.rollback()

    def _change(self, picked: Picked, values: dict[str, Any]) -> Any:
        session = self.datamodel.session()
        if len(picked.ids) <= AT_ONCE:
            outcome = bulk.change(session, self.datamodel.obj, picked.ids, values, hooks=self.hooks())
            flash(outcome.words(), "warning" if outcome.failed else "success")
        else:
            self._task(session, picked, values)
            started = say(
                "已开始在后台修改 {count} 条{noun}，进度见右上角的任务",
                count=f"{len(picked.ids):,}",
                noun=ours(self.noun),
            )
            flash(started, "info")
        return redirect(self._back(picked))

    def _task(self, session: Any, picked: Picked, values: dict[str, Any]) -> None:
        labels = "、".join(self.label_of(name) for name in values)
        new_task(
            session,
            TaskKind.BULK_EDIT,
            actor=current_actor(),
            view=self.endpoint,
            total=len(picked.ids),
            title=f"批量修改{self.noun}：{labels}",
            params={"model": self.datamodel.obj.__tablename__, "ids": picked.ids, "values": values},
        )

    # Which rows.

    def _picked(self, values: Any) -> Picked:
        """The rows that are asked for; 404 when one is foreign or absent, or nothing can be changed here."""
        if not self.bulk_names():
            abort(404)
        if values.get("all") == "1":
            return self._matching(asked_conditions(values))
        keys = ticked_keys(values)
        ids, gone = still_there(values, keys, set(self.datamodel.keys(self.among(keys))))
        return Picked(ids, [("ids", str(key)) for key in ids], self._first(ids), gone)

    def among(self, keys: list[int]) -> Any:
        """The conditions for some rows by their numbers, of those that the list is about."""
        filters = self.datamodel.get_filters(self.search_columns).add_filter_list(self.base_filters)
        filters._add_filter(Among(self.datamodel.get_pk_name(), self.datamodel), tuple(keys))
        return filters

    def _matching(self, asked: Any) -> Picked:
        refuse_unread(self, asked)
        ids = self.datamodel.keys(self.active_filters(asked), most=bulk.MOST + 1)
        if not ids:
            abort(404)
        if len(ids) > bulk.MOST:
            raise Refused(
                say(
                    "符合条件的{noun}超过 {most} 条，一次最多修改这么多：请先缩小筛选范围",
                    noun=ours(self.noun),
                    most=f"{bulk.MOST:,}",
                )
            )
        kept = urlencode(filter_arguments(self, asked))
        return Picked(ids, [("all", "1"), ("query", kept)], self._first(ids))

    def _first(self, ids: list[int]) -> list[Any]:
        model = self.datamodel.obj
        found = select(model).where(model.id.in_(ids[:SHOWN_NAMES])).order_by(model.id)
        return list(self.datamodel.session.scalars(found))

    def _back(self, picked: Picked) -> str:
        """The list as it was left: its conditions, order and page."""
        left = request.values.get("back", "") or dict(picked.arguments).get("query", "")
        query = urlencode(parse_qsl(left[:LONGEST_BACK]), safe=",.!:=")
        return url_for(f"{self.endpoint}.list") + (f"?{query}" if query else "")

    # The page.

    def _bulk_form(self, names: list[str], **values: Any) -> ConsoleForm:
        return partial_form(self, names, editing=False)(**values)

    def _bulk_again(self, picked: Picked, form: ConsoleForm, ticked: list[str], status: int) -> Any:
        """The page once more, with what was typed."""
        whole = self._bulk_form(self.bulk_names())
        for name in ticked:
            whole[name].errors = form[name].errors
        whole.form_errors = form.form_errors
        return self._bulk_page(picked, whole, ticked), status

    def _bulk_page(self, picked: Picked, form: ConsoleForm, ticked: list[str]) -> Any:
        return self.render_template(
            "console/list/bulk.html",
            view=self,
            form=form,
            names=self.bulk_names(),
            ticked=ticked,
            picked=picked,
            count=len(picked.ids),
            title=f"批量修改{self.noun}",
            back=self._back(picked),
            at_once=AT_ONCE,
        )
