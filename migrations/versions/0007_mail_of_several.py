"""A mail address may be several people's, and is empty where there is none: FAB would have one of everybody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.data import text_index

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

NAMING = {'uq': 'uq_%(table_name)s_%(column_0_name)s'}  # what an unnamed rule is called while it is looked at
PLACEHOLDER = '@localhost.invalid'
SEARCHED = ('username', 'first_name')

user = sa.table('ab_user', sa.column('id'), sa.column('username', sa.String), sa.column('email', sa.String))


def upgrade() -> None:
    bind = op.get_bind()
    if bind.dialect.name == 'sqlite':
        # The table is made anew: its triggers go with the old one.
        with op.batch_alter_table('ab_user', naming_convention=NAMING, recreate='always') as batch:
            batch.drop_constraint('uq_ab_user_email', type_='unique')
        text_index.build(bind, 'ab_user', SEARCHED)
    else:
        rules = sa.inspect(bind).get_unique_constraints('ab_user')
        [name] = [rule['name'] for rule in rules if rule['column_names'] == ['email']]
        op.drop_constraint(name, 'ab_user', type_='unique')
    bind.execute(sa.update(user).where(user.c.email.like(f'%{PLACEHOLDER}')).values(email=''))


def downgrade() -> None:
    """Everybody has an address again, each their own: of several with the same, the first keeps it."""
    bind = op.get_bind()
    first = sa.select(sa.func.min(user.c.id)).group_by(sa.func.lower(user.c.email)).subquery()
    keep = sa.select(first.c[0])
    given = sa.func.concat(user.c.username, PLACEHOLDER) if bind.dialect.name == 'mysql' else user.c.username + PLACEHOLDER
    empty = sa.or_(user.c.email == '', user.c.id.not_in(keep))
    bind.execute(sa.update(user).where(empty).values(email=given))
    if bind.dialect.name == 'sqlite':
        with op.batch_alter_table('ab_user', recreate='always') as batch:
            batch.create_unique_constraint('uq_ab_user_email', ['email'])
        text_index.build(bind, 'ab_user', SEARCHED)
    else:
        op.create_unique_constraint('ab_user_email_key' if bind.dialect.name == 'postgresql' else 'email', 'ab_user', ['email'])
