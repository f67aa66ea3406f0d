"""Records of what the system itself does: Douyin calls, job runs and leases, pace, sessions, log-in attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.data.clock import utcnow
from app.data.tenancy import PlatformOnly, Unscoped
from app.data.types import BigId, Json, SentenceText, UtcDateTime, Words
from app.models.kit.base import Model

CALL_WORDS = Words(
    {"ok": "成功", "error": "抖音拒绝", "no_answer": "无应答", "timeout": "超时", "bad_answer": "应答异常"},
    {"ok": "good", "error": "bad", "no_answer": "warn", "timeout": "warn", "bad_answer": "bad"},
)
JOB_WORDS = Words(
    {"running": "执行中", "ok": "成功", "partly": "有失败", "failed": "失败"},
    {"running": "busy", "ok": "good", "partly": "warn", "failed": "bad"},
)


class ApiCall(PlatformOnly, Model):
    """One call to Douyin, redacted."""

    __tablename__ = "api_call"
    __table_args__ = (Index("ix_api_call_outcome", "at", "outcome"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False, index=True, info={"label": "时间"})
    name: Mapped[str] = mapped_column(String(64), nullable=False, index=True, info={"label": "名称"})
    method: Mapped[str] = mapped_column(String(8), nullable=False, info={"label": "方法"})
    host: Mapped[str] = mapped_column(String(128), default="", nullable=False, info={"label": "主机"})
    path: Mapped[str] = mapped_column(String(160), nullable=False, info={"label": "接口路径"})
    component_appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "第三方应用编号"}
    )
    appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, index=True, info={"label": "小程序编号（AppID）"}
    )
    ms: Mapped[int] = mapped_column(
        Integer, default=0, nullable=False, index=True, info={"label": "耗时（毫秒）", "kind": "count"}
    )  # the slowest first
    http_status: Mapped[int | None] = mapped_column(Integer, info={"label": "HTTP 状态"})
    err_no: Mapped[int | None] = mapped_column(BigId, info={"label": "错误码"})
    log_id: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, index=True, info={"label": "抖音日志编号（log_id）"}
    )
    outcome: Mapped[str] = mapped_column(String(16), nullable=False, info={"label": "结果", "words": CALL_WORDS})
    request: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "请求"})
    answer: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "应答"})


class JobRun(PlatformOnly, Model):
    """One slot of a scheduled job. (job, slot) is unique: of two schedulers one gets the slot."""

    __tablename__ = "job_run"
    __table_args__ = (
        UniqueConstraint("job", "slot"),
        Index("ix_job_run_job_id", "job", "id"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job: Mapped[str] = mapped_column(String(64), nullable=False, info={"label": "任务"})
    slot: Mapped[str] = mapped_column(String(40), nullable=False, info={"label": "时段"})
    started_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "开始时间"}
    )
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "结束时间"})
    outcome: Mapped[str] = mapped_column(
        String(16), default="running", nullable=False, info={"label": "结果", "words": JOB_WORDS}
    )
    result: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "返回"})
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "操作人"})


class Heartbeat(PlatformOnly, Model):
    """One worker process at work: it says so every few seconds, and the system page knows it by that."""

    __tablename__ = "heartbeat"

    name: Mapped[str] = mapped_column(String(96), primary_key=True)  # host:process number
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    in_hand: Mapped[int] = mapped_column(Integer, default=0, nullable=False)  # runs at work
    size: Mapped[int] = mapped_column(Integer, default=0, nullable=False)  # threads


class PaceBucket(PlatformOnly, Model):
    """A token bucket shared by processes; taken in slices by compare-and-set on `version`."""

    __tablename__ = "pace_bucket"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    tokens: Mapped[float] = mapped_column(Float, default=0, nullable=False)
    refilled_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False)
    version: Mapped[int] = mapped_column(Integer, default=0, nullable=False)


class Circuit(PlatformOnly, Model):
    """Whether one of Douyin's hosts, or one endpoint of it, answers at all: shared by all processes."""

    __tablename__ = "circuit"

    name: Mapped[str] = mapped_column(String(96), primary_key=True)  # a host, or host:endpoint
    state: Mapped[str] = mapped_column(String(16), default="closed", nullable=False)  # closed | open | closing
    reason: Mapped[str] = mapped_column(String(255), default="", nullable=False)
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    probe_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when it may next be tried
    owner: Mapped[str | None] = mapped_column(String(64))  # whoever tries it, or lets calls through one by one
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class WebSession(Unscoped, Model):
    """One log-in: of a browser, whose cookie holds a random id, or of the API, whose tokens hold it (`kind`).

    Only the id's hash is kept. `serial` numbers the refresh token of an API log-in that counts now; 0: it has none.
    """

    __tablename__ = "web_session"

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8), default="web", nullable=False, server_default="web")  # web | api
    serial: Mapped[int] = mapped_column(Integer, default=0, nullable=False, server_default="0")
    data: Mapped[bytes] = mapped_column(LargeBinary, nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False, index=True)
    address: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    agent: Mapped[str] = mapped_column(String(255), default="", nullable=False)


class LoginAttempt(Unscoped, Model):
    """A failed log-in, counted per user and per address."""

    __tablename__ = "login_attempt"
    __table_args__ = (
        Index("ix_login_attempt_user", "user_hash", "at"),
        Index("ix_login_attempt_address", "address", "at"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    user_hash: Mapped[str] = mapped_column(String(64), nullable=False)
    address: Mapped[str] = mapped_column(String(64), nullable=False)
