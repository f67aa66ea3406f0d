"""The two addresses Douyin pushes to, and the page a merchant's browser comes back to after consenting."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

import structlog
from flask import Blueprint, Flask, Response, make_response, redirect, render_template, request, url_for

from app.extensions import csrf, the_app
from app.operations.inbound.receive import LIMIT, NotStored, receive, refuse
from app.operations.onboarding import arrival

log = structlog.get_logger(__name__)
APPID = re.compile(r"[A-Za-z0-9_-]{1,64}")
bp = Blueprint("callbacks", __name__, url_prefix="/douyin")


@bp.post("/callback/<component_appid>/authorization", strict_slashes=False)
def authorization(component_appid: str) -> Response:
    """授权事件接收 URL."""
    return _receive(component_appid, "authorization")


@bp.post("/callback/<component_appid>/message", strict_slashes=False)
def message(component_appid: str) -> Response:
    """消息与事件接收 URL."""
    return _receive(component_appid, "message")


def _receive(component_appid: str, receiver: str) -> Response:
    """`success` only after the push is stored; every refusal is the same empty 403; not stored = 503."""
    remote = request.remote_addr or ""
    if not APPID.fullmatch(component_appid):
        component_appid = ""  # nobody's: refused like any other that is not ours, and never put into a statement
    raw = request.stream.read(LIMIT + 1)
    try:
        if len(raw) > LIMIT:
            refuse(the_app(), component_appid, receiver, remote, request.content_length or len(raw))
            return Response(status=403)
        if not receive(the_app(), component_appid, receiver, raw, remote):
            return Response(status=403)
    except NotStored as problem:
        log.warning("push_not_stored", receiver=receiver, error=type(problem.__cause__).__name__)
        return Response(status=503)
    return Response("success", mimetype="text/plain")


@bp.get("/authorized/<state>")
def authorized(state: str) -> Response:
    """Where the merchant's browser lands, without a log-in, with the authorisation code in the query."""
    if request.method != "GET":
        return Response(status=204)  # a look ahead (HEAD) must not use the link up
    state, code = _code(state)
    found = arrival.complete(the_app(), state, code)
    if found.waits and code:  # what is looked at again and again, and left open, has no code in its address
        page = make_response(redirect(url_for("callbacks.authorized", state=state), 303))
    else:
        page = make_response(render_template("authorized.html", outcome=found), found.status)
    page.headers["Cache-Control"] = "no-store"
    page.headers["Referrer-Policy"] = "no-referrer"
    return page


def _code(state: str) -> tuple[str, str]:
    """State and code. How Douyin joins its query is not documented: `&` may stand where `?` belongs."""
    state, _, rest = state.partition("&")
    joined = dict(parse_qsl(rest))
    code = request.args.get("authorization_code") or joined.get("authorization_code", "")
    return state[:512], code[:4096]


def register(app: Flask) -> None:
    """Attach the addresses. Pushes carry no CSRF token: their signature stands for it."""
    csrf.exempt(bp)
    app.register_blueprint(bp)
