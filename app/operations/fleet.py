"""The statistics of the workbench: what needs a person, the fleet by stage, versions in the field, days of audits.

Each table is asked once for all that is counted in it. Sessions in a merchant's scope count that merchant's rows only.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session

from app.data.clock import SHANGHAI, utcnow
from app.models import (
    AuthorizationState,
    InboundEvent,
    InboundState,
    MiniProgram,
    OperationRun,
    RunState,
    Template,
    ThirdPartyApp,
    Version,
    VersionEvent,
    VersionState,
)

LAPSING = timedelta(days=7)
LATELY = timedelta(days=1)
TICKET_WARN = timedelta(minutes=30)
TICKET_ALARM = timedelta(minutes=60)
LOST = (AuthorizationState.REVOKED, AuthorizationState.CLEARED)
MOST_DECIDED = 5000  # audits that the median is made of: the latest ones
PLACE = "place"  # grouped by its name: PostgreSQL takes two CASEs with parameters for different ones
KINDS = {  # what a day is counted by, and the kind of the timeline's line it is
    "submitted": VersionState.AUDITING,
    "approved": VersionState.APPROVED,
    "rejected": VersionState.REJECTED,
    "released": VersionState.RELEASED,
}


# What is looked for. The lists filter by these same conditions, so a number and its list cannot differ.


def claimed() -> ColumnElement[bool]:
    return MiniProgram.merchant_id.is_not(None)


def lapsing() -> ColumnElement[bool]:
    """Authorised apps whose refresh token ends within a week."""
    authorized = MiniProgram.state == AuthorizationState.AUTHORIZED
    return and_(authorized, MiniProgram.refresh_expires_at < utcnow() + LAPSING)


def stuck(after: timedelta) -> ColumnElement[bool]:
    """Audits that have waited for longer than that."""
    return and_(MiniProgram.audit_state == VersionState.AUDITING, MiniProgram.audit_since < utcnow() - after)


def lacking() -> ColumnElement[bool]:
    """Authorised apps without a needed permission set."""
    return and_(MiniProgram.state == AuthorizationState.AUTHORIZED, MiniProgram.lacking.is_(True))


def live() -> ColumnElement[bool]:
    return MiniProgram.live_version != ""


def foreign() -> ColumnElement[bool]:
    """Live with a version that no template of ours was uploaded for."""
    return and_(live(), MiniProgram.live_template_id == "")


def uploaded() -> ColumnElement[bool]:
    return MiniProgram.uploaded_version != ""


def lost() -> ColumnElement[bool]:
    return MiniProgram.state.in_(LOST)


def unknown() -> ColumnElement[bool]:
    """Runs whose outcome nobody knows yet."""
    return OperationRun.state == RunState.UNKNOWN


def lately_failed() -> ColumnElement[bool]:
    """Runs that failed within a day."""
    return and_(OperationRun.state == RunState.FAILED, OperationRun.created_at > utcnow() - LATELY)


def ailing() -> ColumnElement[bool]:
    """Third-party apps in use whose pushed ticket is late, or that have a fault."""
    late = or_(ThirdPartyApp.ticket_at.is_(None), ThirdPartyApp.ticket_at < utcnow() - TICKET_WARN)
    return and_(ThirdPartyApp.active.is_(True), or_(late, ThirdPartyApp.fault != ""))


# Counts.


@dataclass
class Fleet:
    """How many mini-programs there are of each kind; all but `unclaimed` have a merchant."""

    total: int = 0
    authorized: int = 0
    uploaded: int = 0
    auditing: int = 0
    approved: int = 0
    rejected: int = 0
    live: int = 0
    lost: int = 0
    stuck: int = 0
    lapsing: int = 0
    lacking: int = 0
    unclaimed: int = 0
    templates: dict[str, int] = field(default_factory=dict)  # live mini-programs by template id; "" = not ours


_BY_AUDIT = {
    VersionState.AUDITING: "auditing",
    VersionState.APPROVED: "approved",
    VersionState.REJECTED: "rejected",
}


def _many(condition: ColumnElement[bool]) -> Any:
    return func.sum(case((condition, 1), else_=0))


def fleet(session: Session, stuck_after: timedelta) -> Fleet:
    """Count the mini-programs of the session's scope: one walk along an index."""
    keys = (MiniProgram.state, MiniProgram.audit_state, MiniProgram.live_template_id)
    sums = (func.count(), *map(_many, (uploaded(), live(), stuck(stuck_after), lapsing(), lacking())))
    found = Fleet()
    for state, audit, template_id, count, sent, shown, late, soon, few in session.execute(
        select(*keys, *sums).where(claimed()).group_by(*keys)
    ):
        found.total += count
        found.authorized += count if state == AuthorizationState.AUTHORIZED else 0
        found.lost += count if state in LOST else 0
        found.uploaded += int(sent)
        found.live += int(shown)
        found.stuck += int(late)
        found.lapsing += int(soon)
        found.lacking += int(few)
        if audit in _BY_AUDIT:
            name = _BY_AUDIT[audit]
            setattr(found, name, getattr(found, name) + count)
        if shown:
            found.templates[template_id] = found.templates.get(template_id, 0) + int(shown)
    found.unclaimed = session.scalar(select(func.count(MiniProgram.id)).where(MiniProgram.merchant_id.is_(None))) or 0
    return found


