"""What every answer carries (CSP and its kin), which hosts are answered at all, and the pages for errors."""

from __future__ import annotations

import logging
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, NotFound

from app.errors import DouyinError, NoAnswer, Refused
from app.tenancy import ScopeError

log = logging.getLogger(__name__)
LOCAL_HOSTS = ("127.0.0.1", "localhost")
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# title, what to do
WORDS = {
    400: ("请求有误", "地址或提交的内容不正确，请返回上一页检查后重试。"),
    401: ("请先登录", "登录后才能继续。"),
    403: ("没有权限", "您的角色不能使用这个页面或操作。如需要，请联系平台管理员。"),
    404: ("没有找到", "页面或记录不存在，或不属于您。"),
    405: ("不支持的操作", "请从页面上的按钮重新操作。"),
    413: ("内容太大", "上传或提交的内容超过了上限，请缩小后重试。"),
    429: ("操作太频繁", "请稍后再试。"),
    500: ("系统出错", "问题已记录。请稍后重试；反馈时请附上编号。"),
}
CODES = {
    400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed",
    413: "too_large", 429: "too_many_requests", 500: "internal",
}  # fmt: skip
EXPIRED = ("页面已过期", "请返回上一页，刷新后重新提交。")


def csp_nonce() -> str:
    """This request's nonce for inline scripts."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(18)
    return str(g.csp_nonce)


def _policy() -> str:
    nonce = f" 'nonce-{g.csp_nonce}'" if "csp_nonce" in g else ""
    return (
        f"default-src 'self'; script-src 'self'{nonce}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob: https:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _add_headers(response: Response) -> Response:
    for name, value in FIXED.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", _policy())
    if current_app.config["PUBLIC_URL"].startswith("https://"):
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    if g.get("principal") is not None or request.path == "/login/":
        response.headers["Cache-Control"] = "no-store"
    return response


def trusted_hosts(app: Flask) -> list[str]:
    """The hosts that are answered, without ports: those configured, else the public one and this machine."""
    configured = list(app.config["TRUSTED_HOSTS"] or [])
    public = urlsplit(app.config["PUBLIC_URL"]).hostname
    return configured or [*([public] if public else []), *LOCAL_HOSTS]


def wants_json() -> bool:
    """Whether a machine asked."""
    return request.path.startswith(("/api/", "/mp/")) or request.accept_mimetypes.best == "application/json"


def _answer(code: int, title: str, message: str, *, reference: str = "") -> Response:
    if wants_json():
        body = {"code": CODES.get(code, "error"), "message": f"{title}：{message}"} | (
            {"reference": reference} if reference else {}
        )
        answer = jsonify(body)
    else:
        answer = Response(render_template("error.html", code=code, title=title, message=message, reference=reference))
    answer.status_code = code
    return answer


def _on_http_error(error: HTTPException) -> Any:
    code = error.code or 500
    if code < 400 or error.response is not None:
        return error  # a redirect, or an answer that was made on purpose
    title, message = WORDS.get(code, WORDS[400 if code < 500 else 500])
    if isinstance(error.description, str) and getattr(error, "shown", False):
        message = error.description
    answer = _answer(code, title, message)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            answer.headers[name] = value
    return answer


def _on_unhandled(error: InternalServerError) -> Response:
    reference = secrets.token_hex(4)
    original = error.original_exception or error
    log.error(
        "unhandled %s at %s %s, reference %s",
        type(original).__name__,
        request.method,
        request.path,
        reference,
    )
    return _answer(500, *WORDS[500], reference=reference)


def _on_scope_error(error: ScopeError) -> Any:
    log.warning("out of scope at %s %s: %s", request.method, request.path, error)
    return _on_http_error(NotFound())


def _on_refused(error: Refused) -> Response:
    return _answer(400, "不能这样做", error.message)


def _on_douyin(error: DouyinError | NoAnswer) -> Response:
    advice = getattr(error, "advice", "")
    return _answer(502, "抖音平台没有完成请求", f"{error.message}。{advice}" if advice else error.message)


def _on_csrf(_error: CSRFError) -> Response:
    return _answer(400, *EXPIRED)


def bad_request(message: str) -> BadRequest:
    """A 400 whose sentence is shown; for `raise`."""
    error = BadRequest(message)
    error.shown = True  # type: ignore[attr-defined]
    return error


def init_app(app: Flask) -> None:
    """Headers on every answer, trusted hosts, pages for errors, `csp_nonce` in templates."""
    app.config["TRUSTED_HOSTS"] = trusted_hosts(app)
    app.jinja_env.globals["csp_nonce"] = csp_nonce
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(500, _on_unhandled)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(ScopeError, _on_scope_error)
    app.register_error_handler(Refused, _on_refused)
    app.register_error_handler(DouyinError, _on_douyin)
    app.register_error_handler(NoAnswer, _on_douyin)
