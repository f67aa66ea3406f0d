"""Industries and merchants (商户)."""

from __future__ import annotations

import re
import secrets
from datetime import date
from enum import StrEnum

from sqlalchemy import Connection, Date, ForeignKey, Index, Integer, Numeric, String, Text, event, select
from sqlalchemy.orm import Mapped, Mapper, mapped_column, relationship

from app.data.names import keeps_twin, twin_column
from app.data.phones import SealedPhone
from app.data.secrets import HasSecrets, sealed_column
from app.data.tenancy import Reference, SelfScoped
from app.data.types import State, worded
from app.models.kit.base import Model, Timestamps

SHORT, LETTERS_BEHIND = 8, 4  # characters of a merchant's key that are in the log-in names of its people, and others
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def new_merchant_key() -> str:
    """`m_` and twelve base32 characters: what mini-programs and scripts name a merchant by."""
    return "m_" + "".join(secrets.choice(_BASE32) for _ in range(SHORT + LETTERS_BEHIND))


SPACE = re.compile(rf"@[{_BASE32}]{{{SHORT}}}")  # what such a name ends in


@worded(
    {
        "company": "企业",
        "individual": "个体工商户",
        "person": "个人",
        "other": "其他组织",
    },
)
class SubjectType(StrEnum):
    COMPANY = "company"
    INDIVIDUAL = "individual"
    PERSON = "person"
    OTHER = "other"


@worded(
    {"active": "正常", "suspended": "停用"},
    tones={"active": "good", "suspended": "bad"},
)
class MerchantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Industry(Reference, Timestamps, Model):
    """A trade (行业) that merchants are grouped by; the platform's list."""

    __tablename__ = "industry"
    __audited__ = True

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True, nullable=False, info={"label": "名称", "kind": "name"})
    name_folded: Mapped[str | None] = twin_column("name", "行业")
    position: Mapped[int] = mapped_column(Integer, default=0, nullable=False, info={"label": "排序", "kind": "count"})

    def __str__(self) -> str:
        return self.name


class Merchant(HasSecrets, SelfScoped, Timestamps, Model):
    """A merchant: the tenant. A merchant's own session sees this one row."""

    __tablename__ = "merchant"
    __audited__ = True
    __searched__ = ("name", "name_folded", "contact", "key")
    __table_args__ = (
        Index("ix_merchant_created_at", "created_at"),  # the list's order, and others that it offers
        Index("ix_merchant_expires_on", "expires_on"),
        Index("ix_merchant_state", "state"),
        Index("ix_merchant_search", "name", "name_folded", "contact", "key"),  # what a search reads instead of the rows
        {"extend_existing": True},
    )
    scope_column = "id"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(
        String(20), unique=True, nullable=False, default=new_merchant_key, info={"label": "商户标识"}
    )
    name: Mapped[str] = mapped_column(String(64), unique=True, nullable=False, info={"label": "名称", "kind": "name"})
    name_folded: Mapped[str | None] = twin_column("name", "商户")
    industry_id: Mapped[int] = mapped_column(
        ForeignKey("industry.id"), index=True, nullable=False, info={"label": "行业编号"}
    )
    contact: Mapped[str] = mapped_column(
        String(32), default="", nullable=False, index=True, info={"label": "联系人", "personal": True}
    )
    phone_sealed: Mapped[str | None] = sealed_column("手机号")
    phone_hash: Mapped[str | None] = mapped_column(String(64), index=True, info={"quiet": True})
    phone_masked: Mapped[str] = mapped_column(
        String(20), default="", nullable=False, info={"label": "手机号", "personal": True}
    )
    subject_type: Mapped[SubjectType] = mapped_column(
        State(SubjectType), default=SubjectType.COMPANY, nullable=False, info={"label": "主体类型"}
    )
    commission_rate: Mapped[float] = mapped_column(
        Numeric(5, 2, asdecimal=False), default=0, nullable=False, info={"label": "佣金比例（%）", "kind": "percent"}
    )
    plan: Mapped[str] = mapped_column(String(32), default="", nullable=False, info={"label": "套餐"})
    expires_on: Mapped[date | None] = mapped_column(Date, info={"label": "套餐到期日"})
    state: Mapped[MerchantState] = mapped_column(
        State(MerchantState), default=MerchantState.ACTIVE, nullable=False, info={"label": "状态"}
    )
    remarks: Mapped[str] = mapped_column(Text, default="", nullable=False, info={"label": "备注"})

    phone = SealedPhone()
    industry: Mapped[Industry] = relationship(foreign_keys=[industry_id], info={"label": "行业"})

    def __str__(self) -> str:
        return self.name

    @property
    def user_suffix(self) -> str:
        """What the log-in names of the merchant's people end in, `@abcdefgh`: as lasting as the key it is of."""
        return f"@{self.key.removeprefix('m_')[:SHORT].lower()}"


keeps_twin(Industry, "name")
keeps_twin(Merchant, "name")


@event.listens_for(Merchant, "before_insert")
def _name_apart(_mapper: Mapper[Merchant], connection: Connection, merchant: Merchant) -> None:
    """A new key, drawn again while it begins as another's does: each merchant's people have a space of their own."""
    while merchant.key is None:
        drawn = new_merchant_key()
        first, last = (drawn[:-LETTERS_BEHIND] + end * LETTERS_BEHIND for end in (min(_BASE32), max(_BASE32)))
        held = select(Merchant.id).where(Merchant.key.between(first, last)).limit(1)
        if connection.execute(held).first() is None:
            merchant.key = drawn
