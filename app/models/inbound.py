"""Pushes from Douyin as they arrived, and the last refused ones."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import BigId, Json, Model, State, UtcDateTime, utcnow
from app.models.third_party_app import ThirdPartyApp
from app.secrets import HasSecrets, Sealed, sealed_column
from app.tenancy import PlatformOnly


class InboundState(StrEnum):
    RECEIVED = "received"
    PROCESSING = "processing"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


INBOUND_WORDS = {
    InboundState.RECEIVED: "待处理",
    InboundState.PROCESSING: "处理中",
    InboundState.DONE: "已处理",
    InboundState.IGNORED: "已忽略",
    InboundState.FAILED: "处理失败",
}


class InboundEvent(HasSecrets, PlatformOnly, Model):
    """One push, stored before it is acknowledged. The decrypted text is sealed (it holds codes and tickets)."""

    __tablename__ = "inbound_event"
    __table_args__ = (Index("ix_inbound_event_due", "state", "not_before"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    unique_key: Mapped[str] = mapped_column(String(64), unique=True, nullable=False)
    third_party_app_id: Mapped[int] = mapped_column(ForeignKey("third_party_app.id"), index=True, nullable=False)
    receiver: Mapped[str] = mapped_column(String(16), nullable=False)  # authorization | message
    event: Mapped[str] = mapped_column(String(64), nullable=False, index=True)
    appid: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True)
    event_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    payload_sealed: Mapped[str | None] = sealed_column()
    summary: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)  # redacted, for people
    state: Mapped[InboundState] = mapped_column(State(InboundState), default=InboundState.RECEIVED, nullable=False)
    verdict: Mapped[str] = mapped_column(Text, default="", nullable=False)  # what was made of it, in words
    attempts: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    copies: Mapped[int] = mapped_column(Integer, default=1, nullable=False)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    processed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    payload = Sealed()
    third_party_app: Mapped[ThirdPartyApp] = relationship()


class RefusedPush(PlatformOnly, Model):
    """A push that was refused, without its body: a ring of the last hundred, by their number in it."""

    __tablename__ = "refused_push"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # the place in the ring, 1 to 100
    number: Mapped[int] = mapped_column(BigId, default=0, nullable=False)  # how many had been refused by then
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    component_appid: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    receiver: Mapped[str] = mapped_column(String(16), default="", nullable=False)
    reason: Mapped[str] = mapped_column(String(32), nullable=False)
    remote: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    size: Mapped[int] = mapped_column(Integer, default=0, nullable=False)


class RefusedPushCount(PlatformOnly, Model):
    """How many pushes were refused for one reason, ever."""

    __tablename__ = "refused_push_count"

    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigId, default=0, nullable=False)
