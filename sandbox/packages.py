"""代码管理: upload, audit, revoke, release, roll back, and the list of versions."""

from __future__ import annotations

import json
from typing import Any

from .authorization import event
from .calls import Call, Fields, handles
from .errors import Fault
from .simulation import Platform
from .state import App, Audit, Build, Release, Subject
from .versions import can_roll_back

BETWEEN_SUBMITS = 10
BETWEEN_ROLLBACKS = 600
_GUIDE = {
    "name": "小程序审核规范",
    "link": "https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/operation/platform-rules/",
}


# upload


@handles("upload_code", "upload_code_v1")
def upload(call: Call) -> Fields:
    app, body, owner = call.app, call.body, call.thirdparty
    if not any(template.template_id == body["template_id"] for template in owner.templates):
        raise Fault(40029)
    _check_ext(body["ext_json"], app.appid)
    if not body["user_version"] or not body["user_desc"]:
        raise Fault(40001)
    tag = body.get("tag", "")
    build = Build(
        number=app.next_build,
        version=body["user_version"],
        summary=body["user_desc"],
        ctime=int(call.platform.now()),
        template_id=body["template_id"],
        ext_json=body["ext_json"],
        tag=tag,
    )
    app.next_build += 1
    app.latest[tag] = build
    app.effects.upload += 1
    app.uploads.append(
        {
            "version": build.version,
            "desc": build.summary,
            "ext_json": build.ext_json,
            "template_id": build.template_id,
            "tag": tag,
            "at": call.platform.now(),
        }
    )
    call.platform.changed = True
    return {}


def _check_ext(text: str, appid: str) -> None:
    """ext_json must be a JSON object with extEnable (bool) and the app's own extAppid."""
    try:
        ext: Any = json.loads(text)
    except ValueError:
        raise Fault(40001, "ext_json is not JSON") from None
    if not isinstance(ext, dict) or not isinstance(ext.get("extEnable"), bool):
        raise Fault(40001, "ext_json.extEnable")
    if ext.get("extAppid") != appid:
        raise Fault(40001, "ext_json.extAppid is not this app")


# audit


@handles("get_audit_hosts", "get_audit_hosts_v1")
def audit_hosts(call: Call) -> Fields:
    app = call.app
    released = app.online[-1].hosts if app.online else []
    if call.is_v1:
        return {"data": {"hostNames": app.hosts, "releasedHostNames": released}}
    return {"data": {"host_names": app.hosts, "released_host_names": released}}


def _refuse_by_standing(app: App) -> None:
    """Bans and the like: the same for audit and release."""
    for refused, code in (
        (app.subject_banned, 10104),
        (app.banned, 10107),
        (bool(app.template_of), 10108),
        (app.name_reset, 10109),
    ):
        if refused:
            raise Fault(code)


@handles("submit_audit", "submit_audit_v2_old", "submit_audit_v1", "submit_audit_v1_old")
def submit_audit(call: Call) -> Fields:
    app, platform = call.app, call.platform
    _refuse_by_standing(app)
    if app.subject is not Subject.VERIFIED:
        raise Fault(11305)
    if not (app.name and app.intro and app.icon and app.categories):
        raise Fault(11306)
    if app.audit and app.audit.status == 0:
        raise Fault(11303)
    hosts = _hosts(call)
    build = _to_submit(call)
    now = platform.now()
    if now - app.last_submit_at < BETWEEN_SUBMITS:
        raise Fault(11301)
    note = call.body.get("audit_note") or call.body.get("auditNote") or ""
    decide_at = now + platform.world.settings.audit_seconds
    app.audit = Audit(build, hosts, note, int(now), decide_at)
    app.last_submit_at = now
    app.processing = False
    build.submitted = True
    app.effects.audit += 1
    platform.later(decide_at, "audit", app.appid)
    platform.changed = True
    return {}


def _hosts(call: Call) -> list[str]:
    """The hosts asked for; the oldest call has no choice and means all."""
    hosts: list[str] | None = call.body.get("host_names", call.body.get("hostNames"))
    if hosts is None:
        hosts = call.app.hosts
    if not hosts or any(host not in call.app.hosts for host in hosts):
        raise Fault(11307)
    return list(dict.fromkeys(hosts))


