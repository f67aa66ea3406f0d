"""Basic information (基本信息) of a mini-program as Douyin has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Flask
from sqlalchemy.orm.exc import StaleDataError

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.douyin.profile import AppInfo, AppState, GetAppInfo, ReviewState
from app.i18n.sentence import ours, say
from app.link import connection
from app.models import AuthorizationState, MiniProgram
from app.models.kit.user import OPERATORS
from app.operations import icons
from app.operations.proof import Work
from app.operations.registry import NoParams, operation

SUBJECT_PASSED = 2
APP_STATE_WORDS: dict[int | None, str] = {
    AppState.NOT_PUBLISHED: "未发布",
    AppState.PUBLISHED: "已发布",
    AppState.TAKEN_OFFLINE: "已下线",
}


def _store(app: MiniProgram, info: AppInfo) -> None:
    app.name, app.intro = info.app_name[:64], info.app_intro[:255]
    icons.note(app, info.app_icon)
    app.app_state, app.info, app.info_at = int(info.app_state), msgspec.to_builtins(info), utcnow()
    if info.subject_audit_info is not None:
        app.subject_name = info.subject_audit_info.subject_name[:128]
        app.subject_verified = int(info.subject_audit_info.subject_audit_state) in {0, SUBJECT_PASSED} and bool(
            info.subject_audit_info.subject_name
        )


def _found(info: AppInfo) -> dict[str, Any]:
    """What came, as it is kept with the run."""
    under = info.app_categories_audit_info
    names = {
        state: [item.app_category_name for item in under if item.app_category_audit_state == state]
        for state in ReviewState
    }
    return {
        "name": info.app_name,
        "state": int(info.app_state),
        "categories": names[ReviewState.NONE] + names[ReviewState.PASSED],
        "categories_reviewing": names[ReviewState.REVIEWING],
        "categories_rejected": names[ReviewState.REJECTED],
        "subject": info.subject_audit_info.subject_name if info.subject_audit_info is not None else "",
    }


def _read(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("名称", result.get("name")),
        ("状态", ours(APP_STATE_WORDS.get(result.get("state"), ""))),
        ("类目", result.get("categories")),
        ("审核中的类目", result.get("categories_reviewing")),
        ("被驳回的类目", result.get("categories_rejected")),
        ("主体", result.get("subject")),
    ]


@operation("同步基本信息", roles=OPERATORS, mutates=False, reads=_read, order=50)
def sync_app_info(app: MiniProgram, work: Work, params: NoParams) -> Mapping[str, Any]:
    """获取小程序基本信息: name, intro, icon, state, subject."""
    info = work.douyin.send(GetAppInfo())
    _store(app, info)
    return _found(info)


def sync(flask_app: Flask, mini_program_id: int) -> str:
    """The same for pushes and the scheduled job; a sentence. Raises DouyinError or NoAnswer."""
    with app_scope(flask_app, PLATFORM) as session:
        with reading():
            app = session.get(MiniProgram, mini_program_id)
            if app is None or app.state != AuthorizationState.AUTHORIZED:
                return "小程序未授权，未同步"
            douyin = connection.bind(session, app)
            session.commit()
        _store(app, douyin.send(GetAppInfo()))
        try:
            session.commit()
        except StaleDataError:
            session.rollback()
            return "记录同时被更新，稍后再同步"
        return say("已同步「{name}」", name=app.name)