def runs(session: Session) -> dict[str, int]:
    """Operation runs that a person should look at."""
    wanted = select(OperationRun.state, func.count()).where(or_(unknown(), lately_failed()))
    counts = dict(session.execute(wanted.group_by(OperationRun.state)).all())
    return {"unknown": counts.get(RunState.UNKNOWN, 0), "failed": counts.get(RunState.FAILED, 0)}


def failed_pushes(session: Session) -> int:
    """Pushes that could not be worked off."""
    return session.scalar(select(func.count(InboundEvent.id)).where(InboundEvent.state == InboundState.FAILED)) or 0


def ailing_apps(session: Session) -> list[ThirdPartyApp]:
    return list(session.scalars(select(ThirdPartyApp).where(ailing()).order_by(ThirdPartyApp.id)))


def template_names(session: Session, template_ids: Sequence[str]) -> dict[str, str]:
    """The version that each template is, by its number."""
    known = select(Template.template_id, Template.version).where(Template.template_id.in_(template_ids))
    return {key: version for key, version in session.execute(known) if version}


# Days.


@dataclass(frozen=True)
class Trends:
    """Events by day, Shanghai time, and how audits went."""

    days: list[date]
    counts: dict[str, list[int]]  # by KINDS
    median: timedelta | None  # from submission to verdict
    decided: int  # how many audits the median is made of

    def total(self, kind: str) -> int:
        return sum(self.counts[kind])

    @property
    def approval(self) -> float | None:
        """The share of approvals among verdicts; None without any."""
        verdicts = self.total("approved") + self.total("rejected")
        return self.total("approved") / verdicts if verdicts else None

    @property
    def empty(self) -> bool:
        return not any(map(any, self.counts.values()))


def trends(session: Session, length: int) -> Trends:
    """The last `length` days, today included."""
    today = utcnow().astimezone(SHANGHAI).date()
    days = [today - timedelta(days=back) for back in range(length - 1, -1, -1)]
    starts = [datetime.combine(day, datetime.min.time(), SHANGHAI) for day in days]
    place = place_of(VersionEvent.at, starts, 0, length - 1).label(PLACE)
    wanted = (
        select(VersionEvent.kind, place, func.count())
        .where(VersionEvent.kind.in_([str(kind) for kind in KINDS.values()]), VersionEvent.at >= starts[0])
        .group_by(VersionEvent.kind, PLACE)
    )
    names = {str(kind): name for name, kind in KINDS.items()}
    counts = {name: [0] * length for name in KINDS}
    for kind, number, count in session.execute(wanted):
        counts[names[kind]][int(number)] = count
    median, decided = _median(session, starts[0])
    return Trends(days, counts, median, decided)


def place_of(column: Any, starts: list[datetime], low: int, high: int) -> ColumnElement[Any]:
    """Which day a time is in, as SQL that every database reads alike: a search by halves in nested CASEs."""
    if low == high:
        return literal(low, literal_execute=True)
    middle = (low + high + 1) // 2
    before, after = place_of(column, starts, low, middle - 1), place_of(column, starts, middle, high)
    return case((column < literal(starts[middle], column.type), before), else_=after)


def _median(session: Session, since: datetime) -> tuple[timedelta | None, int]:
    latest = (
        select(Version.submitted_at, Version.decided_at)
        .where(Version.decided_at >= since, Version.submitted_at.is_not(None))
        .order_by(Version.decided_at.desc())
        .limit(MOST_DECIDED)
    )
    spans = [decided - sent for sent, decided in session.execute(latest) if sent and decided and decided >= sent]
    if not spans:
        return None, 0
    return timedelta(seconds=statistics.median(span.total_seconds() for span in spans)), len(spans)
