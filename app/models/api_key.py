"""What a person signs in with besides a password: API keys, the second factor, and links to set a password by."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.data.clock import utcnow
from app.data.secrets import HasSecrets, Sealed, sealed_column
from app.data.tenancy import Unscoped
from app.data.types import BigId, Json, UtcDateTime, worded
from app.models.kit.base import Model


@worded({"read": "只读", "operate": "读取和执行操作", "write": "角色允许的全部"})
class KeyScope(StrEnum):
    """What a key may do at most; each holds those before it."""

    READ = "read"
    OPERATE = "operate"
    WRITE = "write"


class ApiKey(Unscoped, Model):
    """A key for scripts. Only its keyed hash is stored; it is shown once. Needed before it is known who asks."""

    __tablename__ = "api_key"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("ab_user.id", ondelete="CASCADE"), index=True, nullable=False, info={"label": "用户"}
    )
    name: Mapped[str] = mapped_column(String(64), nullable=False, info={"label": "名称"})
    start: Mapped[str] = mapped_column(
        String(16), nullable=False, info={"label": "密钥开头"}
    )  # its first characters, to tell keys apart
    key_hash: Mapped[str] = mapped_column(String(64), unique=True, nullable=False)
    scopes: Mapped[list[str]] = mapped_column(Json, default=list, nullable=False)
    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, info={"label": "创建时间"}
    )
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "有效期至"})
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "使用时间"})
    used_from: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __str__(self) -> str:
        return self.name

    @property
    def scope(self) -> KeyScope | None:
        """The widest scope it was given; None for one that nothing here knows, which may do nothing."""
        return next((scope for scope in reversed(KeyScope) if str(scope) in (self.scopes or ())), None)

    @property
    def standing(self) -> str:
        """`active`, `revoked` or `expired`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= utcnow() else "active"


class PasswordLink(Unscoped, Model):
    """A link by which a user sets a password of their own, once: made by somebody else, who sees no password."""

    __tablename__ = "password_link"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), index=True, nullable=False)
    kind: Mapped[str] = mapped_column(String(8), nullable=False)  # reset | invite
    by_name: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, nullable=False, index=True)


class TwoFactor(HasSecrets, Unscoped, Model):
    """A person's second factor (TOTP). On once confirmed; `last_step` keeps a code from being used twice."""

    __tablename__ = "two_factor"

    user_id: Mapped[int] = mapped_column(ForeignKey("ab_user.id", ondelete="CASCADE"), primary_key=True)
    secret_sealed: Mapped[str | None] = sealed_column()
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_step: Mapped[int] = mapped_column(BigId, default=0, nullable=False)
    recovery_hashes: Mapped[list[str]] = mapped_column(Json, default=list, nullable=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False)

    secret = Sealed()

    def __str__(self) -> str:
        return f"两步验证 #{self.user_id}"
