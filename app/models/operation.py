"""Operation runs: queue, lock, history and audit trail of every request to do something, in one table."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import BigId, Json, Model, State, UtcDateTime, utcnow
from app.models.mini_program import MiniProgram
from app.tenancy import MerchantOwned


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


RUN_WORDS = {
    RunState.QUEUED: "排队中",
    RunState.RUNNING: "执行中",
    RunState.SUCCEEDED: "成功",
    RunState.FAILED: "失败",
    RunState.UNKNOWN: "结果待核实",
}


class Door(StrEnum):
    ROW = "row"
    BATCH = "batch"
    REST = "rest"
    CLI = "cli"
    JOB = "job"
    PUSH = "push"


DOOR_WORDS = {
    Door.ROW: "单个操作",
    Door.BATCH: "批量操作",
    Door.REST: "接口",
    Door.CLI: "命令行",
    Door.JOB: "定时任务",
    Door.PUSH: "推送",
}


class OperationRun(MerchantOwned, Model):
    """One request to do one operation. `lock` is set while it runs or its outcome is unknown; unique, so that a
    mini-program has one operation at a time."""

    __tablename__ = "operation_run"
    __table_args__ = (
        Index("ix_operation_run_due", "state", "not_before"),
        Index("ix_operation_run_subject", "subject_type", "subject_id"),
        Index("ix_operation_run_state", "state", "created_at"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    operation: Mapped[str] = mapped_column(String(64), nullable=False, index=True)
    subject_type: Mapped[str] = mapped_column(String(32), nullable=False)  # the model's table name
    subject_id: Mapped[int] = mapped_column(BigId, nullable=False)
    mini_program_id: Mapped[int | None] = mapped_column(ForeignKey("mini_program.id"), index=True)
    # Of no foreign key: read by number, with the few that are held.
    third_party_app_id: Mapped[int | None] = mapped_column(Integer)
    appid: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)
    actor_id: Mapped[int | None] = mapped_column(Integer)
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    actor_ip: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    door: Mapped[Door] = mapped_column(State(Door), nullable=False)
    batch_id: Mapped[str | None] = mapped_column(String(32), index=True)
    params: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    state: Mapped[RunState] = mapped_column(State(RunState), default=RunState.QUEUED, nullable=False)
    lock_key: Mapped[str] = mapped_column(String(64), nullable=False, index=True)
    lock: Mapped[str | None] = mapped_column(String(64), unique=True)
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    settles: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    hold: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)  # what it waits for, if held
    # What stood at Douyin before the call, what is wanted of it, when, how many calls: kept before each call.
    evidence: Mapped[dict[str, Any] | None] = mapped_column(Json)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    err_no: Mapped[int | None] = mapped_column(BigId)
    error_kind: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    message: Mapped[str] = mapped_column(Text, default="", nullable=False)
    advice: Mapped[str] = mapped_column(Text, default="", nullable=False)
    log_id: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)
    result: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # of the latest attempt
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    mini_program: Mapped[MiniProgram | None] = relationship()

    @property
    def is_over(self) -> bool:
        return self.state in {RunState.SUCCEEDED, RunState.FAILED}
