"""授权: tickets, component and authorizer tokens, links, codes, the list of authorised apps."""

from __future__ import annotations

import time
from typing import Any

from .calls import Call, Fields, handles
from .errors import Fault
from .simulation import LIFETIME, Platform
from .state import App, Kind, ThirdParty

TICKET_EVERY = 600
GRACE = 300
PERMISSIONS = {
    1: ("开发管理权限", "开发与配置"),
    2: ("基本信息设置权限", "资料维护"),
    3: ("运营管理权限", "运营与能力申请"),
    4: ("数据分析权限", "数据查询"),
    5: ("广告管理权限", "广告管理"),
    6: ("支付服务权限", "支付服务"),
    7: ("流量主权限", "流量主"),
    8: ("小程序推广计划-任务管理权限", "推广计划"),
}
_SPECIAL_A_DAY = 50
_CHINA = 8 * 3600


def beijing(moment: float) -> str:
    """Unix seconds as the platform writes them in events: YYYY-MM-DD HH:MM:SS, Beijing time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment + _CHINA))


def event(platform: Platform, app: App, name: str, **fields: Any) -> Fields:
    """An event about a mini-program, without the fields of its kind."""
    base = {"AppId": app.appid, "TpAppId": app.authorized_to, "EventTime": beijing(platform.now())}
    return {**base, "Event": name, **fields}


# tickets


def ticket_due(platform: Platform, appid: str, when: float) -> None:
    """Due every ten minutes for each third-party app, and earlier when something asked for it."""
    owner = platform.thirdparty(appid)
    if owner and owner.next_ticket_at <= when:
        push_ticket(platform, owner)


def push_ticket(platform: Platform, owner: ThirdParty) -> str:
    """A new ticket, pushed now; the next one follows ten minutes later."""
    owner.next_ticket_at = platform.now() + TICKET_EVERY
    platform.later(owner.next_ticket_at, "ticket", owner.appid)
    text = platform.issue(Kind.TICKET, owner.appid)
    platform.pusher.ticket(owner, text)
    platform.prune()
    return text


# component tokens


@handles("get_component_access_token", "get_component_access_token_v1")
def component_token(call: Call) -> Fields:
    kind = Kind.COMPONENT_V1 if call.operation.id.endswith("_v1") else Kind.COMPONENT_V2
    platform = call.platform
    owner = platform.thirdparty(call.query["component_appid"])
    if owner is None:
        raise Fault(40003 if kind is Kind.COMPONENT_V1 else 40001)
    ticket = platform.alive(call.query["component_ticket"], Kind.TICKET)
    if owner.secret != call.query["component_appsecret"] or ticket is None or ticket.thirdparty != owner.appid:
        raise Fault(40001)
    text = platform.issue(kind, owner.appid)
    _supersede(platform, owner.component_v1 if kind is Kind.COMPONENT_V1 else owner.component_v2, text)
    return {"component_access_token": text, "expires_in": LIFETIME[kind]}


def _supersede(platform: Platform, newest_first: list[str], text: str) -> None:
    """The previous token keeps five minutes; an older one is gone."""
    if newest_first:
        previous = platform.world.tokens.get(newest_first[0])
        if previous:
            previous.expires_at = min(previous.expires_at, platform.now() + GRACE)
    newest_first.insert(0, text)
    for old in newest_first[2:]:
        platform.drop(old)
    del newest_first[2:]


# links


def _special(call: Call) -> None:
    """Links and codes that create a mini-program: a name is needed, 50 a day (Beijing days)."""
    owner, day = call.thirdparty, int((call.platform.now() + _CHINA) // 86400)
    if not call.body.get("app_name"):
        raise Fault(40059)
    icon = call.body.get("app_icon")
    if icon and owner.materials.get(icon) != 2:
        raise Fault(40001, "app_icon: not a path of upload_material with material_type 2")
    count = owner.special_today[1] if owner.special_today[0] == day else 0
    if count >= _SPECIAL_A_DAY:
        raise Fault(28003017)
    owner.special_today = [day, count + 1]


def _new_app_wish(call: Call) -> dict[str, str]:
    return {"app_name": call.body.get("app_name", ""), "app_icon": call.body.get("app_icon", "")}


@handles("get_pre_auth_code", "get_pre_auth_code_v1", "create_pre_auth_code_v1_old")
def pre_auth_code(call: Call) -> Fields:
    kind = call.body.get("pre_auth_code_type", 1)
    if kind == 2:
        _special(call)
    lifetime = 86_400 if kind == 2 else 600
    detail = {"type": kind, **_new_app_wish(call)}
    text = call.platform.issue(Kind.PRE_AUTH, call.thirdparty.appid, lifetime=lifetime, detail=detail)
    data = {"pre_auth_code": text, "expires_in": lifetime}
    return data if call.is_v1 else {"data": data}


@handles("gen_auth_link", "gen_auth_link_v1")
def auth_link(call: Call) -> Fields:
    kind = call.body.get("link_type", 1)
    if kind == 2:
        _special(call)
    redirect = call.body.get("redirect_uri", "")
    if redirect and not redirect.startswith(("http://", "https://")):
        raise Fault(40001)
    wish = _new_app_wish(call)
    detail = {"type": kind, "redirect_uri": redirect, **wish}
    text = call.platform.issue(Kind.LINK, call.thirdparty.appid, detail=detail)
    link = f"{call.platform.base_url}/platform_api/v1/developer_platform/auth/link?x={text}"
    return {"link": link} if call.is_v1 else {"data": {"link": link}}


# authorizer tokens


@handles("get_authorizer_access_token", "get_authorizer_access_token_v1")
def authorizer_token(call: Call) -> Fields:
    grant = call.query["grant_type"]
    if grant == "app_to_tp_authorization_code":
        data = _exchange(call)
    elif grant == "app_to_tp_refresh_token":
        data = _refresh(call)
    else:
        raise Fault(40040)
    return data if call.is_v1 else {"data": data}


def _needed(call: Call, name: str) -> str:
    text: str = call.query.get(name, "")
    if not text:
        raise Fault(40002 if call.is_v1 else 28001007)
    return text


def _exchange(call: Call) -> Fields:
    platform, text = call.platform, _needed(call, "authorization_code")
    code = platform.alive(text, Kind.CODE)
    if code is None or code.thirdparty != call.thirdparty.appid:
        raise Fault(40018)
    app = platform.app(code.appid)
    if app is None:
        raise Fault(40004)
    platform.drop(text)
    app.effects.exchange += 1
    data = _new_pair(call, app)
    return {**data, "authorizer_appid": app.appid, "authorize_permission": permission_rows(app)}


def permission_rows(app: App) -> list[Fields]:
    rows = [(number, *PERMISSIONS[number]) for number in app.permissions]
    return [{"id": number, "category": name, "description": text} for number, name, text in rows]


def _refresh(call: Call) -> Fields:
    platform, text = call.platform, _needed(call, "authorizer_refresh_token")
    token = platform.alive(text, Kind.REFRESH_V1 if call.is_v1 else Kind.REFRESH_V2)
    if token is None or token.thirdparty != call.thirdparty.appid:
        raise Fault(40021)
    app = platform.app(token.appid)
    if app is None:
        raise Fault(40004 if call.is_v1 else 40021)
    app.effects.refresh += 1
    data = _new_pair(call, app)
    if call.is_v1:
        return data
    return {**data, "authorizer_appid": app.appid, "authorize_permission": permission_rows(app)}


def _new_pair(call: Call, app: App) -> Fields:
    """New tokens of the call's generation. The old refresh token ends, in V1 the old access token too."""
    platform, owner = call.platform, call.thirdparty.appid
    access, refresh = Kind.AUTHORIZER_V2, Kind.REFRESH_V2
    ended: tuple[Kind, ...] = (Kind.REFRESH_V2,)
    if call.is_v1:
        access, refresh = Kind.AUTHORIZER_V1, Kind.REFRESH_V1
        ended = (access, refresh)
    for text in platform.tokens_of(app.appid, *ended):
        platform.drop(text)
    pair: Fields = {
        "authorizer_access_token": platform.issue(access, owner, appid=app.appid),
        "expires_in": LIFETIME[access],
        "authorizer_refresh_token": platform.issue(refresh, owner, appid=app.appid),
        "refresh_expires_in": LIFETIME[refresh],
    }
    if platform.world.settings.unpaired_next > 0:
        platform.world.settings.unpaired_next -= 1
        del pair["authorizer_refresh_token"]
    return pair


