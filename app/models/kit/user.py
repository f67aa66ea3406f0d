"""The user: FAB's, with the merchant it belongs to. Platform users have none."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask_appbuilder.security.sqla.models import User as FabUser
from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Table, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.data.clock import utcnow
from app.data.tenancy import SelfScoped
from app.data.types import Json, UtcDateTime
from app.i18n.sentence import say

if TYPE_CHECKING:
    from app.models.merchant import Merchant

PLATFORM_ROLES = ADMIN, OPERATOR, AUDITOR = ("platform_admin", "operator", "auditor")
MERCHANT_ROLES = OWNER, STAFF, CLERK = ("owner", "staff", "clerk")
OPERATORS = frozenset({ADMIN, OPERATOR})  # who acts on the merchants' mini-programs
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

    merchant_id: Mapped[int | None] = mapped_column(ForeignKey("merchant.id"), index=True, info={"label": "商户编号"})
    password_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"label": "密码修改时间"})
    must_change_password: Mapped[bool] = mapped_column(
        Boolean, default=False, nullable=False, server_default="0", info={"label": "须修改密码"}
    )
    credential_generation: Mapped[int] = mapped_column(
        Integer, default=0, nullable=False, server_default="0", info={"quiet": True}
    )

    # By whose link its password was last set, and until when that is said: see app/access/accounts.py.
    link_kind: Mapped[str] = mapped_column(
        String(8), default="", nullable=False, server_default="", info={"quiet": True}
    )  # reset | invite
    link_by: Mapped[str] = mapped_column(
        String(64), default="", nullable=False, server_default="", info={"quiet": True}
    )
    link_until: Mapped[datetime | None] = mapped_column(UtcDateTime, info={"quiet": True})

    preferences: Mapped[dict[str, Any] | None] = mapped_column(
        Json, info={"quiet": True}
    )  # theme, density, locale, quiet hours

    merchant: Mapped[Merchant | None] = relationship("Merchant", foreign_keys=[merchant_id], info={"label": "商户"})

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
    return say("开通：{name}" if kind == "invite" else "重置：{name}", name=name)


# FAB would have a mail address of everybody, and each their own. Ours is empty where there is none, and may be shared:
# whether it is taken would tell one merchant's people whom the others employ.
_table: Table = ConsoleUser.__table__
for _name, _label in {
    "username": "用户名",
    "first_name": "名",
    "last_name": "姓",
    "email": "邮箱",
    "password": "密码",
    "created_by_fk": "创建人",
    "changed_by_fk": "修改人",
}.items():
    _table.c[_name].info["label"] = _label
_table.c.password.info["kind"] = "secret"
for _name in ("first_name", "last_name", "email"):
    _table.c[_name].info["personal"] = True
for _name in ("last_login", "login_count", "fail_login_count", "created_on", "changed_on"):
    _table.c[_name].info["quiet"] = True
_table.c.email.unique = None
_table.constraints -= {
    rule for rule in _table.constraints if isinstance(rule, UniqueConstraint) and list(rule.columns) == [_table.c.email]
}
Index("ix_ab_user_last_login", _table.c.last_login)  # an order of the list of merchants' people

User = ConsoleUser  # FAB has a mapped class of that name in the same registry; strings there mean FAB's
