"""What every answer carries (CSP and its kin), which hosts are answered at all, and the pages for errors."""

from __future__ import annotations

import logging
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnection
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, NotFound

from app.data.engine import is_busy, is_taken
from app.data.tenancy import ScopeError
from app.errors import DouyinError, NoAnswer, Refused
from app.extensions import appbuilder, db
from app.i18n.sentence import chained, said

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
    408: ("等待超时", "提交的内容没有及时传完，没有保存。请检查网络后重试。"),
    409: ("与已有记录重复", "有一项内容已被使用，刚才的请求没有保存。请返回上一页，换一个后重试。"),
    413: ("内容太大", "上传或提交的内容超过了上限，请缩小后重试。"),
    429: ("操作太频繁", "请稍后再试。"),
    503: ("系统繁忙", "很多人正在同时操作，刚才的请求没有完成，也没有保存。请稍等几秒后重试。"),
    500: ("系统出错", "问题已记录。请稍后重试；反馈时请附上编号。"),
}
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    429: "too_many_requests",
    500: "internal",
    503: "busy",
}
BUSY_SECONDS = 2
EXPIRED = ("页面已过期", "请返回上一页，刷新后重新提交。")


def csp_nonce() -> str:
    """This request's nonce for inline scripts."""
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(18)
    return str(g.csp_nonce)


def policy(nonce: str = "") -> str:
    """The content security policy; `nonce` is one more source of scripts.

    Pictures are ours: `data:` are the icons in our style sheets and the QR code of the two-step login.
    """
    return (
        f"default-src 'self'; script-src 'self'{nonce}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def fixed_headers(app: Flask) -> list[tuple[str, str]]:
    """What an answer carries that no request has a part in: static files'."""
    return [*FIXED.items(), ("Content-Security-Policy", policy()), *_transport(app)]


def _transport(app: Flask) -> list[tuple[str, str]]:
    secure = app.config["PUBLIC_URL"].startswith("https://")
    return [("Strict-Transport-Security", "max-age=31536000; includeSubDomains")] if secure else []


def _add_headers(response: Response) -> Response:
    nonce = f" 'nonce-{g.csp_nonce}'" if "csp_nonce" in g else ""
    for name, value in [*FIXED.items(), ("Content-Security-Policy", policy(nonce)), *_transport(current_app)]:
        response.headers.setdefault(name, value)
    kept = response.cache_control.immutable  # a picture, under an address that says what it shows
    if (g.get("principal") is not None or request.path == "/login/") and not kept:
        response.headers["Cache-Control"] = "no-store"
    return response


def trusted_hosts(app: Flask) -> list[str]:
    """The hosts that are answered, without ports: those configured, else the public one and this machine."""
    configured = list(app.config["TRUSTED_HOSTS"] or [])
    public = urlsplit(app.config["PUBLIC_URL"]).hostname
    return configured or list(dict.fromkeys([*([public] if public else []), *LOCAL_HOSTS]))


def wants_json() -> bool:
    """Whether a machine asked."""
    return request.path.startswith(("/api/", "/mp/")) or request.accept_mimetypes.best == "application/json"


def _answer(code: int, title: str, message: str, *, reference: str = "") -> Response:
    if wants_json():
        body = {"code": CODES.get(code, "error"), "message": f"{title}：{message}"} | (
            {"reference": reference} if reference else {}
        )
        answer = jsonify(body)
    elif "HX-Request" in request.headers:  # a part of a page asked: console.js shows the sentence
        words = [f"{said(title)}：{said(message)}", said(f"编号：{reference}") if reference else ""]
        answer = Response(" ".join(filter(None, words)), mimetype="text/plain")
    else:
        answer = Response(_page(code=code, title=title, message=message, reference=reference))
    answer.status_code = code
    return answer


def _page(**words: Any) -> str:
    """A fault inside the console's frame for who has logged in, bare for all others and when the frame fails too."""
    words |= {"back": _way_back(), "again": request.method == "GET" and words["code"] in {429, 500, 502, 503}}
    try:
        if current_user.is_authenticated:
            if "principal" not in g:  # refused before it was asked what the reader may see
                appbuilder().sm.before_request()
            return render_template("console/error.html", appbuilder=appbuilder(), **words)
    except Exception:  # whatever broke the page may break its frame: the bare page needs nothing
        log.warning("the frame of the page for %s could not be shown", words["code"], exc_info=True)
    return render_template("error.html", **words)


def _way_back() -> str:
    """The page of this site that the reader came from; empty when there is none but this one."""
    try:
        came = urlsplit(request.referrer or "")
    except ValueError:
        return ""
    path = "/" + came.path.lstrip("/\\")  # browsers take either for the start of another site's address
    here = request.method == "GET" and path == request.path
    if here or not came.netloc or came.netloc != request.headers.get("Host"):
        return ""
    return f"{path}?{came.query}" if came.query else path


def _on_http_error(error: HTTPException) -> Any:
    code = error.code or 500
    if code < 400 or error.response is not None:
        return error  # a redirect, or an answer that was made on purpose
    title, message = WORDS.get(code, WORDS[400 if code < 500 else 500])
    if isinstance(error, _Shown) and error.description:
        message = error.description
    answer = _answer(code, title, message)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After"}:
            answer.headers[name] = value
    return answer


def _on_database(error: DBAPIError | NoConnection) -> Response:
    """A database that is busy with others is no fault of ours: the same again, in a moment, may well succeed.

    Nor is a value that somebody else took a moment before, where the form itself did not ask or was too early.
    """
    if isinstance(error, IntegrityError) and is_taken(error):
        log.warning("a value is taken at %s %s", request.method, request.path)
        db.session.rollback()
        return _answer(409, *WORDS[409])
    if not is_busy(error):
        raise error  # a fault like any other
    log.warning("database busy at %s %s: %s", request.method, request.path, type(error).__name__)
    db.session.rollback()
    answer = _answer(503, *WORDS[503])
    answer.headers["Retry-After"] = str(BUSY_SECONDS)
    if request.method == "GET" and not wants_json() and "HX-Request" not in request.headers:
        answer.headers["Refresh"] = str(BUSY_SECONDS)
    return answer


def _on_unhandled(error: InternalServerError) -> Response:
    fault = error.original_exception
    # A busy database while the session was saved: no handler is asked then.
    if isinstance(fault, DBAPIError | NoConnection) and is_busy(fault):
        return _on_database(fault)
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
    return _answer(502, "抖音平台没有完成请求", chained([error.message, advice], "。") if advice else error.message)


def _on_csrf(_error: CSRFError) -> Response:
    return _answer(400, *EXPIRED)


class _Shown(BadRequest):
    """A 400 that says what is wrong in words of ours."""


def bad_request(message: str) -> BadRequest:
    """A 400 whose sentence is shown; for `raise`."""
    return _Shown(message)


def init_app(app: Flask) -> None:
    """Headers on every answer, trusted hosts, pages for errors, `csp_nonce` in templates."""
    app.config["TRUSTED_HOSTS"] = trusted_hosts(app)
    app.jinja_env.globals["csp_nonce"] = csp_nonce
    app.after_request(_add_headers)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(500, _on_unhandled)
    app.register_error_handler(DBAPIError, _on_database)
    app.register_error_handler(NoConnection, _on_database)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(ScopeError, _on_scope_error)
    app.register_error_handler(Refused, _on_refused)
    app.register_error_handler(DouyinError, _on_douyin)
    app.register_error_handler(NoAnswer, _on_douyin)
