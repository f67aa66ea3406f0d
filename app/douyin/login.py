"""登录: from the code a mini-program got to the identity of its user."""

from __future__ import annotations

from app.douyin.contract import DOCS, Call, Reply, Route, Token


class Session(Reply):
    """Who the user is; `session_key` decrypts what the mini-program sends and is never logged.

    Empty when Douyin gave none: the user is known all the same, and what is encrypted needs a new login (tt.login).
    """

    session_key: str = ""
    open_id: str = ""
    anonymous_open_id: str = ""
    union_id: str = ""


class CodeToSession(Call[Session]):
    """code2sessionV2。Either code is enough; both are single use."""

    operation_id = "code_to_session"
    route = Route(
        "POST",
        "/api/apps/v1/microapp/code2session/",
        Token.AUTHORIZER,
        doc=f"{DOCS}/auth-app-manage/login/code2session-v2",
    )
    code: str | None = None
    anonymous_code: str | None = None
    app_id: str | None = None
