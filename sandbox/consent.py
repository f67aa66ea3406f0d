"""The merchant's consent page (授权页): choose a mini-program, tick permission sets, confirm or refuse."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .authorization import PERMISSIONS, authorize, tell_authorized
from .calls import Call, Fields, Raw, handles
from .consent_page import choose_page, done_page, failed_page, refused_page
from .errors import Fault
from .gateway import Request
from .seed import new_app
from .simulation import Platform
from .state import App, Kind, Subject, ThirdParty, Token

LINK_PATH = "/platform_api/v1/developer_platform/auth/link"
PAGE_PATH = "/mappconsole/tp/authorization"
_SHOWN = 50
_PUSH_DELAY = 0.3
_UNVERIFIED = "该小程序的主体尚未完成认证，请先完成主体认证再授权"
_MESSAGES = {
    40001: "请求参数有误",
    40003: "第三方小程序应用不存在",
    40004: "小程序不存在",
    40011: "第三方小程序应用未设置授权域名",
    40012: "授权链接（预授权码）已过期或已使用",
    40013: "回调地址的域名无法解析",
    40014: "请从授权域名的页面进入授权页",
    40016: "回调地址的域名与授权域名不一致",
    40019: "该小程序已授权给其他第三方小程序应用，或是开发小程序，不能授权",
}


@dataclass(slots=True)
class Invitation:
    """A valid link or pre-auth code: who invites, and where the browser goes afterwards."""

    text: str
    token: Token
    owner: ThirdParty
    redirect_uri: str

    @property
    def creates(self) -> bool:
        return bool(self.token.detail.get("type") == 2)


def say(fault: Fault) -> str:
    return fault.message or _MESSAGES.get(fault.code, "授权失败")


def invitation(platform: Platform, text: str, *kinds: Kind) -> Invitation:
    token = platform.alive(text, *kinds)
    if token is None:
        raise Fault(40012)
    owner = platform.thirdparty(token.thirdparty)
    if owner is None:
        raise Fault(40003)
    redirect_uri: str = token.detail.get("redirect_uri", "")
    if redirect_uri:
        check_domain(owner, redirect_uri)
    return Invitation(text, token, owner, redirect_uri)


def check_domain(owner: ThirdParty, redirect_uri: str) -> None:
    """redirect_uri's host (with its port) must be the 授权域名."""
    if not owner.auth_domain:
        raise Fault(40011)
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Fault(40013)
    if parts.netloc != owner.auth_domain:
        raise Fault(40016)


def candidates(platform: Platform, search: str = "") -> tuple[list[App], int]:
    """Mini-programs a merchant may see on the page (the first fifty), and how many match in all."""
    found = [
        app
        for app in platform.world.apps.values()
        if not app.deleted and not app.template_of and (search in app.name or search in app.appid)
    ]
    return found[:_SHOWN], len(found)


def check_app(platform: Platform, owner: ThirdParty, appid: str) -> App:
    """The app, if it may be authorised: verified, no template, not linked to another third-party app."""
    app = platform.app(appid)
    if app is None:
        raise Fault(40004)
    if app.template_of or app.authorized_to not in ("", owner.appid):
        raise Fault(40019)
    if app.subject is not Subject.VERIFIED:
        raise Fault(40008, _UNVERIFIED)
    return app


def confirm(
    platform: Platform, invited: Invitation, appid: str, permissions: list[int], *, delay: float
) -> tuple[App, str]:
    """What the merchant's confirmation does. (app, address of the redirect or "")."""
    created: Fields | None = None
    if invited.creates:
        app, created = _create(platform, invited)
    else:
        app = check_app(platform, invited.owner, appid)
    code = authorize(platform, invited.owner, app, permissions)
    platform.drop(invited.text)
    tell_authorized(platform, app, code, delay=delay, created=created)
    return app, joined(invited.redirect_uri, authorization_code=code, expires_in="3600")


