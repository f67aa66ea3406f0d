"""推送: every event the platform pushes, as a typed message; `parse` is the way in, after `crypto`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import msgspec

from app.douyin.answer import without_nulls
from app.douyin.contract import AppId, OpenIntEnum, Reply, Seconds, TokenText, WebAddress
from app.douyin.errors import clean
from app.douyin.lenient import Unfit, fit

_BEIJING = timezone(timedelta(hours=8))
# The first years of the calendar cannot be moved to another time zone at all.
_FIRST_YEAR = 2000
_UNIX = re.compile(r"([1-9][0-9]{9})([0-9]{3})?")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class MalformedEvent(ValueError):
    """A known event whose content does not fit the contract; the text holds no value of it."""


class Verdict(OpenIntEnum):
    """Outcome of a review (审核结果)."""

    REJECTED = 0
    PASSED = 1
    CLOSED = 2


class CapacityState(OpenIntEnum):
    """State of an ability (能力) after an application."""

    APPLYING = 1
    GRANTED = 2
    REFUSED = 3
    CLOSED = 4
    BANNED = 5
    CAN_APPLY = 6
    CANNOT_APPLY = 7


class CategoryState(OpenIntEnum):
    """Outcome of publishing a category (类目发布)."""

    PASSED = 2
    REJECTED = 3


class InboundMessage(Reply):
    """Any event. `app_id` is the authorised app, None where the event is not about one.

    `holder` is the object inside the event that has the content; its fields stand beside the others here.
    """

    name: ClassVar[str] = ""
    holder: ClassVar[str | None] = None

    event: str
    # By a factory: a plain default would be inherited by the events that must have it.
    app_id: AppId | None = field(default_factory=lambda: None)
    tp_app_id: AppId | None = None
    event_time: str | None = None

    def __init_subclass__(cls, *, name: str = "", holder: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name, cls.holder = name, holder
        if name:
            MESSAGES[name] = cls

    @property
    def at(self) -> datetime | None:
        """When it happened, UTC; None when the event does not say or says it unreadably."""
        try:
            return beijing_time(self.event_time or "")
        except ValueError:
            return None


# The value of `Event` -> the message's class.
MESSAGES: dict[str, type[InboundMessage]] = {}


class UnknownEvent(InboundMessage):
    """An event of no known name: to be acknowledged and kept."""


class ComponentTicket(InboundMessage, name="PUSH"):
    """接收 component_ticket。Every 10 minutes; valid 3 hours."""

    ticket: TokenText
    create_time: str | None = None

    @property
    def at(self) -> datetime | None:
        try:
            return beijing_time(self.create_time or "")
        except ValueError:
            return None


class Authorized(InboundMessage, name="AUTHORIZED"):
    """授权成功通知。The last five only for an app created for the merchant."""

    app_id: AppId
    authorization_code: TokenText
    authorization_code_expires_in: Seconds = 3_600
    app_name: str = ""
    app_icon: WebAddress = ""
    company_name: str = ""
    app_super_admin_email: str = ""
    app_super_admin_mobile: str = ""


class Unauthorized(InboundMessage, name="UNAUTHORIZED"):
    """授权解除通知。"""

    app_id: AppId


class UpdateAuthorized(InboundMessage, name="UPDATE_AUTHORIZED"):
    """授权码找回通知。"""

    app_id: AppId
    authorization_code: TokenText
    authorization_code_expires_in: Seconds = 3_600


class SettleApplyResult(InboundMessage, name="SETTLE_APPLY"):
    """入驻主体审核结果通知。`apply_status`: success or fail."""

    apply_id: str = ""
    apply_status: str
    verify_url: WebAddress = ""
    fail_reason: str = ""


class SettleVerifyResult(InboundMessage, name="SETTLE_VERIFY"):
    """对公认证结果通知。`verify_status`: success or fail."""

    apply_id: str = ""
    verify_status: str
    fail_reason: str = ""


class ModifyGuide(Reply):
    name: str = ""
    link: WebAddress = ""


class AuditDetail(Reply):
    reason: str = ""
    modify_guide: ModifyGuide | None = None
    detail_file: WebAddress = ""


class AuditResult(Reply):
    """The audit's outcome on one host (宿主端)."""

    host_name: str = ""
    status: Verdict
    reason: tuple[str, ...] = ()
    audit_detail: tuple[AuditDetail, ...] = ()


