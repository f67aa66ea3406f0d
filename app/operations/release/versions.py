"""A mini-program's versions, their timeline, and when to look again."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from app.data.clock import utcnow
from app.models import MiniProgram, OperationRun, Version, VersionEvent, VersionState

# Quick at first, slower later: seconds between polls by the age of the audit in seconds.
POLL_STEPS = ((120, 10), (900, 60), (7200, 300), (86_400, 1800))
POLL_SLOWEST = 7200


def poll_interval(age: timedelta) -> timedelta:
    """How long to wait before an audit of this age is looked at again."""
    for limit, seconds in POLL_STEPS:
        if age.total_seconds() < limit:
            return timedelta(seconds=seconds)
    return timedelta(seconds=POLL_SLOWEST)


def note(
    session: Session,
    app: MiniProgram,
    kind: str,
    text: str = "",
    *,
    version: Version | None = None,
    run: OperationRun | None = None,
    detail: Mapping[str, Any] | None = None,
    actor: str = "",
    log_id: str = "",
) -> None:
    """Add one line to the mini-program's timeline."""
    session.add(
        VersionEvent(
            merchant_id=app.merchant_id,
            mini_program_id=app.id,
            version_id=version.id if version is not None else None,
            number=version.number if version is not None else "",
            at=utcnow(),
            kind=kind,
            actor_name=actor or (run.actor_name if run is not None else "抖音"),
            run_id=run.id if run is not None else None,
            log_id=log_id,
            text=text,
            detail=dict(detail or {}),
        )
    )


def versions_of(session: Session, app: MiniProgram) -> dict[str, Version]:
    """All versions of a mini-program by number."""
    rows = session.scalars(select(Version).where(Version.mini_program_id == app.id).order_by(Version.id))
    return {row.number: row for row in rows}


def versions_of_many(session: Session, apps: Sequence[MiniProgram]) -> dict[int, dict[str, Version]]:
    """All versions of some mini-programs by number, by the mini-program's own number; of one they are whole."""
    found: dict[int, dict[str, Version]] = {app.id: {} for app in apps}
    wanted = select(Version).where(Version.mini_program_id.in_(found)).order_by(Version.id)
    seldom = (Version.ext_json, Version.reason_detail, Version.screenshots, Version.attachments)
    if len(apps) > 1:
        wanted = wanted.options(*(defer(column) for column in seldom))
    for row in session.scalars(wanted):
        found[row.mini_program_id][row.number] = row
    return found


def follow(row: Version, target: VersionState) -> list[VersionState]:
    """Take the shortest way through the state table to what Douyin says; the states passed, [] if already there.

    Where the table knows no way, Douyin's word is taken as it is: the platform holds the truth of its own stages.
    """
    if row.state == target:
        return []
    paths: deque[list[VersionState]] = deque([[row.state]])
    seen = {row.state}
    while paths:
        path = paths.popleft()
        for state in sorted(row.NEXT[path[-1]]):
            if state == target:
                for step in [*path[1:], target]:
                    row.move_to(step)
                return [*path[1:], target]
            if state not in seen:
                seen.add(state)
                paths.append([*path, state])
    row.state = target
    return [target]


def next_poll(app: MiniProgram, now: datetime) -> datetime | None:
    """When this mini-program's versions may next have changed by Douyin's doing; None when nothing is pending."""
    if app.rollback_requested_at is not None:
        return now + timedelta(seconds=60)
    if app.audit_state == VersionState.AUDITING and app.audit_since is not None:
        return now + poll_interval(now - app.audit_since)
    return None
