"""Mini-programs (小程序), their authorisation, and the links by which a merchant gives it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from app.data.clock import utcnow
from app.data.secrets import HasSecrets, Sealed, sealed_column
from app.data.tenancy import MerchantOwned, PlatformOnly
from app.data.types import Json, SentenceText, State, UtcDateTime, worded, words_of
from app.models.kit.base import Model, StateMachine, Timestamps
from app.models.merchant import Merchant
from app.models.third_party_app import ThirdPartyApp
from app.models.version import VersionState


@worded(
    {
        "pending": "待授权",
        "authorized": "已授权",
        "cleared": "已清除",
        "revoked": "商户已取消",
    },
    tones={"pending": "warn", "authorized": "good", "revoked": "bad"},
)
class AuthorizationState(StrEnum):
    PENDING = "pending"
    AUTHORIZED = "authorized"
    CLEARED = "cleared"
    REVOKED = "revoked"


PERMISSION_WORDS = {
    1: "开发管理",
    2: "基本信息设置",
    3: "运营管理",
    4: "数据分析",
    5: "广告管理",
    6: "支付服务",
    7: "流量主",
    8: "推广计划任务管理",
}
NEEDED_PERMISSIONS = (1, 2)  # another choice needs a migration that sets `lacking` anew


def lacks(permissions: Collection[int] | None) -> bool:
    """Whether permission sets that a merchant granted are not all that a launch needs."""
    return not set(NEEDED_PERMISSIONS) <= set(permissions or ())


class MiniProgram(MerchantOwned, StateMachine, Timestamps, Model):
    """One mini-program and where it stands. No merchant yet = it waits to be claimed (待认领)."""

    __tablename__ = "mini_program"
    __audited__ = True
    __searched__ = ("name", "appid", "subject_name")
    __table_args__ = (
        Index("ix_mini_program_poll", "audit_state", "poll_at"),
        # Holds all that the workbench counts, so that the rows themselves are not read.
        Index(
            "ix_mini_program_fleet",
            "state",
            "audit_state",
            "live_template_id",
            "live_version",
            "uploaded_version",
            "lacking",
            "merchant_id",
            "audit_since",
            "refresh_expires_at",
        ),
        # What a search reads instead of the rows.
        Index("ix_mini_program_search", "name", "appid", "subject_name", "merchant_id"),
        {"extend_existing": True},
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(
        ForeignKey("third_party_app.id"), index=True, nullable=False, info={"label": "第三方应用记录编号"}
    )
    appid: Mapped[str] = mapped_column(String(64), unique=True, nullable=False, info={"label": "小程序编号（AppID）"})
    name: Mapped[str] = mapped_column(String(64), default="", nullable=False, index=True, info={"label": "名称"})
    intro: Mapped[str] = mapped_column(String(255), default="", nullable=False, info={"label": "简介"})
    icon_url: Mapped[str] = mapped_column(String(500), default="", nullable=False, info={"label": "头像"})
    # What `icon_url` showed when we fetched it last: a key of the storage. Browsers never load the address itself.
    icon_key: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"quiet": True})
    icon_due_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, index=True, info={"quiet": True}
    )  # when it is to be fetched
    subject_name: Mapped[str] = mapped_column(
        String(128), default="", nullable=False, index=True, info={"label": "主体名称"}
    )
    subject_verified: Mapped[bool | None] = mapped_column(Boolean, info={"label": "主体已认证"})
    app_state: Mapped[int | None] = mapped_column(Integer, info={"label": "小程序状态"})
    info: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False, info={"quiet": True})
    info_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "信息同步时间", "quiet": True})
    state: Mapped[AuthorizationState] = mapped_column(
        State(AuthorizationState),
        default=AuthorizationState.PENDING,
        nullable=False,
        index=True,
        info={"label": "状态"},
    )
    permissions: Mapped[list[int]] = mapped_column(
        Json, default=list, nullable=False, info={"label": "权限集", "words": PERMISSION_WORDS}
    )
    # Of `permissions`, for the workbench; a statement of Core that updates those sets this too.
    lacking: Mapped[bool] = mapped_column(
        Boolean,
        default=lambda context: lacks(context.get_current_parameters().get("permissions")),
        nullable=False,
        info={"quiet": True},
    )
    authorized_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "授权时间"})
    unauthorized_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "取消授权时间"})
    refresh_expires_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, index=True, info={"label": "授权令牌到期", "quiet": True}
    )  # copy, for lists and alarms
    token_fault: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "令牌故障"})
    # The three stages at a glance, kept by operations and reconciliation so that lists need no join.
    uploaded_version: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "测试版本"})
    audit_version: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "审核版本"})
    audit_state: Mapped[str] = mapped_column(
        String(32), default="", nullable=False, info={"label": "审核状态", "words": words_of(VersionState)}
    )
    audit_since: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "提审时间"})
    live_version: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "线上版本"})
    live_template_id: Mapped[str] = mapped_column(
        String(32), default="", nullable=False, index=True, info={"label": "线上模板"}
    )
    rollback_requested_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, info={"label": "申请回滚时间"}
    )  # until it has taken effect
    # Facts that nothing resets: Douyin wants time between two of them.
    last_submitted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})
    last_rollback_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})
    # Its merchant is said to have ended the authorisation: no token is handed out until that is found out.
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})
    poll_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "下次查询", "quiet": True})
    synced_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "同步时间", "quiet": True})
    remarks: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "备注"})
    row_version: Mapped[int] = mapped_column(Integer, nullable=False, default=1, info={"quiet": True})

    merchant: Mapped[Merchant | None] = relationship(foreign_keys="MiniProgram.merchant_id", info={"label": "商户"})
    third_party_app: Mapped[ThirdPartyApp] = relationship(info={"label": "第三方应用"})

    __mapper_args__: ClassVar[dict[str, Any]] = {"version_id_col": row_version}
    NEXT = {
        AuthorizationState.PENDING: frozenset({AuthorizationState.AUTHORIZED}),
        AuthorizationState.AUTHORIZED: frozenset(
            {AuthorizationState.AUTHORIZED, AuthorizationState.CLEARED, AuthorizationState.REVOKED}
        ),
        AuthorizationState.CLEARED: frozenset({AuthorizationState.AUTHORIZED, AuthorizationState.REVOKED}),
        AuthorizationState.REVOKED: frozenset({AuthorizationState.AUTHORIZED, AuthorizationState.CLEARED}),
    }

    def __str__(self) -> str:
        return self.name or self.appid

    @validates("permissions")
    def _keep_lacking(self, _name: str, permissions: list[int]) -> list[int]:
        self.lacking = lacks(permissions)
        return permissions

    @property
    def missing_permissions(self) -> list[str]:
        """Names of the permission sets that the launch needs and the merchant has not granted."""
        if self.state != AuthorizationState.AUTHORIZED:
            return []
        return [PERMISSION_WORDS[item] for item in NEEDED_PERMISSIONS if item not in (self.permissions or [])]


@worded({"open": "待使用", "used": "已使用", "void": "已作废"}, tones={"open": "busy", "used": "good"})
class LinkState(StrEnum):
    OPEN = "open"
    USED = "used"
    VOID = "void"


class AuthorizationLink(PlatformOnly, Timestamps, Model):
    """A link bound to a merchant by which it authorises: signed, expiring, single use."""

    __tablename__ = "authorization_link"
    __audited__ = True
    __table_args__ = (
        Index("ix_authorization_link_created_at", "created_at"),
        {"extend_existing": True},
    )  # the list's order

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    merchant_id: Mapped[int] = mapped_column(
        ForeignKey("merchant.id"), index=True, nullable=False, info={"label": "商户编号"}
    )
    third_party_app_id: Mapped[int] = mapped_column(
        ForeignKey("third_party_app.id"), nullable=False, info={"label": "第三方应用记录编号"}
    )
    expected_appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "限定小程序"}
    )  # re-authorise: this app only
    state: Mapped[LinkState] = mapped_column(
        State(LinkState), default=LinkState.OPEN, nullable=False, info={"label": "状态"}
    )
    url: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "链接", "quiet": True})
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False, info={"label": "有效期至"})
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "使用时间", "quiet": True})
    appid: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, info={"label": "小程序编号（AppID）"}
    )  # what it linked
    failure: Mapped[str] = mapped_column(SentenceText, default="", nullable=False, info={"label": "失败原因"})

    merchant: Mapped[Merchant] = relationship(info={"label": "商户"})
    third_party_app: Mapped[ThirdPartyApp] = relationship(info={"label": "第三方应用"})

    def __str__(self) -> str:
        return f"授权链接 #{self.id or '新'}"


class AuthorizationReturn(HasSecrets, PlatformOnly, Model):
    """A merchant that came back from the consent page, with a code whose exchange is not over."""

    __tablename__ = "authorization_return"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    link_id: Mapped[int] = mapped_column(ForeignKey("authorization_link.id"), unique=True, nullable=False)
    code_hash: Mapped[str] = mapped_column(String(64), nullable=False)
    code_sealed: Mapped[str | None] = sealed_column()
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)  # next look at it

    code = Sealed()
    link: Mapped[AuthorizationLink] = relationship()
