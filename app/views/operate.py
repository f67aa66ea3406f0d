"""Operations from the screens: buttons on rows and lists, one page to confirm with, progress of runs and batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from flask import abort, current_app, flash, g, jsonify, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from markupsafe import Markup
from sqlalchemy import func, select

from app import operations, roles
from app.errors import Refused
from app.extensions import db
from app.i18n import say
from app.models import MiniProgram, OperationRun, RunState, Template
from app.models.operation import RUN_WORDS, Door
from app.operations import OPERATIONS, Operation, batches, credentials
from app.security import current_actor, current_role_names
from app.tenancy import scope_of
from app.views import cells
from app.views.bulk import asked_conditions, still_there, ticked_keys
from app.views.forms import ConsoleForm, as_text, attach, given_params, params_form
from app.views.interface import filter_arguments
from app.views.own import prove_first
from app.views.places import list_for, page_for, view_named
from app.views.unread import refuse_unread
from app.views.words import tone, word

WAIT_SECONDS = 3.0
SHOWN_NAMES = 20
CHUNK = 500
JUDGED = 1000  # failed runs that a batch's page looks at: a retry looks at all
operation_title = operations.operation_title


class OperationActions:
    """Mixin of a view whose rows can be operated on: `operations` names what is offered, in this order."""

    operations: ClassVar[list[str]] = []
    batched: ClassVar[bool] = True

    def offered(self) -> list[Operation]:
        """Those of the view's operations that the user may do."""
        known = (OPERATIONS[name] for name in self.operations if name in OPERATIONS)
        return [op for op in known if may_operate(op.name)]

    def target(self, row: Any) -> Any:
        """Which row of the operation's own model a row of this view stands for."""
        return row

    def batch_operations(self) -> list[Operation]:
        return self.offered() if self.batched else []

    def operation_links(self, row: Any) -> list[tuple[str, str, bool]]:
        """(title, address, dangerous) of all that may be asked for, whatever the row's state."""
        return self._links(row, self.offered())

    def row_links(self, row: Any) -> Any:
        """Those that the row's state allows."""
        return self._links(row, [op for op, why in self._standing(row) if not why])

    def blocked(self, row: Any) -> list[tuple[str, list[str]]]:
        """What the row's state does not allow now: (why, the operations' titles)."""
        found: dict[str, list[str]] = {}
        for op, why in self._standing(row):
            if why:
                found.setdefault(why, []).append(op.title)
        return list(found.items())

    def _links(self, row: Any, wanted: list[Operation]) -> list[tuple[str, str, bool]]:
        key = self.target(row).id
        return [(op.title, operate_url(op.name, key), op.danger) for op in wanted]

    def _standing(self, row: Any) -> list[tuple[Operation, str]]:
        """Each operation with why it cannot be done now; looked up once a request."""
        kept, target = g.setdefault("operations_standing", {}), self.target(row)
        key = (type(self), target.id)
        if key not in kept:
            kept[key] = obstacles(self.offered(), target)
        return kept[key]  # type: ignore[no-any-return]


def obstacles(offered: list[Operation], row: Any) -> list[tuple[Operation, str]]:
    """Each operation with why it cannot be asked for on a row now; empty where it can."""
    if not offered:
        return []
    held = operations.holder(db.session(), row)
    if held is not None:
        return [(op, f"正在进行「{operation_title(held.operation)}」，请等它结束") for op in offered]
    look = operations.Look(db.session(), [row])
    return [(op, operations.obstacle(op, row, look)) for op in offered]


def may_operate(name: str) -> bool:
    """Whether the user may do an operation."""
    return roles.may_operate(current_role_names(), name, bool(current_app.config["OWNERS_MAY_SUBMIT"]))


def operate_url(name: str, *ids: int) -> str:
    """The page that confirms an operation on some rows."""
    return url_for("OperateView.operate", name=name) + "?" + urlencode([("ids", key) for key in ids])


def prove_for_many(op: Operation, count: int, back: str = "") -> Any:
    """A way to prove oneself first where an operation changes what many mini-programs' users see; None otherwise."""
    if not op.live or count <= current_app.config["STEP_UP_ABOVE"]:
        return None
    return prove_first(back)


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
    for view in current_app.appbuilder.baseviews:  # type: ignore[attr-defined]
        if view.endpoint == name and isinstance(view, OperationActions) and _batches(view, op):
            return view
    return abort(404)


def _batches(view: Any, op: Operation) -> bool:
    """Whether a list offers an operation on all of its rows, and the user may see the list."""
    return view.batched and op.name in view.operations and view.datamodel.obj is op.on and view.may("list")  # type: ignore[no-any-return]


def _allowed(name: str) -> Operation:
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
        if source == "templates":
            found[item.name] = _template_choices(row)
        elif isinstance(source, list | tuple):
            found[item.name] = [pair if isinstance(pair, tuple) else (str(pair), str(pair)) for pair in source]
    return found


