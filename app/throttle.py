"""Log-in attempts, counted per user and address in the database: the limits hold over processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.errors import Refused
from app.models.base import utcnow
from app.models.records import LoginAttempt
from app.secrets import keyring

WINDOW = timedelta(minutes=15)
PER_USER = 5
PER_ADDRESS = 30


class TooManyAttempts(Refused):
    """Too many failures; `minutes` until the next attempt is looked at."""

    def __init__(self, minutes: int) -> None:
        super().__init__(f"登录失败次数过多，请 {minutes} 分钟后再试")
        self.minutes = minutes


@dataclass(frozen=True)
class Attempt:
    """One attempt that was let through; it counts as a failure until it is forgiven."""

    id: int
    user_hash: str


def begin(session: Session, user_name: str, address: str) -> Attempt:
    """Count an attempt before the password is looked at, so that parallel ones cannot pass together. Commits.

    Raises TooManyAttempts; a refused attempt is not counted, so that hammering does not lock for ever.
    """
    row = LoginAttempt(user_hash=_hashed(user_name), address=address[:64])
    session.add(row)
    session.commit()
    since = utcnow() - WINDOW
    limits = (
        (LoginAttempt.user_hash == row.user_hash, PER_USER),
        (LoginAttempt.address == row.address, PER_ADDRESS),
    )
    for same, limit in limits:
        count, oldest = session.execute(
            select(func.count(), func.min(LoginAttempt.at)).where(same, LoginAttempt.at > since)
        ).one()
        if count > limit:
            session.delete(row)
            session.commit()
            raise TooManyAttempts(max(1, -int((utcnow() - WINDOW - oldest).total_seconds() // 60)))
    session.commit()
    return Attempt(row.id, row.user_hash)


def forgive(session: Session, attempt: Attempt) -> None:
    """The password was right: the user's failures are forgotten. The caller commits."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.user_hash == attempt.user_hash))


def forgive_user(session: Session, user_name: str) -> None:
    """A new password was given out: the user may try at once. The caller commits."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.user_hash == _hashed(user_name)))


def _hashed(user_name: str) -> str:
    return keyring().fingerprint(f"log-in:{user_name.strip().lower()}")
