"""Releasing an approved version, and going back to the one before (发布、回滚)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.data.clock import utcnow
from app.douyin.development import (
    ReleaseVersion,
    RollbackVersion,
    VersionsReply,
)
from app.errors import Refused
from app.i18n.sentence import say
from app.models import MiniProgram, Version, VersionState
from app.models.kit.user import OPERATORS
from app.operations.proof import Kept, Sight, Work, goal
from app.operations.registry import Area, Look, operation
from app.operations.release import stages
from app.operations.release.checks import VersionParams, as_douyin_says, refusal_of, the_one, took_reading
from app.operations.release.versions import next_poll, note, versions_of_many

ROLLBACK_PAUSE = timedelta(minutes=10)


def _releasable(rows: Mapping[str, Version], wanted: str) -> Version:
    row = the_one(rows, VersionState.APPROVED, wanted, "没有审核通过、待发布的版本")
    if row.taken_down:
        raise Refused(say("版本 {number} 已被平台下架，不能发布：请上传并提审新版本", number=row.number))
    return row


def _may_release(app: MiniProgram, look: Look) -> str | None:
    return refusal_of(lambda: _releasable(look.at(versions_of_many, app), ""))


@operation(
    "发布上线",
    area=Area.RELEASE,
    roles=OPERATORS,
    order=30,
    params=VersionParams,
    reads={"version": "版本号"},
    ready=_may_release,
    danger=True,
    live=True,
    confirm="把审核通过的版本发布为线上版本",
    proof=goal(stages.look, stands=stages.is_live, otherwise=stages.not_live, take=took_reading),
)
def release(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """发布代码: the approved version goes live."""
    row = _releasable(work.rows.at(versions_of_many, app), params.version)
    sight = work.look()
    work.stop_if_so(sight, version=row.number)
    row = as_douyin_says(work, sight, lambda rows: _releasable(rows, params.version))
    work.intend(sight, version=row.number)
    work.douyin.send(ReleaseVersion())
    for other in sight.found.reconciler.rows.values():
        if other.state == VersionState.RELEASED:
            other.move_to(VersionState.SUPERSEDED)
    row.move_to(VersionState.RELEASED)
    row.released_at = utcnow()
    app.live_version, app.live_template_id, app.audit_state = row.number, row.template_id, str(VersionState.RELEASED)
    app.rollback_requested_at = None
    note(work.session, app, "released", version=row, run=work.run)
    return {"version": row.number}


def _took_rollback(app: MiniProgram, work: Work, _params: Any, kept: Kept, sight: Sight) -> Mapping[str, Any]:
    app.rollback_requested_at = app.rollback_requested_at or kept.at
    app.last_rollback_at = max(filter(None, (app.last_rollback_at, kept.at)))
    sight.found.reconciler.apply(sight.found.reply)
    return {"from": kept.wanted["live"], "to": kept.wanted["target"]}


def _check_rollback(reply: VersionsReply) -> tuple[str, str]:
    """The live version, and the one before it."""
    current = reply.current
    if current is None:
        raise Refused("还没有线上版本，不能回滚")
    if current.rollback is None or not current.rollback.can_rollback:
        raise Refused("抖音不允许回滚：首个线上版本、连续两次回滚、或相关版本被下架时不能回滚")
    return current.version, current.rollback.last_version


def _may_roll_back(app: MiniProgram, _look: Look) -> str | None:
    if not app.live_version:
        return "还没有线上版本，不能回滚"
    if app.last_rollback_at and utcnow() - app.last_rollback_at < ROLLBACK_PAUSE:
        return "距上次回滚不足 10 分钟：请稍后再试"
    return None


@operation(
    "回滚版本",
    area=Area.RELEASE,
    roles=OPERATORS,
    order=30,
    params=VersionParams,
    reads={"from": "原线上版本", "to": "回滚到"},
    ready=_may_roll_back,
    danger=True,
    live=True,
    confirm="线上版本退回上一个版本，3 至 5 分钟后生效；每次发布只能回滚一次",
    proof=goal(stages.look, stands=stages.is_rolled_back, otherwise=stages.not_rolled_back, take=_took_rollback),
)
def rollback(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """回退代码版本: not on the first version, once per release, ten minutes apart; verified by the version list."""
    if params.version and params.version != app.live_version:
        raise Refused(
            say("线上版本是 {live}，不是 {wanted}", live=app.live_version or say("无"), wanted=params.version),
            field="version",
        )
    sight = work.look()
    current, target = _check_rollback(sight.found.reply)
    if current != app.live_version:
        sight.found.reconciler.apply(sight.found.reply)
        work.session.commit()
        raise Refused(
            say(
                "抖音的线上版本是 {current}，不是 {live_version}：已同步，请核对后再试",
                current=current,
                live_version=app.live_version,
            ),
            field="version",
        )
    work.intend(sight, live=current, target=target)
    work.douyin.send(RollbackVersion())
    app.rollback_requested_at = app.last_rollback_at = utcnow()
    app.poll_at = next_poll(app, utcnow())
    live = sight.found.reconciler.rows.get(app.live_version)
    note(work.session, app, "note", f"已请求回滚到 {target}，3 至 5 分钟后生效", version=live, run=work.run)
    return {"from": app.live_version, "to": target, "note": "3 至 5 分钟后生效，系统会自动核实"}
