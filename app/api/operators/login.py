"""Log-in for machines: FAB's addresses, with our throttle, checked bodies, and a session behind every token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import current_app, g, request
from flask_appbuilder.api import expose
from flask_appbuilder.security.api import SecurityApi as FabSecurityApi
from flask_jwt_extended import create_access_token, create_refresh_token, get_jwt, jwt_required

from app.access import accounts, sessions, sign_in
from app.access.browser import must_enrol
from app.access.principal import current_actor, login_session
from app.access.roles import VISITORS
from app.access.sessions import ApiSession
from app.access.throttle import TooManyAttempts
from app.data.clock import utcnow
from app.i18n.sentence import say
from app.models.kit.audit import record
from app.models.kit.user import ConsoleUser

LONGEST = 256
REUSED = "这个刷新令牌已经用过：此次登录已结束，请重新登录"


class SecurityApi(FabSecurityApi):
    """`POST /api/v1/security/login` {username, password, otp?, refresh?}; `.../refresh`; `.../logout`."""

    roles = VISITORS  # who is not known yet

    @expose("/login", methods=["POST"])
    def login(self) -> Any:
        """Get a token.
        ---
        post:
          description: Log in with a user's name and password; gives a JWT. The log-in is listed in the user's account.
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
            user = sign_in.by_password(body["username"], body["password"], code=body.get("otp"))
        except TooManyAttempts as refused:
            answer = self.response(429, message=refused.message)
            answer.headers["Retry-After"] = str(refused.minutes * 60)
            return answer
        except sign_in.CodeNeeded:
            return self.response(401, message="此用户已开启两步验证：请在 otp 中给出验证码", otp_required=True)
        if user is None:
            return self.response(
                401, message="用户名或密码不正确" if "otp" not in body else "用户名、密码或验证码不正确"
            )
        if user.must_change_password:
            return self.response(403, message="请先登录控制台修改密码")
        if must_enrol(user):
            return self.response(403, message="请先登录控制台开启两步验证")
        return self.response(200, **_begun(user, refreshed=bool(body.get("refresh"))))

    @expose("/refresh", methods=["POST"])
    @jwt_required(refresh=True)
    def refresh(self) -> Any:
        """Get the next tokens.
        ---
        post:
          description: >-
            Exchange a refresh token for an access token and the next refresh token. A refresh token counts once: when
            it comes a second time the log-in ends, and the user is told.
          responses:
            200: {description: access_token and refresh_token}
            401: {description: 'The log-in has ended, or the token was used before'}
          security:
            - jwt_refresh: []
        """
        held: ApiSession = g.api_session
        with login_session() as own:
            renewed = sessions.rotate(own, held, get_jwt().get("n"))
            if renewed is None:
                _end_reused(own, held)
            own.commit()
        if renewed is None:
            return self.response(401, message=REUSED)
        return self.response(200, **_tokens(renewed, g.user.credential_generation, fresh=False))

    @expose("/logout", methods=["POST"])
    @jwt_required(verify_type=False)
    def logout(self) -> Any:
        """End the log-in.
        ---
        post:
          description: End the log-in that an access or refresh token belongs to; all its tokens end with it.
          responses:
            200: {description: It has ended}
            401: {description: It had ended before}
          security:
            - jwt: []
        """
        with login_session() as own:
            sessions.end_api(own, g.api_session)
            record(own, "logout", subject=own.get(ConsoleUser, g.user.id))
            own.commit()
        return self.response(200, message="已退出登录")


def _begun(user: ConsoleUser, *, refreshed: bool) -> dict[str, str]:
    """The tokens of a new log-in."""
    life: timedelta = sessions.API_LIFE if refreshed else current_app.config["JWT_ACCESS_TOKEN_EXPIRES"]
    with login_session() as own:
        made = sessions.begin_api(own, user.id, life=life, refreshed=refreshed)
        own.commit()
    return _tokens(made, user.credential_generation, fresh=True)


def _tokens(held: ApiSession, generation: int, *, fresh: bool) -> dict[str, str]:
    """An access token, and a refresh token where the log-in has them; none outlives it."""
    left = held.expires_at - utcnow()
    claims = {"gen": generation, "sid": held.id}
    life = min(left, current_app.config["JWT_ACCESS_TOKEN_EXPIRES"])
    name = str(held.user_id)
    tokens = {"access_token": create_access_token(name, fresh, life, claims)}
    if held.serial:
        tokens["refresh_token"] = create_refresh_token(name, left, claims | {"n": held.serial})
    return tokens


def _end_reused(own: Any, held: ApiSession) -> None:
    """A refresh token that was used before: its owner or a thief has the next one, and nobody knows which."""
    if sessions.end_api(own, held):
        user = own.get_one(ConsoleUser, held.user_id)
        record(own, "refresh_reused", subject=user)
        accounts.tell_owner(
            own,
            user,
            "刷新令牌被重复使用，已结束登录",
            say(
                "同一个刷新令牌被使用了两次，可能已经泄露，对应的接口登录已结束。来源地址：{address}。"
                "如果不是您的程序重试造成的，请修改密码。",
                address=current_actor().address,
            ),
        )


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
