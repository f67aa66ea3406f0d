"""代入驻: pre-check, request, state; the result is pushed after the audit time."""

from __future__ import annotations

from .authorization import beijing
from .calls import Call, Fields, handles
from .errors import Fault
from .simulation import Platform
from .state import Settlement

_NEW_A_DAY = 10
_ONLY_TYPE_7 = "registered_nation_code"


def _places(body: Fields) -> None:
    """Type 7 (境外) names a nation, all others a province and a city."""
    needed = [_ONLY_TYPE_7]
    if body["qualification_type"] != 7:
        needed = ["registered_province_code", "registered_city_code"]
        if _ONLY_TYPE_7 in body:
            raise Fault(40001, _ONLY_TYPE_7)
    for name in needed:
        if name not in body:
            raise Fault(40001, name)


@handles("settle_pre_check")
def pre_check(call: Call) -> Fields:
    _places(call.body)
    return {}


@handles("settle_apply")
def apply(call: Call) -> Fields:
    body, platform, owner = call.body, call.platform, call.thirdparty
    _places(body)
    if owner.materials.get(body["credit_image_path"]) != 1:
        raise Fault(40001, "credit_image_path: not a path of upload_pic_material with material_type 1")
    mine = [one for one in platform.world.settlements.values() if one.thirdparty == owner.appid]
    if any(one.mobile == body["mobile"] and one.status != 3 for one in mine):
        raise Fault(40001, "mobile: already in progress or settled")
    today = beijing(platform.now())[:10]
    if len({one.mobile for one in mine if beijing(one.created_at)[:10] == today}) >= _NEW_A_DAY:
        raise Fault(40001, "at most 10 new numbers a day")
    key = str(7_184_300_000_000_000_000 + platform.number("settle"))
    now = platform.now()
    platform.world.settlements[key] = Settlement(key, owner.appid, body["mobile"], now)
    platform.later(now + platform.world.settings.audit_seconds, "settle", key)
    return {"data": {"apply_id": key}}


@handles("settle_get_apply_status")
def status(call: Call) -> Fields:
    found = call.platform.world.settlements.get(call.query["apply_id"])
    if found is None or found.thirdparty != call.thirdparty.appid:
        raise Fault(40001)
    return {
        "data": {
            "apply_status": found.status,
            "verify_url": f"{call.platform.base_url}/_sandbox/" if found.status == 4 else "",
            "fail_reason": found.fail_reason,
        }
    }


def settle_due(platform: Platform, key: str, when: float) -> None:
    """The verdict of the settings decides; the result is pushed without an AppId: no app exists yet."""
    del when
    found = platform.world.settlements.get(key)
    owner = platform.thirdparty(found.thirdparty) if found else None
    if found is None or owner is None or found.status != 2:
        return
    rejected = platform.world.settings.verdict == "reject"
    found.status = 3 if rejected else 4
    found.fail_reason = platform.world.settings.reason if rejected else ""
    told = {
        "TpAppId": owner.appid,
        "EventTime": beijing(platform.now()),
        "Event": "SETTLE_APPLY",
        "ApplyId": key,
        "ApplyStatus": "fail" if rejected else "success",
        "VerifyUrl": "" if rejected else f"{platform.base_url}/_sandbox/",
        "FailReason": found.fail_reason,
    }
    platform.pusher.event(owner, told)
