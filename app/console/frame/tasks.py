"""What goes on in the background for the reader: exports, imports, bulk edits, batches; a drawer and a page."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

from flask import abort, current_app, flash, redirect, request, send_file, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import func, select

from app.access.principal import current_role_names, principal
from app.access.roles import ADMIN, ALL_WRITE
from app.console.form.prove import prove_first
from app.console.operate.actions import may_operate
from app.console.words import tone, word
from app.data import storage
from app.data.clock import utcnow
from app.data.keys import parse_key
from app.data.tenancy import scope_of
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import ours, say
from app.models.kit.task import Task, TaskKind
from app.operations import batches
from app.operations.registry import operation_title
from app.tasks import queue
from app.tasks.spreadsheets.write import TYPES

LATELY = timedelta(days=2)
IN_DRAWER = 15
ON_PAGE = 100
PICTURES = {TaskKind.EXPORT: "file-export", TaskKind.IMPORT: "file-import", TaskKind.BULK_EDIT: "edit"}


class TasksView(BaseView):
    """`/tasks/`: everybody sees what they began; the platform's administrators may look at all."""

    roles = ALL_WRITE  # each their own: whoever may export may also cancel it
    nouns = {"task": "后台任务"}
    tells_of = "task"  # news about one of its rows, which have no page of their own, lead to the list
    route_base = "/tasks"
    default_view = "list"

    @expose("/", methods=["GET"])
    @has_access
    def list(self) -> Any:
        everyone = request.args.get("all") == "1" and self._sees_all()
        return self.render_template(
            "console/transfer/tasks.html",
            title="后台任务",
            items=items(everyone=everyone, limit=ON_PAGE),
            everyone=everyone,
            may_see_all=self._sees_all(),
        )

    @expose("/badge", methods=["GET"])
    @has_access
    @permission_name("progress")
    def badge(self) -> Any:
        """How many go on: the number on the bar's icon."""
        return self.render_template("console/transfer/badge.html", running=running())

    @expose("/drawer", methods=["GET"])
    @has_access
    @permission_name("progress")
    def drawer(self) -> Any:
        """What the drawer holds."""
        shown = items(everyone=False, limit=IN_DRAWER)
        return self.render_template("console/transfer/drawer.html", items=shown)

    @expose("/<pk>/cancel", methods=["POST"])
    @has_access
    def cancel(self, pk: str) -> Any:
        task = self._found(pk)
        if queue.cancel(db.session(), task):
            flash(say("已取消「{title}」", title=ours(task.title)), "info")
        else:
            flash("任务已经结束，无法取消", "warning")
        return redirect(_back(task))

    @expose("/<pk>/download", methods=["GET"])
    @has_access
    def download(self, pk: str) -> Any:
        """The file of a finished task: for who began it, as long as they may still see what is in it."""
        task = self._found(pk, own=True)
        needed = "can_import" if task.kind == TaskKind.IMPORT else "can_export"
        if not self.appbuilder.sm.has_access(needed, task.view):
            abort(403)
        if not task.output_key or (task.expires_at is not None and task.expires_at < utcnow()):
            raise Refused("文件已过期：请重新发起")
        asked = prove_first(back=url_for("TasksView.list")) if task.kind == TaskKind.EXPORT else None
        if asked is not None:
            return asked
        kind = task.output_name.rsplit(".", 1)[-1]
        try:
            content = _content(task)
        except FileNotFoundError:
            raise Refused("文件已过期：请重新发起") from None
        return send_file(content, TYPES.get(kind), as_attachment=True, download_name=task.output_name)

    def _found(self, pk: str, *, own: bool = False) -> Task:
        """One's own task, or for an administrator anybody's; 404 alike for another's and none."""
        key, known = parse_key(pk), principal()
        task: Task | None = db.session.get(Task, key) if key is not None else None
        if task is None or known is None:
            abort(404)
        mine = task.user_id == known.user.id and task.merchant_id in {None, known.merchant_id}
        if not mine and (own or not self._sees_all()):
            abort(404)
        return task

    def _sees_all(self) -> bool:
        return ADMIN in current_role_names()


