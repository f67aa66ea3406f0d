"""What a merchant's name reads as, beside it: for searches and for uniqueness. `flask setup` fills it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.data import text_index

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SEARCHED = ("name", "name_folded", "contact", "key")

def _search(*columns: str) -> None:
    """The index that a search reads instead of the rows, and the index of text, over other columns."""
    op.drop_index("ix_merchant_search", table_name="merchant")
    op.create_index("ix_merchant_search", "merchant", list(columns))


def upgrade() -> None:
    op.add_column("merchant", sa.Column("name_folded", sa.String(255), nullable=True))
    op.create_index("ix_merchant_name_folded", "merchant", ["name_folded"], unique=True)
    _search(*SEARCHED)
    text_index.build(op.get_bind(), "merchant", SEARCHED)


def downgrade() -> None:
    text_index.drop(op.get_bind(), "merchant")
    _search("name", "contact", "key")
    op.drop_index("ix_merchant_name_folded", table_name="merchant")
    op.drop_column("merchant", "name_folded")
    text_index.build(op.get_bind(), "merchant", ("name", "contact", "key"))
