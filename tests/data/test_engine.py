"""A row made where there was none, though another makes it at the same moment."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import event, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.models import Credential, CredentialKind, Industry, PaceBucket, ThirdPartyApp


def test_a_missing_row_is_made_with_its_values(session: Session) -> None:
    row, made = insert_missing(session, PaceBucket, {"name": "x"}, tokens=1.0, refilled_at=utcnow())
    session.commit()
    assert (made, row.tokens, session.scalar(select(func.count()).select_from(PaceBucket))) == (True, 1.0, 1)


def test_a_row_that_is_there_is_found_as_it_is(session: Session) -> None:
    insert_missing(session, PaceBucket, {"name": "x"}, tokens=1.0, refilled_at=utcnow())
    row, made = insert_missing(session, PaceBucket, {"name": "x"}, tokens=2.0, refilled_at=utcnow())
    assert (made, row.tokens) == (False, 1.0)


def test_a_row_that_another_makes_at_the_same_moment_is_found(app: Flask) -> None:
    other = insert(PaceBucket).values(name="x", tokens=7.0, refilled_at=utcnow(), version=0)
    with app_scope(app, PLATFORM) as session:
        session.add(Industry(name="鲜花"))  # the caller's own work is not lost with it
        # A savepoint comes after the look and before the insert.
        event.listen(db.engine, "savepoint", lambda connection, _name: connection.execute(other), once=True)
        row, made = insert_missing(session, PaceBucket, {"name": "x"}, tokens=1.0, refilled_at=utcnow())
        session.commit()
        assert (made, row.tokens) == (False, 7.0)
        assert session.scalar(select(Industry.name)) == "鲜花"


def test_another_rule_than_the_keys_is_not_swallowed(session: Session, third_party_app: ThirdPartyApp) -> None:
    with pytest.raises(IntegrityError):
        insert_missing(session, Credential, {"key": "k"}, kind=CredentialKind.CLIENT, third_party_app_id=None)
