"""The people whom news concern."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app import setup as setting_up
from app.database import writing
from app.models import ThirdPartyApp
from app.models.base import utcnow
from tests.conftest import PASSWORD, Actors


@pytest.fixture
def desk(session: Session, actors: Actors) -> None:
    """An operator, an auditor, and alice's and bob's owners; nothing wrong with the third-party app."""
    with writing():
        setting_up.add_user(session, "operator", "operator", password=PASSWORD)
        setting_up.add_user(session, "auditor", "auditor", password=PASSWORD)
        setting_up.add_user(session, "alice", "owner", merchant_key=actors.alice.key, password=PASSWORD)
        setting_up.add_user(session, "bob", "owner", merchant_key=actors.bob.key, password=PASSWORD)
        session.scalars(sa.select(ThirdPartyApp)).one().ticket_at = utcnow()
        session.commit()