def _template_choices(row: Any) -> list[tuple[str, str]]:
    known = select(Template).where(Template.third_party_app_id == row.third_party_app_id, Template.gone.is_(False))
    newest = db.session.scalars(known.order_by(Template.added_at.desc(), Template.id.desc()).limit(200))
    return [(item.template_id, f"{item.version}　{item.description[:40]}（{item.template_id}）") for item in newest]


class OperateView(BaseView):
    """Confirm an operation on one row or many, then do it."""

    route_base = "/operate"
    default_view = "operate"

    @expose("/<name>", methods=["GET"])
    @has_access
    def operate(self, name: str) -> Any:
        op = _allowed(name)
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
        op = _allowed(name)
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
            "console/operate.html", op=op, target=target, form=form, shown=shown, fields=fields,
            count=len(target.ids), title=op.title, not_now=f"现在不能做：{why}" if why else "",
            back=_page_of(shown[0]) if len(target.ids) == 1 else _list_of(op),
        )  # fmt: skip

    def _one(self, op: Operation, row: Any, given: dict[str, Any]) -> Any:
        page = _page_of(row)
        run = operations.request(db.session, op.name, row, actor=current_actor(), door=Door.ROW, **given)
        run_id = run.id
        operations.wait_for(current_app._get_current_object(), run_id, WAIT_SECONDS)  # type: ignore[attr-defined]
        db.session.rollback()  # a new look: the worker wrote in a transaction of its own
        run = db.session.get_one(OperationRun, run_id, populate_existing=True)
        if not run.is_over:
            flash(outcome_words(run), "info")
            return redirect(page_for("operation_run", run_id) or page)  # a merchant has no page of runs
        flash(outcome_words(run), "success" if run.state == RunState.SUCCEEDED else "danger")
        return redirect(page)

    def _many(self, op: Operation, target: Target, given: dict[str, Any]) -> Any:
        batch_id, count = operations.request_many(
            db.session, op.name, target.rows(), actor=current_actor(), params=given
        )
        flash(f"已开始对 {count} 个对象「{op.title}」", "info")
        return redirect(url_for("BatchView.batch", batch_id=batch_id))


def outcome_words(run: OperationRun) -> Markup:
    """The outcome of a finished run in one sentence, with what to do and the number Douyin's support asks for."""
    title = operation_title(run.operation)
    if run.state == RunState.SUCCEEDED:
        return Markup("{}成功{}").format(title, f"：{run.message}" if run.message else "")
    if not run.is_over:
        return Markup("{}{}，稍后在时间线中查看结果").format(title, RUN_WORDS[run.state])
    parts = [f"{title}失败：{run.message}"]
    if run.advice and run.advice not in run.message:
        parts.append(run.advice)
    if run.err_no is not None:
        parts.append(f"错误码 {run.err_no}")
    if run.log_id:
        parts.append(f"log_id {run.log_id}")
    return Markup("{} <a href='{}'>查看详情</a>").format("；".join(parts), run_url(run.id))


def run_url(run_id: int) -> str:
    return url_for("OperationRunView.show", pk=run_id)


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


