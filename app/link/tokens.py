"""Tokens as they are kept: which credential, its row as read, a new grant; codes, exchanged once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import insert_missing
from app.data.secrets import keyring
from app.data.tenancy import PLATFORM, app_scope
from app.douyin import authorization as auth
from app.douyin.contract import Token
from app.models import AuthorizationCode, Credential, CredentialKind

UNPAIRED = (
    "抖音没有返回可用的刷新令牌：现有令牌仍可使用，到期时系统会自动找回授权码换取新的；"
    "如果之后仍有此提示，请让商户重新授权"
)


@dataclass(frozen=True)
class Slot:
    """Which credential: one kind of token of a third-party app, or of an app that authorised it."""

    kind: Token
    third_party_app_id: int
    component_appid: str
    appid: str | None

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.component_appid}:{self.appid or ''}"


@dataclass(frozen=True)
class Stored:
    """A credential's row as it was read; the secrets stay out of any repr."""

    id: int
    generation: int
    expires_at: datetime | None
    lease_owner: str | None
    access: str | None = field(repr=False)
    refresh: str | None = field(repr=False)

    def lasts(self, seconds: float) -> bool:
        return (
            bool(self.access)
            and self.expires_at is not None
            and (self.expires_at - utcnow() >= timedelta(seconds=seconds))
        )


@dataclass
class Lease:
    """The right to refresh one credential. `spent`: its refresh token may be used up."""

    slot: Slot
    held: Stored
    owner: str
    spent: bool = False


@dataclass(frozen=True)
class Grant:
    """New tokens as Douyin gave them; lives in seconds. `pair`: a refresh token belongs to the access token."""

    access: str = field(repr=False)
    expires_in: int
    refresh: str | None = field(default=None, repr=False)
    refresh_expires_in: int = 0
    permissions: frozenset[int] | None = None
    pair: bool = False

    @property
    def fault(self) -> str:
        """What a person should know of a pair without its second half; "" when there is nothing to say."""
        return UNPAIRED if self.pair and self.refresh is None else ""

    @property
    def lapses_at(self) -> datetime | None:
        """When the refresh token ends; None when there is none."""
        return utcnow() + timedelta(seconds=self.refresh_expires_in) if self.refresh is not None else None


def credential_row(session: Session, slot: Slot) -> Credential:
    """The slot's row, made when there is none; the caller commits."""
    made = {"kind": CredentialKind(str(slot.kind)), "third_party_app_id": slot.third_party_app_id, "appid": slot.appid}
    return insert_missing(session, Credential, {"key": slot.key}, **made)[0]


def grant_of(reply: auth.AuthorizerTokens) -> Grant:
    """Both tokens of an answer, or the one that it has."""
    return Grant(
        reply.authorizer_access_token,
        reply.expires_in,
        reply.authorizer_refresh_token,
        reply.refresh_expires_in,
        reply.permissions,
        pair=True,
    )


def sealed_values(row: Credential, grant: Grant) -> dict[str, Any]:
    """Column values that put a grant into a credential's row: sealed, with the next generation."""
    now, ring = utcnow(), keyring()
    values: dict[str, Any] = {
        "access_token_sealed": ring.seal(grant.access, Credential.access_token.bound_to(row)),
        "expires_at": now + timedelta(seconds=grant.expires_in),
        "obtained_at": now,
        "generation": Credential.generation + 1,
        "failure": "",
    }
    if grant.refresh is not None:
        values["refresh_token_sealed"] = ring.seal(grant.refresh, Credential.refresh_token.bound_to(row))
        values["refresh_expires_at"] = grant.lapses_at
    elif grant.pair:
        # The one before is spent: without it the next refresh goes to 找回授权码 at once.
        values |= {"refresh_token_sealed": None, "refresh_expires_at": None}
    return values


def code_hash(third_party_app_id: int, code: str) -> str:
    """What stands for an authorisation code in the database."""
    return keyring().fingerprint(f"authorization_code:{third_party_app_id}:{code}")


def claim_code(app: Flask, third_party_app_id: int, code: str, *, appid: str | None = None) -> bool:
    """Take the right to exchange a code; False when someone has it. Only one exchange, ever."""
    with app_scope(app, PLATFORM) as session:
        session.add(
            AuthorizationCode(
                code_hash=code_hash(third_party_app_id, code),
                third_party_app_id=third_party_app_id,
                appid=appid,
                claimed_at=utcnow(),
            )
        )
        try:
            session.commit()
        except IntegrityError:
            session.rollback()
            return False
        return True
