"""The job that drops what is no longer needed: old calls, sessions, attempts, job runs, done events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import delete, select

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.models import (
    ApiCall,
    AuthorizationCode,
    AuthorizationReturn,
    Heartbeat,
    InboundEvent,
    InboundState,
    JobRun,
    LoginAttempt,
    Notification,
    NotificationDelivery,
    PasswordLink,
    RefusedPush,
    WebSession,
)
from app.operations import icons
from app.tasks import pool

CHUNK = 2000
DONE = (InboundState.DONE, InboundState.IGNORED)


def _old() -> list[tuple[type[Any], Any, Any]]:
    now = utcnow()
    return [
        (ApiCall, ApiCall.id, ApiCall.at < now - timedelta(days=30)),
        (JobRun, JobRun.id, JobRun.started_at < now - timedelta(days=7)),
        (
            InboundEvent,
            InboundEvent.id,
            (InboundEvent.received_at < now - timedelta(days=90)) & InboundEvent.state.in_(DONE),
        ),
        (
            Notification,
            Notification.id,
            (Notification.at < now - timedelta(days=90)) & Notification.read_at.is_not(None),
        ),
        (NotificationDelivery, NotificationDelivery.id, NotificationDelivery.created_at < now - timedelta(days=30)),
        (RefusedPush, RefusedPush.id, RefusedPush.at < now - timedelta(days=30)),
        (AuthorizationCode, AuthorizationCode.code_hash, AuthorizationCode.claimed_at < now - timedelta(days=2)),
        (AuthorizationReturn, AuthorizationReturn.id, AuthorizationReturn.at < now - timedelta(days=2)),
        (LoginAttempt, LoginAttempt.id, LoginAttempt.at < now - timedelta(days=1)),
        (Heartbeat, Heartbeat.name, Heartbeat.seen_at < now - timedelta(days=1)),
        (PasswordLink, PasswordLink.token_hash, PasswordLink.expires_at < now),
        (WebSession, WebSession.id_hash, WebSession.expires_at < now),
    ]


def clean(app: Flask) -> str:
    """Delete in chunks, each its own short transaction; a sentence with the counts."""
    counts = []
    for model, key, condition in _old():
        total = 0
        while True:
            with app_scope(app, PLATFORM) as session:
                ids = list(session.scalars(select(key).where(condition).limit(CHUNK)))
                if ids:
                    session.execute(delete(model).where(key.in_(ids)).execution_options(synchronize_session=False))
                session.commit()
            total += len(ids)
            if len(ids) < CHUNK:
                break
        if total:
            counts.append(f"{model.__tablename__} {total}")
    if files := pool.clean(app):
        counts.append(f"任务文件 {files}")
    if files := icons.clean(app):
        counts.append(f"头像 {files}")
    return "，".join(counts) or "没有过期数据"
