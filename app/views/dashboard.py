"""The workbench (工作台): what needs a person now, the fleet by stage, versions in the field, the last days.

Every number is a link, and the number is that of the list behind it: both come from the conditions in `fleet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from flask import abort, current_app, request, url_for
from flask_appbuilder import IndexView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from app.access.roles import ALL_READ
from app.console import cells
from app.console.operate.actions import held_words, may_operate, run_url
from app.console.places import page_for
from app.data.clock import utcnow
from app.data.tenancy import scope_of
from app.extensions import db, the_app
from app.i18n.sentence import Foreign
from app.jobs import schedule
from app.kept import kept_of
from app.models import MiniProgram, OperationRun, ThirdPartyApp, Version
from app.operations import fleet
from app.operations.fleet import TICKET_ALARM, Fleet, Trends
from app.operations.registry import operation_title
from app.views.mini_program import next_step, remarks_of, steps
from app.views.operation import result_cell, subject_cell

MOST_LISTED = 8
MOST_TEMPLATES = 8
MOST_APPS = 20
LENGTHS = (7, 30, 90)
DAY = "DAY"
KEPT_SECONDS = 60.0  # how long the platform's days are kept; never a merchant's


@dataclass(frozen=True)
class Shown:
    """One number: the name it is counted under, its title, and the list behind it."""

    name: str
    title: str
    view: str
    arguments: Mapping[str, str]
    tone: str
    icon: str

    @property
    def url(self) -> str:
        return url_for(f"{self.view}.list", **dict[str, Any](self.arguments))


APPS, RUNS = "MiniProgramView", "OperationRunView"
# What needs a person, worst first: one line each.
NEEDS = (
    Shown("rejected", "审核被驳回", APPS, {"_flt_1_audit_state": "rejected"}, "bad", "circle-x"),
    Shown("stuck", "审核超时未出结果", APPS, {"stuck": "1"}, "bad", "hourglass"),
    Shown("lapsing", "授权 7 天内到期", APPS, {"lapsing": "1"}, "bad", "alarm"),
    Shown("ailing", "第三方应用异常", "ThirdPartyAppView", {"ailing": "1"}, "bad", "plug-connected"),
    Shown("failed_jobs", "执行失败的定时任务", "JobView", {"failed": "1"}, "bad", "clock-play"),
    Shown("unknown", "结果待核实", RUNS, {"_flt_0_state": "unknown"}, "warn", "help-circle"),
    Shown("failed", "24 小时内失败的操作", RUNS, {"failed": "1"}, "warn", "alert-triangle"),
    Shown("lacking", "缺少必要权限", APPS, {"lacking": "1"}, "warn", "shield-x"),
    Shown("unclaimed", "待认领小程序", "UnclaimedMiniProgramView", {}, "warn", "progress-help"),
    Shown("failed_pushes", "处理失败的推送", "InboundEventView", {"_flt_0_state": "failed"}, "warn", "webhook"),
)
STAGES = (
    Shown("authorized", "已授权", APPS, {"_flt_0_state": "authorized"}, "plain", "key"),
    Shown("uploaded", "已上传", APPS, {"uploaded": "1"}, "plain", "upload"),
    Shown("auditing", "审核中", APPS, {"_flt_1_audit_state": "auditing"}, "busy", "hourglass"),
    Shown("approved", "待发布", APPS, {"_flt_1_audit_state": "approved"}, "warn", "rocket"),
    Shown("live", "已上线", APPS, {"live": "1"}, "good", "circle-check"),
    Shown("lost", "授权失效", APPS, {"lost": "1"}, "bad", "unlink"),
)
KIND_WORDS = {"submitted": "提交审核", "approved": "审核通过", "rejected": "审核驳回", "released": "发布上线"}
KIND_TONES = {"submitted": "busy", "approved": "good", "rejected": "bad", "released": "mute"}


def counted(found: Fleet) -> dict[str, int]:
    """Every number of NEEDS and STAGES by its name."""
    session = db.session()
    runs = fleet.runs(session)
    return {
        **{name: value for name, value in vars(found).items() if isinstance(value, int)},
        "unknown": runs["unknown"],
        "failed": runs["failed"],
        "failed_pushes": fleet.failed_pushes(session),
        "failed_jobs": sum(run.outcome == "failed" for run in schedule.last_runs(session).values()),
    }


def needs(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """What needs a person now, what there is none of last."""
    found = [
        {
            "title": item.title,
            "count": counts[item.name],
            "url": item.url,
            "icon": item.icon,
            "tone": item.tone if counts[item.name] else "calm",
        }
        for item in NEEDS
    ]
    return sorted(found, key=lambda item: not item["count"])


def stages(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """The fleet by stage, each with its share of all."""
    total = max(counts["total"], 1)
    return [
        {
            "title": item.title,
            "count": counts[item.name],
            "url": item.url,
            "tone": item.tone,
            "icon": item.icon,
            "share": round(100 * counts[item.name] / total, 1),
        }
        for item in STAGES
    ]


def ticket_warning(app: ThirdPartyApp) -> dict[str, Any]:
    """What is wrong with a third-party app, in words."""
    age = utcnow() - app.ticket_at if app.ticket_at else None
    late = f"推送票据已有 {cells.span_words(age)}没有更新" if age else "从未收到推送票据：请检查回调地址与开放平台设置"
    bad = age is None or age >= TICKET_ALARM or bool(app.fault)
    url = page_for("third_party_app", app.id)
    return {"app": str(app), "words": app.fault or late, "tone": "bad" if bad else "warn", "url": url}


def field(templates: Mapping[str, int]) -> list[dict[str, Any]]:
    """Which template versions run on how many mini-programs, most first."""
    ordered = sorted(templates.items(), key=lambda item: (-item[1], item[0]))
    names = fleet.template_names(db.session(), [key for key, _ in ordered if key])
    total = max(sum(templates.values()), 1)
    return [
        {
            "title": Foreign(names.get(key) or key) if key else "非模板上传",
            "id": key,
            "count": count,
            "share": round(100 * count / total, 1),
            "url": _template_url(key),
        }
        for key, count in ordered
    ]


def _template_url(template_id: str) -> str:
    if not template_id:
        return url_for("MiniProgramView.list", foreign="1")
    return url_for("MiniProgramView.list", live="1", _flt_1_live_template_id=template_id)


def recent_runs() -> list[dict[str, Any]]:
    newest = select(OperationRun).options(selectinload(OperationRun.mini_program))
    return [
        {
            "title": operation_title(run.operation),
            "url": run_url(run.id),
            "subject": subject_cell(run),
            "state": cells.state(run.state),
            "at": cells.clock(run.created_at),
            "ago": cells.ago(run.created_at),
            "who": run.actor_name,
            "result": result_cell(run),
        }
        for run in db.session.scalars(newest.order_by(OperationRun.id.desc()).limit(MOST_LISTED))
    ]


def kept_trends(length: int) -> Trends:
    """The platform's days, counted at most once a minute in each process."""
    made = partial(fleet.trends, db.session(), length)
    return kept_of(the_app()).once("trends", length, made, most=len(LENGTHS), seconds=KEPT_SECONDS)


