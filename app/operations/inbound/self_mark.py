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

from app.data.clock import utcnow
from app.data.secrets import keyring
from app.data.tenancy import PLATFORM, app_scope
from app.models import ThirdPartyApp

EVENT = "DOUZHOU_SELF_TEST"
# Longer than a push stays fresh: one that waited in a queue, after its test has given it up, is known as well.
LIFE = timedelta(minutes=10)
MOST = 20


def issue(app: Flask, third_party_app_id: int) -> str:
    """A new mark; those that others wait for stay good."""
    mark, now = secrets.token_urlsafe(32), utcnow()
    with app_scope(app, PLATFORM) as session:
        marks = _living(kept(session, third_party_app_id), now)[1 - MOST :]
        marks.append([keyring().fingerprint(mark), (now + LIFE).isoformat()])
        keep(session, third_party_app_id, {"marks": marks})
    return mark


def recognised(app: Flask, third_party_app_id: int, event: Mapping[str, Any]) -> bool:
    """Whether a genuine event is a test push that is waited for; its mark is then used up."""
    mark = event.get("Mark")
    if event.get("Event") != EVENT or not isinstance(mark, str):
        return False
    with app_scope(app, PLATFORM) as session:
        given, held = keyring().fingerprint(mark[:200]), kept(session, third_party_app_id)
        living = _living(held, utcnow())
        others = [item for item in living if not hmac.compare_digest(item[0], given)]
        if len(others) == len(living):
            return False
        arrived = [*held.get("arrived", []), given][-MOST:]
        keep(session, third_party_app_id, {"marks": others, "arrived": arrived})
        return True


def arrived(app: Flask, third_party_app_id: int, mark: str) -> bool:
    """Whether the push with a mark has come, in whichever process."""
    with app_scope(app, PLATFORM) as session:
        return keyring().fingerprint(mark) in kept(session, third_party_app_id).get("arrived", [])


def _living(held: Mapping[str, Any], now: datetime) -> list[list[str]]:
    """[fingerprint, until] of the marks that are still good."""
    return [item for item in held.get("marks", []) if datetime.fromisoformat(item[1]) > now]


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
