"""Saved views (保存的视图): a list's filters, order and columns under a name, one's own or shared with colleagues."""

from __future__ import annotations

from sqlalchemy import Boolean, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.data.tenancy import MerchantOwned
from app.models.kit.base import Model, Timestamps


class SavedView(MerchantOwned, Timestamps, Model):
    """A list's address under a name. `merchant_id` NULL belongs to the platform's people; shared within one merchant,
    or within the platform."""

    __tablename__ = "saved_view"
    __table_args__ = (UniqueConstraint("user_id", "view", "name"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("ab_user.id", ondelete="CASCADE"), nullable=False, info={"label": "用户"}
    )
    view: Mapped[str] = mapped_column(
        String(64), index=True, nullable=False, info={"label": "列表"}
    )  # the list's FAB endpoint
    name: Mapped[str] = mapped_column(String(64), nullable=False, info={"label": "名称"})
    query: Mapped[str] = mapped_column(
        Text, default="", nullable=False, info={"label": "条件"}
    )  # the readable query string
    shared: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False, info={"label": "共享"})
    is_default: Mapped[bool] = mapped_column(Boolean, default=False, nullable=False)  # opened when the list is

    def __str__(self) -> str:
        return self.name
