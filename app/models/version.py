"""Versions of a mini-program and what happened to each: upload, audit, release, rollback."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.errors import Refused
from app.models.base import BigId, Json, Model, State, StateMachine, Timestamps, UtcDateTime, utcnow
from app.models.mini_program import MiniProgram
from app.tenancy import MerchantOwned


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
VERSION_WORDS = {
    V.UPLOADED: "已上传",
    V.AUDITING: "审核中",
    V.APPROVED: "审核通过",
    V.REJECTED: "审核驳回",
    V.WITHDRAWN: "已撤回",
    V.RELEASED: "线上版本",
    V.SUPERSEDED: "已被取代",
    V.ROLLED_BACK: "已回滚",
}
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
    mini_program_id: Mapped[int] = mapped_column(ForeignKey("mini_program.id"), index=True, nullable=False)
    number: Mapped[str] = mapped_column(String(32), nullable=False)
    description: Mapped[str] = mapped_column(String(500), default="", nullable=False)
    template_id: Mapped[str] = mapped_column(String(32), default="", nullable=False, index=True)
    ext_json: Mapped[str] = mapped_column(Text, default="", nullable=False)
    state: Mapped[VersionState] = mapped_column(State(VersionState), default=V.UPLOADED, nullable=False, index=True)
    uploaded_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    submitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # of the present round
    ever_submitted: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)  # a fact: nothing resets it
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    audit_ctime: Mapped[int | None] = mapped_column(BigId)  # Douyin's own time of the audit, unix seconds
    audit_note: Mapped[str] = mapped_column(String(200), default="", nullable=False)
    hosts: Mapped[list[str]] = mapped_column(Json, default=list, nullable=False)
    reason: Mapped[str] = mapped_column(Text, default="", nullable=False)
    reason_detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    screenshots: Mapped[list[str]] = mapped_column(Json, default=list, nullable=False)
    attachments: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    taken_down: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)
    row_version: Mapped[int] = mapped_column(Integer, nullable=False, default=1)

    mini_program: Mapped[MiniProgram] = relationship()

    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": row_version}
    WORDS = VERSION_WORDS
    NEXT = NEXT

    def __str__(self) -> str:
        return self.number


class VersionEvent(MerchantOwned, Model):
    """One line of a mini-program's timeline: when, who, what, with Douyin's reasons and log id."""

    __tablename__ = "version_event"
    __table_args__ = (Index("ix_version_event_kind", "kind", "at"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    mini_program_id: Mapped[int] = mapped_column(ForeignKey("mini_program.id"), index=True, nullable=False)
    version_id: Mapped[int | None] = mapped_column(ForeignKey("version.id"), index=True)
    number: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    kind: Mapped[str] = mapped_column(String(32), nullable=False)  # a VersionState, or authorized, revoked, note
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    run_id: Mapped[int | None] = mapped_column(BigId)
    log_id: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    text: Mapped[str] = mapped_column(Text, default="", nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)

    mini_program: Mapped[MiniProgram] = relationship()
