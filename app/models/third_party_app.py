"""Third-party apps (第三方小程序应用) and the credentials of each app, ours and the merchants'."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.secrets import HasSecrets, Sealed, sealed_column
from app.data.tenancy import PlatformOnly
from app.data.types import Json, SentenceText, State, UtcDateTime
from app.models.kit.base import Model, Timestamps


class ThirdPartyApp(HasSecrets, PlatformOnly, Timestamps, Model):
    """One third-party app of ours: what Douyin knows us by."""

    __tablename__ = "third_party_app"
    __audited__ = True

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    appid: Mapped[str] = mapped_column(String(64), unique=True, nullable=False, info={"label": "小程序编号（AppID）"})
    name: Mapped[str] = mapped_column(String(64), default="", nullable=False, info={"label": "名称"})
    active: Mapped[bool] = mapped_column(Boolean, default=True, nullable=False, info={"label": "启用"})
    secret_sealed: Mapped[str | None] = sealed_column("应用密钥")
    token_sealed: Mapped[str | None] = sealed_column("消息校验令牌")
    aes_key_sealed: Mapped[str | None] = sealed_column("消息加解密密钥")
    ticket_sealed: Mapped[str | None] = sealed_column(quiet=True)  # a new one comes time and again
    ticket_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "推送票据时间", "quiet": True})
    fault: Mapped[str] = mapped_column(
        SentenceText, default="", nullable=False, info={"label": "故障"}
    )  # a platform-level fault, in words
    fault_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "故障时间", "quiet": True})
    # Why nothing of it is sent: "app" (Douyin refuses the app itself), "ticket" (none lives); "" = not held.
    held: Mapped[str] = mapped_column(String(16), default="", nullable=False, info={"quiet": True})
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})
    probe_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})  # when it may next be tried
    link_fault: Mapped[str] = mapped_column(
        SentenceText, default="", nullable=False, info={"label": "授权页故障"}
    )  # of its authorisation page only
    link_fault_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})
    self_test: Mapped[dict[str, Any] | None] = mapped_column(Json, info={"quiet": True})  # the outcome of the last one

    secret = Sealed()
    token = Sealed()
    aes_key = Sealed()
    ticket = Sealed()

    def __str__(self) -> str:
        return self.name or self.appid


class CredentialKind(StrEnum):
    """Values equal those of `app.douyin.contract.Token`."""

    COMPONENT = "component"
    COMPONENT_V1 = "component_v1"
    AUTHORIZER = "authorizer"
    AUTHORIZER_V1 = "authorizer_v1"
    CLIENT = "client"


class Credential(HasSecrets, PlatformOnly, Model):
    """One token (pair) with the lease of whoever refreshes it. `generation` grows by one with every new token."""

    __tablename__ = "credential"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(160), unique=True, nullable=False)  # "<kind>:<component>:<appid or ''>"
    kind: Mapped[CredentialKind] = mapped_column(State(CredentialKind), nullable=False)
    third_party_app_id: Mapped[int] = mapped_column(ForeignKey("third_party_app.id"), index=True, nullable=False)
    appid: Mapped[str | None] = mapped_column(String(64), index=True)
    access_token_sealed: Mapped[str | None] = sealed_column()
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    refresh_token_sealed: Mapped[str | None] = sealed_column()
    refresh_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    obtained_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    generation: Mapped[int] = mapped_column(Integer, default=0, nullable=False)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failure: Mapped[str] = mapped_column(String(255), default="", nullable=False)

    access_token = Sealed()
    refresh_token = Sealed()
    third_party_app: Mapped[ThirdPartyApp] = relationship()


class AuthorizationCode(PlatformOnly, Model):
    """An authorisation code that someone has begun to exchange: the unique hash makes it once. Codes are never kept."""

    __tablename__ = "authorization_code"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    third_party_app_id: Mapped[int] = mapped_column(ForeignKey("third_party_app.id"), nullable=False)
    appid: Mapped[str | None] = mapped_column(String(64))  # known once the exchange has answered
    failure: Mapped[str] = mapped_column(String(255), default="", nullable=False)
    claimed_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False, index=True)
