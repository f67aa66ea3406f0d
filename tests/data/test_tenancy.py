"""Tenant isolation in the session: alice reads and writes her own rows only, by every kind of statement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_appbuilder import Model
from flask_appbuilder.security.sqla.models import Permission, Role
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, make_transient_to_detached

from app.cli import setup as setting_up
from app.data import tenancy
from app.data.tenancy import ScopeError, app_scope, merchant_scope, scoped
from app.extensions import db
from app.models import AuditEntry, Industry, LoginAttempt, Merchant, MiniProgram, ThirdPartyApp, User, Version
from tests.conftest import PASSWORD, Actors


@pytest.fixture
def alice(app: Flask, actors: Actors) -> Iterator[Session]:
    with app_scope(app, merchant_scope(actors.alice.id)) as session:
        yield session


def test_a_session_without_a_scope_reads_nothing(app: Flask, actors: Actors) -> None:
    with app.app_context(), pytest.raises(ScopeError):
        db.session.scalars(sa.select(MiniProgram)).all()


def test_a_session_keeps_its_scope(alice: Session) -> None:
    with pytest.raises(ScopeError):
        tenancy.set_scope(alice, tenancy.PLATFORM)


def test_none_is_not_a_merchant() -> None:
    for nobody in (None, True, "1"):
        with pytest.raises(ScopeError, match="a merchant's scope needs its id"):
            merchant_scope(nobody)  # type: ignore[arg-type]


def test_lists_gets_aliases_and_counts_are_hers(alice: Session, actors: Actors) -> None:
    assert [row.appid for row in alice.scalars(sa.select(MiniProgram))] == [actors.alice_app.appid]
    assert alice.get(MiniProgram, actors.bob_app.id) is None
    for model, own in ((MiniProgram, actors.alice_app), (Merchant, actors.alice)):
        assert [row.id for row in alice.scalars(sa.select(aliased(model)))] == [own.id]
    assert alice.scalar(sa.select(sa.func.count()).select_from(MiniProgram)) == 1
    assert [row.name for row in alice.scalars(sa.select(Merchant))] == [actors.alice.name]


def test_joins_and_subqueries_are_hers(alice: Session, actors: Actors) -> None:
    joined = sa.select(Merchant.name).join(MiniProgram, MiniProgram.merchant_id == Merchant.id)
    assert alice.scalars(joined).all() == [actors.alice.name]
    inner = sa.select(MiniProgram.merchant_id)
    assert alice.scalars(sa.select(Merchant.name).where(Merchant.id.in_(inner))).all() == [actors.alice.name]


def test_relations_of_others_do_not_load(alice: Session, actors: Actors) -> None:
    row = alice.get_one(MiniProgram, actors.alice_app.id)
    assert row.merchant is not None and row.merchant.id == actors.alice.id
    assert row.merchant.industry.name == "餐饮"
    with pytest.raises(ScopeError):
        _ = row.third_party_app


def test_updates_and_deletes_touch_her_rows_only(app: Flask, alice: Session, actors: Actors, session: Session) -> None:
    alice.execute(sa.update(MiniProgram).values(remarks="x"))
    alice.commit()
    session.expire_all()
    assert session.get_one(MiniProgram, actors.bob_app.id).remarks == ""
    assert session.get_one(MiniProgram, actors.alice_app.id).remarks == "x"


def test_a_new_row_is_stamped_and_a_forged_one_refused(alice: Session, actors: Actors) -> None:
    row = Version(mini_program_id=actors.alice_app.id, number="1.0.0")
    alice.add(row)
    alice.commit()
    assert row.merchant_id == actors.alice.id
    alice.add(Version(mini_program_id=actors.bob_app.id, number="1.0.0", merchant_id=actors.bob.id))
    with pytest.raises(ScopeError, match="Version belongs to another merchant"):
        alice.commit()


def test_a_row_is_not_given_away(alice: Session, actors: Actors) -> None:
    alice.get_one(MiniProgram, actors.alice_app.id).merchant_id = actors.bob.id
    with pytest.raises(ScopeError):
        alice.commit()


def test_a_row_of_another_is_not_taken(alice: Session, actors: Actors, session: Session) -> None:
    row = MiniProgram(id=actors.bob_app.id, merchant_id=actors.bob.id, row_version=actors.bob_app.row_version)
    make_transient_to_detached(row)
    alice.add(row)
    row.merchant_id = actors.alice.id
    with pytest.raises(ScopeError):
        alice.flush()
    alice.rollback()
    session.expire_all()
    assert session.get_one(MiniProgram, actors.bob_app.id).merchant_id == actors.bob.id


def test_bulk_changes_of_merchants_and_users_touch_her_own_only(
    app: Flask, alice: Session, actors: Actors, session: Session
) -> None:
    for name, owner in (("ann", actors.alice), ("ben", actors.bob)):
        setting_up.add_user(session, name, "owner", merchant_key=owner.key, password=PASSWORD)
    alice.execute(sa.update(Merchant).values(remarks="x"))
    alice.execute(sa.update(User).values(last_name="x"))
    alice.execute(sa.delete(User).where(User.username.like("%ben%")))
    alice.commit()
    with pytest.raises(IntegrityError):  # her own has rows of its own; bob's is not even tried
        alice.execute(sa.delete(Merchant).where(Merchant.name == actors.alice.name))
    alice.rollback()
    alice.execute(sa.delete(Merchant).where(Merchant.name == actors.bob.name))
    alice.commit()
    session.expire_all()
    assert dict(session.execute(sa.select(Merchant.name, Merchant.remarks)).all()) == {
        actors.alice.name: "x",
        actors.bob.name: "",
    }
    assert sorted(session.execute(sa.select(User.merchant_id, User.last_name)).all()) == sorted(
        [(actors.alice.id, "x"), (actors.bob.id, "")]
    )


def test_platform_tables_and_reference_rows_are_not_hers_to_touch(alice: Session) -> None:
    for model in (ThirdPartyApp, Permission):  # one is the platform's, one FAB's own
        with pytest.raises(ScopeError, match=f"{model.__name__} is not read in a merchant's scope"):
            alice.scalars(sa.select(model)).all()
    assert alice.scalars(sa.select(Role.name)).all() and alice.scalars(sa.select(Industry.name)).all() == ["餐饮"]


@pytest.mark.parametrize("model", [Industry, ThirdPartyApp, Role])
def test_rows_of_the_platform_are_not_written_in_a_merchants_scope(alice: Session, model: type[Any]) -> None:
    alice.add(row := model())
    with pytest.raises(ScopeError, match=f"{type(row).__name__} is not written in a merchant's scope"):
        alice.flush()


@pytest.mark.parametrize(
    "statement",
    [
        "select * from mini_program",
        "update mini_program set remarks='x'",
        "select appid from third_party_app",
        "select * from MINI_PROGRAM as m",
        "delete from version",
    ],
)
def test_raw_text_that_names_an_owned_table_is_refused(alice: Session, statement: str) -> None:
    with pytest.raises(ScopeError, match="statement names (?i:mini_program|third_party_app|version)"):
        alice.connection().exec_driver_sql(statement)


def test_core_goes_through_scoped(alice: Session, actors: Actors) -> None:
    table = MiniProgram.__table__
    with pytest.raises(ScopeError):
        alice.execute(sa.select(table.c.appid)).all()
    assert alice.execute(scoped(sa.select(table.c.appid), alice)).scalars().all() == [actors.alice_app.appid]


def test_another_merchants_mark_is_no_pass(app: Flask, alice: Session, actors: Actors) -> None:
    marked = scoped(sa.select(MiniProgram.__table__.c.appid), alice)
    alice.rollback()
    with app_scope(app, merchant_scope(actors.bob.id)) as bob, pytest.raises(ScopeError):
        bob.execute(marked).all()


def test_raw_text_is_refused_after_a_flush_that_failed(alice: Session, actors: Actors) -> None:
    alice.add(MiniProgram(appid=actors.bob_app.appid, name="同号"))
    with pytest.raises(IntegrityError):
        alice.flush()
    alice.rollback()
    with pytest.raises(ScopeError):
        alice.connection().exec_driver_sql("select * from mini_program")


def test_raw_text_is_refused_after_a_flush(alice: Session, actors: Actors) -> None:
    alice.get_one(MiniProgram, actors.alice_app.id).remarks = "x"
    alice.flush()
    with pytest.raises(ScopeError, match="an unmarked statement names mini_program"):
        alice.connection().exec_driver_sql("select * from mini_program")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (sa.select(sa.func.count(MiniProgram.__table__.alias().c.id)), "names plain owned tables only"),
        (sa.select(Merchant.__table__.c.id), "names plain owned tables only"),
        (sa.select(ThirdPartyApp.__table__.c.id), "names plain owned tables only"),
        (sa.insert(MiniProgram.__table__), "only select, update and delete"),
    ],
)
def test_what_cannot_be_scoped_is_refused(alice: Session, statement: Any, why: str) -> None:
    with pytest.raises(ScopeError, match=why):
        scoped(statement, alice)


def test_rows_that_are_needed_before_it_is_known_who_asks_are_written_in_any_scope(alice: Session) -> None:
    alice.add(LoginAttempt(user_hash="x", address="192.0.2.1"))
    alice.commit()
    assert alice.scalars(sa.select(LoginAttempt.user_hash)).all() == ["x"]


def test_bulk_inserts_are_refused(alice: Session, actors: Actors) -> None:
    with pytest.raises(ScopeError):
        alice.execute(sa.insert(Version), [{"mini_program_id": actors.bob_app.id, "number": "9.9.9"}])


def test_a_scope_does_not_leak_into_the_next_session(
    app: Flask, alice: Session, actors: Actors, session: Session
) -> None:
    alice.scalars(sa.select(MiniProgram)).all()
    alice.rollback()
    assert session.connection().exec_driver_sql("select count(*) from mini_program").scalar() == 2


def test_every_model_declares_what_it_is() -> None:
    fabs_own = {
        "ab_api_key",
        "ab_group",
        "ab_permission",
        "ab_permission_view",
        "ab_register_user",
        "ab_role",
        "ab_user",
        "ab_view_menu",
    }
    undeclared = {m.class_.__tablename__ for m in Model.registry.mappers if tenancy.tenancy_of(m.class_) is None}
    assert undeclared == fabs_own
    unscoped = {m.class_.__tablename__ for m in Model.registry.mappers if tenancy.tenancy_of(m.class_) == "unscoped"}
    assert unscoped == {"api_key", "login_attempt", "password_link", "two_factor", "web_session"}


def test_a_merchant_sees_its_own_staff_only(alice: Session) -> None:
    assert alice.scalars(sa.select(User)).all() == []


def test_the_audit_log_of_others_is_not_hers(alice: Session, actors: Actors) -> None:
    assert {row.merchant_id for row in alice.scalars(sa.select(AuditEntry))} <= {actors.alice.id}
