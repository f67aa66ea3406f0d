"""Submitting a version to Douyin's audit, and taking it back (提交审核、撤回审核)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from app.data.clock import utcnow
from app.data.types import words_of
from app.douyin.development import (
    AuditWay,
    GetAuditHosts,
    RevokeAudit,
    SubmitAudit,
)
from app.douyin.errors import misfit
from app.errors import Refused, TooSoon
from app.i18n.sentence import ours, say
from app.models import MiniProgram, Version, VersionState
from app.models.kit.user import OPERATORS, OWNER
from app.models.version import HOST_WORDS
from app.operations.proof import Kept, Sight, Work, event, goal
from app.operations.registry import Area, Look, operation
from app.operations.release import stages
from app.operations.release.checks import VersionParams, as_douyin_says, refusal_of, the_one, took_reading
from app.operations.release.versions import next_poll, note, versions_of_many

SUBMIT_PAUSE = timedelta(seconds=10)


def _check_note(text: str) -> str:
    if len(text) > 200:
        raise Refused("审核备注最多 200 字", field="note")
    return text


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


def _submittable(rows: Mapping[str, Version], app: MiniProgram, wanted: str) -> Version:
    number = wanted or app.uploaded_version
    row = rows.get(number)
    if row is None:
        raise Refused(
            say("没有版本 {wanted}", wanted=wanted) if wanted else "还没有可提审的版本：请先上传代码", field="version"
        )
    if wanted and app.uploaded_version and wanted != app.uploaded_version:
        raise Refused(
            say("抖音只审核最近上传的版本 {uploaded_version}", uploaded_version=app.uploaded_version), field="version"
        )
    auditing = [item.number for item in rows.values() if item.state == VersionState.AUDITING]
    if auditing:
        raise Refused(say("版本 {number} 正在审核中：请等待结果或先撤回", number=auditing[0]))
    if not row.may_move(VersionState.AUDITING):
        raise Refused(
            say(
                "版本 {number} 的状态是「{state}」，不能提审",
                number=row.number,
                state=ours(words_of(VersionState)[row.state]),
            )
        )
    return row


def _choose_hosts(work: Work, params: AuditParams) -> tuple[str, ...]:
    hosts = work.douyin.send(GetAuditHosts())
    allowed, live = hosts.host_names, hosts.released_host_names
    if not allowed:
        raise misfit("没有可审核的宿主端", "")
    chosen = tuple(params.hosts) or tuple(name for name in allowed if name == "douyin" or name in live) or allowed[:1]
    if unknown := [name for name in chosen if name not in allowed]:
        offered = allowed or [say("无")]
        raise Refused(say("宿主端 {unknown} 不可选；可选：{allowed}", unknown=unknown, allowed=offered), field="hosts")
    dropped = [name for name in live if name not in chosen]
    if dropped and not params.allow_drop:
        raise Refused(
            say("未选的 {hosts} 已上线，提审后会下线：请一并选上，或勾选允许下线", hosts=dropped), field="hosts"
        )
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
    return refusal_of(lambda: _submittable(look.at(versions_of_many, app), app, ""))


def _read_audit(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    hosts = [ours(HOST_WORDS[name]) if name in HOST_WORDS else name for name in result.get("hosts") or ()]
    return [("版本号", result.get("version")), ("审核宿主端", hosts or None)]


@operation(
    "提交审核",
    area=Area.RELEASE,
    roles=OPERATORS,
    roles_where_let={OWNER},
    order=20,
    params=AuditParams,
    reads=_read_audit,
    proof=event(stages.look, happened=stages.submitted, take=_took_audit),
    ready=_may_submit,
    confirm="提交给抖音审核；审核期间不能再提交其他版本",
)
def submit_audit(app: MiniProgram, work: Work, params: AuditParams) -> Mapping[str, Any]:
    """提审代码: one version in audit at a time; a rejected version is submitted again as such."""
    _submittable(work.rows.at(versions_of_many, app), app, params.version)
    _wait_between(app)
    hosts = _choose_hosts(work, params)
    sight = work.look()
    row = as_douyin_says(work, sight, lambda rows: _submittable(rows, app, params.version))
    way = AuditWay(1) if row.state == VersionState.REJECTED else AuditWay(0)
    work.intend(sight, version=row.number, hosts=list(hosts))
    work.douyin.send(SubmitAudit(host_names=hosts, audit_note=params.note or None, audit_way=way))
    _submitted(app, work, params, row, hosts)
    return {"version": row.number, "hosts": list(hosts)}


def _audited(rows: Mapping[str, Version], wanted: str) -> Version:
    return the_one(rows, VersionState.AUDITING, wanted, "没有正在审核的版本")


def _may_withdraw(app: MiniProgram, look: Look) -> str | None:
    return refusal_of(lambda: _audited(look.at(versions_of_many, app), ""))


@operation(
    "撤回审核",
    area=Area.RELEASE,
    roles=OPERATORS,
    order=20,
    params=VersionParams,
    reads={"version": "版本号"},
    ready=_may_withdraw,
    danger=True,
    confirm="撤回后需要重新提交审核",
    proof=goal(stages.look, stands=stages.is_withdrawn, otherwise=stages.not_withdrawn, take=took_reading),
)
def withdraw_audit(app: MiniProgram, work: Work, params: VersionParams) -> Mapping[str, Any]:
    """撤回审核: only while a version is in audit."""
    row = _audited(work.rows.at(versions_of_many, app), params.version)
    sight = work.look()
    wanted = {"version": row.number, "ctime": (sight.facts["audit"] or {}).get("ctime", 0)}
    work.stop_if_so(sight, **wanted)
    row = as_douyin_says(work, sight, lambda rows: _audited(rows, row.number))
    work.intend(sight, **wanted)
    work.douyin.send(RevokeAudit())
    row.move_to(VersionState.WITHDRAWN)
    app.audit_state, app.audit_since, app.poll_at = str(VersionState.WITHDRAWN), None, None
    note(work.session, app, "withdrawn", version=row, run=work.run)
    return {"version": row.number}
