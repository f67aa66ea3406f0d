"""The release loop: upload, submit for audit (提审), withdraw, release, roll back, and reading back what is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.douyin.development import (
    AuditWay,
    GetAuditHosts,
    GetVersions,
    ReleaseVersion,
    RevokeAudit,
    RollbackVersion,
    SubmitAudit,
    UploadCode,
    VersionsReply,
)
from app.douyin.errors import misfit
from app.errors import DouyinError, NoAnswer, Refused, TooSoon
from app.models import AuthorizationState, MiniProgram, RunState, Template, Version, VersionState
from app.models.base import utcnow
from app.models.operation import OperationRun
from app.models.version import VERSION_WORDS, next_number, parse_number
from app.operations import Look, Work, credentials, operation, stages, template
from app.operations.ext import build_ext, check_ext, refuse_secrets, secrets_near
from app.operations.proof import Kept, Sight, event, goal
from app.operations.versions import Reconciler, next_poll, note, versions_of, versions_of_many
from app.tenancy import PLATFORM, app_scope

ROLLBACK_PAUSE = timedelta(minutes=10)
SUBMIT_PAUSE = timedelta(seconds=10)
SEEN_SUBMITTED = frozenset(VersionState) - {VersionState.UPLOADED, VersionState.SUPERSEDED}
RESUBMITTABLE = frozenset({VersionState.UPLOADED, VersionState.REJECTED, VersionState.WITHDRAWN})


def _check_number(number: str) -> str:
    parse_number(number)
    return number


def _check_id(text: str) -> str:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Refused("模板编号应为数字", field="template_id")
    return text


def _check_description(text: str) -> str:
    if len(text) > 400:
        raise Refused("版本说明最多 400 字", field="description")
    return text


def _check_note(text: str) -> str:
    if len(text) > 200:
        raise Refused("审核备注最多 200 字", field="note")
    return text


@dataclass(frozen=True)
class UploadParams:
    """What to upload. `template_id` is text: it can exceed 2^53."""

    template_id: str = field(metadata={"label": "模板", "choices": "templates", "check": _check_id})
    version: str = field(metadata={"label": "版本号", "help": "X.Y.Z，须大于已提交过的版本", "check": _check_number})
    description: str = field(metadata={"label": "版本说明", "check": _check_description})
    ext: str = field(
        default="",
        metadata={"label": "ext.json", "help": "留空则按商户资料生成", "multiline": True, "check": check_ext},
    )


@dataclass(frozen=True)
class AuditParams:
    """What to submit. Hosts left out lose their live version, hence `allow_drop`."""

    hosts: list[str] = field(
        default_factory=list, metadata={"label": "审核宿主端", "help": "逗号分隔，留空为抖音和已上线的各端"}
    )
    note: str = field(
        default="", metadata={"label": "审核备注", "help": "可写测试账号，最多 200 字", "check": _check_note}
    )
    version: str = field(default="", metadata={"label": "版本号", "help": "留空为最近上传的版本"})
    allow_drop: bool = field(default=False, metadata={"label": "允许未选的已上线宿主端下线"})


@dataclass(frozen=True)
class VersionParams:
    """`version`, when given, must be the one that Douyin would act on."""

    version: str = field(default="", metadata={"label": "版本号", "help": "留空为当前可操作的版本"})


def _upload_mark(run: OperationRun) -> str:
    return f"[抖舟#{run.id}]"


def _propose_upload(app: MiniProgram, session: Session) -> Mapping[str, Any]:
    numbers = list(versions_of(session, app))
    newest = session.scalars(
        select(Template)
        .where(Template.third_party_app_id == app.third_party_app_id, Template.gone.is_(False))
        .order_by(Template.added_at.desc(), Template.id.desc())
    ).first()
    return {
        "template_id": newest.template_id if newest else "",
        "version": next_number(numbers),
        "description": newest.description if newest else "",
        "ext": build_ext(app, app.merchant),
    }


def _check_upload(app: MiniProgram, work: Work, params: UploadParams) -> str:
    if template.find(work, app.third_party_app_id, params.template_id) is None:
        raise Refused("模板不存在或已删除：请先同步模板列表", field="template_id")
    for number, row in versions_of(work.session, app).items():
        unseen = row.state == VersionState.SUPERSEDED and not row.ever_submitted
        if number == params.version and row.state not in RESUBMITTABLE and not unseen:
            raise Refused(f"版本 {number} {VERSION_WORDS[row.state]}：请使用更大的版本号", field="version")
        # Only what Douyin saw submitted binds: a number that was uploaded by mistake does not.
        submitted = row.ever_submitted or row.state in SEEN_SUBMITTED
        if submitted and parse_number(number) > parse_number(params.version):
            raise Refused(f"版本号须大于已提交过的 {number}", field="version")
    ext = params.ext or build_ext(app, app.merchant)
    if json.loads(ext)["extAppid"] != app.appid:
        raise Refused(f"ext.json 的 extAppid 应为本小程序的 {app.appid}", field="ext")
    secrets = secrets_near(work.session, app)
    work.session.commit()  # looking for them takes its time: not under the one writer of SQLite
    refuse_secrets(ext, secrets)
    return ext


def _took_upload(app: MiniProgram, work: Work, params: UploadParams, _kept: Kept, sight: Sight) -> Mapping[str, Any]:
    _uploaded(app, work, params, sight.found.reconciler)
    return {"version": params.version}


def _uploaded(app: MiniProgram, work: Work, params: UploadParams, reconciler: Reconciler) -> None:
    row = reconciler.rows.get(params.version)
    if row is None:
        row = Version(
            merchant_id=app.merchant_id, mini_program_id=app.id, number=params.version, state=VersionState.UPLOADED
        )
        work.session.add(row)
    else:
        row.move_to(VersionState.UPLOADED)
    row.description, row.template_id = params.description, params.template_id
    row.ext_json = params.ext or build_ext(app, app.merchant)
    row.uploaded_at, row.submitted_at, row.reason, row.reason_detail = utcnow(), None, "", {}
    app.uploaded_version = params.version
    for other in reconciler.rows.values():
        if other is not row and other.state == VersionState.UPLOADED:
            other.move_to(VersionState.SUPERSEDED)
    work.session.flush()
    note(work.session, app, "uploaded", params.description, version=row, run=work.run)


def _may_upload(app: MiniProgram, _look: Look) -> str | None:
    return "小程序还没有认领到商户：请先在「待认领」中认领" if app.merchant_id is None else None


@operation(
    "上传代码", params=UploadParams, proof=event(stages.look, happened=stages.uploaded, take=_took_upload),
    propose=_propose_upload, ready=_may_upload, confirm="把模板上传为小程序的测试版本",
)  # fmt: skip
def upload_code(app: MiniProgram, work: Work, params: UploadParams) -> Mapping[str, Any]:
    """提交代码: the app then has a new test version. The description carries the run's id for the read-back."""
    ext = _check_upload(app, work, params)
    sight, mark = work.look(), _upload_mark(work.run)
    work.intend(sight, version=params.version, mark=mark)
    work.douyin.send(
        UploadCode(
            template_id=int(params.template_id),
            user_version=params.version,
            user_desc=f"{params.description} {mark}",
            ext_json=json.dumps(json.loads(ext), ensure_ascii=False),
        )
    )
    _uploaded(app, work, params, sight.found.reconciler)
    return {"version": params.version}


