"""Template mini-programs with their drafts, and templates (模板). Ids beyond 2^53 are text."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.tenancy import PlatformOnly
from app.data.types import UtcDateTime
from app.models.kit.base import Model, Timestamps
from app.models.third_party_app import ThirdPartyApp


class TemplateApp(PlatformOnly, Timestamps, Model):
    """A template mini-program bound to a third-party app; carries at most one draft."""

    __tablename__ = "template_app"
    __table_args__ = (UniqueConstraint("third_party_app_id", "appid"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(
        ForeignKey("third_party_app.id"), index=True, nullable=False, info={"label": "第三方应用记录编号"}
    )
    appid: Mapped[str] = mapped_column(String(64), nullable=False, info={"label": "小程序编号（AppID）"})
    name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "名称"})
    draft_id: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "草稿编号"})
    draft_version: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "草稿版本"})
    draft_description: Mapped[str] = mapped_column(String(500), default="", nullable=False, info={"label": "草稿说明"})
    draft_by: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "开发者"})
    draft_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "草稿时间"})
    gone: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False, info={"label": "已删除"})

    third_party_app: Mapped[ThirdPartyApp] = relationship(info={"label": "第三方应用"})

    def __str__(self) -> str:
        return self.name or self.appid


class Template(PlatformOnly, Timestamps, Model):
    """A template version that can be uploaded to merchants' mini-programs."""

    __tablename__ = "template"
    __audited__ = True
    __searched__ = ("version", "template_id", "description")
    __table_args__ = (UniqueConstraint("third_party_app_id", "template_id"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(
        ForeignKey("third_party_app.id"), index=True, nullable=False, info={"label": "第三方应用记录编号"}
    )
    template_id: Mapped[str] = mapped_column(String(32), nullable=False, info={"label": "模板编号"})
    version: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "版本号"})
    description: Mapped[str] = mapped_column(String(500), default="", nullable=False, info={"label": "说明"})
    added_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "添加时间"})
    gone: Mapped[bool] = mapped_column(
        Boolean, default=False, nullable=False, info={"label": "已删除"}
    )  # deleted at Douyin; kept for history

    third_party_app: Mapped[ThirdPartyApp] = relationship(info={"label": "第三方应用"})

    def __str__(self) -> str:
        return f"{self.version} ({self.template_id})"
