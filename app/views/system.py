"""The system itself: how it is (系统状态)."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import threading
import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, url_for
from flask_appbuilder import BaseView, expose, has_access
from flask_appbuilder.security.decorators import permission_name
from sqlalchemy.orm import Session

from app.access.roles import SETTING
from app.api.health import revisions
from app.console import cells
from app.console.operate.actions import held_words
from app.console.places import page_for
from app.data.clock import SHANGHAI, utcnow
from app.extensions import db
from app.i18n.sentence import said
from app.jobs import schedule
from app.models.records import CALL_WORDS
from app.operations import vitals
from app.operations.fleet import TICKET_ALARM, TICKET_WARN
from app.operations.inbound import refusals

STARTED = utcnow()
TABLES_SHOWN = 12
FULL = 0.9  # of a disk
PACKAGES = ("Flask", "Flask-AppBuilder", "SQLAlchemy", "Werkzeug", "APScheduler")
# What is said of the settings: these as they are, of the secret ones only whether they are set.
PLAIN = (
    "PUBLIC_URL",
    "TRUSTED_HOSTS",
    "PROXY_HOPS",
    "EMBEDDED",
    "WORKER_THREADS",
    "WEB_THREADS",
    "LOG_LEVEL",
    "DOUYIN_OPEN_URL",
    "DOUYIN_MICROAPP_URL",
    "DOUYIN_TOUTIAO_URL",
    "DOUYIN_TIMEOUT",
    "DOUYIN_RATE",
    "DOUYIN_V1_TOKENS",
    "CALLBACK_WINDOW",
    "OWNERS_MAY_SUBMIT",
    "REQUIRE_2FA",
    "STEP_UP_ABOVE",
    "AUDIT_STUCK_HOURS",
    "DEMO",
)
SECRET = ("SECRET_KEY", "DATA_KEYS", "INDEX_KEY", "METRICS_TOKEN", "SMTP_URL")


def since(at: datetime) -> str:
    """How long ago, to the second while it is fresh."""
    seconds = max(0, int((utcnow() - at).total_seconds()))
    return f"{seconds} 秒前" if seconds < 120 else cells.ago(at)


# 系统状态: each vital is (title, good | warn | bad | mute, what it says, where it is looked into).

Vital = tuple[str, str, str, str]


def database_vital(session: Session) -> Vital:
    took = vitals.latency(session)
    return "数据库", "good" if took < 100 else "warn", f"应答 {took:.1f} 毫秒", ""


def worker_vital(session: Session) -> Vital:
    alive = [row for row in vitals.workers(session) if utcnow() - row.seen_at < vitals.SILENT]
    queue = vitals.queue(session)
    waiting = f"{queue.due} 项等待执行" if queue.due else ""
    if not alive:
        return "工作进程", "bad" if queue.due else "warn", sentence("没有在运行的工作进程", waiting), ""
    late = queue.oldest is not None and utcnow() - queue.oldest > timedelta(minutes=5)
    busy = sum(row.in_hand for row in alive)
    words = sentence(f"{len(alive)} 个在运行", f"{busy} 项执行中", waiting)
    return "工作进程", "warn" if late else "good", words, url_for("OperationRunView.list", _flt_0_state="queued")


def sentence(*parts: str) -> str:
    """Parts of a sentence that are there, each of which is translated by itself."""
    return "，".join(part for part in parts if part)


def scheduler_vital(session: Session) -> Vital:
    runs = schedule.last_runs(session)
    link = url_for("JobView.list")
    if not runs:
        return "调度器", "warn", "还没有执行过定时任务", link
    late = [job_id for job_id, job in schedule.SCHEDULE.items() if _is_late(job, runs.get(job_id))]
    failed = sum(run.outcome == "failed" for run in runs.values())
    newest = max(run.started_at for run in runs.values())
    words = sentence(
        f"最近一次 {since(newest)}", f"{len(late)} 项没有按时执行" if late else "", f"{failed} 项失败" if failed else ""
    )
    return "调度器", "bad" if len(late) == len(schedule.SCHEDULE) else "warn" if late or failed else "good", words, link


def _is_late(job: schedule.Job, run: Any) -> bool:
    return run is None or utcnow() - run.started_at > timedelta(seconds=3 * job.seconds + 60)


def refused_words(count: int) -> str:
    """Of the last hundred, those of the hour: more than that nobody has kept."""
    if count >= refusals.KEPT:
        return f"拒绝 {refusals.KEPT} 条以上"
    return f"拒绝 {count} 条" if count else ""


def push_vital(session: Session) -> Vital:
    found = vitals.pushes(session)
    if found.last is None:
        return "事件推送", "mute", "还没有收到过推送", url_for("InboundEventView.list")
    words = sentence(
        f"最近一次 {since(found.last)}",
        f"1 小时内 {found.hour} 条",
        f"{found.failed} 条处理失败" if found.failed else "",
        refused_words(found.refused),
    )
    tone = "bad" if found.failed else "warn" if found.waiting > 1000 else "good"
    link = url_for("InboundEventView.list", _flt_0_state="failed" if found.failed else None)
    return "事件推送", tone, words, link


def douyin_vital(session: Session) -> Vital:
    found = vitals.calls(session)
    link = url_for("ApiCallView.list")
    if found.last is None:
        return "抖音接口", "mute", "还没有调用过抖音", link
    parts = [f"最近一次 {since(found.last)}", CALL_WORDS.get(found.last_outcome, found.last_outcome)]
    if found.total:
        share = 100 * found.silent / found.total
        parts += [f"1 小时内 {found.total} 次", f"拒绝 {found.error} 次", f"无应答 {share:.1f}%"]
    tone = "good" if found.reachable and found.silent * 20 <= found.total else "warn" if found.reachable else "bad"
    return "抖音接口", tone, sentence(*parts), link


def ticket_vital(session: Session) -> Vital:
    apps = vitals.tickets(session)
    link = url_for("ThirdPartyAppView.list")
    if not apps:
        return "推送票据", "mute", "还没有启用的第三方应用", link
    ages = [utcnow() - app.ticket_at if app.ticket_at else None for app in apps]
    if any(age is None or age >= TICKET_ALARM for age in ages) or any(app.fault for app in apps):
        return "推送票据", "bad", "有第三方应用的票据缺失、过期或有故障", link
    oldest = max(age for age in ages if age is not None)
    return "推送票据", "warn" if oldest >= TICKET_WARN else "good", f"最旧的 {since(utcnow() - oldest)}更新", link


def disk_vital(_session: Session) -> Vital:
    place = urlsplit(current_app.config["STORAGE_URL"])
    if place.scheme not in {"", "file"}:
        return "文件存放", "good", f"{place.scheme} 远程存储", ""
    folder = Path(place.path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    disk = shutil.disk_usage(folder)
    words = sentence(f"已用 {100 * disk.used / disk.total:.0f}%", f"剩 {size_words(disk.free)}")
    return "文件存放", "warn" if disk.used / disk.total > FULL else "good", words, ""


VITALS: tuple[Callable[[Session], Vital], ...] = (
    database_vital,
    worker_vital,
    scheduler_vital,
    ticket_vital,
    push_vital,
    douyin_vital,
    disk_vital,
)


def size_words(count: int | None) -> str:
    """1.4 GB, 320 MB; a dash where it is not known."""
    if count is None:
        return "—"
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit in {"B", "KB"} else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


@lru_cache(maxsize=1)
def own_version() -> str:
    """The product's version, as its project file says."""
    file = Path(current_app.root_path).parent / "pyproject.toml"
    try:
        return str(tomllib.loads(file.read_text())["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "—"


def versions(session: Session) -> list[tuple[str, str, str]]:
    head, current = revisions()
    migration = said(f"{current}（与代码一致）" if head == current else f"{current}，代码需要 {head}：请运行 setup")
    found = [("抖舟", own_version()), ("Python", platform.python_version())]
    found += [(name, package_version(name)) for name in PACKAGES]
    found += [("数据库", vitals.server_version(session)), ("数据库迁移", migration)]
    return [("", name, value) for name, value in found]


def settings() -> list[tuple[str, str, str]]:
    """Settings in force. Addresses lose a name and password in them; secret ones say only that they are set."""
    shown = [(name, _setting(current_app.config.get(name))) for name in PLAIN]
    hidden = [(name, "已设置" if current_app.config.get(name) else "未设置") for name in SECRET]
    return [("", name, value) for name, value in (*shown, *hidden)]


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, list | tuple):
        return "、".join(map(str, value)) or "—"
    text = str(value)
    return text.rpartition("@")[2] if "@" in text else text or "—"


def process_facts() -> list[tuple[str, str, str]]:
    """This web process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    found = [
        ("进程", vitals.process_name()),
        ("启动时间", cells.local_time(STARTED)),
        ("线程", str(threading.active_count())),
        ("内存峰值", size_words(peak)),
        ("系统负载", "、".join(f"{load:.2f}" for load in os.getloadavg())),
    ]
    return [("", name, value) for name, value in found]


def call_chart(session: Session) -> dict[str, Any]:
    """Calls of the last day by hour for charts.js."""
    starts, found = vitals.calls_by_hour(session)
    tones = {"ok": ("成功", "good"), "error": ("抖音拒绝", "warn"), "silent": ("无应答", "bad")}
    return {
        "type": "bars",
        "legend": True,
        "labels": [start.astimezone(SHANGHAI).strftime("%H:00") for start in starts],
        "series": [{"name": title, "tone": tone, "values": found[name]} for name, (title, tone) in tones.items()],
    }


def token_rows(found: vitals.Tokens) -> list[tuple[str, int, str, str]]:
    """(how long, how many, colour, address)."""
    tones, words = ("bad", "warn", "busy", "good"), ("7 天内到期", "7 至 14 天", "14 至 30 天", "30 天以上")
    links = (url_for("MiniProgramView.list", lapsing="1"), "", "", "")
    rows = list(zip(words, found.ages, tones, links, strict=True))
    return [*rows, ("到期时间未知", found.unknown, "mute", ""), ("令牌故障", found.faulty, "bad", "")]


class SystemView(BaseView):
    """How the system is: for those who run it. Names and states only, never a secret."""

    roles = SETTING
    icon = "heart-rate-monitor"
    route_base = "/system"
    default_view = "index"
    palette_key = "s"

    @expose("/", methods=["GET"])
    @has_access
    def index(self) -> Any:
        session = db.session()
        tables, size = vitals.table_rows(session), vitals.database_size(session)
        return self.render_template(
            "console/system.html",
            title="系统状态",
            vitals=self._vitals(),
            versions=versions(session),
            held=held_words(),
            settings=settings(),
            process=process_facts(),
            workers=self._workers(),
            chart=call_chart(session),
            tokens=token_rows(vitals.tokens(session)),
            tickets=[_ticket(app) for app in vitals.tickets(session)],
            tables=tables[:TABLES_SHOWN],
            more_tables=tables[TABLES_SHOWN:],
            size=size_words(size),
        )

    @expose("/live", methods=["GET"])
    @has_access
    @permission_name("index")
    def live(self) -> Any:
        """The part of the page that is asked for again every ten seconds."""
        return self.render_template(
            "console/system_live.html", vitals=self._vitals(), workers=self._workers(), held=held_words()
        )

    def _vitals(self) -> list[Vital]:
        return [make(db.session()) for make in VITALS]

    def _workers(self) -> list[dict[str, Any]]:
        now: datetime = utcnow()
        return [
            {
                "row": row,
                "alive": now - row.seen_at < vitals.SILENT,
                "since": cells.clock(row.started_at),
                "seen": since(row.seen_at),
            }
            for row in vitals.workers(db.session())
        ]


def _ticket(app: Any) -> dict[str, Any]:
    age = utcnow() - app.ticket_at if app.ticket_at else None
    tone = "bad" if age is None or age >= TICKET_ALARM else "warn" if age >= TICKET_WARN else "good"
    words = since(app.ticket_at) if app.ticket_at else "从未收到"
    return {
        "name": str(app),
        "url": page_for("third_party_app", app.id),
        "label": cells.label(words, tone),
        "fault": app.fault,
    }
