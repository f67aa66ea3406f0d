"""Versions of a mini-program and what happened to each: upload, audit, release, rollback."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.clock import utcnow
from app.data.tenancy import MerchantOwned
from app.data.types import BigId, Json, SentenceText, State, UtcDateTime, worded, words_of
from app.errors import Refused
from app.models.kit.base import Model, StateMachine, Timestamps

if TYPE_CHECKING:
    from app.models.mini_program import MiniProgram


@worded(
    {
        "uploaded": "已上传",
        "auditing": "审核中",
        "approved": "审核通过",
        "rejected": "审核驳回",
        "withdrawn": "已撤回",
        "released": "线上版本",
        "superseded": "已被取代",
        "rolled_back": "已回滚",
    },
    tones={
        "uploaded": "busy",
        "auditing": "busy",
        "approved": "good",
        "rejected": "bad",
        "withdrawn": "warn",
        "released": "good",
        "rolled_back": "warn",
    },
)
class VersionState(StrEnum):
    UPLOADED = "uploaded"
    AUDITING = "auditing"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"


V = VersionState
# Of VersionEvent.kind: what a version came to, and what else stands in the timeline.
# Where a mini-program is opened (宿主端), by Douyin's names; it has more, which are shown as they are.
HOST_WORDS = {
    "douyin": "抖音",
    "douyin_lite": "抖音极速版",
    "toutiao": "今日头条",
    "tt_lite": "今日头条极速版",
    "xigua": "西瓜视频",
    "huoshan": "抖音火山版",
}
EVENT_WORDS = words_of(VersionState).but(
    {
        "authorized": "授权成功",
        "revoked": "取消授权",
        "cleared": "清除授权",
        "note": "备注",
        "claimed": "已认领",
        "live": "线上版本",
        "taken_down": "被下架",
    },
    {"authorized": "good", "revoked": "bad"},
)
NEXT: dict[VersionState, frozenset[VersionState]] = {
    V.UPLOADED: frozenset({V.UPLOADED, V.AUDITING, V.SUPERSEDED}),
    V.AUDITING: frozenset({V.APPROVED, V.REJECTED, V.WITHDRAWN}),
    V.APPROVED: frozenset({V.RELEASED, V.SUPERSEDED}),
    V.REJECTED: frozenset({V.AUDITING, V.UPLOADED, V.SUPERSEDED}),
    V.WITHDRAWN: frozenset({V.AUDITING, V.UPLOADED, V.SUPERSEDED}),
    V.RELEASED: frozenset({V.SUPERSEDED, V.ROLLED_BACK}),
    V.SUPERSEDED: frozenset({V.RELEASED, V.UPLOADED}),
    V.ROLLED_BACK: frozenset(),
}
_NUMBER = re.compile(r"(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})")


def parse_number(number: str) -> tuple[int, int, int]:
    """`1.2.3` -> (1, 2, 3); Refused when it is not X.Y.Z."""
    match = _NUMBER.fullmatch(number)
    if match is None:
        raise Refused("版本号应为 X.Y.Z 形式的三段数字，例如 1.0.2", field="version")
    return int(match[1]), int(match[2]), int(match[3])


def next_number(numbers: list[str]) -> str:
    """The number proposed for the next upload: one patch above the greatest, 1.0.0 for the first."""
    known = [parse_number(number) for number in numbers if _NUMBER.fullmatch(number)]
    if not known:
        return "1.0.0"
    major, minor, patch = max(known)
    return f"{major}.{minor}.{patch + 1}"


class Version(MerchantOwned, StateMachine, Timestamps, Model):
    """One version number of one mini-program."""

    __tablename__ = "version"
    __audited__ = True
    __searched__ = ("number", "description", "reason")
    __table_args__ = (
        UniqueConstraint("mini_program_id", "number", name="uq_version_number"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    mini_program_id: Mapped[int] = mapped_column(
        ForeignKey("mini_program.id"), index=True, nullable=False, info={"label": "小程序记录编号"}
    )
    number: Mapped[str] = mapped_column(String(32), nullable=False, info={"label": "版本号"})
    description: Mapped[str] = mapped_column(String(500), default="", nullable=False, info={"label": "说明"})
    template_id: Mapped[str] = mapped_column(
        String(32), default="", nullable=False, index=True, info={"label": "模板编号"}
    )
    ext_json: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "ext.json"})
    state: Mapped[VersionState] = mapped_column(
        State(VersionState), default=V.UPLOADED, nullable=False, index=True, info={"label": "状态"}
    )
    uploaded_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True, info={"label": "上传时间"})
    submitted_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, index=True, info={"label": "提审时间"}
    )  # of the present round
    ever_submitted: Mapped[bool] = mapped_column(
        Boolean, default=False, nullable=False, info={"quiet": True}
    )  # a fact: nothing resets it
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True, info={"label": "审核时间"})
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True, info={"label": "上线时间"})
    audit_ctime: Mapped[int | None] = mapped_column(
        BigId, info={"label": "抖音提审时间", "quiet": True}
    )  # Douyin's own time of the audit, unix seconds
    audit_note: Mapped[str] = mapped_column(String(200), default="", nullable=False, info={"label": "审核备注"})
    hosts: Mapped[list[str]] = mapped_column(
        Json, default=list, nullable=False, info={"label": "审核宿主端", "kind": "several", "words": HOST_WORDS}
    )
    reason: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "驳回原因"})
    reason_detail: Mapped[dict[str, Any]] = mapped_column(
        Json, default=dict, nullable=False, info={"label": "驳回详情"}
    )
    screenshots: Mapped[list[str]] = mapped_column(Json, default=list, nullable=False, info={"label": "截图"})
    attachments: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"label": "审核附件"})
    taken_down: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False, info={"label": "已下架"})
    row_version: Mapped[int] = mapped_column(Integer, nullable=False, default=1, info={"quiet": True})

    mini_program: Mapped[MiniProgram] = relationship(info={"label": "小程序"})

    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": row_version}
    NEXT = NEXT

    def __str__(self) -> str:
        return self.number


class VersionEvent(MerchantOwned, Model):
    """One line of a mini-program's timeline: when, who, what, with Douyin's reasons and log id."""

    __tablename__ = "version_event"
    __table_args__ = (Index("ix_version_event_kind", "kind", "at"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    mini_program_id: Mapped[int] = mapped_column(
        ForeignKey("mini_program.id"), index=True, nullable=False, info={"label": "小程序记录编号"}
    )
    version_id: Mapped[int | None] = mapped_column(ForeignKey("version.id"), index=True, info={"label": "版本记录编号"})
    number: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "版本号"})
    at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "时间"}
    )
    kind: Mapped[str] = mapped_column(String(32), nullable=False, info={"label": "类型", "words": EVENT_WORDS})
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "操作人"})
    run_id: Mapped[int | None] = mapped_column(BigId)
    log_id: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "抖音日志编号（log_id）"}
    )
    text: Mapped[str] = mapped_column(SentenceText, default="", nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)

    mini_program: Mapped[MiniProgram] = relationship(info={"label": "小程序"})
