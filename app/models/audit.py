"""The audit log: who changed what, when, from where, before and after; append-only (triggers refuse the rest)."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Insert, Integer, String, event, insert, inspect
from sqlalchemy.orm import Mapped, Session, configure_mappers, mapped_column
from sqlalchemy.orm.attributes import get_history

from app.models.base import BigId, Json, Model, UtcDateTime, utcnow
from app.redaction import redact_value
from app.tenancy import MARK, SCOPE, MerchantOwned

# Not worth a line each: kept by the system itself, many times a day.
QUIET_COLUMNS = frozenset(
    {
        "changed_at", "created_at", "row_version", "icon_due_at", "icon_key", "lacking", "poll_at", "synced_at",
        "info_at", "info", "ticket_at",
        "ticket_sealed", "refresh_expires_at", "last_login", "login_count", "fail_login_count", "row_uid",
        "preferences", "key_hash", "last_step", "recovery_hashes", "used_at", "used_from", "tested_at",
        "changed_on", "created_on", "url", "fault_at", "held", "held_at", "probe_at", "link_fault_at", "self_test",
        "last_submitted_at", "last_rollback_at", "ever_submitted", "phone_hash", "audit_ctime", "credential_generation",
        "link_kind", "link_by", "link_until",
    }
)  # fmt: skip
PERSONAL_COLUMNS = frozenset({"phone_masked", "contact", "email", "first_name", "last_name"})


class AuditEntry(MerchantOwned, Model):
    """One change or event. `before` and `after` hold only what changed, redacted; secrets appear as 已更改."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_subject", "subject_type", "subject_id"), {"extend_existing": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utcnow, nullable=False, index=True)
    actor_id: Mapped[int | None] = mapped_column(Integer, index=True)
    actor_name: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    on_behalf_of: Mapped[str] = mapped_column(String(64), default="", nullable=False)  # 登录商户: as which user
    via: Mapped[str] = mapped_column(String(80), default="", nullable=False, server_default="")  # ConsoleUser.via
    address: Mapped[str] = mapped_column(String(64), default="", nullable=False)
    door: Mapped[str] = mapped_column(String(16), default="", nullable=False)
    action: Mapped[str] = mapped_column(String(32), nullable=False, index=True)
    subject_type: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    subject_id: Mapped[str] = mapped_column(String(32), default="", nullable=False)
    subject_name: Mapped[str] = mapped_column(String(128), default="", nullable=False)
    before: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)
    after: Mapped[dict[str, Any]] = mapped_column(Json, default=dict, nullable=False)


def record(session: Session, action: str, *, subject: Any = None, **after: Any) -> None:
    """Write one entry for an event that is not a row's change (a log-in, an export); commits with the session."""
    entry = _entry(session, action, subject) | {"before": {}, "after": {k: plain_value(k, v) for k, v in after.items()}}
    session.connection().execute(_marked(session), [entry])


def _marked(session: Session) -> Insert:
    scope = session.info.get(SCOPE)
    return insert(AuditEntry).execution_options(**{MARK: getattr(scope, "merchant_id", None)})


def _entry(session: Session, action: str, subject: Any) -> dict[str, Any]:
    actor = session.info.get("actor") or {"name": "系统"}
    scope = session.info.get(SCOPE)
    merchant_id = getattr(scope, "merchant_id", None) or getattr(subject, "merchant_id", None)
    if subject is not None and subject.__tablename__ == "merchant":
        merchant_id = subject.id
    return {
        "at": utcnow(),
        "merchant_id": merchant_id,
        "actor_id": actor.get("id"),
        "actor_name": actor.get("name", ""),
        "on_behalf_of": actor.get("on_behalf_of", ""),
        "via": actor.get("via", ""),
        "address": actor.get("address", ""),
        "door": actor.get("door", ""),
        "action": action,
        "subject_type": subject.__tablename__ if subject is not None else "",
        "subject_id": str(getattr(subject, "id", "") or ""),
        "subject_name": str(subject)[:128] if subject is not None else "",
    }


def plain_value(name: str, value: Any) -> Any:
    """A column's value as the log keeps it: text, numbers, lists; secrets and people's data only as changed."""
    if name.endswith("_sealed") or name == "password":
        return "已更改" if value else None
    if name in PERSONAL_COLUMNS:
        return "已更改（个人信息）" if value else ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, str | int | float | bool | type(None) | list | dict):
        return redact_value(name, value)
    return str(value)


def _changes(row: Any, *, is_new: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for column in inspect(type(row)).column_attrs:
        if column.key in QUIET_COLUMNS:
            continue
        history = get_history(row, column.key)
        if not history.has_changes():
            continue
        if history.deleted and not is_new:
            before[column.key] = plain_value(column.key, history.deleted[0])
        if history.added and (history.added[0] not in (None, "", [], {}) or not is_new):
            after[column.key] = plain_value(column.key, history.added[0])
    return before, after


def _role_changes(row: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    if row.__tablename__ != "ab_user":
        return {}, {}
    history = get_history(row, "roles")
    if not history.added and not history.deleted:
        return {}, {}
    kept = [role.name for role in history.unchanged]
    return (
        {"roles": sorted(kept + [role.name for role in history.deleted])},
        {"roles": sorted(kept + [role.name for role in history.added])},
    )


def _write_changes(session: Session, _context: Any) -> None:
    """after_flush: one entry for every audited row that was made, changed or deleted."""
    entries = []
    for action, rows in (("create", session.new), ("update", session.dirty), ("delete", session.deleted)):
        for row in rows:
            if not getattr(row, "__audited__", False):
                continue
            before, after = ({}, {}) if action == "delete" else _changes(row, is_new=action == "create")
            roles_before, roles_after = ({}, {}) if action == "delete" else _role_changes(row)
            before, after = before | roles_before, after | roles_after
            if before or after or action == "delete":
                entries.append(_entry(session, action, row) | {"before": before, "after": after})
    if entries:
        session.connection().execute(_marked(session), entries)


def _remember_old_values() -> None:
    """Read an audited row's old value before a new one is set, where it was not loaded: the log has to name it."""
    configure_mappers()
    for mapper in Model.registry.mappers:
        if getattr(mapper.class_, "__audited__", False):
            for column in mapper.column_attrs:
                mapper.class_manager[column.key].impl.active_history = True


def install(session_class: type[Session]) -> None:
    """Attach the writer to the application's session class; safe to repeat."""
    _remember_old_values()
    if not event.contains(session_class, "after_flush", _write_changes):
        event.listen(session_class, "after_flush", _write_changes)