def _events_url(kind: str, first: str, last: str) -> str:
    wanted: dict[str, Any] = {"_flt_1_kind": str(fleet.KINDS[kind]), "_flt_0_at": first, "_flt_1_at": last}
    return url_for("VersionEventView.list", **wanted)


def trend_chart(found: Trends) -> dict[str, Any]:
    """What charts.js draws: a line for each kind, with the list behind its points (DAY stands for the day)."""
    return {
        "type": "line",
        "labels": [day.isoformat() for day in found.days],
        "series": [
            {"name": title, "tone": KIND_TONES[kind], "values": found.counts[kind], "url": _events_url(kind, DAY, DAY)}
            for kind, title in KIND_WORDS.items()
        ],
    }


def trend_totals(found: Trends) -> list[dict[str, Any]]:
    return [
        {
            "title": title,
            "tone": KIND_TONES[kind],
            "count": found.total(kind),
            "url": _events_url(kind, found.days[0].isoformat(), found.days[-1].isoformat()),
        }
        for kind, title in KIND_WORDS.items()
    ]


def versions_chart(shown: list[dict[str, Any]], rest: list[dict[str, Any]]) -> dict[str, Any]:
    """A ring of the versions in the field, the small ones together."""
    items = [{"name": item["title"], "value": item["count"], "url": item["url"]} for item in shown]
    if rest:
        items.append({"name": "其他", "value": sum(item["count"] for item in rest), "url": ""})
    return {"type": "ring", "items": items}


def median_words(span: timedelta | None) -> str:
    """2 小时 35 分, 12 分钟; a dash for none."""
    if span is None:
        return "—"
    minutes = round(span.total_seconds() / 60)
    if minutes < 1:
        return "不到 1 分钟"
    if minutes < 60:
        return f"{minutes} 分钟"
    return f"{minutes // 60} 小时 {minutes % 60} 分" if minutes < 48 * 60 else f"{minutes / 1440:.1f} 天"


