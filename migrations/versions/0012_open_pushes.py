"""What is open of the pushes: in its order, what is urgent of it, and what waits behind what."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLE = "inbound_event"


def upgrade() -> None:
    op.create_index("ix_inbound_event_open", TABLE, ["state", "id"])
    op.create_index("ix_inbound_event_urgent", TABLE, ["state", "event", "id"])
    op.create_index("ix_inbound_event_queue", TABLE, ["third_party_app_id", "appid", "state", "id"])
    op.drop_index("ix_inbound_event_due", table_name=TABLE)


def downgrade() -> None:
    op.create_index("ix_inbound_event_due", TABLE, ["state", "not_before"])
    for name in ("queue", "urgent", "open"):
        op.drop_index(f"ix_inbound_event_{name}", table_name=TABLE)
