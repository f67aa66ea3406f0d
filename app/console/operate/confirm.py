"""The page on which an operation is confirmed, for one row or many."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from flask import abort, flash, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from sqlalchemy import select

from app.access.principal import current_actor
from app.access.roles import ADMIN, OPERATOR, OWNER, WRITES
from app.console.filter.unread import refuse_unread
from app.console.form.bulk import asked_conditions, still_there, ticked_keys
from app.console.form.forms import ConsoleForm, as_text, attach, given_params, params_form
from app.console.operate.actions import (
    CHUNK,
    SHOWN_NAMES,
    OperationActions,
    may_operate,
    obstacles,
    outcome_words,
    prove_for_many,
)
from app.console.places import list_for, page_for
from app.console.query.filters import filter_arguments
from app.data.tenancy import scope_of
from app.errors import Refused
from app.extensions import appbuilder, db, the_app
from app.i18n.sentence import ours, say
from app.models.kit.operation import Door, OperationRun, RunState
from app.operations import runs
from app.operations.answer import answer
from app.operations.registry import OPERATIONS, Operation
from app.operations.runs import WAIT_SECONDS


@dataclass(frozen=True)
class Target:
    """What an operation was asked for: picked rows, or all that match a list's filters."""

    op: Operation
    ids: list[int]
    arguments: list[tuple[str, str]]  # to ask for the same again
    all_matching: bool
    gone: str = ""  # said of ticked rows that there are no more

    def rows(self) -> Iterator[Any]:
        """The rows, in chunks: a hundred thousand are never in memory at once."""
        for start in range(0, len(self.ids), CHUNK):
            chunk = self.ids[start : start + CHUNK]
            yield from db.session.scalars(select(self.op.on).where(self.op.on.id.in_(chunk)).order_by(self.op.on.id))

    def first(self) -> list[Any]:
        model = self.op.on
        return list(db.session.scalars(select(model).where(model.id.in_(self.ids[:SHOWN_NAMES])).order_by(model.id)))


def target_of(op: Operation, values: Any) -> Target:
    """Read the target from a request's values; 404 when a picked row is foreign or absent, or none is named."""
    if values.get("all") == "1":
        return _matching(op, values)
    keys = ticked_keys(values)
    known = set(db.session.scalars(select(op.on.id).where(op.on.id.in_(keys))))
    ids, gone = still_there(values, keys, known)
    if len(keys) > 1 and scope_of(db.session()).is_merchant:
        abort(404)
    return Target(op, ids, [("ids", str(key)) for key in ids], all_matching=False, gone=gone)


def _matching(op: Operation, values: Any) -> Target:
    view = _list_view(op, values.get("view", ""))
    asked = asked_conditions(values)  # in a form the operation's own fields have names of their own
    refuse_unread(view, asked)
    ids = view.datamodel.keys(view.active_filters(asked))
    if not ids:
        abort(404)
    kept = [("all", "1"), ("view", view.endpoint), ("query", urlencode(filter_arguments(view, asked)))]
    return Target(op, ids, kept, all_matching=True)


def _list_view(op: Operation, name: str) -> Any:
    for view in appbuilder().baseviews:
        if view.endpoint == name and isinstance(view, OperationActions) and _batches(view, op):
            return view
    return abort(404)


def _batches(view: Any, op: Operation) -> bool:
    """Whether a list offers an operation on all of its rows, and the user may see the list."""
    return view.batched and op.name in view.operations and view.datamodel.obj is op.on and view.may("list")


def allowed(name: str) -> Operation:
    op = OPERATIONS.get(name)
    if op is None:
        abort(404)
    if not may_operate(name):
        abort(403)
    return op


def _choices(op: Operation, row: Any) -> dict[str, list[tuple[str, str]]]:
    """The options of the parameters that have some: a list in the metadata, or the name of a source here."""
    found = {}
    for item in dataclasses.fields(op.params):
        source = item.metadata.get("choices")
        if callable(source):
            found[item.name] = source(db.session(), row)
        elif isinstance(source, list | tuple):
            found[item.name] = [pair if isinstance(pair, tuple) else (str(pair), str(pair)) for pair in source]
    return found