class PackageAudit(InboundMessage, name="PACKAGE_AUDIT"):
    """代码审核结果通知。Names no version: read the versions back."""

    app_id: AppId
    audit_results: tuple[AuditResult, ...]


class ModifyAppName(InboundMessage, name="MODIFY_APP_NAME", holder="modify_app_name_results"):
    """修改名称审核结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""
    advice: str = ""


class AppNameReset(InboundMessage, name="APP_NAME_RESET_NOTIFICATION"):
    """名称重置通知。After 30 days without a submitted version."""

    app_id: AppId
    app_name_reset_notification: str = ""


class ModifyAppIntro(InboundMessage, name="MODIFY_APP_INTRO", holder="modify_app_intro_results"):
    """修改简介审核结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""


class ModifyAppIcon(InboundMessage, name="MODIFY_APP_ICON", holder="modify_app_icon_results"):
    """修改图标审核结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""


class CategoryResult(Reply):
    """`category`: ids joined by ','; `category_name`: names joined by '-'."""

    category: str = ""
    category_name: str = ""
    status: Verdict
    reason: str = ""


class ModifyAppCategory(InboundMessage, name="MODIFY_APP_CATEGORY"):
    """服务类目审核结果。"""

    app_id: AppId
    modify_app_category_results: tuple[CategoryResult, ...]


class AuditCategory(Reply):
    category_id: str = ""
    category_name: str = ""


class PublishAppCategory(InboundMessage, name="PUBLISH_APP_CATEGORY_AUDIT_RESULT", holder="event_content"):
    """类目发布审核结果。`audit_reason` is JSON text."""

    app_id: AppId
    audit_state: CategoryState
    audit_categories: tuple[AuditCategory, ...] = ()
    audit_reason: str = ""


class ApplyVideo(InboundMessage, name="APPLY_VIDEO_CAPABILITY", holder="apply_video_capability_results"):
    """短视频挂载能力申请结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""


