"""模板管理: the template apps bound to the third-party app, their drafts, and the templates made of them."""

from __future__ import annotations

from typing import Annotated

from app.douyin.contract import (
    DOCS,
    STRICT,
    V1_TOP,
    Call,
    Host,
    Reply,
    Route,
    Token,
    UnixSeconds,
    VendorId,
    VersionOrNone,
)

_PAGES = f"{DOCS}/tpl-manage"


class TemplateApp(Reply):
    """A template app; from `nick_name` on the fields are None until somebody has uploaded to it."""

    tpl_app_id: str
    app_name: str = ""
    nick_name: str | None = None
    user_version: VersionOrNone | None = None
    user_desc: str | None = None
    draft_id: VendorId | None = None
    create_time: UnixSeconds | None = None


class TemplateAppList(Reply):
    tpl_app_list: Annotated[tuple[TemplateApp, ...], STRICT] = ()


class Template(Reply):
    """`template_id` may exceed 2^53: text wherever JavaScript sees it."""

    template_id: VendorId
    user_version: VersionOrNone = ""
    user_desc: str = ""
    create_time: UnixSeconds | None = None


class TemplateList(Reply):
    template_list: Annotated[tuple[Template, ...], STRICT] = ()


class Draft(Reply):
    draft_id: VendorId
    user_version: VersionOrNone = ""
    user_desc: str = ""
    create_time: UnixSeconds | None = None


class DraftList(Reply):
    draft_list: Annotated[tuple[Draft, ...], STRICT] = ()


class ListTemplateApps(Call[TemplateAppList]):
    """获取模板小程序列表V2。Replaces the list of drafts: a template app carries at most one."""

    operation_id = "list_template_apps"
    route = Route(
        "GET",
        "/api/tpapp/v2/template/get_tpl_app_list/",
        Token.COMPONENT,
        again="read",
        doc=f"{_PAGES}/tpl-app-list-v2",
    )


class ListTemplates(Call[TemplateList]):
    """获取模板列表V2。"""

    operation_id = "list_templates"
    route = Route(
        "GET", "/api/tpapp/v2/template/get_tpl_list/", Token.COMPONENT, again="read", doc=f"{_PAGES}/tpl-list-v2"
    )


class AddTemplate(Call[None]):
    """添加模板V2。At most 200; the answer does not name the new template: list again."""

    operation_id = "add_template"
    route = Route("POST", "/api/tpapp/v2/template/add_tpl/", Token.COMPONENT, doc=f"{_PAGES}/add-v2")
    draft_id: int


class DeleteTemplate(Call[None]):
    """删除模板V2。"""

    operation_id = "delete_template"
    route = Route("POST", "/api/tpapp/v2/template/del_tpl/", Token.COMPONENT, doc=f"{_PAGES}/delete-v2")
    template_id: int


class ListDraftsV1(Call[DraftList]):
    """获取草稿列表(废弃)。For third-party apps that still work with drafts."""

    operation_id = "list_drafts_v1"
    route = Route(
        "GET",
        "/openapi/v1/tp/template/get_draft_list",
        Token.COMPONENT_V1,
        again="read",
        doc=f"{_PAGES}/tpl-list",
        host=Host.MICROAPP,
        envelope=V1_TOP,
    )
