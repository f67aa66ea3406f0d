"""Orders that lists offer follow an index: a page of a great table does not sort it."""

from __future__ import annotations

from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

INDEXES = (
    ('ix_ab_user_last_login', 'ab_user', 'last_login'),
    ('ix_api_call_ms', 'api_call', 'ms'),
    ('ix_authorization_link_created_at', 'authorization_link', 'created_at'),
    ('ix_merchant_expires_on', 'merchant', 'expires_on'),
    ('ix_merchant_state', 'merchant', 'state'),
    ('ix_version_released_at', 'version', 'released_at'),
    ('ix_version_submitted_at', 'version', 'submitted_at'),
    ('ix_version_event_at', 'version_event', 'at'),
)


def upgrade() -> None:
    for name, table, column in INDEXES:
        op.create_index(name, table, [column])


def downgrade() -> None:
    for name, table, _column in reversed(INDEXES):
        op.drop_index(name, table_name=table)
