"""webhook: the per-app event address, its secret and its subscriptions."""

from __future__ import annotations

from app.douyin.contract import DOCS, Call, OpenIntEnum, PermissionSet, Reply, Route, Token, TokenText, WebAddress

_PAGES = f"{DOCS}/auth-app-manage/develop"
_ROOT = "/api/platform/v1/webhook"


class Subscription(OpenIntEnum):
    """Whether an event is pushed."""

    OFF = 0
    ON = 1


class WebhookSecret(Reply):
    secret: TokenText


class WebhookInfo(Reply):
    secret: str = ""
    callback_url: WebAddress = ""


class WebhookEvent(Reply):
    event: str
    name_cn: str = ""
    desc: str = ""
    status: Subscription


class WebhookEvents(Reply):
    webhook_info: WebhookInfo | None = None
    event_list: tuple[WebhookEvent, ...] = ()


class EventStatus(Reply):
    """What `WebhookUpdateEvents` wants to be so."""

    event: str
    status: Subscription


class WebhookResetSecret(Call[WebhookSecret]):
    """启动webhook_secret。A GET that replaces the secret each time: never sent twice."""

    operation_id = "webhook_reset_secret"
    route = Route(
        "GET",
        f"{_ROOT}/reset_secret/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        doc=f"{_PAGES}/webhook-reset-secret",
    )


class WebhookSaveCallbackUrl(Call[None]):
    """保存webhook回调地址。The platform posts a challenge to the address first."""

    operation_id = "webhook_save_callback_url"
    route = Route(
        "POST",
        f"{_ROOT}/save_callback_url/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        doc=f"{_PAGES}/webhook-save-callbackurl",
    )
    callback_url: str


class WebhookListEvents(Call[WebhookEvents]):
    """获取webhook事件列表。"""

    operation_id = "webhook_list_events"
    route = Route(
        "GET",
        f"{_ROOT}/event_status_list/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        again="read",
        doc=f"{_PAGES}/webhook-get-eventlist",
    )


class WebhookUpdateEvents(Call[None]):
    """更新webhook事件状态。"""

    operation_id = "webhook_update_events"
    route = Route(
        "POST",
        f"{_ROOT}/update_event_status/",
        Token.AUTHORIZER,
        PermissionSet.DEVELOP,
        doc=f"{_PAGES}/webhook-update-eventstatus",
    )
    event_list: tuple[EventStatus, ...]
