"""Reading Douyin's versions back (同步版本): by hand, by polls and after pushes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm.exc import StaleDataError

from app.data.clock import utcnow
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.development import (
    GetVersions,
)
from app.errors import DouyinError, NoAnswer
from app.link import connection
from app.models import AuthorizationState, MiniProgram, RunState, VersionState
from app.models.kit.operation import OperationRun
from app.models.kit.user import OPERATORS
from app.operations.proof import Work
from app.operations.registry import Area, lock_of, operation
from app.operations.release.reconcile import Reconciler, changes_words


def _read(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    state = result.get("audit_state")
    return [
        ("变化", changes_words(result["moved"]) if "moved" in result else result.get("changes")),
        ("最近上传", result.get("uploaded")),
        ("提审版本", result.get("audit")),
        ("审核状态", VersionState(state) if state else None),
        ("线上版本", result.get("live")),
    ]


@operation("同步版本", roles=OPERATORS, mutates=False, reads=_read, order=40)
def sync_versions(app: MiniProgram, work: Work, params: Any) -> Mapping[str, Any]:
    """获取小程序版本列表信息: bring our rows in line with Douyin's stages."""
    reconciler = Reconciler(work.session, app, work.run)
    changes = reconciler.apply(reconciler.believe(work.douyin.send(GetVersions())))
    return {
        "changes": changes,
        "moved": reconciler.moved,
        "uploaded": app.uploaded_version,
        "audit": app.audit_version,
        "audit_state": app.audit_state,
        "live": app.live_version,
    }


def sync(flask_app: Flask, mini_program_id: int) -> str:
    """Read one mini-program's versions back and reconcile; for polls and pushes. A sentence saying what changed.

    Raises DouyinError or NoAnswer as the call does. Where a row changed meanwhile it gives way to the next poll.
    """
    with app_scope(flask_app, PLATFORM) as session:
        app = session.get(MiniProgram, mini_program_id)
        if app is None or app.state != AuthorizationState.AUTHORIZED:
            return "小程序未授权，未同步"
        busy = session.scalars(
            select(OperationRun.id).where(
                OperationRun.lock == lock_of(app, Area.RELEASE), OperationRun.state != RunState.QUEUED
            )
        ).first()
        if busy is not None:
            app.poll_at = utcnow() + timedelta(seconds=5)
            session.commit()
            return f"运行 #{busy} 正在进行，稍后再同步"
        reconciler = Reconciler(session, app)
        douyin = connection.bind(session, app)
        session.commit()
        try:
            changes = reconciler.apply(reconciler.believe(douyin.send(GetVersions())))
            session.commit()
        except StaleDataError:
            session.rollback()
            return "记录同时被更新，稍后再同步"
        except (DouyinError, NoAnswer):
            session.rollback()
            app.poll_at = utcnow() + timedelta(seconds=60)
            session.commit()
            raise
        return changes
