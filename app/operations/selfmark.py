"""The mark of a self-test's push: how any web process tells it, once, from a push of Douyin's.

Its fingerprint stands in the third-party app's row; the mark itself is known to the process that made it and goes
nowhere but into the push. What calls itself a self-test without it is stored like any other push.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.models import ThirdPartyApp
from app.models.base import utcnow
from app.secrets import keyring
from app.tenancy import PLATFORM, app_scope

EVENT = "DOUZHOU_SELF_TEST"
LIFE = timedelta(minutes=1)


def issue(app: Flask, third_party_app_id: int) -> str:
    """A new mark; the one before is void."""
    mark = secrets.token_urlsafe(32)
    with app_scope(app, PLATFORM) as session:
        until = (utcnow() + LIFE).isoformat()
        keep(session, third_party_app_id, {"mark": keyring().fingerprint(mark), "until": until, "arrived": False})
    return mark


def recognised(app: Flask, third_party_app_id: int, event: Mapping[str, Any]) -> bool:
    """Whether a genuine event is the test push that is expected now; its mark is then used up."""
    mark = event.get("Mark")
    if event.get("Event") != EVENT or not isinstance(mark, str):
        return False
    with app_scope(app, PLATFORM) as session:
        held = kept(session, third_party_app_id)
        expected = held.get("mark") or ""
        if not hmac.compare_digest(keyring().fingerprint(mark[:200]), expected):
            return False
        if datetime.fromisoformat(held["until"]) < utcnow():
            return False
        keep(session, third_party_app_id, {"mark": "", "arrived": True})
        return True


def kept(session: Session, third_party_app_id: int) -> dict[str, Any]:
    """What the row keeps, held against other processes until the transaction ends."""
    found = select(ThirdPartyApp.self_test).where(ThirdPartyApp.id == third_party_app_id).with_for_update()
    return dict(session.scalar(found) or {})


def keep(session: Session, third_party_app_id: int, values: Mapping[str, Any]) -> None:
    """Change some of what the row keeps, and commit. It is no edit: whoever has its form open is not in the way."""
    merged = kept(session, third_party_app_id) | dict(values)
    changed = update(ThirdPartyApp).where(ThirdPartyApp.id == third_party_app_id)
    session.execute(
        changed.values(self_test=merged, changed_at=ThirdPartyApp.changed_at).execution_options(
            synchronize_session=False
        )
    )
    session.commit()
