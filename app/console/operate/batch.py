"""The page of a batch: progress, what failed and why, trying again."""

from __future__ import annotations

from typing import Any

from flask import abort, flash, jsonify, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import func, select

from app.access.principal import current_actor
from app.access.roles import WATCHED
from app.console.operate.actions import answer_words, held_words, may_operate, operate_url, prove_for_many
from app.console.operate.confirm import Target, allowed
from app.console.places import page_for, view_named
from app.console.words import tone
from app.data.types import words_of
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import chained, say
from app.models.kit.operation import OperationRun, RunState
from app.operations import batches, runs
from app.operations.registry import OPERATIONS, operation_title

JUDGED = 1000  # failed runs that a batch's page looks at: a retry looks at all


class BatchView(BaseView):
    """One batch: how far it is, what failed and why."""

    roles = WATCHED
    under = "OperationRunView"
    route_base = "/batch"
    default_view = "batch"

    @expose("/<batch_id>", methods=["GET"])
    @has_access
    @permission_name("show")
    def batch(self, batch_id: str) -> Any:
        listed = self._view()
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
            "console/batch.html",
            batch_id=batch_id,
            counts=_in_words(counts),
            total=sum(counts.values()),
            rows=rows,
            title=f"批量{operation_title(first.operation) if first else '操作'}",
            over=over,
            waiting=waiting,
            again=failed - len(stuck) if op and self._may("retry", first) else 0,
            first=first,
            left=f"有 {len(stuck)} 个对象重试也不会成功，不会重试：请按各行的说明处理" if stuck else "",
            mending={run.id: _way_out(run, stuck[run.id]) for run in rows if run.id in stuck},
            chosen=state,
            link=listed.row_url,
            named=runs.named_rows(db.session(), rows),
            answers={run.id: words for run in rows if (words := answer_words(run))},
            held=[] if over else held_words(),
        )

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
        op, params, here = allowed(first.operation), first.params, url_for("BatchView.batch", batch_id=batch_id)
        found = batches.judged(db.session(), op, batch_id)
        ids = sorted({item.subject_id for item in found if not item.why})
        if not ids:
            flash("没有可以重试的对象：请按每一行的说明处理", "warning")
            return redirect(here)
        if (asked := prove_for_many(op, len(ids), back=here)) is not None:
            return asked
        rows = Target(op, ids, [], all_matching=False).rows()
        try:
            new_id, count = runs.request_many(db.session, op.name, rows, actor=current_actor(), params=params)
        except Refused as refused:
            db.session.rollback()
            flash(refused.message, "danger")
            return redirect(here)
        left = sum(1 for item in found if item.why)
        done = say("已重新执行 {count} 个失败的对象", count=count)
        rest = say("另外 {left} 个重试也不会成功，没有执行", left=left)
        flash(chained([done, rest], "，") if left else done, "info")
        return redirect(url_for("BatchView.batch", batch_id=new_id))

    @expose("/<batch_id>/cancel", methods=["POST"])
    @has_access
    def cancel(self, batch_id: str) -> Any:
        """End what still waits; what a worker has goes on."""
        self._view()
        first = db.session.scalars(self._rows(batch_id, "").limit(1)).first()
        if first is None:
            abort(404)
        allowed(first.operation)
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


def batch_counts(batch_id: str) -> dict[RunState, int]:
    """How many runs of a batch are in each state; empty when there is no such batch."""
    statement = (
        select(OperationRun.state, func.count(OperationRun.id))
        .where(OperationRun.batch_id == batch_id)
        .group_by(OperationRun.state)
    )
    return dict(db.session.execute(statement).all())


def batch_over(counts: dict[RunState, int]) -> bool:
    return not {RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN} & set(counts)


def _in_words(counts: dict[RunState, int]) -> list[tuple[str, str, str, int]]:
    return [(str(state), words_of(RunState)[state], tone(state), counts.get(state, 0)) for state in RunState]
