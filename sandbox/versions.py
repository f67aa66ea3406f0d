"""The list of versions (版本列表) in both generations' spelling; a stage without a version is absent."""

from __future__ import annotations

from .calls import Call, Fields, handles
from .state import App, Audit, Build

_HOSTS = {
    "toutiao": "今日头条",
    "tt_lite": "今日头条极速版",
    "douyin": "抖音",
    "douyin_lite": "抖音极速版",
    "xigua": "西瓜视频",
    "huoshan": "抖音火山版",
}
_CAMEL = {
    "approved_apps": "approvedApps",
    "not_approved_apps": "notApprovedApps",
    "reason_detail": "reasonDetail",
}


def can_roll_back(app: App) -> bool:
    """There is a former version, neither it nor the current was taken down, and none was just undone."""
    if len(app.online) < 2 or app.rolled_back:
        return False
    return not (app.online[-1].taken_down or app.online[-2].taken_down)


@handles("get_versions", "get_versions_v1")
def get_versions(call: Call) -> Fields:
    app, base = call.app, call.platform.base_url
    stages: Fields = {}
    if app.latest:
        stages["latest"] = _latest(app)
    if app.audit:
        stages["audit"] = _audit(app, app.audit, base)
    if app.online:
        stages["current"] = _current(app)
    if call.is_v1:
        stages = {name: _old_spelling(stage) for name, stage in stages.items()}
    return {"data": stages}


def _old_spelling(stage: Fields) -> Fields:
    old = {_CAMEL.get(name, name): value for name, value in stage.items() if name != "version_tag"}
    if "has_down" in old:
        old["has_down"] = bool(old["has_down"])
    return old


def _common(app: App, build: Build, *, ctime: int, named: bool) -> Fields:
    return {
        "version": build.version,
        "summary": build.summary,
        "ctime": ctime,
        "categories": app.categories,
        "developer_id": app.authorized_to or "u1" if named else None,
        "developer_name": "第三方服务商" if named else None,
        "developer_avatar": "https://example.com/avatar.png" if named else None,
        "version_tag": build.tag,
    }


def _latest(app: App) -> Fields:
    build = max(app.latest.values(), key=lambda one: one.number)
    common = _common(app, build, ctime=build.ctime, named=True)
    return {**common, "has_audit": int(build.submitted), "screenshot": ""}


def _audit(app: App, audit: Audit, base_url: str) -> Fields:
    stage = _common(app, audit.build, ctime=audit.ctime, named=True) | {
        "status": audit.status,
        "approved_apps": [_HOSTS.get(host, host) for host in audit.approved],
        "has_publish": int(audit.published),
        "is_illegal_version": audit.illegal,
    }
    if audit.reasons:
        named = {_HOSTS.get(host, host): why for host, why in audit.reasons.items()}
        stage["reason"] = "；".join(f"{name}: {why}" for name, why in named.items())
        stage["reason_detail"] = {name: [why] for name, why in named.items()}
        stage["attachInfo"] = dict.fromkeys(named, f"{base_url}/_sandbox/static/audit.png")
    return stage


def _current(app: App) -> Fields:
    online = app.online[-1]
    former = app.online[-2].build.version if len(app.online) > 1 else ""
    possible = can_roll_back(app)
    return _common(app, online.build, ctime=online.ctime, named=False) | {
        "approved_apps": [_HOSTS.get(host, host) for host in online.hosts],
        "not_approved_apps": [_HOSTS.get(host, host) for host in app.hosts if host not in online.hosts],
        "attachInfo": {},
        "has_down": int(online.taken_down),
        "uid": 100,
        "rollback": {"can_rollback": possible, "last_version": former if possible else ""},
    }
