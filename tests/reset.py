"""The database as it is after setting up, before each test: what holds rows is emptied, the roles stand again."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import sqlalchemy as sa
from flask_appbuilder import Model
from flask_appbuilder.security.sqla.models import Role

from app.cli import setup as setting_up
from app.data import text_index
from app.data.engine import INDEX
from app.extensions import db

ROLES = [{"name": name} for name in ("Admin", "Public", *setting_up.ROLES)]


def reset(engine: sa.Engine) -> None:
    """Delete every row and make the roles; the triggers of the audit log and the text indexes stand aside meanwhile."""
    with engine.begin() as connection:
        held = _held(connection)
        text_index.clear(connection, [name for name in _searched() if name in held])
        _EMPTY[text_index.dialect_of(connection)](connection, held)
        connection.execute(Role.__table__.insert(), ROLES)


@cache
def _searched() -> list[str]:
    return [model.__tablename__ for model in text_index.indexed(Model)]


@cache
def _tables() -> list[str]:
    """Every table, those that point to others first."""
    return [table.name for table in reversed(db.metadata.sorted_tables)]


def _held(connection: sa.Connection) -> set[str]:
    """The tables that hold rows, by one question; one with an index whose rows are gone counts, too."""
    name, kept = connection.dialect.identifier_preparer.quote, {t: t for t in _tables()}
    kept |= {f"{INDEX}{t}": t for t in _searched() if connection.dialect.name != "sqlite"}  # FTS5 empties itself
    asked = (f"SELECT '{told}' WHERE EXISTS (SELECT 1 FROM {name(t)})" for t, told in kept.items())
    return set(connection.exec_driver_sql(" UNION ALL ".join(asked)).scalars())


def _delete(connection: sa.Connection, held: Collection[str]) -> None:
    for name in _tables():
        if name in held:
            connection.exec_driver_sql(f"DELETE FROM {connection.dialect.identifier_preparer.quote(name)}")


def _sqlite(connection: sa.Connection, held: Collection[str]) -> None:
    made = connection.exec_driver_sql("SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger'").all()
    aside = [(name, statement) for name, statement, table in made if table in held]
    for name, _ in aside:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    _delete(connection, held)
    for _, statement in aside:
        connection.exec_driver_sql(statement)


def _postgresql(connection: sa.Connection, held: Collection[str]) -> None:
    """Rows one by one: TRUNCATE makes every table that points to one anew, and all their indexes."""
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
    _delete(connection, held)
    connection.exec_driver_sql(
        "SELECT setval(format('%%I.%%I', schemaname, sequencename)::regclass, start_value, false) "
        "FROM pg_sequences WHERE last_value IS NOT NULL"
    )


def _mysql(connection: sa.Connection, held: Collection[str]) -> None:
    """TRUNCATE also restarts the numbering, and fires no trigger."""
    connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=0")
    for name in sorted(held):
        connection.exec_driver_sql(f"TRUNCATE `{name}`")
    connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS=1")


_EMPTY = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