class ApplyLive(InboundMessage, name="APPLY_LIVE_CAPABILITY", holder="apply_live_capability_results"):
    """抖音直播组件申请结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""


class ApplyPhoneNumber(
    InboundMessage, name="APPLY_PHONE_NUMBER_CAPABILITY", holder="apply_phone_number_capability_results"
):
    """获取手机号能力申请结果。"""

    app_id: AppId
    status: Verdict
    reason: str = ""


class ApplyCapacity(InboundMessage, name="APPLY_CAPACITY", holder="event_content"):
    """能力申请审核结果(新)。"""

    app_id: AppId
    capacity_key: str = ""
    status: CapacityState
    reason: str = ""


class ApplyShareTemplate(InboundMessage, name="APPLY_SHARE_TEMPLATE", holder="apply_share_template_results"):
    """分享模板审核结果。`reason` is the JSON text of an array."""

    app_id: AppId
    template_id: str = ""
    status: Verdict
    reason: str = ""


class AliasAudit(InboundMessage, name="ALIAS_AUDIT_RESULT", holder="event_content"):
    """小程序别名审核结果。The platform does not say what its `status` numbers mean."""

    app_id: AppId
    alias: str = ""
    status: int
    reason: str = ""


class SearchTagAudit(InboundMessage, name="SEARCH_TAG_AUDIT_RESULT", holder="event_content"):
    """搜索标签审核结果。"""

    app_id: AppId
    search_tag: str = ""
    status: int
    reason: str = ""


class VideoKeywordAudit(InboundMessage, name="AWEME_VIDEO_KEYWORD_AUDIT_RESULT", holder="event_content"):
    """抖音视频关键词审核结果。"""

    app_id: AppId
    keyword: str = ""
    status: int
    reject_reason_list: tuple[str, ...] = ()


class AwemePermissionAudit(InboundMessage, name="AWEME_PERMISSION_AUDIT_RESULT", holder="event_content"):
    """抖音开放能力权限审核结果。"""

    app_id: AppId
    permission_key: str = ""
    status: int
    reject_reason_list: tuple[str, ...] = ()


class ScopeQuotaAudit(InboundMessage, name="SCOPE_QUOTA_AUDIT_RESULT", holder="event_content"):
    """Scope 额度审核结果。Dates as YYYY-MM-DD."""

    app_id: AppId
    scope: str = ""
    start_date: str = ""
    end_date: str = ""
    apply_quota: int | None = None
    status: int
    reject_reason_list: tuple[str, ...] = ()


class BindAwemeUser(InboundMessage, name="BIND_AWEME_USER", holder="event_content"):
    """绑定抖音号结果。"""

    app_id: AppId
    type: str = ""
    aweme_id: str = ""
    user_name: str = ""
    bind_status: int


# The platform spells it SELT.
class SelfMountBind(InboundMessage, name="SELT_MOUNT_BIND", holder="event_content"):
    """自主挂载绑定结果。"""

    app_id: AppId
    capacity_key: str = ""
    aweme_id: str = ""
    user_name: str = ""
    bind_status: int


class SubscribeTemplateResult(
    InboundMessage, name="CREATE_SUBSCRIBE_NOTIFICATION_TEMPLATE_RESULT", holder="event_content"
):
    """订阅消息模板创建结果。"""

    app_id: AppId
    title: str = ""
    keyword_list: tuple[str, ...] = ()
    status: int
    reject_reason_list: tuple[str, ...] = ()


def parse(event: Mapping[str, Any]) -> InboundMessage:
    """The typed message of a decrypted event; UnknownEvent for an unknown name; raises MalformedEvent."""
    name = event.get("Event")
    kind = MESSAGES.get(name, UnknownEvent) if isinstance(name, str) else UnknownEvent
    try:
        return fit(kind, _flat(without_nulls(event), kind.holder), what=kind.__name__)
    except Unfit as unfit:
        problem = MalformedEvent(f"{clean(str(name))}: {unfit}")
    except (ValueError, TypeError, OverflowError, RecursionError):
        problem = MalformedEvent(f"{clean(str(name))}：内容无法读取")
    raise problem


def _flat(event: Mapping[str, Any], holder: str | None) -> dict[str, Any]:
    plain: dict[str, Any] = _snake(event)
    inner = _unpacked(plain.pop(holder, None)) if holder else None
    # The event's own fields win: content must not be able to speak for another app.
    return {**inner, **plain} if isinstance(inner, Mapping) else plain


def _unpacked(inner: Any) -> Any:
    """Some content arrives as the text of its JSON."""
    if not isinstance(inner, str):
        return inner
    try:
        return _snake(without_nulls(msgspec.json.decode(inner)))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _snake(value: Any) -> Any:
    """Names of either spelling, AuditResults or hostName, as audit_results and host_name."""
    if isinstance(value, Mapping):
        return {_HUMP.sub("_", str(key)).lower(): _snake(item) for key, item in value.items()}
    return [_snake(item) for item in value] if isinstance(value, list) else value


def beijing_time(text: str) -> datetime:
    """`2025-01-01 08:00:00`, which the platform means in Beijing time, as aware UTC; raises ValueError.

    Digits alone are Unix seconds, or milliseconds when there are thirteen.
    """
    if digits := _UNIX.fullmatch(text):
        return datetime.fromtimestamp(int(digits[1]), UTC)
    found = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_BEIJING)
    if found.year < _FIRST_YEAR:
        raise ValueError("before the platform's time")
    return found.astimezone(UTC)


def webhook_challenge(body: Mapping[str, Any]) -> int | None:
    """The number to echo as `{"challenge": n}` when a per-app webhook's address is checked; else None."""
    content = body.get("content")
    if body.get("event") != "verify_webhook" or not isinstance(content, Mapping):
        return None
    challenge = content.get("challenge")
    return challenge if type(challenge) is int else None