def share_words(share: float | None) -> str:
    return "—" if share is None else f"{share * 100:.1f}%"


class DashboardView(IndexView):
    """The first page: the platform's or the merchant's."""

    roles = ALL_READ
    icon = "layout-dashboard"
    palette_key = "h"

    @expose("/")
    @has_access
    def index(self) -> Any:
        if scope_of(db.session()).is_merchant:
            return self._merchant()
        found = fleet.fleet(db.session(), timedelta(hours=current_app.config["AUDIT_STUCK_HOURS"]))
        counts = counted(found)
        apps = fleet.ailing_apps(db.session())
        counts["ailing"] = len(apps)
        versions = field(found.templates)
        shown, rest = versions[:MOST_TEMPLATES], versions[MOST_TEMPLATES:]
        return self.render_template(
            "console/dashboard.html",
            title="工作台",
            needs=needs(counts),
            stages=stages(counts),
            total=found.total,
            tickets=[ticket_warning(app) for app in apps],
            versions=shown,
            rest=rest,
            runs=recent_runs(),
            versions_chart=versions_chart(shown, rest),
            length=LENGTHS[1],
            held=held_words(),
        )

    @expose("/trends")
    @has_access
    @permission_name("index")
    def trends(self) -> Any:
        """The days of audits and releases: a part of the page that comes after it."""
        if scope_of(db.session()).is_merchant:
            abort(404)
        asked = request.args.get("days", "")
        length = int(asked) if asked in map(str, LENGTHS) else LENGTHS[1]
        found = kept_trends(length)
        return self.render_template(
            "console/dashboard_trends.html",
            found=found,
            chart=trend_chart(found),
            totals=trend_totals(found),
            length=length,
            lengths=LENGTHS,
            approval=share_words(found.approval),
            median=median_words(found.median),
        )

    def _merchant(self) -> Any:
        found = list(db.session.scalars(select(MiniProgram).order_by(MiniProgram.id).limit(MOST_APPS + 1)))
        may = {name for name in ("submit_audit",) if may_operate(name)}
        latest = latest_versions([app.id for app in found])
        apps = [own_app(app, latest.get(app.id, []), may) for app in found[:MOST_APPS]]
        apps.sort(key=lambda item: not item["urgent"])
        urgent = sum(item["urgent"] for item in apps)
        hint = f"有 {urgent} 个小程序需要您处理" if urgent else "目前没有需要您处理的事项"
        return self.render_template(
            "console/merchant_home.html",
            title="工作台",
            apps=apps,
            more=len(found) > MOST_APPS,
            hint=hint if apps else "",
        )


def latest_versions(app_ids: list[int]) -> dict[int, list[Version]]:
    """The newest versions of some mini-programs, newest first."""
    newest = select(Version).where(Version.mini_program_id.in_(app_ids)).order_by(Version.id.desc()).limit(200)
    found: dict[int, list[Version]] = {}
    for version in db.session.scalars(newest):
        found.setdefault(version.mini_program_id, []).append(version)
    return found


def own_app(app: MiniProgram, versions: list[Version], may: set[str]) -> dict[str, Any]:
    """One mini-program on its merchant's first page."""
    step = next_step(app, may)
    verdicts = [(row.decided_at, row) for row in versions if row.decided_at]
    decided = max(verdicts, key=lambda item: item[0])[1] if verdicts else None
    return {
        "row": app,
        "steps": steps(app),
        "url": page_for("mini_program", app.id),
        "next": step,
        "urgent": any(item["tone"] == "bad" for item in steps(app)) or bool(step and step["url"]),
        "verdict": verdict_of(decided) if decided else None,
        "versions": [
            {
                "number": Foreign(row.number),
                "state": cells.state(row.state),
                "at": cells.clock(row.uploaded_at),
                "url": page_for("version", row.id),
            }
            for row in versions[:3]
        ],
    }


def verdict_of(version: Version) -> dict[str, Any]:
    """What an audit decided, with its reasons and where Douyin explains them."""
    reasons, guides = remarks_of(version.reason_detail or {})
    return {
        "number": Foreign(version.number),
        "state": cells.state(version.state),
        "at": cells.clock(version.decided_at),
        "reasons": reasons or ([version.reason] if version.reason else []),
        "guides": guides,
        "url": page_for("version", version.id),
    }
