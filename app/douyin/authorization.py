"""授权: the third-party app's own token, authorisation links, the tokens of the apps that authorised it."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated
from urllib.parse import urlencode

import msgspec

from app.douyin.contract import (
    CLIENT_TOKEN,
    DOCS,
    FLAT,
    STRICT,
    Again,
    AppId,
    Call,
    Host,
    PermissionSet,
    Place,
    Reply,
    Route,
    Seconds,
    Token,
    TokenText,
    UnixSeconds,
    WebAddress,
    Wire,
)

_PAGES = f"{DOCS}/authorization"
_V1_TOKEN_PAGE = "https://microapp.bytedance.com/docs/zh-CN/mini-app/thirdparty/API/authorization/access/"
_CLIENT_TOKEN_PAGE = (
    "https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/develop/server"
    "/interface-request-credential/non-user-authorization/get-client_token"
)

_TEN_MINUTES, _TWO_HOURS, _THIRTY_DAYS = 600, 7_200, 2_592_000


class GrantType(StrEnum):
    """What an authorizer token is asked with."""

    CODE = "app_to_tp_authorization_code"
    REFRESH = "app_to_tp_refresh_token"


class LinkType(IntEnum):
    """What a link or pre-authorisation code is for: an app that exists, or one created for the merchant."""

    AUTHORIZE = 1
    CREATE = 2


class ComponentToken(Reply):
    component_access_token: TokenText
    expires_in: Seconds = _TWO_HOURS


class PreAuthCode(Reply):
    pre_auth_code: TokenText
    expires_in: Seconds = _TEN_MINUTES


class AuthLink(Reply):
    link: WebAddress


class Permission(Reply):
    """One granted permission set (权限集)."""

    id: int
    category: str = ""
    description: str = ""


class AuthorizerTokens(Reply):
    """Both tokens of an authorised app. The refresh token is single use: store it before anything else.

    None where the answer has no readable one: the access token is good all the same, and 找回授权码 gives the next.
    """

    authorizer_access_token: TokenText
    authorizer_refresh_token: TokenText | None = None
    expires_in: Seconds = _TWO_HOURS
    refresh_expires_in: Seconds = _THIRTY_DAYS
    authorizer_appid: Annotated[AppId | None, STRICT] = None
    authorize_permission: tuple[Permission, ...] | None = None

    @property
    def permissions(self) -> frozenset[int] | None:
        """The ids of the granted sets; None when the answer does not say (the older refresh answer)."""
        granted = self.authorize_permission
        return None if granted is None else frozenset(item.id for item in granted)


class AuthCode(Reply):
    authorization_code: TokenText
    expires_in: Seconds = 3_600


class AuthApp(Reply):
    auth_appid: AppId
    auth_time: UnixSeconds = 0


class AuthAppList(Reply):
    auth_app_list: Annotated[tuple[AuthApp, ...], STRICT] = ()
    total: Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class ClientAccessToken(Reply):
    access_token: TokenText
    expires_in: Seconds = _TWO_HOURS


class GetComponentAccessToken(Call[ComponentToken]):
    """获取第三方小程序接口调用凭据V2。Never sent again: a new token leaves the previous one five minutes."""

    operation_id = "get_component_access_token"
    route = Route(
        "GET",
        "/openapi/v2/auth/tp/token/",
        Token.NONE,
        doc=f"{_PAGES}/component-access-token-v2",
        envelope=FLAT,
    )
    about_platform = True
    component_appid: str
    component_appsecret: str
    component_ticket: str


class GetPreAuthCode(Call[PreAuthCode]):
    """获取预授权码V2。Lives 10 minutes, or 24 hours for an app to be created (those: 50 a day)."""

    operation_id = "get_pre_auth_code"
    route = Route("POST", "/api/tpapp/v3/auth/get_pre_auth_code/", Token.COMPONENT, doc=f"{_PAGES}/preauthcode-v2")
    pre_auth_code_type: LinkType = LinkType.AUTHORIZE
    app_name: str | None = None
    app_icon: str | None = None


class GenAuthLink(Call[AuthLink]):
    """直接获取授权链接V2。Lives 24 hours, dies once used; `redirect_uri` must be below the 授权域名."""

    operation_id = "gen_auth_link"
    route = Route(
        "POST", "/api/tpapp/v3/auth/gen_link/", Token.COMPONENT, again="harmless", doc=f"{_PAGES}/gen-link-v2"
    )
    link_type: LinkType = LinkType.AUTHORIZE
    app_name: str | None = None
    app_icon: str | None = None
    redirect_uri: str | None = None

    @property
    def again(self) -> Again:
        """A link more is harmless, but of those that create an app there are 50 a day."""
        return "never" if self.link_type is LinkType.CREATE else super().again


class GetAuthorizerAccessToken(Call[AuthorizerTokens]):
    """获取/刷新授权小程序接口调用凭据V2。Code and refresh token are single use."""

    operation_id = "get_authorizer_access_token"
    route = Route(
        "GET",
        "/api/tpapp/v2/auth/get_auth_token/",
        Token.COMPONENT,
        doc=f"{_PAGES}/authorizer-access-token-v2",
    )
    grant_type: GrantType
    authorization_code: str | None = None
    authorizer_refresh_token: str | None = None


class RetrieveAuthCode(Call[AuthCode]):
    """找回授权码V2。Only while the authorisation exists; UPDATE_AUTHORIZED is pushed as well."""

    operation_id = "retrieve_auth_code"
    route = Route(
        "POST",
        "/api/tpapp/v2/auth/retrieve_auth_code/",
        Token.COMPONENT,
        doc=f"{_PAGES}/find-authorization-code-v2",
    )
    authorization_appid: str


class ListAuthApps(Call[AuthAppList]):
    """获取授权小程序列表V2。`size` at most 50; `page` starts with 1."""

    operation_id = "list_auth_apps"
    route = Route(
        "GET",
        "/api/tpapp/v2/auth/get_auth_app_list/",
        Token.COMPONENT,
        again="read",
        doc=f"{_PAGES}/auth-app-list-v2",
    )
    page: int = 1
    size: int = 50


class GetComponentAccessTokenV1(Call[ComponentToken]):
    """获取第三方小程序接口调用凭据。The older generation's token, for the calls that have no newer form."""

    operation_id = "get_component_access_token_v1"
    route = Route("GET", "/openapi/v1/auth/tp/token", Token.NONE, doc=_V1_TOKEN_PAGE, host=Host.MICROAPP, envelope=FLAT)
    about_platform = True
    component_appid: str
    component_appsecret: str
    component_ticket: str


