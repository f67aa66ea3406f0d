"""Operation runs: queue, lock, history and audit trail of every request to do something, in one table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.clock import utcnow
from app.data.tenancy import MerchantOwned
from app.data.types import BigId, Json, SentenceText, State, UtcDateTime, worded
from app.models.kit.base import Model

if TYPE_CHECKING:
    from app.models.mini_program import MiniProgram


@worded(
    {
        "queued": "排队中",
        "running": "执行中",
        "succeeded": "成功",
        "failed": "失败",
        "unknown": "结果待核实",
    },
    tones={"queued": "busy", "running": "busy", "succeeded": "good", "failed": "bad", "unknown": "warn"},
)
class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@worded(
    {
        "row": "单个操作",
        "batch": "批量操作",
        "rest": "接口",
        "cli": "命令行",
        "job": "定时任务",
        "push": "推送",
    },
)
class Door(StrEnum):
    ROW = "row"
    BATCH = "batch"
    REST = "rest"
    CLI = "cli"
    JOB = "job"
    PUSH = "push"


class OperationRun(MerchantOwned, Model):
    """One request to do one operation. `lock` is set while a change runs or its outcome is unknown; unique, so that
    each area of a mini-program has one at a time. What only reads has an empty `lock_key` and takes none."""

    __tablename__ = "operation_run"
    __table_args__ = (
        Index("ix_operation_run_due", "state", "not_before"),
        Index("ix_operation_run_subject", "subject_type", "subject_id"),
        Index("ix_operation_run_state", "state", "created_at"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    operation: Mapped[str] = mapped_column(String(64), nullable=False, index=True, info={"label": "操作"})
    subject_type: Mapped[str] = mapped_column(
        String(32), nullable=False, info={"label": "主体类型"}
    )  # the model's table name
    subject_id: Mapped[int] = mapped_column(BigId, nullable=False)
    mini_program_id: Mapped[int | None] = mapped_column(
        ForeignKey("mini_program.id"), index=True, info={"label": "小程序记录编号"}
    )
    # Of no foreign key: read by number, with the few that are held.
    third_party_app_id: Mapped[int | None] = mapped_column(Integer, info={"label": "第三方应用记录编号"})
    appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, index=True, info={"label": "小程序编号（AppID）"}
    )
    actor_id: Mapped[int | None] = mapped_column(Integer)
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "操作人"})
    actor_ip: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "来源地址"})
    door: Mapped[Door] = mapped_column(State(Door), nullable=False, info={"label": "入口"})
    batch_id: Mapped[str | None] = mapped_column(String(32), index=True, info={"label": "批次"})
    params: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "参数"})
    state: Mapped[RunState] = mapped_column(
        State(RunState), default=RunState.QUEUED, nullable=False, info={"label": "状态"}
    )
    lock_key: Mapped[str] = mapped_column(String(64), nullable=False, index=True)
    lock: Mapped[str | None] = mapped_column(String(64), unique=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(
        Integer, default=0, nullable=False, info={"label": "尝试次数", "kind": "count"}
    )
    settles: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    hold: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)  # what it waits for, if held
    # What stood at Douyin before the call, what is wanted of it, when, how many calls: kept before each call.
    evidence: Mapped[dict[str, Any] | None] = mapped_column(Json)
    not_before: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, info={"label": "最早执行时间"}
    )
    err_no: Mapped[int | None] = mapped_column(BigId, info={"label": "错误码"})
    error_kind: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    message: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "结果"})
    advice: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "处理建议"})
    log_id: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, index=True, info={"label": "抖音日志编号（log_id）"}
    )
    result: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "返回"})
    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "创建时间"}
    )
    started_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, info={"label": "开始时间"}
    )  # of the latest attempt
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "结束时间"})

    mini_program: Mapped[MiniProgram | None] = relationship("MiniProgram", info={"label": "小程序"})

    @property
    def is_over(self) -> bool:
        return self.state in {RunState.SUCCEEDED, RunState.FAILED}
