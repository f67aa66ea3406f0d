"""What is said to people keeps how it is made behind its finished text: titles are as long as that takes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

MARK = '\x1f'  # between a finished text and how it is made
LENGTHENED = (
    ('authorization_link', 'failure', 255),
    ('mini_program', 'token_fault', 255),
    ('notification', 'title', 160),
    ('notification_channel', 'fault', 255),
    ('notification_delivery', 'title', 160),
    ('task', 'title', 128),
    ('third_party_app', 'fault', 255),
    ('third_party_app', 'link_fault', 255),
)
SENTENCES = (
    *((table, column) for table, column, _length in LENGTHENED),
    ('inbound_event', 'verdict'),
    ('job_run', 'result'),
    ('notification', 'body'),
    ('notification_delivery', 'body'),
    ('notification_delivery', 'error'),
    ('operation_run', 'advice'),
    ('operation_run', 'message'),
    ('task', 'message'),
    ('version_event', 'text'),
)


def upgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        return  # it keeps texts of any length in such a column
    for table, column, length in LENGTHENED:
        op.alter_column(table, column, type_=sa.Text(), existing_type=sa.String(length), existing_nullable=False)


def downgrade() -> None:
    """The finished Chinese alone stays, as much of it as there is room for."""
    bind = op.get_bind()
    lengths = {(table, column): length for table, column, length in LENGTHENED}
    for table, key in SENTENCES:
        column = sa.column(key, sa.Text)
        place = (sa.func.strpos if bind.dialect.name == 'postgresql' else sa.func.instr)(column, MARK)
        plain = sa.case((place > 0, sa.func.substr(column, 1, place - 1)), else_=column)
        shown = sa.func.substr(plain, 1, lengths[table, key]) if (table, key) in lengths else plain
        bind.execute(sa.update(sa.table(table, column)).values({key: shown}))
    if bind.dialect.name == 'sqlite':
        return
    for table, column, length in LENGTHENED:
        op.alter_column(table, column, type_=sa.String(length), existing_type=sa.Text(), existing_nullable=False)