def _submittable(rows: Mapping[str, Version], app: MiniProgram, wanted: str) -> Version:
    number = wanted or app.uploaded_version
    row = rows.get(number)
    if row is None:
        raise Refused("还没有可提审的版本：请先上传代码" if not wanted else f"没有版本 {wanted}", field="version")
    if wanted and app.uploaded_version and wanted != app.uploaded_version:
        raise Refused(f"抖音只审核最近上传的版本 {app.uploaded_version}", field="version")
    auditing = [item.number for item in rows.values() if item.state == VersionState.AUDITING]
    if auditing:
        raise Refused(f"版本 {auditing[0]} 正在审核中：请等待结果或先撤回")
    if not row.may_move(VersionState.AUDITING):
        raise Refused(f"版本 {row.number} 的状态是「{VERSION_WORDS[row.state]}」，不能提审")
    return row


def _choose_hosts(work: Work, params: AuditParams) -> tuple[str, ...]:
    hosts = work.douyin.send(GetAuditHosts())
    allowed, live = hosts.host_names, hosts.released_host_names
    if not allowed:
        raise misfit("没有可审核的宿主端", "")
    chosen = tuple(params.hosts) or tuple(name for name in allowed if name == "douyin" or name in live) or allowed[:1]
    if unknown := [name for name in chosen if name not in allowed]:
        raise Refused(f"宿主端 {'、'.join(unknown)} 不可选；可选：{'、'.join(allowed) or '无'}", field="hosts")
    dropped = [name for name in live if name not in chosen]
    if dropped and not params.allow_drop:
        raise Refused(f"未选的 {'、'.join(dropped)} 已上线，提审后会下线：请一并选上，或勾选允许下线", field="hosts")
    return chosen


