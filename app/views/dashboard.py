"""The workbench (工作台): what needs a person now, the fleet by stage, recent runs. Every number is a link."""

from __future__ import annotations

from typing import Any

from flask import url_for
from flask_appbuilder import IndexView, expose, has_access
from sqlalchemy import ColumnElement, func, select

from app import jobs
from app.extensions import db
from app.models import (
    AuthorizationState,
    MiniProgram,
    OperationRun,
    ThirdPartyApp,
    VersionState,
)
from app.models.base import utcnow
from app.tenancy import scope_of
from app.views import cells
from app.views.mini_program import LOST, lacking, lapsing, next_step, steps, stuck
from app.views.operate import may_operate, operation_title, page_for, run_url
from app.views.records import lately_failed, result_cell, subject_cell, unknown
from app.views.third_party_app import TICKET_ALARM, TICKET_WARN

MOST_LISTED = 8


def count(model: type[Any], *conditions: ColumnElement[bool]) -> int:
    return db.session.scalar(select(func.count(model.id)).where(*conditions)) or 0


def needs() -> list[dict[str, Any]]:
    """What needs a person now, worst first: title, number, link, colour. Each number is that of the linked list."""
    apps, claimed = "MiniProgramView.list", MiniProgram.merchant_id.is_not(None)
    rejected = claimed & (MiniProgram.audit_state == VersionState.REJECTED)
    found = [
        ("审核被驳回", count(MiniProgram, rejected), url_for(apps, _flt_1_audit_state="rejected"), "bad"),
        ("审核超时未出结果", count(MiniProgram, claimed, stuck()), url_for(apps, stuck=1), "bad"),
        ("授权 7 天内到期", count(MiniProgram, claimed, lapsing()), url_for(apps, lapsing=1), "bad"),
        ("缺少必要权限", count(MiniProgram, claimed, lacking()), url_for(apps, lacking=1), "warn"),
        ("待认领小程序", count(MiniProgram, ~claimed), url_for("UnclaimedMiniProgramView.list"), "warn"),
        (
            "结果待核实",
            count(OperationRun, unknown()),
            url_for("OperationRunView.list", _flt_0_state="unknown"),
            "warn",
        ),
        (
            "24 小时内失败的操作",
            count(OperationRun, lately_failed()),
            url_for("OperationRunView.list", failed=1),
            "warn",
        ),
        ("执行失败的定时任务", failed_jobs(), url_for("JobView.list"), "bad"),
    ]
    return [
        {"title": title, "count": number, "url": url, "tone": tone if number else "calm"}
        for title, number, url, tone in found
    ]


def failed_jobs() -> int:
    return sum(run.outcome == "failed" for run in jobs.last_runs(db.session()).values())


def tickets() -> list[dict[str, Any]]:
    """Third-party apps whose pushed ticket is late or that have a fault."""
    active = select(ThirdPartyApp).where(ThirdPartyApp.active.is_(True)).order_by(ThirdPartyApp.id)
    return [warning for app in db.session.scalars(active) if (warning := _ticket_warning(app))]


def _ticket_warning(app: ThirdPartyApp) -> dict[str, Any] | None:
    age = utcnow() - app.ticket_at if app.ticket_at else None
    if age is not None and age < TICKET_WARN and not app.fault:
        return None
    late = f"推送票据已有 {cells.span_words(age)}没有更新" if age else "从未收到推送票据：请检查回调地址与开放平台设置"
    bad = age is None or age >= TICKET_ALARM or bool(app.fault)
    url = page_for("third_party_app", app.id)
    return {"app": str(app), "words": app.fault or late, "tone": "bad" if bad else "warn", "url": url}


def fleet() -> list[dict[str, Any]]:
    """Claimed mini-programs by stage, for the bar."""
    state = MiniProgram.audit_state
    found: list[tuple[str, ColumnElement[bool], dict[str, Any]]] = [
        ("已授权", MiniProgram.state == AuthorizationState.AUTHORIZED, {"_flt_0_state": "authorized"}),
        ("审核中", state == VersionState.AUDITING, {"_flt_1_audit_state": "auditing"}),
        ("待发布", state == VersionState.APPROVED, {"_flt_1_audit_state": "approved"}),
        ("已上线", MiniProgram.live_version != "", {"live": "1"}),
        ("授权失效", MiniProgram.state.in_(LOST), {"lost": "1"}),
    ]
    claimed = MiniProgram.merchant_id.is_not(None)
    return [
        {
            "title": title,
            "count": count(MiniProgram, claimed, held),
            "url": url_for("MiniProgramView.list", **arguments),
        }
        for title, held, arguments in found
    ]


def recent_runs() -> list[dict[str, Any]]:
    newest = select(OperationRun).order_by(OperationRun.id.desc()).limit(MOST_LISTED)
    return [
        {
            "title": operation_title(run.operation), "url": run_url(run.id), "subject": subject_cell(run),
            "state": cells.state(run.state), "at": cells.clock(run.created_at), "who": run.actor_name,
            "result": result_cell(run),
        }
        for run in db.session.scalars(newest)
    ]  # fmt: skip


class DashboardView(IndexView):
    """The first page: the platform's or the merchant's."""

    @expose("/")
    @has_access
    def index(self) -> Any:
        if scope_of(db.session()).is_merchant:
            return self._merchant()
        return self.render_template(
            "console/dashboard.html", title="工作台", needs=needs(), tickets=tickets(), fleet=fleet(),
            runs=recent_runs(),
            total=count(MiniProgram, MiniProgram.merchant_id.is_not(None)),
        )  # fmt: skip

    def _merchant(self) -> Any:
        found = db.session.scalars(select(MiniProgram).order_by(MiniProgram.id).limit(20))
        apps = [
            {
                "row": app, "steps": steps(app), "url": page_for("mini_program", app.id),
                "next": next_step(app, {name for name in ("submit_audit",) if may_operate(name)}),
            }
            for app in found
        ]  # fmt: skip
        return self.render_template("console/merchant_home.html", title="工作台", apps=apps)