class BatchView(BaseView):
    """One batch: how far it is, what failed and why."""

    route_base = "/batch"
    default_view = "batch"

    @expose("/<batch_id>", methods=["GET"])
    @has_access
    @permission_name("show")
    def batch(self, batch_id: str) -> Any:
        runs = self._view()
        counts = batch_counts(batch_id)
        if not counts:
            abort(404)
        state = request.args.get("state", "")
        rows = list(db.session.scalars(self._rows(batch_id, state)))
        first = rows[0] if rows else db.session.scalars(self._rows(batch_id, "")).first()
        waiting = counts.get(RunState.QUEUED, 0) if self._may("cancel", first) else 0
        failed, over = counts.get(RunState.FAILED, 0), batch_over(counts)
        op = OPERATIONS.get(first.operation) if first and failed and over else None
        found = batches.judged(db.session(), op, batch_id, most=JUDGED) if op else []
        stuck = {item.run_id: item for item in found if item.why}
        return self.render_template(
            "console/batch.html", batch_id=batch_id, counts=_in_words(counts), total=sum(counts.values()), rows=rows,
            title=f"批量{operation_title(first.operation) if first else '操作'}", over=over, waiting=waiting,
            again=failed - len(stuck) if op and self._may("retry", first) else 0, first=first,
            left=f"有 {len(stuck)} 个对象重试也不会成功，不会重试：请按各行的说明处理" if stuck else "",
            mending={run.id: _way_out(run, stuck[run.id]) for run in rows if run.id in stuck},
            chosen=state, link=runs.row_url, named=named_rows(rows), held=[] if over else held_words(),
        )  # fmt: skip

    @expose("/<batch_id>/progress", methods=["GET"])
    @has_access
    def progress(self, batch_id: str) -> Any:
        self._view()
        counts = batch_counts(batch_id)
        if not counts:
            abort(404)
        return jsonify(counts={str(state): count for state, count in counts.items()}, over=batch_over(counts))

    @expose("/<batch_id>/retry", methods=["POST"])
    @has_access
    def retry(self, batch_id: str) -> Any:
        self._view()
        first = db.session.scalars(self._rows(batch_id, str(RunState.FAILED)).limit(1)).first() or abort(404)
        op, params, here = _allowed(first.operation), first.params, url_for("BatchView.batch", batch_id=batch_id)
        found = batches.judged(db.session(), op, batch_id)
        ids = sorted({item.subject_id for item in found if not item.why})
        if not ids:
            flash("没有可以重试的对象：请按每一行的说明处理", "warning")
            return redirect(here)
        if (asked := prove_for_many(op, len(ids), back=here)) is not None:
            return asked
        rows = Target(op, ids, [], all_matching=False).rows()
        try:
            new_id, count = operations.request_many(db.session, op.name, rows, actor=current_actor(), params=params)
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
            return redirect(here)
        left = sum(1 for item in found if item.why)
        more = f"，另外 {left} 个重试也不会成功，没有执行" if left else ""
        flash(f"已重新执行 {count} 个失败的对象{more}", "info")
        return redirect(url_for("BatchView.batch", batch_id=new_id))

    @expose("/<batch_id>/cancel", methods=["POST"])
    @has_access
    def cancel(self, batch_id: str) -> Any:
        """End what still waits; what a worker has goes on."""
        self._view()
        first = db.session.scalars(self._rows(batch_id, "").limit(1)).first()
        if first is None:
            abort(404)
        _allowed(first.operation)
        count = batches.cancel(db.session(), batch_id, current_actor().name)
        words = f"已取消 {count} 个排队中的对象" if count else "没有排队中的对象可以取消"
        flash(words, "info" if count else "warning")
        return redirect(url_for("BatchView.batch", batch_id=batch_id))

    def _may(self, action: str, run: OperationRun | None) -> bool:
        held = self.appbuilder.sm.has_access(f"can_{action}", "BatchView")
        return bool(run is not None and held and may_operate(run.operation))

    def _view(self) -> Any:
        view = view_named("OperationRunView")
        return view if view.may("list") else abort(403)

    def _rows(self, batch_id: str, state: str) -> Any:
        statement = select(OperationRun).where(OperationRun.batch_id == batch_id)
        if state in set(RunState):
            statement = statement.where(OperationRun.state == RunState(state))
        return statement.order_by(OperationRun.id).limit(100)


def _way_out(run: OperationRun, judged: batches.Judged) -> tuple[str, str, str]:
    """(why it is not done again, what helps instead, where) of a failed run; the latter two empty where none does."""
    if judged.input and may_operate(run.operation):
        return judged.why, "修改后重做", operate_url(run.operation, run.subject_id)
    page = page_for(run.subject_type, run.subject_id) if not judged.gone else None
    return judged.why, "去处理" if page else "", page or ""


def held_words() -> list[str]:
    """What makes operations wait at the moment, for the platform's people; a merchant sees it at its own runs."""
    app: Any = current_app
    return [] if scope_of(db.session()).is_merchant else credentials.breaker(app._get_current_object()).sentences()


def batch_counts(batch_id: str) -> dict[RunState, int]:
    """How many runs of a batch are in each state; empty when there is no such batch."""
    statement = (
        select(OperationRun.state, func.count(OperationRun.id))
        .where(OperationRun.batch_id == batch_id)
        .group_by(OperationRun.state)
    )
    return {state: count for state, count in db.session.execute(statement)}  # noqa: C416  (dict() asks a Result for keys)


def batch_over(counts: dict[RunState, int]) -> bool:
    return not {RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN} & set(counts)


def _in_words(counts: dict[RunState, int]) -> list[tuple[str, str, str, int]]:
    return [(str(state), RUN_WORDS[state], tone(state), counts.get(state, 0)) for state in RunState]


def named_rows(runs: list[OperationRun]) -> dict[int, str]:
    """Names of the mini-programs behind runs, in one query."""
    keys = {run.mini_program_id for run in runs if run.mini_program_id}
    if not keys:
        return {}
    found = db.session.execute(
        select(MiniProgram.id, MiniProgram.name, MiniProgram.appid).where(MiniProgram.id.in_(keys))
    )
    return {key: name or appid for key, name, appid in found}


def run_json(run: OperationRun) -> dict[str, Any]:
    """What the progress script of a run's page needs."""
    return {
        "state": str(run.state),
        "words": say(word(run.state)),
        "tone": tone(run.state),
        "over": run.is_over,
        "message": say(run.message),
        "advice": say(run.advice),
        "finished": cells.local_time(run.finished_at),
    }
