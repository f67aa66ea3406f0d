"""Icons of mini-programs are fetched and kept here; addresses that are not https are none."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade() -> None:
    op.add_column('mini_program', sa.Column('icon_key', sa.String(length=64), server_default='', nullable=False))
    op.add_column('mini_program', sa.Column('icon_due_at', moment(), nullable=True))
    op.create_index('ix_mini_program_icon_due_at', 'mini_program', ['icon_due_at'], unique=False)
    app = sa.table('mini_program', sa.column('icon_url', sa.String), sa.column('icon_due_at', moment()))
    https = app.c.icon_url.like('https://%')
    op.execute(sa.update(app).where(sa.not_(https)).values(icon_url=''))
    now = datetime.now(UTC).replace(tzinfo=None)
    op.execute(sa.update(app).where(https).values(icon_due_at=now))


def downgrade() -> None:
    op.drop_index('ix_mini_program_icon_due_at', table_name='mini_program')
    op.drop_column('mini_program', 'icon_due_at')
    op.drop_column('mini_program', 'icon_key')
