"""The door of API keys: a request that brings one is its user's, within the key's scope."""

from __future__ import annotations

from flask import Response, jsonify, request

from app.access import api_keys
from app.access.browser import must_enrol
from app.access.principal import Principal, address, adopt, has_bearer, login_session, user_of
from app.data.engine import reading, writing
from app.models.kit.audit import SYSTEM
from app.models.kit.operation import Door

API = "/api/v1/"
CLOSED = "用户已停用，或须先登录控制台修改密码、开启两步验证"


def key_given() -> str:
    """The API key that the request brings; empty for a JWT, and away from the API."""
    held = request.headers["Authorization"][7:].strip() if has_bearer() and request.path.startswith(API) else ""
    return held if held.startswith(api_keys.PREFIX) else ""


def enter_by_key(text: str) -> Response | None:
    """Adopt the user of an API key: its role and scope as they are now, at most what the key's own scope covers."""
    with reading(), login_session(SYSTEM) as own:
        key = api_keys.find(own, text)
    user = user_of(key.user_id) if key is not None else None
    why = api_keys.refusal(key)
    if not why and (user is None or user.must_change_password or must_enrol(user)):
        why = CLOSED
    if key is None or user is None or why:
        answer = _refused(401, "unauthorized", why)
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    if not api_keys.allows(key, request.method, request.blueprint):
        return _refused(403, "forbidden", "此 API 密钥的权限范围不包含这个请求")
    adopt(Principal(user, user.role_names), Door.REST)
    if api_keys.use_is_due(key):
        with writing(), login_session(SYSTEM) as own:
            api_keys.note_use(own, key.id, address())
            own.commit()
    return None


def _refused(status: int, code: str, message: str) -> Response:
    answer = jsonify(code=code, message=message)
    answer.status_code = status
    return answer
