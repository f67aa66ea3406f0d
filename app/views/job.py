"""Scheduled jobs with their history (定时任务)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import abort, flash, make_response, redirect, request, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name

from app.access.principal import current_actor
from app.access.roles import WATCHED
from app.console import cells
from app.console.form.forms import ConsoleForm
from app.console.row.changes import say_detail
from app.data.clock import SHANGHAI, utcnow
from app.errors import Refused
from app.extensions import db, the_app
from app.i18n.sentence import ours, said, say
from app.jobs import schedule
from app.jobs.run import run_now
from app.models.kit.audit import record
from app.models.records import JOB_WORDS

HISTORY = 20


def duration(row: Any) -> str:
    if row.started_at is None or row.finished_at is None:
        return ""
    return f"{(row.finished_at - row.started_at).total_seconds():.1f} 秒"


def every_words(seconds: int) -> str:
    if seconds % 3600 == 0:
        return f"每 {seconds // 3600} 小时"
    return f"每 {seconds // 60} 分钟" if seconds % 60 == 0 else f"每 {seconds} 秒"


say_detail("job", {name: job.title for name, job in schedule.SCHEDULE.items()})


class JobView(BaseView):
    """Scheduled jobs: when they last ran, what came of it, and running one now (定时任务)."""

    roles = WATCHED
    icon = "clock-play"
    tells_of = "job"
    route_base = "/jobs"
    default_view = "list"
    palette_key = "j"

    def palette_actions(self) -> Iterator[dict[str, Any]]:
        """What the palette offers to those who may run jobs."""
        if not self.appbuilder.sm.has_access("can_run", "JobView"):
            return
        for job_id, job in schedule.SCHEDULE.items():
            url = url_for("JobView.run", job_id=job_id)
            yield {"title": f"{said('立即执行')}：{said(job.title)}", "post": url, "icon": "bolt"}

    @expose("/", methods=["GET"])
    @has_access
    def list(self) -> Any:
        runs = schedule.history(db.session(), schedule.SCHEDULE, HISTORY)
        rows = [_job_row(job_id, job, runs.get(job_id, [])) for job_id, job in schedule.SCHEDULE.items()]
        failed = request.args.get("failed") == "1"
        if failed:
            rows = [row for row in rows if row["run"] and row["run"].outcome == "failed"]
        may_run = self.appbuilder.sm.has_access("can_run", "JobView")
        return self.render_template(
            "console/jobs.html", title="定时任务", rows=rows, may_run=may_run, failed=failed, form=ConsoleForm()
        )

    @expose("/<job_id>/history", methods=["GET"])
    @has_access
    @permission_name("list")
    def history(self, job_id: str) -> Any:
        """The latest slots of one job: in a dialog of the list, or a page for who opens the address."""
        if job_id not in schedule.SCHEDULE:
            abort(404)
        runs = schedule.history(db.session(), [job_id], HISTORY).get(job_id, [])
        part, job = "HX-Request" in request.headers, schedule.SCHEDULE[job_id]
        page = make_response(
            self.render_template(
                "console/job_slots.html" if part else "console/job_history.html",
                job=job,
                title=job.title,
                rows=[_slot_row(run) for run in runs],
                part=part,
            )
        )
        page.headers["Vary"] = "HX-Request"
        return page

    @expose("/<job_id>/run", methods=["POST"])
    @has_access
    def run(self, job_id: str) -> Any:
        try:
            schedule.find(job_id)
        except Refused as refused:
            flash(refused.message, "danger")
            return redirect(url_for("JobView.list"))
        app = the_app()
        record(db.session(), "job_run", job=job_id)
        db.session.commit()  # before the job, which writes in sessions of its own
        done = run_now(app, job_id, current_actor().name)
        title = schedule.SCHEDULE[job_id].title
        failed = done is None or done.outcome == "failed"
        tone = "danger" if failed else "warning" if done and done.outcome == "partly" else "success"
        what = say("「{title}」执行失败" if failed else "「{title}」已执行", title=ours(title))
        words = say("{what}：{result}", what=what, result=done.result if done else "")
        flash(words, tone)
        return redirect(url_for("JobView.list"))


def _slot_row(run: Any) -> dict[str, Any]:
    at = run.started_at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    return {"run": run, "at": at, "state": cells.state(run.outcome, JOB_WORDS), "took": duration(run)}


def _job_row(job_id: str, job: schedule.Job, runs: list[Any]) -> dict[str, Any]:
    run = runs[0] if runs else None
    return {
        "id": job_id,
        "title": job.title,
        "every": every_words(job.seconds),
        "next": schedule.next_slot(job, utcnow()),
        "run": run,
        "runs": runs[::-1],
        "took": duration(run) if run else "",
        "failures": sum(item.outcome == "failed" for item in runs),
        "state": cells.state(run.outcome, JOB_WORDS) if run else cells.DASH,
    }
