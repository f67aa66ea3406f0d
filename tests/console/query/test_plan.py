"""Rows of a list as plain objects (app/console/query/plan.py)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.console.query.plan import Light, Plan
from app.models import Industry, MiniProgram, Version
from app.models.mini_program import AuthorizationState
from tests.conftest import Actors
from tests.console.made import fill


def rows_of(session: Session, model: Any, names: list[str], relations: list[str]) -> list[Any]:
    plan = Plan(model, names, relations)
    return plan.rows(session.execute(plan.reading(select(model.id).order_by(model.id))))


def test_a_plain_row_reads_as_its_mapped_row_does(session: Session, actors: Actors) -> None:
    fill(session, Version.__table__, 3, actors.alice.id)
    rows = rows_of(session, Version, ["number", "state", "uploaded_at"], ["mini_program", "mini_program.merchant"])
    assert len(rows) >= 3
    for row in rows:
        mapped = session.get_one(Version, row.id)
        assert isinstance(row, Light)
        assert (row.number, row.state, row.uploaded_at) == (mapped.number, mapped.state, mapped.uploaded_at)
        assert (str(row), str(row.mini_program)) == (str(mapped), str(mapped.mini_program))
        assert (row.mini_program.merchant and row.mini_program.merchant.id) == mapped.mini_program.merchant_id


def test_what_was_left_in_the_database_is_read_when_it_is_asked_for(session: Session, actors: Actors) -> None:
    fill(session, Version.__table__, 1, actors.alice.id)
    row = rows_of(session, Version, ["number"], [])[0]
    mapped = session.get_one(Version, row.id)
    assert row.description == mapped.description
    assert row.mini_program.id == mapped.mini_program_id
    with pytest.raises(AttributeError):
        _ = row.no_such_thing


def test_a_plain_row_has_its_models_own_properties(session: Session, actors: Actors) -> None:
    fill(session, MiniProgram.__table__, 1, actors.alice.id)
    key = session.scalars(select(MiniProgram.id).order_by(MiniProgram.id)).first()
    mapped = session.get_one(MiniProgram, key)
    mapped.state, mapped.permissions = AuthorizationState.AUTHORIZED, [1]
    session.commit()
    row = rows_of(session, MiniProgram, ["state", "permissions"], [])[0]
    assert row.missing_permissions == mapped.missing_permissions == ["基本信息设置"]


def test_a_related_row_that_is_not_there_is_none(session: Session, actors: Actors) -> None:
    fill(session, MiniProgram.__table__, 1, actors.alice.id)
    for row in session.scalars(select(MiniProgram)):
        row.merchant_id = None
    session.commit()
    assert {row.merchant for row in rows_of(session, MiniProgram, [], ["merchant"])} == {None}


def test_rows_are_named_by_their_columns_only(session: Session, actors: Actors) -> None:
    row = rows_of(session, Industry, ["name"], [])[0]
    assert set(vars(row)) == {"id", "name"}