def _took_audit(app: MiniProgram, work: Work, params: AuditParams, kept: Kept, sight: Sight) -> Mapping[str, Any]:
    """The submission, and what Douyin has made of it meanwhile."""
    number, reconciler = kept.wanted["version"], sight.found.reconciler
    _submitted(app, work, params, reconciler.rows[number], tuple(kept.wanted["hosts"]))
    reconciler.apply(sight.found.reply)
    return {"version": number, "hosts": list(kept.wanted["hosts"])}


def _submitted(app: MiniProgram, work: Work, params: AuditParams, row: Version, hosts: tuple[str, ...]) -> None:
    if row.state != VersionState.AUDITING:
        row.move_to(VersionState.AUDITING)
        note(work.session, app, "auditing", params.note, version=row, run=work.run, detail={"hosts": list(hosts)})
    now = utcnow()
    row.submitted_at, row.decided_at, row.hosts, row.audit_note = now, None, list(hosts), params.note
    row.reason, row.reason_detail, row.ever_submitted = "", {}, True
    app.audit_version, app.audit_state, app.audit_since = row.number, str(VersionState.AUDITING), now
    app.last_submitted_at, app.poll_at = now, next_poll(app, now)


def _wait_between(app: MiniProgram) -> None:
    """Douyin refuses a submission within ten seconds of the last: it is known, so it is waited for."""
    last = app.last_submitted_at
    left = (last + SUBMIT_PAUSE - utcnow()).total_seconds() if last is not None else 0.0
    if left > 0:
        raise TooSoon("两次提审之间至少间隔 10 秒，稍后自动提交", seconds=left)


def _may_submit(app: MiniProgram, look: Look) -> str | None:
    return _refusal(lambda: _submittable(look.at(versions_of_many, app), app, ""))


@operation(
    "提交审核", params=AuditParams, proof=event(stages.look, happened=stages.submitted, take=_took_audit),
    ready=_may_submit, confirm="提交给抖音审核；审核期间不能再提交其他版本",
)  # fmt: skip
def submit_audit(app: MiniProgram, work: Work, params: AuditParams) -> Mapping[str, Any]:
    """提审代码: one version in audit at a time; a rejected version is submitted again as such."""
    _submittable(versions_of(work.session, app), app, params.version)
    _wait_between(app)
    hosts = _choose_hosts(work, params)
    sight = work.look()
    row = _as_douyin_says(work, sight, lambda rows: _submittable(rows, app, params.version))
    way = AuditWay(1) if row.state == VersionState.REJECTED else AuditWay(0)
    work.intend(sight, version=row.number, hosts=list(hosts))
    work.douyin.send(SubmitAudit(host_names=hosts, audit_note=params.note or None, audit_way=way))
    _submitted(app, work, params, row, hosts)
    return {"version": row.number, "hosts": list(hosts)}


def _as_douyin_says(work: Work, sight: Sight, check: Callable[[Mapping[str, Version]], Version]) -> Version:
    """Bring our rows in line with what was just seen, then check: what others did at Douyin counts too."""
    found = sight.found
    found.reconciler.apply(found.reply)
    try:
        return check(found.reconciler.rows)
    except Refused:
        work.session.commit()  # what was seen is true, whatever is refused
        raise


def _refusal(check: Callable[[], object]) -> str | None:
    """The sentence of a check that refuses."""
    try:
        check()
    except Refused as refused:
        return refused.message
    return None


def _one(rows: Mapping[str, Version], state: VersionState, wanted: str, refusal: str) -> Version:
    found = [row for row in rows.values() if row.state == state]
    if not found:
        raise Refused(refusal)
    if wanted and found[-1].number != wanted:
        raise Refused(f"当前{VERSION_WORDS[state]}的是 {found[-1].number}，不是 {wanted}", field="version")
    return found[-1]


def _took_reading(app: MiniProgram, _work: Work, _params: Any, kept: Kept, sight: Sight) -> Mapping[str, Any]:
    """What Douyin shows is all there is to take over."""
    sight.found.reconciler.apply(sight.found.reply)
    return {"version": kept.wanted["version"]}


def _audited(rows: Mapping[str, Version], wanted: str) -> Version:
    return _one(rows, VersionState.AUDITING, wanted, "没有正在审核的版本")