class OperateView(BaseView):
    """Confirm an operation on one row or many, then do it."""

    roles = {ADMIN: WRITES, OPERATOR: WRITES, OWNER: WRITES}  # and then `may_operate` for each operation
    route_base = "/operate"
    default_view = "operate"

    @expose("/<name>", methods=["GET"])
    @has_access
    def operate(self, name: str) -> Any:
        op = allowed(name)
        target = target_of(op, request.args)
        if (asked := prove_for_many(op, len(target.ids))) is not None:
            return asked
        shown = target.first()
        form_class = params_form(op.params, _choices(op, shown[0]))
        # One ext.json belongs to one mini-program: for many rows it is made for each.
        proposed = dict(op.propose(shown[0], db.session) if op.propose else {})
        form = form_class(formdata=None, data={name: as_text(value) for name, value in proposed.items()})
        return self._page(op, target, form, shown)

    @expose("/<name>", methods=["POST"])
    @has_access
    def perform(self, name: str) -> Any:
        op = allowed(name)
        target = target_of(op, request.form)
        if (asked := prove_for_many(op, len(target.ids), back=_confirm_url(op, target))) is not None:
            return asked
        shown = target.first()
        form = params_form(op.params, _choices(op, shown[0]))()
        if len(target.ids) > 1 and "ext" in form:
            form.ext.data = ""
        if not form.validate():
            return self._page(op, target, form, shown), 422
        if request.form.get("count") != str(len(target.ids)):
            attach(form, "符合条件的对象数量刚有变化：请核对后再次确认", None)
            return self._page(op, target, form, shown), 409
        try:
            given = given_params(form, op.params)
            return self._one(op, shown[0], given) if len(target.ids) == 1 else self._many(op, target, given)
        except Refused as refused:
            db.session.rollback()
            attach(form, refused.message, refused.field)
            return self._page(op, target, form, target.first()), 422

    def _page(self, op: Operation, target: Target, form: ConsoleForm, shown: list[Any]) -> Any:
        fields = [name for name in form._fields if name != "csrf_token"]
        if len(target.ids) > 1:
            fields = [name for name in fields if name != "ext"]
        why = obstacles([op], shown[0])[0][1] if len(target.ids) == 1 else ""
        return self.render_template(
            "console/operate.html",
            op=op,
            target=target,
            form=form,
            shown=shown,
            fields=fields,
            count=len(target.ids),
            title=op.title,
            not_now=say("现在不能做：{why}", why=ours(why)) if why else "",
            back=_page_of(shown[0]) if len(target.ids) == 1 else _list_of(op),
        )

    def _one(self, op: Operation, row: Any, given: dict[str, Any]) -> Any:
        page = _page_of(row)
        run = runs.request(db.session, op.name, row, actor=current_actor(), door=Door.ROW, **given)
        run_id = run.id
        runs.wait_for(the_app(), run_id, WAIT_SECONDS)
        db.session.rollback()  # a new look: the worker wrote in a transaction of its own
        run = db.session.get_one(OperationRun, run_id, populate_existing=True)
        if not run.is_over:
            flash(outcome_words(run), "info")
            return redirect(page_for("operation_run", run_id) or page)  # a merchant has no page of runs
        flash(outcome_words(run), "success" if run.state == RunState.SUCCEEDED else "danger")
        return redirect(f"{page}?run={run_id}" if not op.mutates and answer(run) else page)

    def _many(self, op: Operation, target: Target, given: dict[str, Any]) -> Any:
        batch_id, count = runs.request_many(db.session, op.name, target.rows(), actor=current_actor(), params=given)
        flash(say("已开始对 {count} 个对象「{title}」", count=count, title=ours(op.title)), "info")
        return redirect(url_for("BatchView.batch", batch_id=batch_id))


def _confirm_url(op: Operation, target: Target) -> str:
    """The page that asks for the same again."""
    return url_for("OperateView.operate", name=op.name) + "?" + urlencode(_asked_again(target))


def _asked_again(target: Target) -> list[tuple[str, str]]:
    held = dict(target.arguments)
    if not target.all_matching:
        return target.arguments
    return [("all", "1"), ("view", held["view"]), *parse_qsl(held["query"])]


def _page_of(row: Any) -> str:
    return page_for(row.__tablename__, row.id) or url_for("DashboardView.index")


def _list_of(op: Operation) -> str:
    return list_for(op.on.__tablename__) or url_for("DashboardView.index")
