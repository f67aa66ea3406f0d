"""The index of the text that lists search, filled with the rows that are there."""

from __future__ import annotations

from alembic import op

from app.data import text_index

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    ("merchant", ("name", "contact", "key")),
    ("mini_program", ("name", "appid", "subject_name")),
    ("version", ("number", "description", "reason")),
    ("template", ("version", "template_id", "description")),
    ("ab_user", ("username", "first_name")),
)


def upgrade() -> None:
    for table, columns in INDEXES:
        text_index.build(op.get_bind(), table, columns)


def downgrade() -> None:
    for table, _columns in INDEXES:
        text_index.drop(op.get_bind(), table)
    text_index.forget(op.get_bind())
