"""The user: FAB's, with the merchant it belongs to. Platform users have none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_appbuilder.security.sqla.models import User as FabUser
from sqlalchemy import Boolean, ForeignKey, Integer, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Json, UtcDateTime, utcnow
from app.models.merchant import Merchant
from app.tenancy import SelfScoped

PLATFORM_ROLES = ("platform_admin", "operator", "auditor")
MERCHANT_ROLES = ("owner", "staff", "clerk")
ROLE_WORDS = {
    "platform_admin": "平台管理员",
    "operator": "平台运营",
    "auditor": "平台审计",
    "owner": "商户管理员",
    "staff": "商户员工",
    "clerk": "核销员",
}


class ConsoleUser(SelfScoped, FabUser):
    """A person who signs in. `merchant_id` decides the scope of every session it opens."""

    __tablename__ = "ab_user"
    __audited__ = True
    __searched__ = ("username", "first_name")

    merchant_id: Mapped[int | None] = mapped_column(ForeignKey("merchant.id"), index=True)
    password_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    must_change_password: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False, server_default="0")
    credential_generation: Mapped[int] = mapped_column(Integer, default=0, nullable=False, server_default="0")

    # By whose link its password was last set, and until when that is said: see app/links.py.
    link_kind: Mapped[str] = mapped_column(String(8), default="", nullable=False, server_default="")  # reset | invite
    link_by: Mapped[str] = mapped_column(String(64), default="", nullable=False, server_default="")
    link_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

    preferences: Mapped[dict[str, Any] | None] = mapped_column(Json)  # theme, density, locale, quiet hours

    merchant: Mapped[Merchant | None] = relationship(foreign_keys=[merchant_id])

    def __str__(self) -> str:
        return str(self.username)

    @property
    def via(self) -> str:
        """`reset:<name>` or `invite:<name>` for a day after a password was set by somebody else's link; else empty."""
        if self.link_until is None or self.link_until <= utcnow():
            return ""
        return f"{self.link_kind}:{self.link_by}"

    @property
    def role_names(self) -> frozenset[str]:
        return frozenset(role.name for role in self.roles)


def via_words(via: str) -> str:
    """`ConsoleUser.via` as people read it: 重置：operator."""
    kind, _, name = via.partition(":")
    if not via:
        return ""
    return f"开通：{name}" if kind == "invite" else f"重置：{name}"


# FAB would have a mail address of everybody, and each their own. Ours is empty where there is none, and may be shared:
# whether it is taken would tell one merchant's people whom the others employ.
_table: Table = ConsoleUser.__table__  # type: ignore[assignment]
_table.c.email.unique = None
_table.constraints -= {
    rule for rule in _table.constraints if isinstance(rule, UniqueConstraint) and list(rule.columns) == [_table.c.email]
}

User = ConsoleUser  # FAB has a mapped class of that name in the same registry; strings there mean FAB's
