"""Log-in attempts, counted per user and address in the database: the limits hold over processes.

A device that has logged in as the user before has an allowance of its own (`device`), so that strangers who guess at a
name do not keep its owner out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.secrets import keyring
from app.errors import Refused
from app.models.records import LoginAttempt

WINDOW = timedelta(minutes=15)
PER_USER = 5
PER_ADDRESS = 30
DEVICE = "device:"  # stands before a device's mark where an attempt's address would be


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


def begin(session: Session, user_name: str, address: str, *, device: str = "") -> Attempt:
    """Count an attempt before the password is looked at, so that parallel ones cannot pass together. Commits.

    Raises TooManyAttempts; a refused attempt is not counted, so that hammering does not lock for ever.
    """
    row = LoginAttempt(user_hash=_hashed(user_name), address=(f"{DEVICE}{device}" if device else address)[:64])
    session.add(row)
    session.commit()
    for limit, same in _limits(row, known_device=bool(device)):
        _refuse_beyond(session, row, limit, *same)
    session.commit()
    return Attempt(row.id, row.user_hash)


def begin_again(session: Session, user_name: str) -> Attempt:
    """The same for somebody who has logged in and is asked for the password again: counted for that user alone.

    What strangers do at the same address, an office's or an operator's, keeps nobody from going on.
    """
    return begin(session, f"change:{user_name}", "", device="again")


def _limits(row: LoginAttempt, *, known_device: bool) -> list[tuple[int, tuple[Any, ...]]]:
    if known_device:
        return [(PER_USER, (LoginAttempt.user_hash == row.user_hash, LoginAttempt.address == row.address))]
    strangers = LoginAttempt.address.not_like(f"{DEVICE}%")
    return [
        (PER_USER, (LoginAttempt.user_hash == row.user_hash, strangers)),
        (PER_ADDRESS, (LoginAttempt.address == row.address,)),
    ]


def _refuse_beyond(session: Session, row: LoginAttempt, limit: int, *same: Any) -> None:
    recent = select(func.count(), func.min(LoginAttempt.at)).where(*same, LoginAttempt.at > utcnow() - WINDOW)
    count, oldest = session.execute(recent).one()
    if count > limit:
        session.delete(row)
        session.commit()
        raise TooManyAttempts(max(1, -int((utcnow() - WINDOW - oldest).total_seconds() // 60)))


def forgive(session: Session, attempt: Attempt) -> None:
    """The password was right: the user's failures are forgotten. The caller commits."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.user_hash == attempt.user_hash))


def forgive_user(session: Session, user_name: str) -> None:
    """A new password was given out: the user may try at once. The caller commits."""
    session.execute(delete(LoginAttempt).where(LoginAttempt.user_hash == _hashed(user_name)))


def _hashed(user_name: str) -> str:
    return keyring().fingerprint(f"log-in:{user_name.strip().lower()}")
