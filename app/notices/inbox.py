"""A person's notifications behind the bell: how many wait, the latest, marking them read."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import rows_changed
from app.models import Notification


def unread(session: Session, user_id: int) -> int:
    """How many of a person's notifications wait behind the bell."""
    waiting = select(func.count(Notification.id)).where(Notification.user_id == user_id, Notification.read_at.is_(None))
    return session.scalar(waiting) or 0


def latest(session: Session, user_id: int, limit: int = 20) -> list[Notification]:
    """The newest first."""
    own = select(Notification).where(Notification.user_id == user_id)
    return list(session.scalars(own.order_by(Notification.id.desc()).limit(limit)))


def mark(session: Session, user_id: int, *, read: bool, notification_id: int | None = None) -> int:
    """Mark one, or all, of a person's notifications; commits, and gives how many changed."""
    changed: Any = update(Notification).where(Notification.user_id == user_id, Notification.read_at.is_(None) == read)
    if notification_id is not None:
        changed = changed.where(Notification.id == notification_id)
    values = {"read_at": utcnow() if read else None}
    count = rows_changed(session, changed.values(**values))
    session.commit()
    return int(count)
