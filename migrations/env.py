"""Alembic's environment: one linear history over our tables and FAB's, on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from typing import Any

from alembic import context
from flask import current_app
from sqlalchemy import Connection, DateTime, String

from app.data.engine import INDEX
from app.data.types import SentenceText, State, UtcDateTime

db = current_app.extensions["migrate"].db
# Tables of FAB's features that are switched off; theirs are not ours to compare.
FOREIGN_INDEXES = frozenset({"ix_ab_api_key_lookup_hash"})


def compare_type(migration: Any, _column: Any, _metadata_column: Any, inspected: Any, ours: Any) -> bool | None:
    """The database's word for a type may differ where the meaning is the same."""
    if isinstance(ours, UtcDateTime):
        return not isinstance(inspected, DateTime)
    if isinstance(ours, State):
        return getattr(inspected, "length", None) != 32
    if isinstance(ours, SentenceText) and migration.dialect.name == "sqlite":
        return not isinstance(inspected, String)  # which keeps texts of any length, whatever its columns say
    return None


def render_item(kind: str, value: Any, _autogen: Any) -> str | bool:
    """Our own types appear in revisions as what the database has."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')"
    if kind == "type" and isinstance(value, State):
        return "sa.String(length=32)"
    if kind == "type" and isinstance(value, SentenceText):
        return "sa.Text()"
    return False


def include_name(name: str | None, kind: str, _parents: Any) -> bool:
    """Text indexes are made by `app.data.text_index` and looked at by `flask search check`."""
    return not (kind == "table" and (name or "").startswith(INDEX))


def _references(connection: Connection, switch: str) -> None:
    """SQLite changes a rule of a table by making the table anew: while the old one goes, no reference to it may count,
    or what refers to its rows would go along. Only outside a transaction can that be said."""
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().execute(f"PRAGMA foreign_keys={switch}").close()


def run() -> None:
    with db.engine.connect() as connection:
        _references(connection, "OFF")
        try:
            context.configure(
                connection=connection,
                target_metadata=db.metadatas[None],
                compare_type=compare_type,
                render_item=render_item,
                include_name=include_name,
                transaction_per_migration=True,
            )
            with context.begin_transaction():
                context.run_migrations()
        finally:
            connection.rollback()  # of what failed; the rest is committed
            _references(connection, "ON")


run()
