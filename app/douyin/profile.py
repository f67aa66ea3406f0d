"""基础信息: name, introduction, icon, category and subject of an app, and every change under review."""

from __future__ import annotations

from typing import Annotated

from app.douyin.contract import DOCS, STRICT, Call, OpenIntEnum, PermissionSet, Reply, Route, Token, WebAddress


class AppState(OpenIntEnum):
    """Whether the app is online."""

    NOT_PUBLISHED = 0
    PUBLISHED = 1
    TAKEN_OFFLINE = 2


class ReviewState(OpenIntEnum):
    """State of a change under review; EXPIRED only of a name."""

    NONE = 0
    REVIEWING = 1
    PASSED = 2
    REJECTED = 3
    EXPIRED = 4


class NameReview(Reply):
    new_name: str = ""
    new_name_audit_state: ReviewState = ReviewState.NONE
    remaining_times: int | None = None
    reason: str = ""
    advice: str = ""


class IntroReview(Reply):
    new_intro: str = ""
    new_intro_audit_state: ReviewState = ReviewState.NONE
    remaining_times: int | None = None
    reason: str = ""
    advice: str = ""


class IconReview(Reply):
    new_icon: WebAddress = ""
    new_icon_audit_state: ReviewState = ReviewState.NONE
    remaining_times: int | None = None
    reason: str = ""
    advice: str = ""


class CategoryReview(Reply):
    """`app_category`: three ids joined by ','; `app_category_name`: their names joined by '-'."""

    app_category: str = ""
    app_category_name: str = ""
    app_category_audit_state: ReviewState = ReviewState.NONE
    reason: str = ""


class SubjectReview(Reply):
    """`subject_type`: 0 a person, 1 a company."""

    subject_type: int | None = None
    subject_name: str = ""
    # Misread as "none under review" it would make the subject verified.
    subject_audit_state: Annotated[ReviewState, STRICT] = ReviewState.NONE
    reason: str = ""


class AppInfo(Reply):
    """A review is None when that was never changed."""

    app_id: str = ""
    app_state: AppState
    app_name: str = ""
    app_intro: str = ""
    app_icon: WebAddress = ""
    app_type: int | None = None
    app_categories_audit_info: tuple[CategoryReview, ...] = ()
    new_name_audit_info: NameReview | None = None
    new_intro_audit_info: IntroReview | None = None
    new_icon_audit_info: IconReview | None = None
    subject_audit_info: SubjectReview | None = None


class GetAppInfo(Call[AppInfo]):
    """获取小程序基本信息V2。"""

    operation_id = "get_app_info"
    route = Route(
        "GET",
        "/api/apps/v2/basic_info/get_info/",
        Token.AUTHORIZER,
        PermissionSet.BASIC_INFO,
        again="read",
        doc=f"{DOCS}/auth-app-manage/base-info/info-v2",
    )