def _may_withdraw(app: MiniProgram, look: Look) -> str | None:
    return _refusal(lambda: _audited(look.at(versions_of_many, app), ""))


@operation(
    "撤回审核", params=VersionParams, ready=_may_withdraw, danger=True, confirm="撤回后需要重新提交审核",
    proof=goal(stages.look, stands=stages.is_withdrawn, otherwise=stages.not_withdrawn, take=_took_reading),
)  # fmt: skip
def withdraw_audit(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """撤回审核: only while a version is in audit."""
    row = _audited(versions_of(work.session, app), params.version)
    sight = work.look()
    wanted = {"version": row.number, "ctime": (sight.facts["audit"] or {}).get("ctime", 0)}
    work.stop_if_so(sight, **wanted)
    row = _as_douyin_says(work, sight, lambda rows: _audited(rows, row.number))
    work.intend(sight, **wanted)
    work.douyin.send(RevokeAudit())
    row.move_to(VersionState.WITHDRAWN)
    app.audit_state, app.audit_since, app.poll_at = str(VersionState.WITHDRAWN), None, None
    note(work.session, app, "withdrawn", version=row, run=work.run)
    return {"version": row.number}


def _releasable(rows: Mapping[str, Version], wanted: str) -> Version:
    row = _one(rows, VersionState.APPROVED, wanted, "没有审核通过、待发布的版本")
    if row.taken_down:
        raise Refused(f"版本 {row.number} 已被平台下架，不能发布：请上传并提审新版本")
    return row


def _may_release(app: MiniProgram, look: Look) -> str | None:
    return _refusal(lambda: _releasable(look.at(versions_of_many, app), ""))


@operation(
    "发布上线", params=VersionParams, ready=_may_release, danger=True, live=True,
    confirm="把审核通过的版本发布为线上版本",
    proof=goal(stages.look, stands=stages.is_live, otherwise=stages.not_live, take=_took_reading),
)  # fmt: skip
def release(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """发布代码: the approved version goes live."""
    row = _releasable(versions_of(work.session, app), params.version)
    sight = work.look()
    work.stop_if_so(sight, version=row.number)
    row = _as_douyin_says(work, sight, lambda rows: _releasable(rows, params.version))
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
    "回滚版本", params=VersionParams, ready=_may_roll_back, danger=True, live=True,
    confirm="线上版本退回上一个版本，3 至 5 分钟后生效；每次发布只能回滚一次",
    proof=goal(stages.look, stands=stages.is_rolled_back, otherwise=stages.not_rolled_back, take=_took_rollback),
)  # fmt: skip
def rollback(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """回退代码版本: not on the first version, once per release, ten minutes apart; verified by the version list."""
    if params.version and params.version != app.live_version:
        raise Refused(f"线上版本是 {app.live_version or '无'}，不是 {params.version}", field="version")
    sight = work.look()
    current, target = _check_rollback(sight.found.reply)
    if current != app.live_version:
        sight.found.reconciler.apply(sight.found.reply)
        work.session.commit()
        raise Refused(f"抖音的线上版本是 {current}，不是 {app.live_version}：已同步，请核对后再试", field="version")
    work.intend(sight, live=current, target=target)
    work.douyin.send(RollbackVersion())
    app.rollback_requested_at = app.last_rollback_at = utcnow()
    app.poll_at = next_poll(app, utcnow())
    live = sight.found.reconciler.rows.get(app.live_version)
    note(work.session, app, "note", f"已请求回滚到 {target}，3 至 5 分钟后生效", version=live, run=work.run)
    return {"from": app.live_version, "to": target, "note": "3 至 5 分钟后生效，系统会自动核实"}


@operation("同步版本", mutates=False)
def sync_versions(app: MiniProgram, work: Work, params: Any) -> Mapping[str, Any]:
    """获取小程序版本列表信息: bring our rows in line with Douyin's stages."""
    reconciler = Reconciler(work.session, app, work.run)
    return {"changes": reconciler.apply(reconciler.believe(work.douyin.send(GetVersions())))}


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
                OperationRun.lock == f"mini_program:{app.id}", OperationRun.state != RunState.QUEUED
            )
        ).first()
        if busy is not None:
            app.poll_at = utcnow() + timedelta(seconds=5)
            session.commit()
            return f"运行 #{busy} 正在进行，稍后再同步"
        reconciler = Reconciler(session, app)
        douyin = credentials.bind(session, app)
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
