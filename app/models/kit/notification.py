"""Notifications (通知): what a person is told, by which rules, by which channel, and what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.clock import utcnow
from app.data.secrets import HasSecrets, Sealed, sealed_column
from app.data.tenancy import MerchantOwned
from app.data.types import BigId, Json, SentenceText, State, UtcDateTime, worded
from app.models.kit.base import Model, Timestamps


@worded(
    {
        "feishu": "飞书群机器人",
        "dingtalk": "钉钉群机器人",
        "wecom": "企业微信群机器人",
        "mail": "邮件",
        "webhook": "Webhook",
    },
)
class ChannelKind(StrEnum):
    FEISHU = "feishu"
    DINGTALK = "dingtalk"
    WECOM = "wecom"
    MAIL = "mail"
    WEBHOOK = "webhook"


@worded(
    {
        "queued": "待发送",
        "sent": "已发送",
        "failed": "发送失败",
        "skipped": "已跳过",
    },
    tones={"queued": "busy", "sent": "good", "failed": "bad"},
)
class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    SKIPPED = "skipped"


class Notification(MerchantOwned, Model):
    """One thing told to one person; behind the bell until read. `dedup` keeps the same news from coming twice."""

    __tablename__ = "notification"
    __table_args__ = (
        UniqueConstraint("user_id", "dedup"),
        Index("ix_notification_unread", "user_id", "read_at", "id"),
        Index("ix_notification_subject", "kind", "subject_id"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), nullable=False)
    kind: Mapped[str] = mapped_column(String(32), nullable=False)  # a key of the table of kinds
    level: Mapped[str] = mapped_column(String(8), default="info", nullable=False)  # info | good | warn | bad
    title: Mapped[str] = mapped_column(SentenceText, nullable=False)
    body: Mapped[str] = mapped_column(SentenceText, default="", nullable=False)
    subject_type: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    subject_id: Mapped[int | None] = mapped_column(BigId)
    dedup: Mapped[str] = mapped_column(String(96), nullable=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class NotificationChannel(HasSecrets, MerchantOwned, Timestamps, Model):
    """A way out of the console; its address holds keys, so it is sealed. `user_id` NULL: the whole face's."""

    __tablename__ = "notification_channel"
    __audited__ = True

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("ab_user.id", ondelete="CASCADE"), index=True, info={"label": "用户"}
    )
    kind: Mapped[ChannelKind] = mapped_column(State(ChannelKind), nullable=False, info={"label": "类型"})
    name: Mapped[str] = mapped_column(String(64), nullable=False, info={"label": "名称"})
    address_sealed: Mapped[str | None] = sealed_column("地址")
    hint: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "地址"}
    )  # the address, masked
    kinds: Mapped[list[str]] = mapped_column(
        Json, default=list, nullable=False, info={"label": "通知内容"}
    )  # of a face's channel: what it carries
    active: Mapped[bool] = mapped_column(Boolean, default=True, nullable=False, info={"label": "启用"})
    fault: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "故障"})
    tested_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})

    address = Sealed()

    def __str__(self) -> str:
        return self.name


class NotificationRule(MerchantOwned, Timestamps, Model):
    """What one person wants to hear of one kind: in the console, and through which channels."""

    __tablename__ = "notification_rule"
    __table_args__ = (UniqueConstraint("user_id", "kind"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("ab_user.id", ondelete="CASCADE"), nullable=False, info={"label": "用户"}
    )
    kind: Mapped[str] = mapped_column(String(32), nullable=False, info={"label": "类型"})
    in_console: Mapped[bool] = mapped_column(Boolean, default=True, nullable=False)
    channels: Mapped[list[int]] = mapped_column(Json, default=list, nullable=False)  # ids of NotificationChannel


class NotificationDelivery(MerchantOwned, Model):
    """One piece of news for one channel: the log, and the queue of retries. It holds all that is sent, so that what
    became of a notification afterwards changes nothing; `dedup` keeps a channel from carrying the same news twice."""

    __tablename__ = "notification_delivery"
    __table_args__ = (
        UniqueConstraint("channel_id", "dedup"),
        Index("ix_notification_delivery_due", "state", "not_before"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("notification_channel.id", ondelete="CASCADE"), nullable=False)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(32), nullable=False)
    level: Mapped[str] = mapped_column(String(8), default="info", nullable=False)
    title: Mapped[str] = mapped_column(SentenceText, default="", nullable=False)
    body: Mapped[str] = mapped_column(SentenceText, default="", nullable=False)
    subject_type: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    subject_id: Mapped[int | None] = mapped_column(BigId)
    dedup: Mapped[str] = mapped_column(String(96), nullable=False)
    state: Mapped[DeliveryState] = mapped_column(State(DeliveryState), default=DeliveryState.QUEUED, nullable=False)
    attempts: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    not_before: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str] = mapped_column(SentenceText, default="", nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    channel: Mapped[NotificationChannel] = relationship()
