"""Refreshing ahead: component tokens, access tokens in use, refresh tokens of 20 days."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.contract import Token
from app.errors import DouyinError, ErrorKind, NoAnswer, Refused
from app.link.connection import keeper
from app.link.faults import report_fault
from app.link.tokens import Slot
from app.models import (
    ApiCall,
    AuthorizationState,
    Credential,
    CredentialKind,
    MiniProgram,
    ThirdPartyApp,
)

COMPONENT_LEFT = timedelta(minutes=20)
AUTHORIZER_LEFT = timedelta(minutes=20)
REFRESH_AGE = timedelta(days=20)
IN_USE = timedelta(hours=2)
A_ROUND = 500
_TOKEN_CALLS = ("get_authorizer_access_token", "retrieve_auth_code", "client_token")


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
    with app_scope(app, PLATFORM) as session, reading():
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
    with app_scope(app, PLATFORM) as session, reading():
        return _authorizer_slots(session, Credential.kind.in_(kinds), Credential.obtained_at < utcnow() - REFRESH_AGE)


def _access_tokens_due(app: Flask) -> list[Slot]:
    """Those that lapse soon and were used of late: the next operation should find one ready."""
    now = utcnow()
    used = (
        select(ApiCall.appid)
        .where(ApiCall.at > now - IN_USE, ApiCall.appid != "", ApiCall.name.not_in(_TOKEN_CALLS))
        .distinct()
    )
    with app_scope(app, PLATFORM) as session, reading():
        return _authorizer_slots(
            session,
            Credential.kind == CredentialKind.AUTHORIZER,
            Credential.expires_at < now + AUTHORIZER_LEFT,
            Credential.appid.in_(used),
        )