def _to_submit(call: Call) -> Build:
    app = call.app
    again = call.body.get("audit_way", call.body.get("auditWay", 0)) == 1
    if again:
        if app.audit is None or app.audit.status != 2:
            raise Fault(11302)
        return app.audit.build
    build = app.latest.get(call.body.get("tag", ""))
    if build is None:
        raise Fault(11302)
    return build


def audit_due(platform: Platform, appid: str, when: float) -> None:
    """The self-made verdict, when its time has come and nobody decided or revoked before."""
    app = platform.app(appid)
    if app and app.audit and app.audit.status == 0 and app.audit.decide_at <= when:
        decide(platform, app)


def decide(platform: Platform, app: App, verdict: str | dict[str, str] = "", reason: str = "") -> None:
    """Pass or reject the version in audit, per host when `verdict` is a table, and push the result."""
    audit, settings = app.audit, platform.world.settings
    if audit is None or audit.status != 0:
        return
    why = reason or app.reason or settings.reason
    wanted = verdict or app.verdict or settings.verdict
    if wanted == "random":
        wanted = "approve" if platform.share(f"verdict/{app.appid}") < 0.5 else "reject"
    for host in audit.hosts:
        one = wanted.get(host, "approve") if isinstance(wanted, dict) else wanted
        if one == "reject":
            audit.reasons[host] = why
        else:
            audit.approved.append(host)
    audit.status = 1 if audit.approved else 2
    platform.changed = True
    owner = platform.thirdparty(app.authorized_to)
    if owner:
        results = [_result(platform, audit, host) for host in audit.hosts]
        platform.pusher.event(owner, event(platform, app, "PACKAGE_AUDIT", AuditResults=results))


def _result(platform: Platform, audit: Audit, host: str) -> Fields:
    if host in audit.approved:
        return {"hostName": host, "status": 1, "reason": [], "auditDetail": None}
    why = audit.reasons[host]
    detail = {"reason": why, "modifyGuide": _GUIDE, "detailFile": attachment(platform.base_url)}
    return {"hostName": host, "status": 0, "reason": [why], "auditDetail": [detail]}


def attachment(base_url: str) -> str:
    return f"{base_url}/_sandbox/static/audit.png"


@handles("revoke_audit", "revoke_audit_v1")
def revoke_audit(call: Call) -> Fields:
    audit = call.app.audit
    if audit is None:
        raise Fault(11600)
    if audit.status == 3:
        raise Fault(11601)
    if audit.status in (1, 2):
        raise Fault(11603)
    if call.app.processing:
        raise Fault(11602)
    audit.status = 3
    call.app.effects.revoke += 1
    call.platform.changed = True
    return {}


# release


@handles("release_version", "release_version_v1")
def release(call: Call) -> Fields:
    app, platform = call.app, call.platform
    _refuse_by_standing(app)
    if app.subject is Subject.AUDITING:
        raise Fault(10105)
    if app.subject is Subject.FAILED:
        raise Fault(10106)
    audit = app.audit
    if audit and audit.status == 0:
        raise Fault(11403)
    if audit is None or audit.status != 1 or audit.published:
        raise Fault(11402)
    if audit.illegal:
        raise Fault(11401)
    audit.published = True
    app.online = [*app.online[-9:], Release(audit.build, list(audit.approved), int(platform.now()))]
    app.rolled_back = False
    app.rollback_at = 0.0
    app.effects.release += 1
    app.released.append(audit.build.version)
    platform.changed = True
    return {}


@handles("rollback_version", "rollback_version_v1")
def roll_back(call: Call) -> Fields:
    app, platform = call.app, call.platform
    now = platform.now()
    if now - app.last_rollback_at < BETWEEN_ROLLBACKS:
        raise Fault(11501)
    if not can_roll_back(app):
        raise Fault(10003)
    app.last_rollback_at = now
    app.rolled_back = True
    app.rollback_at = now + platform.world.settings.rollback_seconds
    app.effects.rollback += 1
    platform.later(app.rollback_at, "rollback", app.appid)
    platform.changed = True
    return {}


def rollback_due(platform: Platform, appid: str, when: float) -> None:
    """The former version comes back, unless a release came in between."""
    app = platform.app(appid)
    if app and app.rollback_at and app.rollback_at <= when:
        app.rollback_at = 0.0
        app.online.pop()
        app.released.append(app.online[-1].build.version)


def take_down(app: App) -> None:
    """The platform takes the online version down (下架): it cannot be released again."""
    if app.online:
        app.online[-1].taken_down = True
    if app.audit:
        app.audit.illegal = True
