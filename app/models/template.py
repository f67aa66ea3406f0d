"""Template mini-programs with their drafts, and templates (模板). Ids beyond 2^53 are text."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Model, Timestamps, UtcDateTime
from app.models.third_party_app import ThirdPartyApp
from app.tenancy import PlatformOnly


class TemplateApp(PlatformOnly, Timestamps, Model):
    """A template mini-program bound to a third-party app; carries at most one draft."""

    __tablename__ = "template_app"
    __table_args__ = (UniqueConstraint("third_party_app_id", "appid"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(ForeignKey("third_party_app.id"), index=True, nullable=False)
    appid: Mapped[str] = mapped_column(String(64), nullable=False)
    name: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    draft_id: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    draft_version: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    draft_description: Mapped[str] = mapped_column(String(500), default="", nullable=False)
    draft_by: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    draft_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    gone: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)

    third_party_app: Mapped[ThirdPartyApp] = relationship()

    def __str__(self) -> str:
        return self.name or self.appid


class Template(PlatformOnly, Timestamps, Model):
    """A template version that can be uploaded to merchants' mini-programs."""

    __tablename__ = "template"
    __audited__ = True
    __searched__ = ("version", "template_id", "description")
    __table_args__ = (UniqueConstraint("third_party_app_id", "template_id"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(ForeignKey("third_party_app.id"), index=True, nullable=False)
    template_id: Mapped[str] = mapped_column(String(32), nullable=False)
    version: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    description: Mapped[str] = mapped_column(String(500), default="", nullable=False)
    added_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    gone: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)  # deleted at Douyin; kept for history

    third_party_app: Mapped[ThirdPartyApp] = relationship()

    def __str__(self) -> str:
        return f"{self.version} ({self.template_id})"
