"""Log-in for machines: FAB's address and answers, with our throttle and with bodies that are checked."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_appbuilder.api import expose
from flask_appbuilder.security.api import SecurityApi as FabSecurityApi
from flask_jwt_extended import create_access_token, create_refresh_token

from app import signin
from app.security import TooManyAttempts, must_enrol

LONGEST = 256


class SecurityApi(FabSecurityApi):
    """`POST /api/v1/security/login` {username, password, otp?, refresh?}; `POST /api/v1/security/refresh`."""

    @expose("/login", methods=["POST"])
    def login(self) -> Any:
        """Get a token.
        ---
        post:
          description: Log in with a user's name and password; gives a JWT.
          requestBody:
            required: true
            content:
              application/json:
                schema:
                  type: object
                  required: [username, password]
                  properties:
                    username: {type: string}
                    password: {type: string}
                    otp: {type: string}
                    provider: {type: string, enum: [db]}
                    refresh: {type: boolean}
          responses:
            200: {description: "access_token, and refresh_token when asked for"}
            400: {description: The body is not what is described above}
            401: {description: 'Wrong name, password or code; `otp_required` says that only the code is missing'}
            403: {description: The password must be changed or the second factor set up in the console first}
            429: {description: Too many failures}
        """
        body: Any = request.get_json(silent=True)
        if (wrong := _fault(body)) is not None:
            return self.response(400, message=wrong)
        try:
            user = signin.by_password(body["username"], body["password"], code=body.get("otp"))
        except TooManyAttempts as refused:
            answer = self.response(429, message=refused.message)
            answer.headers["Retry-After"] = str(refused.minutes * 60)
            return answer
        except signin.CodeNeeded:
            return self.response(401, message="此用户已开启两步验证：请在 otp 中给出验证码", otp_required=True)
        if user is None:
            return self.response(
                401, message="用户名或密码不正确" if "otp" not in body else "用户名、密码或验证码不正确"
            )
        if user.must_change_password:
            return self.response(403, message="请先登录控制台修改密码")
        if must_enrol(user):
            return self.response(403, message="请先登录控制台开启两步验证")
        tokens = {"access_token": create_access_token(str(user.id), fresh=True)}
        if body.get("refresh"):
            tokens["refresh_token"] = create_refresh_token(str(user.id))
        return self.response(200, **tokens)


def _fault(body: Any) -> str | None:
    if not isinstance(body, dict):
        return "请求体应为 JSON 对象"
    for name in ("username", "password"):
        value = body.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
            return f"{name} 应为 1 至 {LONGEST} 个字符的文字"
    otp = body.get("otp", "0")
    if not isinstance(otp, str) or not 0 < len(otp) <= LONGEST:
        return f"otp 应为 1 至 {LONGEST} 个字符的文字"
    if body.get("provider", "db") != "db":
        return "provider 只支持 db"
    return None if isinstance(body.get("refresh", False), bool) else "refresh 应为 true 或 false"