@handles("retrieve_auth_code", "retrieve_auth_code_v1")
def retrieve(call: Call) -> Fields:
    fields = call.query if call.is_v1 else call.body
    platform = call.platform
    app = platform.app(fields["authorization_appid"])
    if app is None:
        raise Fault(40004)
    if app.authorized_to != call.thirdparty.appid:
        raise Fault(40022)
    app.effects.retrieve += 1
    code = platform.issue(Kind.CODE, call.thirdparty.appid, appid=app.appid)
    told = event(platform, app, "UPDATE_AUTHORIZED", AuthorizationCode=code, AuthorizationCodeExpiresIn=3600)
    platform.pusher.event(call.thirdparty, told, delay=0.3)
    data = {"authorization_code": code, "expires_in": 3600}
    return data if call.is_v1 else {"data": data}


@handles("list_auth_apps", "list_auth_apps_v1")
def list_auth_apps(call: Call) -> Fields:
    owner, page, size = call.thirdparty.appid, call.query["page"], call.query["size"]
    if page < 1 or size < 1:
        raise Fault(40001)
    apps = [app for app in call.platform.world.apps.values() if app.authorized_to == owner and not app.deleted]
    apps.sort(key=lambda app: (app.auth_time, app.appid))
    rows = apps[(page - 1) * size : page * size]
    if call.is_v1:
        listed = [{"authAppId": app.appid, "authTime": app.auth_time} for app in rows]
        return {"data": {"authAppList": listed, "total": len(apps)}}
    listed = [{"auth_appid": app.appid, "auth_time": app.auth_time} for app in rows]
    return {"data": {"auth_app_list": listed, "total": len(apps)}}


