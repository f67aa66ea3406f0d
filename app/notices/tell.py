"""Notifications: the table of kinds, who hears of what, and `tell`, which writes the news with the event itself.

`tell` works in the event's session, so news and event are committed together; what it writes for channels is sent
later (deliveries.py). A fault of ours in telling is logged and never undoes the event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import structlog
from flask_appbuilder.security.sqla.models import Role
from sqlalchemy import ColumnElement, Row, and_, exists, false, or_, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.data.clock import SHANGHAI, utcnow
from app.i18n.sentence import changed, cut, ours, say
from app.models import Merchant, MerchantState, Notification, NotificationChannel, NotificationDelivery, User
from app.models.kit.notification import NotificationRule
from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES
from app.notices.kinds import KINDS, Kind
from app.redaction import redact

log = structlog.get_logger(__name__)
LONGEST_TITLE = 160
LONGEST_BODY = 2000


@dataclass(frozen=True)
class Person:
    """One who hears of a piece of news, with what they chose for its kind."""

    id: int
    merchant_id: int | None
    quiet: dict[str, Any] = field(default_factory=dict)
    in_console: bool = True
    channels: frozenset[int] = frozenset()


def tell(
    session: Session,
    kind: str,
    *,
    subject: Any = None,
    merchant_id: int | None = None,
    title: str = "",
    body: str = "",
    dedup: str = "",
    level: str = "",
    users: Collection[int] | None = None,
) -> int:
    """Write a piece of news for everyone who is to hear of it; gives for how many. The caller commits.

    `subject` is a row, or (table, number). `merchant_id` defaults to the subject's. `dedup` names this occurrence: the
    same name reaches nobody twice, a state that ended and came back needs another. `users`: these, whatever their role;
    a personal kind is told to nobody else.
    """
    session.flush()  # the caller's own faults are the caller's, and stay outside the guard
    table, number = _named(subject)
    owner = merchant_id if merchant_id is not None else getattr(subject, "merchant_id", None)
    found = KINDS[kind]
    news = {
        "kind": kind,
        "level": level or found.level,
        "title": _cut(title or say("{kind}：{subject}", kind=ours(found.title), subject=str(subject)), LONGEST_TITLE),
        "body": _cut(body, LONGEST_BODY),
        "subject_type": table,
        "subject_id": number,
        "dedup": _key(kind, dedup or f"{table}:{number}"),
    }
    try:
        return _written(session, found, news, owner, users)
    except OperationalError:
        raise  # the database's own: the event's transaction is lost with it
    except Exception:  # whatever is wrong with the news, the event it is about has happened
        log.exception("notice_not_told", kind=kind)
        return 0


def _named(subject: Any) -> tuple[str, int | None]:
    if subject is None:
        return "", None
    return subject if isinstance(subject, tuple) else (subject.__tablename__, subject.id)


def _cut(text: str, longest: int) -> str:
    return cut(changed(text, lambda part: redact(part.replace("\x00", "")).strip()), longest, "…")


def _key(kind: str, dedup: str) -> str:
    key = f"{kind}:{dedup}"
    return key if len(key) <= 96 else f"{kind}:{hashlib.sha256(dedup.encode()).hexdigest()[:48]}"


def _written(
    session: Session, kind: Kind, news: dict[str, Any], merchant_id: int | None, users: Collection[int] | None
) -> int:
    faces: list[int | None] = []  # whose shared channels carry it
    if not kind.personal and kind.roles & set(PLATFORM_ROLES):
        faces.append(None)
    if not kind.personal and merchant_id is not None and kind.roles & set(MERCHANT_ROLES):
        faces.append(merchant_id)
    for last in (False, True):
        try:
            with session.begin_nested():
                return _insert(session, people(session, news["kind"], merchant_id, users), news, faces)
        except IntegrityError:  # somebody told the same at the same moment: once more, without those who know
            if last:
                raise
    return 0


def people(session: Session, kind: str, merchant_id: int | None, users: Collection[int] | None = None) -> list[Person]:
    """Who is to hear of it, by role and merchant, each with their own rule; one query."""
    roles = KINDS[kind].roles
    platform, merchants = roles & set(PLATFORM_ROLES), roles & set(MERCHANT_ROLES)
    if users is not None or KINDS[kind].personal:
        meant: Any = User.id.in_(users or ())
    else:
        meant = and_(User.merchant_id.is_(None), User.roles.any(Role.name.in_(platform)))
        if merchant_id is not None and merchants:
            theirs = and_(User.merchant_id == merchant_id, User.roles.any(Role.name.in_(merchants)))
            meant = or_(meant, theirs)
    rule = and_(NotificationRule.user_id == User.id, NotificationRule.kind == kind)
    statement = (
        select(User.id, User.merchant_id, User.preferences, NotificationRule.in_console, NotificationRule.channels)
        .outerjoin(Merchant, Merchant.id == User.merchant_id)
        .outerjoin(NotificationRule, rule)
        .where(User.active.is_(True), or_(User.merchant_id.is_(None), Merchant.state == MerchantState.ACTIVE), meant)
    )
    return [_person(row) for row in session.execute(statement)]


def _person(row: Row[Any]) -> Person:
    quiet = (row.preferences or {}).get("quiet") or {}
    chosen = frozenset(item for item in row.channels or () if isinstance(item, int))
    return Person(row.id, row.merchant_id, quiet, row.in_console is not False, chosen)


def _insert(session: Session, heard: list[Person], news: dict[str, Any], faces: list[int | None]) -> int:
    now = utcnow()
    same, ids = Notification.dedup == news["dedup"], [person.id for person in heard]
    known = set(session.scalars(select(Notification.user_id).where(same, Notification.user_id.in_(ids))))
    fresh = [person for person in heard if person.id not in known]
    for person in fresh:
        # Somebody who does not want the bell rung still finds the news in the list, as read.
        read = None if person.in_console else now
        session.add(Notification(user_id=person.id, merchant_id=person.merchant_id, at=now, read_at=read, **news))
    for channel, chooser in _ways(session, fresh, faces, news):
        session.add(
            NotificationDelivery(
                channel_id=channel.id,
                user_id=channel.user_id,
                merchant_id=channel.merchant_id,
                created_at=now,
                not_before=after_quiet(chooser.quiet, news["level"], now) if chooser else now,
                **news,
            )
        )
    session.flush()
    return len(fresh)


def _ways(
    session: Session, fresh: list[Person], faces: list[int | None], news: dict[str, Any]
) -> list[tuple[NotificationChannel, Person | None]]:
    """Channels that carry it and have not yet: each person's own by their rule, and those that a face shares."""
    by_channel = {channel: person for person in fresh for channel in person.channels}
    shared = and_(NotificationChannel.user_id.is_(None), or_(false(), *(_of_face(face) for face in faces)))
    carried = exists().where(
        NotificationDelivery.channel_id == NotificationChannel.id, NotificationDelivery.dedup == news["dedup"]
    )
    wanted = or_(NotificationChannel.id.in_(list(by_channel)), shared)
    statement = select(NotificationChannel).where(NotificationChannel.active.is_(True), wanted, ~carried)
    found: list[tuple[NotificationChannel, Person | None]] = []
    for channel in session.scalars(statement):
        chooser = by_channel.get(channel.id)
        if channel.user_id is None and news["kind"] in (channel.kinds or ()):
            found.append((channel, None))
        elif chooser is not None and channel.user_id == chooser.id:
            found.append((channel, chooser))
    return found


def _of_face(merchant_id: int | None) -> ColumnElement[bool]:
    column = NotificationChannel.merchant_id
    return column.is_(None) if merchant_id is None else column == merchant_id


def after_quiet(quiet: dict[str, Any], level: str, moment: datetime) -> datetime:
    """When it may be sent: at once, or when the person's quiet hours (Shanghai time) that hold `moment` are over."""
    begin, end = _clock(quiet.get("from")), _clock(quiet.get("to"))
    if begin is None or end is None or begin == end or (level == "bad" and quiet.get("urgent", True)):
        return moment
    local = moment.astimezone(SHANGHAI)
    now = local.time().replace(tzinfo=None)
    within = begin <= now < end if begin < end else now >= begin or now < end
    if not within:
        return moment
    day = local.date() + timedelta(days=1 if now >= end else 0)
    return datetime.combine(day, end, SHANGHAI).astimezone(moment.tzinfo)


def _clock(text: Any) -> time | None:
    try:
        return time.fromisoformat(str(text)) if text else None
    except ValueError:
        return None
