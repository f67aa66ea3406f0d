"""What stood before a call, what operations wait for, facts that nothing resets; refused pushes as a ring."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

SUBMITTED = ('auditing', 'approved', 'rejected', 'withdrawn', 'released', 'rolled_back')


def moment() -> sa.types.TypeEngine:
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def number() -> sa.types.TypeEngine:
    return sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def columns() -> list[tuple[str, sa.Column]]:
    return [
        ('operation_run', sa.Column('third_party_app_id', sa.Integer(), nullable=True)),
        ('operation_run', sa.Column('hold', sa.String(length=64), server_default='', nullable=False)),
        ('operation_run', sa.Column('evidence', sa.JSON(), nullable=True)),
        ('version', sa.Column('ever_submitted', sa.Boolean(), server_default=sa.false(), nullable=False)),
        ('mini_program', sa.Column('last_submitted_at', moment(), nullable=True)),
        ('mini_program', sa.Column('last_rollback_at', moment(), nullable=True)),
        ('mini_program', sa.Column('held_at', moment(), nullable=True)),
        ('third_party_app', sa.Column('held', sa.String(length=16), server_default='', nullable=False)),
        ('third_party_app', sa.Column('held_at', moment(), nullable=True)),
        ('third_party_app', sa.Column('probe_at', moment(), nullable=True)),
        ('third_party_app', sa.Column('link_fault', sa.String(length=255), server_default='', nullable=False)),
        ('third_party_app', sa.Column('link_fault_at', moment(), nullable=True)),
        ('third_party_app', sa.Column('self_test', sa.JSON(), nullable=True)),
    ]


def upgrade() -> None:
    for table, column in columns():
        op.add_column(table, column)
    op.create_index('ix_operation_run_hold', 'operation_run', ['hold'], unique=False)
    op.create_table('circuit',
    sa.Column('name', sa.String(length=96), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(length=255), nullable=False),
    sa.Column('opened_at', moment(), nullable=True),
    sa.Column('probe_at', moment(), nullable=True),
    sa.Column('owner', sa.String(length=64), nullable=True),
    sa.Column('lease_until', moment(), nullable=True),
    sa.PrimaryKeyConstraint('name')
    )
    op.create_table('authorization_return',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('link_id', sa.Integer(), nullable=False),
    sa.Column('code_hash', sa.String(length=64), nullable=False),
    sa.Column('code_sealed', sa.Text(), nullable=True),
    sa.Column('at', moment(), nullable=False),
    sa.Column('row_uid', sa.String(length=32), nullable=False),
    sa.ForeignKeyConstraint(['link_id'], ['authorization_link.id']),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('link_id'),
    sa.UniqueConstraint('row_uid')
    )
    op.create_index(op.f('ix_authorization_return_at'), 'authorization_return', ['at'], unique=False)
    op.create_table('refused_push_count',
    sa.Column('reason', sa.String(length=32), nullable=False),
    sa.Column('count', number(), nullable=False),
    sa.PrimaryKeyConstraint('reason')
    )
    _make_ring()
    _fill_facts()


def _refused(id_type: sa.types.TypeEngine, *more: sa.Column) -> None:
    op.drop_table('refused_push')
    op.create_table('refused_push',
    sa.Column('id', id_type, autoincrement=not more, nullable=False),
    *more,
    sa.Column('at', moment(), nullable=False),
    sa.Column('component_appid', sa.String(length=64), nullable=False),
    sa.Column('receiver', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(length=32), nullable=False),
    sa.Column('remote', sa.String(length=64), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )


def _make_ring() -> None:
    """The hundred newest are records of no weight: they make room. Their counts by reason are kept."""
    bind = op.get_bind()
    old = sa.table('refused_push', sa.column('id'), sa.column('reason', sa.String))
    counts = bind.execute(sa.select(old.c.reason, sa.func.count()).group_by(old.c.reason)).all()
    kept = sa.table('refused_push_count', sa.column('reason', sa.String), sa.column('count', sa.BigInteger))
    if counts:
        bind.execute(sa.insert(kept), [{'reason': reason, 'count': count} for reason, count in counts])
    _refused(sa.Integer(), sa.Column('number', number(), nullable=False))


def _fill_facts() -> None:
    """From what the rows still tell: submitted versions, an app's last submission, a run's third-party app."""
    bind = op.get_bind()
    columns = ('id', 'mini_program_id', 'state', 'submitted_at', 'audit_ctime', 'released_at', 'ever_submitted')
    version = sa.table('version', *map(sa.column, columns))
    told = sa.or_(
        version.c.submitted_at.is_not(None), version.c.audit_ctime.is_not(None), version.c.released_at.is_not(None),
        version.c.state.in_(SUBMITTED),
    )
    bind.execute(sa.update(version).where(told).values(ever_submitted=sa.true()))
    app = sa.table('mini_program', *map(sa.column, (
        'id', 'third_party_app_id', 'last_submitted_at', 'last_rollback_at', 'rollback_requested_at',
    )))
    last = (
        sa.select(sa.func.max(version.c.submitted_at)).where(version.c.mini_program_id == app.c.id).scalar_subquery()
    )
    bind.execute(sa.update(app).values(last_submitted_at=last, last_rollback_at=app.c.rollback_requested_at))
    run = sa.table('operation_run', *map(sa.column, ('mini_program_id', 'third_party_app_id')))
    owner = sa.select(app.c.third_party_app_id).where(app.c.id == run.c.mini_program_id).scalar_subquery()
    bind.execute(sa.update(run).where(run.c.mini_program_id.is_not(None)).values(third_party_app_id=owner))
    # Under way when it was stopped: what it sent is not known, and nothing was kept that would tell.
    state = sa.table('operation_run', sa.column('state'))
    bind.execute(sa.update(state).where(state.c.state == 'running').values(state='unknown'))


def downgrade() -> None:
    _refused(number())
    for table in ('refused_push_count', 'authorization_return', 'circuit'):
        op.drop_table(table)
    op.drop_index('ix_operation_run_hold', table_name='operation_run')
    for table, column in reversed(columns()):
        op.drop_column(table, column.name)
