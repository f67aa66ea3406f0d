"""Log-ins of the API beside those of browsers; links to set a password by; who made them, in the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def columns() -> list[tuple[str, sa.Column]]:
    return [
        ('web_session', sa.Column('kind', sa.String(length=8), server_default='web', nullable=False)),
        ('web_session', sa.Column('serial', sa.Integer(), server_default='0', nullable=False)),
        ('ab_user', sa.Column('link_kind', sa.String(length=8), server_default='', nullable=False)),
        ('ab_user', sa.Column('link_by', sa.String(length=64), server_default='', nullable=False)),
        ('ab_user', sa.Column('link_until', moment(), nullable=True)),
        ('audit_entry', sa.Column('via', sa.String(length=80), server_default='', nullable=False)),
    ]


def upgrade() -> None:
    for table, column in columns():
        op.add_column(table, column)
    op.create_table('password_link',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=8), nullable=False),
    sa.Column('by_name', sa.String(length=64), nullable=False),
    sa.Column('created_at', moment(), nullable=False),
    sa.Column('expires_at', moment(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['ab_user.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('token_hash')
    )
    op.create_index(op.f('ix_password_link_user_id'), 'password_link', ['user_id'], unique=False)
    op.create_index(op.f('ix_password_link_expires_at'), 'password_link', ['expires_at'], unique=False)
    _keep_to_the_operator()


def _keep_to_the_operator() -> None:
    """Views that the platform's people shared while at work as a merchant: nobody there could delete them."""
    view = sa.table('saved_view', sa.column('merchant_id'), sa.column('user_id'), sa.column('shared', sa.Boolean))
    user = sa.table('ab_user', *map(sa.column, ('id', 'merchant_id')))
    platforms = sa.select(user.c.id).where(user.c.merchant_id.is_(None))
    theirs = view.c.merchant_id.is_not(None) & view.c.shared & view.c.user_id.in_(platforms)
    op.get_bind().execute(sa.update(view).where(theirs).values(shared=sa.false()))


def downgrade() -> None:
    session = sa.table('web_session', sa.column('kind', sa.String))
    op.get_bind().execute(sa.delete(session).where(session.c.kind != 'web'))  # an older release knows no others
    op.drop_table('password_link')
    for table, column in reversed(columns()):
        op.drop_column(table, column.name)