def _content(task: Task) -> Any:
    if task.output_key.endswith(".sealed"):
        return io.BytesIO(storage.read_sealed(task.output_key))
    return storage.open_file(task.output_key)


def _back(task: Task) -> str:
    return task_url(task) or url_for("TasksView.list")


def task_url(task: Task) -> str | None:
    """The page of one task, where it has one."""
    endpoint = f"{task.view}.import_task"
    if task.kind == TaskKind.IMPORT and endpoint in current_app.view_functions:
        return url_for(endpoint, pk=task.id)
    return None


def running() -> int:
    """How many of the reader's tasks and batches are not over."""
    known = principal()
    if known is None:
        return 0
    statement = select(func.count(Task.id)).where(Task.user_id == known.user.id, Task.state.in_(queue.UNFINISHED))
    count = db.session.scalar(statement) or 0
    if scope_of(db.session()).is_merchant:
        return count  # merchants have no batches
    return count + len(batches.open_batches(db.session(), known.user.id))


def items(*, everyone: bool, limit: int) -> list[dict[str, Any]]:
    """Tasks and batches, those that go on first, then the newest."""
    known = principal()
    if known is None:
        return []
    statement = select(Task).order_by(Task.id.desc()).limit(limit)
    if not everyone:
        statement = statement.where(Task.user_id == known.user.id)
    found = [task_item(task) for task in db.session.scalars(statement)]
    if not scope_of(db.session()).is_merchant:
        whose = None if everyone else known.user.id
        found += [batch_item(item) for item in batches.batches(db.session(), whose, within=LATELY, limit=limit)]
    found.sort(key=lambda item: (not item["over"], item["at"]), reverse=True)
    return found[:limit]


def task_item(task: Task) -> dict[str, Any]:
    """A task for the templates."""
    ready = bool(task.output_key) and (task.expires_at is None or task.expires_at > utcnow())
    is_check = task.kind == TaskKind.IMPORT and bool(task.params.get("dry"))
    known = principal()
    mine = known is not None and task.user_id == known.user.id
    return {
        "title": say("{title}（校验）", title=ours(task.title)) if is_check else task.title,
        "icon": PICTURES[task.kind],
        "words": word(task.state),
        "tone": tone(task.state),
        "over": task.is_over,
        "done": task.done,
        "total": task.total,
        "failed": task.failed,
        "percent": percent(task.done, task.total, over=task.is_over),
        "message": task.message,
        "at": task.created_at,
        "who": task.actor.get("name", ""),
        "url": task_url(task) if mine else None,
        "download": url_for("TasksView.download", pk=task.id) if ready and mine else None,
        "download_words": "下载失败行" if task.kind == TaskKind.IMPORT else "下载文件",
        "expires": task.expires_at if ready else None,
        "cancel": None if task.is_over or task.cancel_asked else url_for("TasksView.cancel", pk=task.id),
        "cancelling": task.cancel_asked and not task.is_over,
    }


def batch_item(batch: batches.Batch) -> dict[str, Any]:
    """A batch for the templates."""
    failed = f"，失败 {batch.failed}" if batch.failed else ""
    colour = ("bad" if batch.failed else "good") if batch.over else "busy"
    may_cancel = batch.queued and may_operate(batch.operation)
    return {
        "title": f"批量{operation_title(batch.operation)}",
        "icon": "stack-2",
        "words": "已结束" if batch.over else "进行中",
        "tone": colour,
        "over": batch.over,
        "done": batch.done,
        "total": batch.total,
        "failed": batch.failed,
        "percent": percent(batch.done, batch.total, over=batch.over),
        "message": f"完成 {batch.done}{failed}" if batch.over else "",
        "at": batch.created_at,
        "who": batch.actor_name,
        "url": url_for("BatchView.batch", batch_id=batch.id),
        "download": None,
        "expires": None,
        "cancel": url_for("BatchView.cancel", batch_id=batch.id) if may_cancel else None,
        "cancelling": False,
    }


def percent(done: int, total: int | None, *, over: bool) -> int | None:
    """How far, 0 to 100; None where nobody knows how much there is."""
    if over:
        return 100
    return min(99, done * 100 // total) if total else None
