"""What the audit log holds of a table, as its columns declare it: of a table of our own, beside the product's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.console.row.history import former_value, in_the_way, revertible
from app.data.types import State, UtcDateTime
from app.errors import Refused
from app.models import AuditEntry, MerchantState
from app.models.kit.audit import install, is_told, plain_value, record

pytestmark = pytest.mark.any_database("tables of its own, in memory: the statements are the same")
LANDLINE = "0571-88880003-801"


class Base(DeclarativeBase):
    pass


class Shop(Base):
    __tablename__ = "audited_shop"
    __audited__ = True
    id: Mapped[int] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(sa.String(200), default="")
    held: Mapped[bool] = mapped_column(default=False)
    pin: Mapped[str] = mapped_column(sa.String(64), default="", info={"kind": "secret"})
    phone: Mapped[str] = mapped_column(sa.String(64), default="", info={"kind": "phone"})
    keeper: Mapped[str] = mapped_column(sa.String(64), default="", info={"personal": True})
    contact: Mapped[str] = mapped_column(sa.String(64), default="")  # a page of the shop: no person's data here
    seen: Mapped[int] = mapped_column(default=0, info={"quiet": True})
    rate: Mapped[Decimal] = mapped_column(sa.Numeric(5, 2), default=Decimal(0))

    def __str__(self) -> str:
        return f"门店 {self.id}"


class Own(Session):
    """A session class of its own: listeners are attached to classes."""


@pytest.fixture
def shops() -> Iterator[Session]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    AuditEntry.__table__.create(engine)
    install(Own)
    with Own(engine) as session:
        session.add(Shop(id=1))
        session.commit()
        yield session
    engine.dispose()


def changed(session: Session, **values: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Change the shop; what the log says of that."""
    shop = session.get_one(Shop, 1)
    session.refresh(shop)
    for name, value in values.items():
        setattr(shop, name, value)
    session.commit()
    log = AuditEntry.__table__
    return [
        (before, after)
        for before, after in session.execute(
            sa.select(log.c.before, log.c.after).where(log.c.action == "update").order_by(log.c.id)
        )
    ]


@pytest.mark.parametrize(
    ("values", "before", "after"),
    [
        ({"url": "https://b.example"}, {"url": ""}, {"url": "https://b.example"}),
        ({"held": True}, {"held": False}, {"held": True}),
        ({"pin": "geheim-1"}, {"pin": None}, {"pin": "已更改"}),
        ({"phone": LANDLINE}, {"phone": ""}, {"phone": "0571-****0003-801"}),
        ({"phone": "店里"}, {"phone": ""}, {"phone": "已更改（个人信息）"}),
        ({"keeper": "李梅梅"}, {"keeper": ""}, {"keeper": "已更改（个人信息）"}),
        ({"contact": "/contact"}, {"contact": ""}, {"contact": "/contact"}),
        ({"rate": Decimal("5.5")}, {"rate": "0.00"}, {"rate": "5.5"}),
        ({"seen": 7, "url": "x"}, {"url": ""}, {"url": "x"}),
    ],
)
def test_a_column_is_logged_as_it_declares(
    shops: Session, values: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert changed(shops, **values) == [(before, after)]


def test_a_change_of_quiet_columns_alone_is_no_entry(shops: Session) -> None:
    assert changed(shops, seen=7) == []


@pytest.mark.parametrize(
    ("type_", "value", "held"),
    [
        (sa.Integer(), 7, 7),
        (sa.Boolean(), True, True),
        (sa.Date(), date(2027, 1, 5), "2027-01-05"),
        (UtcDateTime(), datetime.fromisoformat("2027-01-05T08:00:00+00:00"), "2027-01-05T08:00:00+00:00"),
        (State(MerchantState), MerchantState.ACTIVE, "active"),
        (sa.Numeric(5, 2, asdecimal=False), 5.5, 5.5),
        (sa.Text(), "拨 13800138000", "拨 138****8000"),
        (sa.JSON(), {"token": "abc", "list": [1]}, {"token": "***", "list": [1]}),
        (sa.LargeBinary(), b"x", "b'x'"),
    ],
)
def test_a_value_is_kept_as_json(type_: Any, value: Any, held: Any) -> None:
    column: sa.Column[Any] = sa.Column("any_name", type_)
    found = plain_value(column, value)
    assert (found, type(found)) == (held, type(held)) and plain_value(column, None) is None


def test_a_detail_under_a_columns_name_is_no_more_told_than_the_column(shops: Session) -> None:
    record(shops, "operation", subject=shops.get_one(Shop, 1), pin="geheim-1", phone=LANDLINE, url="x", left=2)
    record(shops, "operation", rows=3, password="geheim-1", until=date(2027, 1, 5))
    log = AuditEntry.__table__
    about, alone = shops.scalars(sa.select(log.c.after).where(log.c.action == "operation").order_by(log.c.id))
    assert about == {"pin": "已更改", "phone": "0571-****0003-801", "url": "x", "left": 2}
    assert alone == {"rows": 3, "password": "已更改", "until": "2027-01-05"}


# Taking back.


VIEW = SimpleNamespace(
    datamodel=SimpleNamespace(obj=Shop, is_relation=lambda _name: False),
    edit_columns=["url", "pin", "phone", "keeper", "rate"],
)


def test_only_what_the_log_holds_is_taken_back() -> None:
    told = {name: column for name, column in sa.inspect(Shop).columns.items() if is_told(column)}
    assert {"url", "contact", "rate"} <= set(told) and not {"pin", "phone", "keeper"} & set(told)
    held = {"url": "a", "pin": "已更改", "phone": "已更改（个人信息）", "keeper": "已更改（个人信息）", "rate": "5.5"}
    assert revertible(VIEW, AuditEntry(before=held, after=held)) == ["url", "rate"]


@pytest.mark.parametrize("logged", ["5.5", "5.50", 5.5])
def test_an_entry_is_read_whichever_way_it_says_a_value(logged: Any) -> None:
    entry = AuditEntry(before={"rate": logged}, after={"rate": logged})
    in_the_way(VIEW, Shop(rate=Decimal("5.50")), entry, ["rate"])
    assert former_value(VIEW, entry, "rate") == Decimal("5.5")


@pytest.mark.parametrize("logged", ["5.51", "", "long ago", None])
def test_another_value_is_in_the_way(app: Flask, logged: Any) -> None:
    with app.app_context(), pytest.raises(Refused):
        in_the_way(VIEW, Shop(rate=Decimal("5.50")), AuditEntry(after={"rate": logged}), ["rate"])