class GetAuthorizerAccessTokenV1(Call[AuthorizerTokens]):
    """获取/刷新授权小程序接口调用凭据。The refresh answer names neither the app nor its permission sets."""

    operation_id = "get_authorizer_access_token_v1"
    route = Route(
        "GET",
        "/openapi/v1/oauth/token",
        Token.COMPONENT_V1,
        doc=f"{_PAGES}/authorizer-access-token",
        host=Host.MICROAPP,
        envelope=FLAT,
    )
    grant_type: GrantType
    authorization_code: str | None = None
    authorizer_refresh_token: str | None = None


class RetrieveAuthCodeV1(Call[AuthCode]):
    """找回授权码。Everything travels in the query; the body is empty."""

    operation_id = "retrieve_auth_code_v1"
    route = Route(
        "POST",
        "/openapi/v1/auth/retrieve",
        Token.COMPONENT_V1,
        doc=f"{_PAGES}/find-authorization-code-v2",
        host=Host.MICROAPP,
        envelope=FLAT,
    )
    authorization_appid: Annotated[str, Wire(place=Place.QUERY)]


class ClientToken(Call[ClientAccessToken]):
    """获取 client_token。Key = the merchant's appid, secret = its authorizer token (newer generation)."""

    operation_id = "client_token"
    route = Route(
        "POST",
        "/oauth/client_token/",
        Token.NONE,
        PermissionSet.DEVELOP,
        doc=_CLIENT_TOKEN_PAGE,
        envelope=CLIENT_TOKEN,
    )
    client_key: str
    client_secret: str
    grant_type: str = "client_credential"


def authorize_page_url(microapp_url: str, *, component_appid: str, pre_auth_code: str, redirect_uri: str) -> str:
    """手动构造授权链接: the page to send a browser to, from a page on the 授权域名. It is no API."""
    query = urlencode(
        {"component_appid": component_appid, "pre_auth_code": pre_auth_code, "redirect_uri": redirect_uri}
    )
    return f"{microapp_url.rstrip('/')}/mappconsole/tp/authorization?{query}"
