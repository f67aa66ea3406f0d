"""Background tasks (后台任务) of the console: exports and imports, with progress, cancel and their files."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.data.clock import utcnow
from app.data.tenancy import MerchantOwned
from app.data.types import BigId, Json, SentenceText, State, UtcDateTime, worded
from app.models.kit.base import Model


class TaskKind(StrEnum):
    EXPORT = "export"
    IMPORT = "import"
    BULK_EDIT = "bulk_edit"


@worded(
    {
        "queued": "排队中",
        "running": "进行中",
        "succeeded": "已完成",
        "failed": "失败",
        "cancelled": "已取消",
    },
    tones={"queued": "busy", "running": "busy", "succeeded": "good", "failed": "bad"},
)
class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Task(MerchantOwned, Model):
    """Long work somebody asked for. Claimed with a lease: one worker has it, a dead one loses it."""

    __tablename__ = "task"
    __table_args__ = (Index("ix_task_due", "state", "lease_until"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[TaskKind] = mapped_column(State(TaskKind), nullable=False, info={"label": "类型"})
    state: Mapped[TaskState] = mapped_column(
        State(TaskState), default=TaskState.QUEUED, nullable=False, info={"label": "状态"}
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("ab_user.id", ondelete="CASCADE"), index=True, nullable=False, info={"label": "用户"}
    )
    actor: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)  # for its audit rows
    view: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "列表"}
    )  # the list it is about
    title: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "标题"})
    params: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "参数"})
    total: Mapped[int | None] = mapped_column(Integer)  # rows, when known
    done: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    failed: Mapped[int] = mapped_column(Integer, default=0, nullable=False)  # rows refused
    message: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "结果"})
    input_key: Mapped[str] = mapped_column(String(128), default="", nullable=False)  # keys in the storage
    input_name: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    input_hash: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)
    output_key: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    output_name: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    cancel_asked: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(
        Integer, default=0, nullable=False, info={"label": "尝试次数", "kind": "count"}
    )
    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "创建时间"}
    )
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "开始时间"})
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "结束时间"})
    expires_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, info={"label": "有效期至"}
    )  # when its files are deleted

    def __str__(self) -> str:
        return self.title

    @property
    def is_over(self) -> bool:
        return self.state in {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
