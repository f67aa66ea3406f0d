"""Pushes, within the request: verified, decrypted, stored."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.secrets import keyring
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.crypto import PushRefused, Reason, verify_and_decrypt
from app.douyin.errors import clean
from app.douyin.inbound import MalformedEvent, parse
from app.link import holds
from app.models import InboundEvent, ThirdPartyApp
from app.operations.inbound import events, self_mark
from app.operations.inbound.events import UNAUTHORIZED
from app.operations.inbound.refusals import collector
from app.redaction import redact_mapping

log = structlog.get_logger(__name__)

LIMIT = 64 * 1024  # bytes of a push
MESSAGE = "MESSAGE"  # stands for the name of what has no `Event`: MESSAGE:text
_TEXT_LIMIT = 500
# Stands in for an unknown receiver's settings, so that the work, and with it the time, is the same.
_NOBODY = ("x" * 32, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", secrets.token_hex(8))


class NotStored(Exception):
    """A genuine push that could not be written: it must not be acknowledged."""


# Within the request


def receive(app: Flask, component_appid: str, receiver: str, raw: bytes, remote: str) -> bool:
    """Verify, decrypt, store one push. False: refused, and counted. NotStored when the database fails.

    `receiver` is authorization or message. Nothing else is done here but to wake the worker.
    """
    try:
        owner = _settings_of(app, component_appid)
        event = _verified(app, owner, component_appid, raw)
    except PushRefused as refused:
        collector(app).add(component_appid, receiver, refused.reason, remote=remote, size=len(raw))
        return False
    except SQLAlchemyError as problem:
        raise NotStored from problem
    try:
        if self_mark.recognised(app, owner[0], event):
            return True
        _insert(app, owner[0], receiver, event)
    except SQLAlchemyError as problem:
        raise NotStored from problem
    for wake in app.extensions["inbound_wakers"]:
        wake()
    return True


def opened(app: Flask, component_appid: str, raw: bytes) -> dict[str, Any]:
    """What a push says, if it is genuine; nothing is stored or counted. Raises PushRefused."""
    return _verified(app, _settings_of(app, component_appid), component_appid, raw)


def refuse(app: Flask, component_appid: str, receiver: str, remote: str, size: int) -> None:
    """Count a push that is too big to be looked at."""
    collector(app).add(component_appid, receiver, Reason.SIZE, remote=remote, size=size)


def _settings_of(app: Flask, component_appid: str) -> tuple[int, str, str]:
    """Id, token and key of the receiver; id 0 and stand-ins when there is no such one."""
    with app_scope(app, PLATFORM) as session, reading():
        owner = session.scalar(select(ThirdPartyApp).where(ThirdPartyApp.appid == component_appid[:64]))
        if owner is None or not owner.token or not owner.aes_key:
            return 0, _NOBODY[0], _NOBODY[1]
        return owner.id, owner.token, owner.aes_key


def _verified(app: Flask, owner: tuple[int, str, str], component_appid: str, raw: bytes) -> dict[str, Any]:
    owner_id, token, aes_key = owner
    event = verify_and_decrypt(
        raw,
        token=token,
        aes_key=aes_key,
        appid=component_appid if owner_id else _NOBODY[2],
        now=utcnow(),
        window=int(app.config["CALLBACK_WINDOW"]),
        max_bytes=LIMIT,
    )
    if not owner_id:
        raise PushRefused(Reason.APPID)
    return event


def _insert(app: Flask, owner_id: int, receiver: str, event: dict[str, Any]) -> None:
    text = msgspec.json.encode(event, order="deterministic").decode()
    name, appid = _name_of(event), _short(event.get("AppId"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = (str(owner_id), name, appid, str(event.get("EventTime", "")), digest)
    with app_scope(app, PLATFORM) as session:
        key = keyring().fingerprint("\n".join(parts))
        row = InboundEvent(
            unique_key=key,
            third_party_app_id=owner_id,
            receiver=receiver,
            event=name,
            appid=appid,
            event_at=_time_of(event),
            summary=_summary(event),
        )
        row.payload = text
        session.add(row)
        try:
            session.flush()
            if name == UNAUTHORIZED:
                # In the very transaction that stores it: from the acknowledgement on, no token of it is handed out.
                holds.hold_mini_program(session, events.in_doubt(owner_id, appid, row.event_at or utcnow()))
            session.commit()
        except IntegrityError:
            # The same push again: Douyin repeats what it believes unanswered.
            session.rollback()
            again = update(InboundEvent).where(InboundEvent.unique_key == key)
            session.execute(again.values(copies=InboundEvent.copies + 1))
            session.commit()


def _name_of(event: Mapping[str, Any]) -> str:
    """Its `Event`; of a message from a user, which has none, the kind of message behind a mark of ours."""
    kind = _short(event.get("MsgType"))
    return _short(event.get("Event")) or (f"{MESSAGE}:{kind}"[:64] if kind else MESSAGE)


def _short(value: object) -> str:
    return clean(value)[:64] if isinstance(value, str) else ""


def _time_of(event: Mapping[str, Any]) -> datetime | None:
    try:
        return parse(event).at
    except MalformedEvent:
        return None


def _summary(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event for people: secrets masked, long texts cut."""
    shown: dict[str, Any] = _cut(redact_mapping(event))
    return shown


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {_cut(str(key)): _cut(item) for key, item in list(value.items())[:50]}
    if isinstance(value, list):
        return [_cut(item) for item in value[:50]]
    if isinstance(value, str):
        text = value.replace("\x00", " ")
        return f"{text[:_TEXT_LIMIT]}…" if len(text) > _TEXT_LIMIT else text
    return value
