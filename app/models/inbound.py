"""Pushes from Douyin as they arrived, and the last refused ones."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.clock import utcnow
from app.data.secrets import HasSecrets, Sealed, sealed_column
from app.data.tenancy import PlatformOnly
from app.data.types import BigId, Json, SentenceText, State, UtcDateTime, worded
from app.models.kit.base import Model
from app.models.third_party_app import ThirdPartyApp


@worded(
    {
        "received": "待处理",
        "processing": "处理中",
        "done": "已处理",
        "ignored": "已忽略",
        "failed": "处理失败",
    },
    tones={"received": "busy", "processing": "busy", "done": "good", "failed": "bad"},
)
class InboundState(StrEnum):
    RECEIVED = "received"
    PROCESSING = "processing"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


RECEIVER_WORDS = {"authorization": "授权事件", "message": "消息与事件"}
# By the beginning of InboundEvent.event, up to a colon.
PUSH_WORDS = {
    "PUSH": "推送票据",
    "AUTHORIZED": "授权成功",
    "UNAUTHORIZED": "取消授权",
    "UPDATE_AUTHORIZED": "更新授权",
    "PACKAGE_AUDIT": "代码审核结果",
    "SETTLE_APPLY": "入驻申请结果",
    "SETTLE_VERIFY": "入驻认证结果",
    "MODIFY_APP_NAME": "名称修改结果",
    "APP_NAME_RESET_NOTIFICATION": "名称被重置",
    "MODIFY_APP_INTRO": "简介修改结果",
    "MODIFY_APP_ICON": "头像修改结果",
    "MODIFY_APP_CATEGORY": "类目修改结果",
    "PUBLISH_APP_CATEGORY_AUDIT_RESULT": "类目发布结果",
    "MESSAGE": "用户消息",
}


class InboundEvent(HasSecrets, PlatformOnly, Model):
    """One push, stored before it is acknowledged. The decrypted text is sealed (it holds codes and tickets)."""

    __tablename__ = "inbound_event"
    __table_args__ = (
        # What is open in its order, what is urgent of it, and what waits behind what: each as the workers ask for it.
        Index("ix_inbound_event_open", "state", "id"),
        Index("ix_inbound_event_urgent", "state", "event", "id"),
        Index("ix_inbound_event_queue", "third_party_app_id", "appid", "state", "id"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    unique_key: Mapped[str] = mapped_column(String(64), unique=True, nullable=False)
    third_party_app_id: Mapped[int] = mapped_column(
        ForeignKey("third_party_app.id"), index=True, nullable=False, info={"label": "第三方应用记录编号"}
    )
    receiver: Mapped[str] = mapped_column(
        String(16), nullable=False, info={"label": "接收地址", "words": RECEIVER_WORDS}
    )
    event: Mapped[str] = mapped_column(String(64), nullable=False, index=True, info={"label": "事件"})
    appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, index=True, info={"label": "小程序编号（AppID）"}
    )
    event_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "事件时间"})
    received_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, index=True, info={"label": "收到时间"}
    )
    payload_sealed: Mapped[str | None] = sealed_column()
    summary: Mapped[dict[str, Any]] = mapped_column(
        Json, default=dict, nullable=False, info={"label": "内容摘要"}
    )  # redacted, for people
    state: Mapped[InboundState] = mapped_column(
        State(InboundState), default=InboundState.RECEIVED, nullable=False, info={"label": "状态"}
    )
    verdict: Mapped[str] = mapped_column(
        SentenceText, default="", nullable=False, info={"label": "处理结果"}
    )  # what was made of it, in words
    attempts: Mapped[int] = mapped_column(
        Integer, default=0, nullable=False, info={"label": "尝试次数", "kind": "count"}
    )
    copies: Mapped[int] = mapped_column(Integer, default=1, nullable=False, info={"label": "收到次数", "kind": "count"})
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    not_before: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, info={"label": "最早执行时间"}
    )
    processed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "处理时间"})

    payload = Sealed()
    third_party_app: Mapped[ThirdPartyApp] = relationship(info={"label": "第三方应用"})


class RefusedPush(PlatformOnly, Model):
    """A push that was refused, without its body: a ring of the last hundred, by their number in it."""

    __tablename__ = "refused_push"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)  # the place in the ring, 1 to 100
    number: Mapped[int] = mapped_column(
        BigId, default=0, nullable=False, info={"label": "版本号"}
    )  # how many had been refused by then
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, info={"label": "时间"})
    component_appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "第三方应用编号"}
    )
    receiver: Mapped[str] = mapped_column(
        String(16), default="", nullable=False, info={"label": "接收地址", "words": RECEIVER_WORDS}
    )
    reason: Mapped[str] = mapped_column(String(32), nullable=False, info={"label": "驳回原因"})
    remote: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "来源地址"})
    size: Mapped[int] = mapped_column(Integer, default=0, nullable=False, info={"label": "字节数", "kind": "count"})


class RefusedPushCount(PlatformOnly, Model):
    """How many pushes were refused for one reason, ever."""

    __tablename__ = "refused_push_count"

    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigId, default=0, nullable=False)
