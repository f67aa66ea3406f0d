"""Pushes, within the request: verified, decrypted, stored."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from flask import Flask
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.secrets import keyring
from app.data.tenancy import platform_connection
from app.douyin.crypto import PushRefused, Reason, verify_and_decrypt
from app.douyin.errors import clean
from app.douyin.inbound import MalformedEvent, parse
from app.kept import kept_of
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
MOST_OWNERS = 64  # whose opened keys a process keeps
TABLE, EVENTS = ThirdPartyApp.__table__, InboundEvent.__table__
OWNER = select(TABLE.c.id, TABLE.c.row_uid, TABLE.c.token_sealed, TABLE.c.aes_key_sealed).where(
    TABLE.c.appid == bindparam("appid")
)


class Owner(NamedTuple):
    """Whose pushes an address takes in, and what they are opened with."""

    id: int
    token: str
    aes_key: str


# Stands in for an unknown receiver's settings, so that the work, and with it the time, is the same.
NOBODY = Owner(0, "x" * 32, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG")
NOBODYS_APPID = secrets.token_hex(8)


class NotStored(Exception):
    """A genuine push that could not be written: it must not be acknowledged."""


# Within the request


def receive(app: Flask, component_appid: str, receiver: str, raw: bytes, remote: str) -> bool:
    """Verify, decrypt, store one push. False: refused, and counted. NotStored when the database fails.

    `receiver` is authorization or message. Nothing else is done here but to wake the worker.
    """
    try:
        with platform_connection(app) as asks:
            owner = _settings_of(app, asks, component_appid)
            event = _verified(app, owner, component_appid, raw)
            if self_mark.recognised(app, owner.id, event):
                return True
            _insert(asks, owner.id, receiver, event)
    except PushRefused as refused:
        collector(app).add(component_appid, receiver, refused.reason, remote=remote, size=len(raw))
        return False
    except SQLAlchemyError as problem:
        raise NotStored from problem
    for wake in app.extensions["inbound_wakers"]:
        wake()
    return True


def opened(app: Flask, component_appid: str, raw: bytes) -> dict[str, Any]:
    """What a push says, if it is genuine; nothing is stored or counted. Raises PushRefused."""
    with platform_connection(app) as asks:
        owner = _settings_of(app, asks, component_appid)
    return _verified(app, owner, component_appid, raw)


def refuse(app: Flask, component_appid: str, receiver: str, remote: str, size: int) -> None:
    """Count a push that is too big to be looked at."""
    collector(app).add(component_appid, receiver, Reason.SIZE, remote=remote, size=size)


def _settings_of(app: Flask, asks: Connection, component_appid: str) -> Owner:
    """The receiver; NOBODY when there is no such one. What is sealed is opened once for as long as it stands there."""
    with reading(), asks.begin():
        found = asks.execute(OWNER, {"appid": component_appid[:64]}).first()
    if found is None or not found.token_sealed or not found.aes_key_sealed:
        return NOBODY
    stands = (found.token_sealed, found.aes_key_sealed)
    return kept_of(app).once("push_keys", stands, lambda: _open(found), most=MOST_OWNERS)


def _open(found: Any) -> Owner:
    token, aes_key = (
        sealed.opened(TABLE.name, found.row_uid, getattr(found, sealed.column)) or ""
        for sealed in (ThirdPartyApp.token, ThirdPartyApp.aes_key)
    )
    return Owner(found.id, token, aes_key) if token and aes_key else NOBODY


def _verified(app: Flask, owner: Owner, component_appid: str, raw: bytes) -> dict[str, Any]:
    event = verify_and_decrypt(
        raw,
        token=owner.token,
        aes_key=owner.aes_key,
        appid=component_appid if owner.id else NOBODYS_APPID,
        now=utcnow(),
        window=int(app.config["CALLBACK_WINDOW"]),
        max_bytes=LIMIT,
    )
    if not owner.id:
        raise PushRefused(Reason.APPID)
    return event


def _insert(asks: Connection, owner_id: int, receiver: str, event: dict[str, Any]) -> None:
    text = msgspec.json.encode(event, order="deterministic").decode()
    name, appid, at = _name_of(event), _short(event.get("AppId")), _time_of(event)
    digest = hashlib.sha256(text.encode()).hexdigest()
    parts = (str(owner_id), name, appid, str(event.get("EventTime", "")), digest)
    key, row_uid = keyring().fingerprint("\n".join(parts)), uuid.uuid4().hex
    row = {
        "row_uid": row_uid,
        "unique_key": key,
        "third_party_app_id": owner_id,
        "receiver": receiver,
        "event": name,
        "appid": appid,
        "event_at": at,
        "summary": _summary(event),
        InboundEvent.payload.column: InboundEvent.payload.sealed(EVENTS.name, row_uid, text),
    }
    try:
        with asks.begin():
            asks.execute(insert(EVENTS), row)
            if name == UNAUTHORIZED:
                # In the very transaction that stores it: from the acknowledgement on, no token of it is handed out.
                holds.hold_mini_program(asks, events.in_doubt(owner_id, appid, at or utcnow()))
    except IntegrityError:
        # The same push again: Douyin repeats what it believes unanswered.
        again = update(EVENTS).where(EVENTS.c.unique_key == key).values(copies=EVENTS.c.copies + 1)
        with asks.begin():
            if asks.execute(again).rowcount != 1:
                raise  # another rule than the key's: it is stored nowhere


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
