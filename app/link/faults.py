"""What Douyin says of credentials: faults of our third-party apps, and tokens to be dropped."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.douyin.contract import Token
from app.errors import DouyinError
from app.link import holds
from app.link.tokens import Slot
from app.models import (
    Credential,
    MiniProgram,
    ThirdPartyApp,
)


def authorizer_slot(session: Session, mini_program: MiniProgram) -> Slot:
    """The mini-program's authorizer token (newer generation)."""
    owner = session.get_one(ThirdPartyApp, mini_program.third_party_app_id)
    return Slot(Token.AUTHORIZER, owner.id, owner.appid, mini_program.appid)


def report_fault(session: Session, row: Any, error: DouyinError) -> None:
    """Douyin refuses our third-party app itself: nothing more of it is sent until it is taken again; commits."""
    owner_id = row.id if isinstance(row, ThirdPartyApp) else row.third_party_app_id
    holds.hold_app(session, owner_id, holds.APP, holds.fault_sentence(error), error.err_no)


def forget(session: Session, mini_program: MiniProgram) -> None:
    """Drop every token of a mini-program; the caller commits. A refresh under way cannot store its result."""
    statement = (
        update(Credential)
        .where(Credential.appid == mini_program.appid)
        .values(
            access_token_sealed=None,
            refresh_token_sealed=None,
            expires_at=None,
            refresh_expires_at=None,
            lease_owner=None,
            lease_until=None,
            generation=Credential.generation + 1,
        )
        .execution_options(synchronize_session=False)
    )
    session.execute(statement)
    mini_program.refresh_expires_at = None
