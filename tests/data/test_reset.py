"""Each test begins with the same database: nothing of the one before, the numbering at its start, the triggers in place."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_appbuilder import Model
from flask_appbuilder.security.sqla.models import Role

from app.cli import setup as setting_up
from app.data import text_index
from app.data.engine import INDEX
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.models import AuditEntry, Industry, Merchant
from tests.reset import reset
from tests.world import build


def test_nothing_of_the_test_before_is_left(app: Flask) -> None:
    with app.app_context():
        before = _told(db.engine)
    with app_scope(app, PLATFORM) as session:
        build(session)
    with app.app_context():
        assert _told(db.engine) != before
        reset(db.engine)
        assert _told(db.engine) == before


def test_what_finishes_the_setting_up_finds_nothing_to_do(app: Flask) -> None:
    with app.app_context():
        before = _told(db.engine)
    with app_scope(app, PLATFORM) as session:
        list(setting_up.finish(app, session))
    with app.app_context():
        assert _told(db.engine) == before


def test_the_numbering_begins_again_and_the_triggers_stand(app: Flask) -> None:
    with app_scope(app, PLATFORM) as session:
        build(session)
    with app.app_context():
        reset(db.engine)
    with app_scope(app, PLATFORM) as session:
        session.add(merchant := Merchant(name="爱丽丝花店", industry=Industry(name="鲜花")))
        session.commit()
        assert merchant.id == 1
        found = text_index.find(session, Merchant, ["name"], "丽丝花")
        assert found is not None and found.keys == [1]
        with pytest.raises(sa.exc.DatabaseError):
            session.execute(sa.delete(AuditEntry))


def _told(engine: sa.Engine) -> dict[str, list[str]]:
    """Every row of every table, and of the text indexes that are tables."""
    with engine.connect() as connection:
        told = {t.name: list(map(str, connection.execute(sa.select(t)))) for t in Model.metadata.sorted_tables}
        # FAB's tables are numbered by sequences on MariaDB, which go on.
        told["ab_role"] = list(connection.execute(sa.select(Role.name).order_by(Role.name)).scalars())
        for model in text_index.indexed(Model) if engine.dialect.name != "sqlite" else ():  # FTS5 keeps no rows to list
            name = INDEX + model.__tablename__
            told[name] = list(map(str, connection.exec_driver_sql(f"SELECT id FROM {name}")))
        return told
