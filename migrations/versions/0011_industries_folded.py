"""What an industry's name reads as, beside it. `flask setup` fills it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("industry", sa.Column("name_folded", sa.String(255), nullable=True))
    op.create_index("ix_industry_name_folded", "industry", ["name_folded"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_industry_name_folded", table_name="industry")
    op.drop_column("industry", "name_folded")