# what a merchant does


def authorize(platform: Platform, owner: ThirdParty, app: App, permissions: list[int]) -> str:
    """The merchant agreed: link the app and give the code (also to be pushed by `tell_authorized`)."""
    app.authorized_to = owner.appid
    app.permissions = sorted({*app.permissions, *permissions} & set(PERMISSIONS))
    app.auth_time = int(platform.now())
    platform.changed = True
    return platform.issue(Kind.CODE, owner.appid, appid=app.appid)


def tell_authorized(platform: Platform, app: App, code: str, *, delay: float, created: Fields | None = None) -> None:
    owner = platform.world.thirdparties[app.authorized_to]
    told = event(
        platform,
        app,
        "AUTHORIZED",
        AuthorizationCode=code,
        AuthorizationCodeExpiresIn=3600,
        **(created or {}),
    )
    platform.pusher.event(owner, told, delay=delay)


def revoke(platform: Platform, app: App) -> None:
    """The merchant ends the authorisation: all tokens die, UNAUTHORIZED is pushed."""
    owner = platform.thirdparty(app.authorized_to)
    told = event(platform, app, "UNAUTHORIZED")
    for text in platform.tokens_of(app.appid):
        platform.drop(text)
    app.authorized_to, app.permissions, app.auth_time = "", [], 0
    platform.changed = True
    if owner:
        platform.pusher.event(owner, told)