def _create(platform: Platform, invited: Invitation) -> tuple[App, Fields]:
    name = invited.token.detail["app_name"]
    number = platform.number("new app", digits=2)
    app = new_app(platform, number, name=name, subject_name=f"{name}有限公司")
    return app, {
        "AppName": name,
        "AppIcon": platform.absolute(app.icon),
        "CompanyName": app.subject_name,
        "AppSuperAdminEmail": "a***@example.com",
        "AppSuperAdminMobile": "138****0000",
    }


def joined(address: str, **fields: str) -> str:
    """The address with more query parameters; what was there stays."""
    if not address:
        return ""
    parts = urlsplit(address)
    query = parse_qsl(parts.query, keep_blank_values=True) + list(fields.items())
    return urlunsplit(parts._replace(query=urlencode(query)))


# pages


def serve_link(platform: Platform, request: Request) -> Raw:
    """GET and POST of a link made by gen_link."""
    try:
        invited = invitation(platform, request.query.get("x", ""), Kind.LINK)
        return _page(platform, request, invited)
    except Fault as fault:
        return _html(failed_page(fault.code, say(fault)))


@handles("open_authorize_page")
def open_page(call: Call) -> Raw:
    """The hand-made link: pre_auth_code and redirect_uri in the query, opened from a page of the 授权域名."""
    request = Request("GET", PAGE_PATH, urlencode(call.query), call.headers, b"")
    return serve_page(call.platform, request)


def serve_page(platform: Platform, request: Request) -> Raw:
    try:
        return _page(platform, request, _hand_made(platform, request))
    except Fault as fault:
        return _html(failed_page(fault.code, say(fault)))


def _hand_made(platform: Platform, request: Request) -> Invitation:
    query = request.query
    owner = platform.thirdparty(query.get("component_appid", ""))
    if owner is None:
        raise Fault(40003)
    check_domain(owner, query.get("redirect_uri", ""))
    came_from = urlsplit(request.headers.get("referer", "")).netloc
    own = urlsplit(platform.base_url).netloc
    if came_from != owner.auth_domain and not (request.method == "POST" and came_from in ("", own)):
        raise Fault(40014)
    invited = invitation(platform, query.get("pre_auth_code", ""), Kind.PRE_AUTH)
    if invited.owner is not owner:
        raise Fault(40012)
    invited.redirect_uri = query["redirect_uri"]
    return invited


def _page(platform: Platform, request: Request, invited: Invitation) -> Raw:
    if request.method == "POST":
        return _decided(platform, request, invited)
    apps, total = candidates(platform, request.query.get("q", ""))
    wish = invited.token.detail.get("app_name", "") if invited.creates else ""
    return _html(
        choose_page(
            owner=invited.owner.name,
            apps=[] if invited.creates else apps,
            total=total,
            query=request.query,
            path=request.path,
            permissions=PERMISSIONS,
            wish=wish,
        )
    )


def _decided(platform: Platform, request: Request, invited: Invitation) -> Raw:
    """The form came back. Chance decides whether the push or the browser is first at the console."""
    pairs = parse_qsl(request.body.decode("utf-8", "replace"))
    form = dict(pairs)
    again = f"{request.path}?{request.query_text}"
    if form.get("decision") != "confirm":
        return _html(refused_page(again))
    permissions = [int(value) for name, value in pairs if name == "permissions" and value.isdigit()]
    push_first = platform.chance(0.5, "push-first")
    delay = 0.0 if push_first else _PUSH_DELAY
    try:
        app, address = confirm(platform, invited, form.get("appid", ""), permissions, delay=delay)
    except Fault as fault:
        return _html(failed_page(fault.code, say(fault), again))
    if not address:
        return _html(done_page(app.name))
    pause = _PUSH_DELAY if push_first else 0.0
    return Raw("text/html", b"", status=302, headers=(("Location", address),), delay=pause)


def _html(text: str) -> Raw:
    headers = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
    return Raw("text/html", text.encode(), headers=headers)
