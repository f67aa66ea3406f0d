"""Rows that the platform shares with all merchants, held by the same listeners: of tables of our own, beside the product's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, declared_attr, mapped_column, sessionmaker

from app.data import tenancy
from app.data.tenancy import PLATFORM, ScopeError, SharedRead, merchant_scope

pytestmark = pytest.mark.any_database("tables of its own, in memory: the statements are the same")
ALICE, BOB = 7, 8


class Base(DeclarativeBase):
    pass


class Category(SharedRead, Base):
    __tablename__ = "shared_category"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

    @declared_attr
    def merchant_id(cls) -> Mapped[int | None]:
        return mapped_column(nullable=True)


class Own(Session):
    """A session class of its own: listeners are attached to classes."""


@pytest.fixture
def sessions() -> Iterator[sessionmaker[Own]]:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Base.metadata.create_all(engine)
    tenancy.install(Own, engine)
    made = sessionmaker(engine, class_=Own)
    with made() as session:
        tenancy.set_scope(session, PLATFORM)
        session.add_all(
            Category(name=name, merchant_id=of) for name, of in (("共用", None), ("她的", ALICE), ("他的", BOB))
        )
        session.commit()
    yield made
    engine.dispose()


def of(sessions: sessionmaker[Own], merchant: int) -> Own:
    session = sessions()
    tenancy.set_scope(session, merchant_scope(merchant))
    return session


@pytest.mark.parametrize(
    ("merchant", "seen"), [(ALICE, ["共用", "她的"]), (BOB, ["共用", "他的"]), (ALICE, ["共用", "她的"])]
)
def test_a_merchant_sees_the_platforms_and_her_own(sessions: sessionmaker[Own], merchant: int, seen: list[str]) -> None:
    with of(sessions, merchant) as session:
        assert session.scalars(sa.select(Category.name).order_by(Category.id)).all() == seen
        other = aliased(Category)
        assert session.scalars(sa.select(other.name).order_by(other.id)).all() == seen


def test_a_merchant_writes_her_own_only(sessions: sessionmaker[Own]) -> None:
    with of(sessions, ALICE) as session:
        session.add(made := Category(name="新的"))
        session.commit()
        assert made.merchant_id == ALICE
        for name in ("共用", "新的"):
            row = session.scalars(sa.select(Category).where(Category.name == name)).one()
            row.merchant_id = None if name == "新的" else ALICE
            with pytest.raises(ScopeError, match="Category belongs to another merchant"):
                session.flush()
            session.rollback()
        session.execute(sa.update(Category).values(name="改了"))
        session.commit()
    with sessions() as session:
        tenancy.set_scope(session, PLATFORM)
        assert session.scalars(sa.select(Category.name).order_by(Category.id)).all() == ["共用", "改了", "他的", "改了"]
