"""Image check, log-in codes and the information of a mini-program."""

from __future__ import annotations

import base64
import hashlib

from .calls import Call, Fields, handles
from .errors import Fault
from .state import App, Subject

_MODELS = (
    "porn",
    "cartoon_leader",
    "anniversary_flag",
    "sensitive_flag",
    "sensitive_text",
    "leader_recognition",
    "bloody",
    "fandongtaibiao",
    "plant_ppx",
    "high_risk_social_event",
    "high_risk_boom",
    "high_risk_money",
    "high_risk_terrorist_uniform",
    "high_risk_sensitive_map",
    "great_hall",
    "cartoon_porn",
    "party_founding_memorial",
)


@handles("censor_image", "censor_image_v1")
def censor_image(call: Call) -> Fields:
    """A picture hits a model when its address has the model's name; `missing` in it cannot be fetched."""
    body, old = call.body, call.operation.id == "censor_image_v1"
    if body["app_id"] != call.app.appid or not (body.get("image") or body.get("image_data")):
        raise Fault(1 if old else 28001007)
    image = body.get("image", "")
    if image and ("missing" in image or not image.startswith(("http://", "https://"))):
        raise Fault(3 if old else 28001006)
    return {"predicts": [{"model_name": model, "hit": model in image} for model in _MODELS]}


def _person(text: str, appid: str, salt: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(f"{salt}/{appid}/{text}".encode()).digest()).decode()[:24]


@handles("code_to_session", "code_to_session_v1")
def code_to_session(call: Call) -> Fields:
    """Codes are single use. `user-NAME-anything` always means the same person NAME."""
    fields = call.query if call.is_v1 else call.body
    wrong = Fault(40001 if call.is_v1 else 28001007)
    if not call.is_v1 and fields.get("app_id", call.app.appid) != call.app.appid:
        raise wrong
    code, anonymous = fields.get("code", ""), fields.get("anonymous_code", "")
    if not code and not anonymous:
        raise wrong
    used = call.platform.world.used_codes
    keys = [f"{call.app.appid}/{one}" for one in (code, anonymous) if one]
    if any(key in used for key in keys):
        raise wrong
    used.update(dict.fromkeys(keys, call.platform.now()))
    names = ("openid", "anonymous_openid", "unionid") if call.is_v1 else ("open_id", "anonymous_open_id", "union_id")
    values = _identities(call, code, anonymous)
    session = base64.b64encode(call.platform.draw("session")[:16]).decode()
    return {"data": {"session_key": session, **dict(zip(names, values, strict=True))}}


def _identities(call: Call, code: str, anonymous: str) -> tuple[str, str, str]:
    who = code.split("-")[1] if code.startswith("user-") and code.count("-") >= 2 else code
    return (
        "_000" + _person(who, call.app.appid, "open") if code else "",
        "anon" + _person(anonymous, call.app.appid, "anonymous") if anonymous else "",
        _person(who, call.thirdparty.appid, "union") if code else "",
    )


_SUBJECT_STATE = {Subject.VERIFIED: 2, Subject.AUDITING: 1, Subject.FAILED: 3, Subject.UNVERIFIED: 3}


@handles("get_app_info", "get_app_info_v1")
def get_app_info(call: Call) -> Fields:
    app = call.app
    data: Fields = {
        "app_id": app.appid,
        "app_state": _app_state(app),
        "app_name": app.name,
        "app_intro": app.intro,
        "app_icon": call.platform.absolute(app.icon),
        "app_categories_audit_info": _categories(app),
        "subject_audit_info": {
            "subject_type": 2 if app.personal else 1,
            "subject_name": app.subject_name,
            "subject_audit_state": _SUBJECT_STATE[app.subject],
            "reason": "" if app.subject is Subject.VERIFIED else "主体信息未通过认证",
        },
    }
    if call.is_v1:
        data["app_type"] = 1
    return {"data": data}


def _app_state(app: App) -> int:
    """0 not published, 1 published, 2 taken offline."""
    if app.banned or (app.online and app.online[-1].taken_down):
        return 2
    return 1 if app.online else 0


def _categories(app: App) -> list[Fields]:
    return [
        {"app_category": ids, "app_category_name": name, "app_category_audit_state": 2, "reason": ""}
        for ids, name in zip(app.category_ids, app.categories, strict=True)
    ]
