"""Industries and merchants (商户)."""

from __future__ import annotations

import re
import secrets
from datetime import date
from enum import StrEnum

from sqlalchemy import Date, ForeignKey, Index, Integer, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Model, State, Timestamps
from app.secrets import HasSecrets, Sealed, sealed_column
from app.tenancy import Reference, SelfScoped

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


def new_merchant_key() -> str:
    """`m_` and twelve base32 characters: what mini-programs and scripts name a merchant by."""
    return "m_" + "".join(secrets.choice(_BASE32) for _ in range(12))


SHORT = 8  # characters of a merchant's key in the log-in names of its people
SPACE = re.compile(rf"@[{_BASE32}]{{{SHORT}}}")  # what such a name ends in


class SubjectType(StrEnum):
    COMPANY = "company"
    INDIVIDUAL = "individual"
    PERSON = "person"
    OTHER = "other"


SUBJECT_WORDS = {
    SubjectType.COMPANY: "企业",
    SubjectType.INDIVIDUAL: "个体工商户",
    SubjectType.PERSON: "个人",
    SubjectType.OTHER: "其他组织",
}


class MerchantState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


MERCHANT_STATE_WORDS = {MerchantState.ACTIVE: "正常", MerchantState.SUSPENDED: "停用"}


class Industry(Reference, Timestamps, Model):
    """A trade (行业) that merchants are grouped by; the platform's list."""

    __tablename__ = "industry"
    __audited__ = True

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True, nullable=False)
    position: Mapped[int] = mapped_column(Integer, default=0, nullable=False)

    def __str__(self) -> str:
        return self.name


class Merchant(HasSecrets, SelfScoped, Timestamps, Model):
    """A merchant: the tenant. A merchant's own session sees this one row."""

    __tablename__ = "merchant"
    __audited__ = True
    __searched__ = ("name", "contact", "key")
    __table_args__ = (
        Index("ix_merchant_created_at", "created_at"),  # the list's order
        Index("ix_merchant_search", "name", "contact", "key"),  # what a search reads instead of the rows
        {"extend_existing": True},
    )
    scope_column = "id"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(20), unique=True, nullable=False, default=new_merchant_key)
    name: Mapped[str] = mapped_column(String(64), unique=True, nullable=False)
    industry_id: Mapped[int] = mapped_column(ForeignKey("industry.id"), index=True, nullable=False)
    contact: Mapped[str] = mapped_column(String(32), default="", nullable=False, index=True)
    phone_sealed: Mapped[str | None] = sealed_column()
    phone_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    phone_masked: Mapped[str] = mapped_column(String(20), default="", nullable=False)
    subject_type: Mapped[SubjectType] = mapped_column(State(SubjectType), default=SubjectType.COMPANY, nullable=False)
    commission_rate: Mapped[float] = mapped_column(Numeric(5, 2, asdecimal=False), default=0, nullable=False)
    plan: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    expires_on: Mapped[date | None] = mapped_column(Date)
    state: Mapped[MerchantState] = mapped_column(State(MerchantState), default=MerchantState.ACTIVE, nullable=False)
    remarks: Mapped[str] = mapped_column(Text, default="", nullable=False)

    phone = Sealed()
    industry: Mapped[Industry] = relationship(foreign_keys=[industry_id])

    def __str__(self) -> str:
        return self.name

    @property
    def user_suffix(self) -> str:
        """What the log-in names of the merchant's people end in, `@abcdefgh`: as lasting as the key it is of."""
        return f"@{self.key.removeprefix('m_')[:SHORT].lower()}"
