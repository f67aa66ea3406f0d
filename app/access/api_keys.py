"""API keys: made, found by their keyed hash, revoked. The key itself is seen once, by whoever makes it.

A key has 238 random bits, so one keyed hash and an index find it: no slow hash, nothing compared letter by letter.
Changes leave the commit to the caller.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.data import texts
from app.data.clock import utcnow
from app.data.engine import rows_changed
from app.data.secrets import keyring
from app.errors import Refused
from app.i18n.sentence import say
from app.models.api_key import ApiKey, KeyScope
from app.models.kit.audit import record
from app.models.kit.user import ConsoleUser

PREFIX = "dz_"
LENGTH = 40
SHOWN = len(PREFIX) + 6  # of a key, to tell it from others
KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}", re.ASCII)
LETTERS = string.digits + string.ascii_letters
PER_USER = 20
DEFAULT_DAYS = "90"
# Days by what a form says; a key without an end is for the platform's administrators only.
LIFETIMES: Mapping[str, int | None] = {"30": 30, "90": 90, "365": 365, "never": None}
NOTE_EVERY = timedelta(minutes=1)
READING = frozenset({"GET", "HEAD", "OPTIONS"})
OPERATIONS_API = "OperationsApi"
INVALID = "API 密钥无效或已撤销"
EXPIRED = "API 密钥已过期，请在「我的账号」中新建"


def create(session: Session, user: ConsoleUser, name: str, scope: KeyScope, days: int | None) -> tuple[ApiKey, str]:
    """A new key of a user and its text, which is kept nowhere. Refused without a name or beyond PER_USER live ones."""
    name = texts.checked(name, "名称", field="name")
    if not 0 < len(name) <= 64:
        raise Refused("请填写名称（最多 64 个字）", field="name")
    if live_count(session, user.id) >= PER_USER:
        raise Refused(say("最多同时有 {per_user} 个有效的密钥：请先撤销不用的", per_user=PER_USER))
    text = new_text()
    key = ApiKey(
        user_id=user.id,
        name=name,
        start=text[:SHOWN],
        key_hash=hashed(text),
        scopes=[str(scope)],
        expires_at=utcnow() + timedelta(days=days) if days is not None else None,
    )
    session.add(key)
    session.flush()
    record(session, "api_key_create", subject=user, **_described(key), scope=str(scope), expires_at=key.expires_at)
    return key, text


def new_text() -> str:
    """A secret of 238 random bits, as logs know to mask it."""
    return PREFIX + "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def _described(key: ApiKey) -> dict[str, str]:
    return {"name": key.name, "start": key.start}


def hashed(text: str) -> str:
    return keyring().fingerprint(f"api-key:{text}")


def find(session: Session, text: str) -> ApiKey | None:
    """The key with this text, whatever its standing. Every text costs one hash and one look-up."""
    found = session.scalars(select(ApiKey).where(ApiKey.key_hash == hashed(text))).first()
    return found if KEY.fullmatch(text) else None


def refusal(key: ApiKey | None) -> str:
    """Why a key opens nothing; empty when it does."""
    if key is None or key.standing == "revoked":
        return INVALID
    return EXPIRED if key.standing == "expired" else ""


def allows(key: ApiKey, method: str, view: str | None) -> bool:
    """Whether a key's scope covers a request; what the user's role allows is asked besides."""
    if key.scope is None:
        return False
    if method in READING or key.scope == KeyScope.WRITE:
        return True
    return key.scope == KeyScope.OPERATE and view == OPERATIONS_API


def note_use(session: Session, key_id: int, address: str) -> bool:
    """Write down when and from where a key was used, at most once a minute; whether it was written."""
    due = or_(ApiKey.used_at.is_(None), ApiKey.used_at <= utcnow() - NOTE_EVERY)
    change = update(ApiKey).where(ApiKey.id == key_id, due).values(used_at=utcnow(), used_from=address[:64])
    return bool(rows_changed(session, change))


def use_is_due(key: ApiKey) -> bool:
    """Whether the last use that is written down is old enough for another."""
    return key.used_at is None or utcnow() - key.used_at >= NOTE_EVERY


def keys_of(session: Session, user_id: int) -> list[ApiKey]:
    """A user's keys, the newest first; those that are over too."""
    return list(session.scalars(select(ApiKey).where(ApiKey.user_id == user_id).order_by(ApiKey.id.desc()).limit(100)))


def live_count(session: Session, user_id: int) -> int:
    """How many of a user's keys open something."""
    alive = (ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    unended = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > utcnow())
    return int(session.scalar(select(func.count()).select_from(ApiKey).where(*alive, unended)) or 0)


def revoke(session: Session, user: ConsoleUser, key: ApiKey) -> None:
    """End a key of a user at once; one that is over stays as it is."""
    if key.revoked_at is None:
        key.revoked_at = utcnow()
        record(session, "api_key_revoke", subject=user, **_described(key))


def revoke_all(session: Session, user: ConsoleUser) -> None:
    """End every key of a user: it was disabled."""
    for key in session.scalars(select(ApiKey).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None))):
        revoke(session, user, key)
