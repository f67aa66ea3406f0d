"""Credentials: Douyin bound to a row, faults of our third-party apps, what to refresh before it lapses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.douyin.contract import Token
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.models import (
    ApiCall,
    AuthorizationState,
    Credential,
    CredentialKind,
    MiniProgram,
    ThirdPartyApp,
)
from app.models.base import utcnow
from app.operations import holds
from app.operations.connection import bind, bind_app, breaker, client, flush_calls, keeper
from app.operations.exchange import Exchanged, exchange_code
from app.operations.tokens import Slot
from app.tenancy import PLATFORM, app_scope

TICKET_WARN, TICKET_ALARM = timedelta(minutes=30), timedelta(minutes=60)
COMPONENT_LEFT = timedelta(minutes=20)
AUTHORIZER_LEFT = timedelta(minutes=20)
REFRESH_AGE = timedelta(days=20)
LAPSE_SOON = timedelta(days=7)
IN_USE = timedelta(hours=2)
A_ROUND = 500
_TOKEN_CALLS = ("get_authorizer_access_token", "retrieve_auth_code", "client_token")


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


# Refreshing ahead


def refresh_due(app: Flask) -> dict[str, int]:
    """Refresh what would lapse: component tokens, access tokens in use, refresh tokens of 20 days. Counts."""
    counts = {"component": 0, "authorizer": 0, "refresh": 0, "failed": 0}
    faulty: set[int] = set()
    for slot in _component_due(app):
        _refresh_one(app, slot, "component", counts, faulty)
    for name, slots in (("refresh", _refresh_tokens_due(app)), ("authorizer", _access_tokens_due(app))):
        for slot in slots:
            if slot.third_party_app_id not in faulty:
                _refresh_one(app, slot, name, counts, faulty)
    return counts


def _refresh_one(app: Flask, slot: Slot, name: str, counts: dict[str, int], faulty: set[int]) -> None:
    try:
        if name == "refresh":
            keeper(app).renew(slot)
        else:
            keeper(app).get(slot, left=COMPONENT_LEFT.total_seconds())
        counts[name] += 1
    except DouyinError as error:
        counts["failed"] += 1
        if error.kind is ErrorKind.PLATFORM:
            faulty.add(slot.third_party_app_id)
            with app_scope(app, PLATFORM) as session:
                report_fault(session, session.get_one(ThirdPartyApp, slot.third_party_app_id), error)
    except (Refused, NoAnswer):
        counts["failed"] += 1
        if name == "component":
            faulty.add(slot.third_party_app_id)  # without it nothing of this third-party app can be refreshed


def _component_due(app: Flask) -> list[Slot]:
    kinds = [Token.COMPONENT] + ([Token.COMPONENT_V1] if app.config.get("DOUYIN_V1_TOKENS") else [])
    with app_scope(app, PLATFORM) as session:
        owners = session.execute(
            select(ThirdPartyApp.id, ThirdPartyApp.appid).where(
                ThirdPartyApp.active.is_(True), ThirdPartyApp.ticket_at.is_not(None)
            )
        ).all()
        soon = utcnow() + COMPONENT_LEFT
        lasting = set(session.scalars(select(Credential.key).where(Credential.expires_at > soon)).all())
    slots = [Slot(kind, owner_id, appid, None) for owner_id, appid in owners for kind in kinds]
    return [slot for slot in slots if slot.key not in lasting]


def _authorizer_slots(session: Session, *conditions: Any) -> list[Slot]:
    statement = (
        select(Credential.kind, ThirdPartyApp.id, ThirdPartyApp.appid, Credential.appid)
        .join(ThirdPartyApp, ThirdPartyApp.id == Credential.third_party_app_id)
        .join(MiniProgram, MiniProgram.appid == Credential.appid)
        .where(
            MiniProgram.state == AuthorizationState.AUTHORIZED,
            MiniProgram.third_party_app_id == Credential.third_party_app_id,
            ThirdPartyApp.active.is_(True),
            *conditions,
        )
        .order_by(Credential.obtained_at)
        .limit(A_ROUND)
    )
    return [Slot(Token(str(row[0])), row[1], row[2], row[3]) for row in session.execute(statement)]


def _refresh_tokens_due(app: Flask) -> list[Slot]:
    kinds = [CredentialKind.AUTHORIZER]
    if app.config.get("DOUYIN_V1_TOKENS"):
        kinds.append(CredentialKind.AUTHORIZER_V1)
    with app_scope(app, PLATFORM) as session:
        return _authorizer_slots(session, Credential.kind.in_(kinds), Credential.obtained_at < utcnow() - REFRESH_AGE)


def _access_tokens_due(app: Flask) -> list[Slot]:
    """Those that lapse soon and were used of late: the next operation should find one ready."""
    now = utcnow()
    used = (
        select(ApiCall.appid)
        .where(ApiCall.at > now - IN_USE, ApiCall.appid != "", ApiCall.name.not_in(_TOKEN_CALLS))
        .distinct()
    )
    with app_scope(app, PLATFORM) as session:
        return _authorizer_slots(
            session,
            Credential.kind == CredentialKind.AUTHORIZER,
            Credential.expires_at < now + AUTHORIZER_LEFT,
            Credential.appid.in_(used),
        )


# Ages, for the dashboard and the alarms


@dataclass(frozen=True)
class TicketAge:
    """How old a third-party app's ticket is. `level`: ok, warn (30 min), alarm (60 min, or none ever)."""

    third_party_app_id: int
    name: str
    ticket_at: datetime | None
    minutes: int | None
    level: str
    fault: str
    fault_at: datetime | None


@dataclass(frozen=True)
class Ages:
    """What ages: tickets, refresh tokens that lapse within 7 days (or have), apps with faults."""

    tickets: list[TicketAge]
    lapsing: list[MiniProgram]
    faulty: list[MiniProgram]

    @property
    def alarms(self) -> int:
        return sum(item.level == "alarm" or bool(item.fault) for item in self.tickets)


def ages(session: Session) -> Ages:
    """As of now, over active third-party apps and authorised mini-programs; lists of at most 100."""
    owners = session.scalars(select(ThirdPartyApp).where(ThirdPartyApp.active.is_(True)).order_by(ThirdPartyApp.id))
    authorized = select(MiniProgram).where(MiniProgram.state == AuthorizationState.AUTHORIZED).limit(100)
    lapsing = authorized.where(MiniProgram.refresh_expires_at < utcnow() + LAPSE_SOON)
    faulty = authorized.where(MiniProgram.token_fault != "")
    return Ages(
        [_ticket_age(owner) for owner in owners],
        list(session.scalars(lapsing.order_by(MiniProgram.refresh_expires_at))),
        list(session.scalars(faulty.order_by(MiniProgram.id))),
    )


def _ticket_age(owner: ThirdPartyApp) -> TicketAge:
    age = None if owner.ticket_at is None else utcnow() - owner.ticket_at
    level = "alarm" if age is None or age >= TICKET_ALARM else "warn" if age >= TICKET_WARN else "ok"
    minutes = None if age is None else int(age.total_seconds() // 60)
    return TicketAge(owner.id, str(owner), owner.ticket_at, minutes, level, owner.fault, owner.fault_at)


__all__ = [
    "Ages",
    "Exchanged",
    "TicketAge",
    "ages",
    "authorizer_slot",
    "bind",
    "bind_app",
    "breaker",
    "client",
    "exchange_code",
    "flush_calls",
    "forget",
    "keeper",
    "refresh_due",
    "report_fault",
]
