"""Background tasks (后台任务) of the console: exports and imports, with progress, cancel and their files."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import BigId, Json, Model, State, UtcDateTime, utcnow
from app.tenancy import MerchantOwned


class TaskKind(StrEnum):
    EXPORT = "export"
    IMPORT = "import"
    BULK_EDIT = "bulk_edit"


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TASK_KIND_WORDS = {TaskKind.EXPORT: "导出", TaskKind.IMPORT: "导入", TaskKind.BULK_EDIT: "批量修改"}
TASK_STATE_WORDS = {
    TaskState.QUEUED: "排队中",
    TaskState.RUNNING: "进行中",
    TaskState.SUCCEEDED: "已完成",
    TaskState.FAILED: "失败",
    TaskState.CANCELLED: "已取消",
}


class Task(MerchantOwned, Model):
    """Long work somebody asked for. Claimed with a lease: one worker has it, a dead one loses it."""

    __tablename__ = "task"
    __table_args__ = (Index("ix_task_due", "state", "lease_until"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[TaskKind] = mapped_column(State(TaskKind), nullable=False)
    state: Mapped[TaskState] = mapped_column(State(TaskState), default=TaskState.QUEUED, nullable=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), index=True, nullable=False)
    actor: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)  # for its audit rows
    view: Mapped[str] = mapped_column(String(64), default="", nullable=False)  # the list it is about
    title: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    params: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    total: Mapped[int | None] = mapped_column(Integer)  # rows, when known
    done: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    failed: Mapped[int] = mapped_column(Integer, default=0, nullable=False)  # rows refused
    message: Mapped[str] = mapped_column(Text, default="", nullable=False)
    input_key: Mapped[str] = mapped_column(String(128), default="", nullable=False)  # keys in the storage
    input_name: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    input_hash: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)
    output_key: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    output_name: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    cancel_asked: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when its files are deleted

    def __str__(self) -> str:
        return self.title

    @property
    def is_over(self) -> bool:
        return self.state in {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
