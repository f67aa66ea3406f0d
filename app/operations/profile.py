"""Basic information (基本信息) of a mini-program as Douyin has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask
from sqlalchemy.orm.exc import StaleDataError

from app.database import reading
from app.douyin.profile import AppInfo, GetAppInfo
from app.models import AuthorizationState, MiniProgram
from app.models.base import utcnow
from app.operations import NoParams, Work, credentials, icons, operation
from app.tenancy import PLATFORM, app_scope

SUBJECT_PASSED = 2


def _store(app: MiniProgram, info: AppInfo) -> None:
    app.name, app.intro = info.app_name[:64], info.app_intro[:255]
    icons.note(app, info.app_icon)
    app.app_state, app.info, app.info_at = int(info.app_state), msgspec.to_builtins(info), utcnow()
    if info.subject_audit_info is not None:
        app.subject_name = info.subject_audit_info.subject_name[:128]
        app.subject_verified = int(info.subject_audit_info.subject_audit_state) in {0, SUBJECT_PASSED} and bool(
            info.subject_audit_info.subject_name
        )


@operation("同步基本信息", mutates=False)
def sync_app_info(app: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """获取小程序基本信息: name, intro, icon, state, subject."""
    info = work.douyin.send(GetAppInfo())
    _store(app, info)
    return {"name": info.app_name}


def sync(flask_app: Flask, mini_program_id: int) -> str:
    """The same for pushes and the scheduled job; a sentence. Raises DouyinError or NoAnswer."""
    with app_scope(flask_app, PLATFORM) as session:
        with reading():
            app = session.get(MiniProgram, mini_program_id)
            if app is None or app.state != AuthorizationState.AUTHORIZED:
                return "小程序未授权，未同步"
            douyin = credentials.bind(session, app)
            session.commit()
        _store(app, douyin.send(GetAppInfo()))
        try:
            session.commit()
        except StaleDataError:
            session.rollback()
            return "记录同时被更新，稍后再同步"
        return f"已同步「{app.name}」"
