"""Samples of endpoints by hand: the call, its request on the wire, an answer, the exact reply; see examples.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.douyin import authorization as auth
from app.douyin import development as dev
from app.douyin import domain, login, material, profile, safety, settle, template, webhook
from app.douyin.contract import Call, Upload

OPEN, MICROAPP, TOUTIAO = "open.douyin.com", "open.microapp.bytedance.com", "developer.toutiao.com"
COMPONENT, AUTHORIZER = {"access-token": "component-1"}, {"access-token": "authorizer-1"}
COMPONENT_V1 = {"component_appid": "tt0000000000000001", "component_access_token": "component_v1-1"}
V2_OK = {"err_no": 0, "err_msg": "", "log_id": "L1"}
V1_OK = {"errno": 0, "message": "success"}
APP = "tt1111111111111111"


@dataclass(frozen=True)
class Sample:
    """`body`: a JSON value, None for no body, or texts that a multipart body contains."""

    call: Call[Any]
    url: str
    answer: Any
    reply: Any = None
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


def _v2(data: Any) -> dict[str, Any]:
    return {**V2_OK, "data": data}


def _v1(data: Any) -> dict[str, Any]:
    return {**V1_OK, "data": data}


_SECRETS = {"component_appid": "tt0000000000000001", "component_appsecret": "s", "component_ticket": "t"}
_TOKENS = {
    "authorizer_access_token": "isvact.a",
    "expires_in": 7200,
    "authorizer_refresh_token": "isvrft.b",
    "refresh_expires_in": 2592000,
    "authorizer_appid": APP,
    "authorize_permission": [{"id": 1, "category": "开发管理权限", "description": "开发与配置"}],
}
_TOKENS_REPLY = auth.AuthorizerTokens(
    authorizer_access_token="isvact.a",
    authorizer_refresh_token="isvrft.b",
    expires_in=7200,
    refresh_expires_in=2592000,
    authorizer_appid=APP,
    authorize_permission=(auth.Permission(id=1, category="开发管理权限", description="开发与配置"),),
)
_COMPANY: dict[str, Any] = {
    "company_name": "示例有限责任公司",
    "credit_code": "91000000000000000X",
    "credit_end_date": "0",
    "legal_person_name": "张三",
    "registered_province_code": 110000,
    "registered_city_code": 110100,
    "registered_address": "示例路1号",
    "registered_capital": 100000,
}
_COMPANY_TYPES: dict[str, Any] = {
    "qualification_type": settle.QualificationType.ENTERPRISE,
    "company_type": settle.CompanyType.LIMITED,
}
_COMPANY_WIRE = {**_COMPANY, "qualification_type": 1, "company_type": 1}
_CONTACT: dict[str, Any] = {
    "mobile": "13800000000",
    "credit_image_path": "tos-example/1",
    "category_code": "156,157",
    "business_person_name": "李四",
    "business_id_card": "110101199001010000",
    "business_mobile": "13800000001",
}
_PERSON: dict[str, Any] = {
    "developer_id": "u1",
    "developer_name": "dev",
    "developer_avatar": "https://example.com/a.png",
}
_CATEGORIES = ["房地产-房地产-装修/建材"]
_VERSIONS = {
    "latest": {
        "version": "1.0.2",
        "summary": "第二版",
        "ctime": 1735700000,
        "categories": _CATEGORIES,
        **_PERSON,
        "has_audit": 1,
        "screenshot": "a.png;b.png;",
    },
    "audit": {
        "version": "1.0.2",
        "summary": "第二版",
        "ctime": 1735700100,
        "categories": _CATEGORIES,
        **_PERSON,
        "status": 2,
        "approved_apps": [],
        "has_publish": 0,
        "is_illegal_version": False,
        "reason": "抖音: 页面空白",
        "reason_detail": {"抖音": ["页面空白"]},
        "attachInfo": {"抖音": "https://example.com/shot.png"},
    },
    "current": {
        "version": "1.0.1",
        "summary": "首版",
        "ctime": 1735600000,
        "categories": _CATEGORIES,
        "developer_id": None,
        "approved_apps": ["抖音"],
        "not_approved_apps": [],
        "attachInfo": {},
        "has_down": 0,
        "uid": 100,
        "rollback": {"can_rollback": False, "last_version": ""},
    },
    "gray": {},
}
_VERSIONS_REPLY = dev.VersionsReply(
    latest=dev.LatestVersion(
        version="1.0.2",
        summary="第二版",
        ctime=1735700000,
        categories=tuple(_CATEGORIES),
        has_audit=1,
        screenshot="a.png;b.png;",
        **_PERSON,
    ),
    audit=dev.AuditVersion(
        version="1.0.2",
        summary="第二版",
        ctime=1735700100,
        categories=tuple(_CATEGORIES),
        status=dev.AuditStatus.REJECTED,
        has_publish=0,
        reason="抖音: 页面空白",
        reason_detail={"抖音": ["页面空白"]},
        attach_info={"抖音": "https://example.com/shot.png"},
        **_PERSON,
    ),
    current=dev.CurrentVersion(
        version="1.0.1",
        summary="首版",
        ctime=1735600000,
        categories=tuple(_CATEGORIES),
        approved_apps=("抖音",),
        attach_info={},
        uid=100,
        rollback=dev.Rollback(),
    ),
)
_INFO = {
    "app_id": APP,
    "app_state": 1,
    "app_name": "晨光书店",
    "app_intro": "线上选书",
    "app_icon": "https://img.example.com/icon.png",
    "app_type": 1,
    "app_categories_audit_info": [
        {"app_category": "501,512,530", "app_category_name": "商业-零售-图书", "app_category_audit_state": 2}
    ],
    "new_name_audit_info": {
        "new_name": "晨光书店Plus",
        "new_name_audit_state": 3,
        "remaining_times": 2,
        "reason": "重",
    },
    "new_intro_audit_info": None,
    "subject_audit_info": {"subject_audit_state": 2, "subject_name": "图书公司", "subject_type": 1},
}
_INFO_REPLY = profile.AppInfo(
    app_id=APP,
    app_state=profile.AppState.PUBLISHED,
    app_name="晨光书店",
    app_intro="线上选书",
    app_icon="https://img.example.com/icon.png",
    app_type=1,
    app_categories_audit_info=(
        profile.CategoryReview(
            app_category="501,512,530",
            app_category_name="商业-零售-图书",
            app_category_audit_state=profile.ReviewState.PASSED,
        ),
    ),
    new_name_audit_info=profile.NameReview(
        new_name="晨光书店Plus",
        new_name_audit_state=profile.ReviewState.REJECTED,
        remaining_times=2,
        reason="重",
    ),
    subject_audit_info=profile.SubjectReview(
        subject_type=1, subject_name="图书公司", subject_audit_state=profile.ReviewState.PASSED
    ),
)
_TEMPLATE_APPS = {
    "tpl_app_list": [
        {
            "tpl_app_id": "tt2",
            "app_name": "模板一",
            "user_version": "1.0.3",
            "draft_id": 2**60,
            "create_time": 1,
        },
        {"tpl_app_id": "tt3", "app_name": "模板二"},
    ]
}
_TEMPLATE_APPS_REPLY = template.TemplateAppList(
    tpl_app_list=(
        template.TemplateApp(tpl_app_id="tt2", app_name="模板一", user_version="1.0.3", draft_id=2**60, create_time=1),
        template.TemplateApp(tpl_app_id="tt3", app_name="模板二"),
    )
)
_PREDICTS = {"predicts": [{"model_name": "porn", "hit": False}, {"model_name": "bloody", "hit": True}]}
_VERDICT = safety.Verdict(
    predicts=(
        safety.Prediction(model_name="porn", hit=False),
        safety.Prediction(model_name="bloody", hit=True),
    )
)
_ROOT = f"{OPEN}/api/apps/v1/package_version"
_HOOK = f"{OPEN}/api/platform/v1/webhook"

SAMPLES: list[Sample] = [
    Sample(
        auth.GetComponentAccessToken(
            component_appid="tt0000000000000001", component_appsecret="s", component_ticket="t"
        ),
        f"{OPEN}/openapi/v2/auth/tp/token/",
        {"component_access_token": "clt.x", "expires_in": 7200},
        auth.ComponentToken(component_access_token="clt.x", expires_in=7200),
        query=_SECRETS,
    ),
    Sample(
        auth.GetPreAuthCode(),
        f"{OPEN}/api/tpapp/v3/auth/get_pre_auth_code/",
        _v2({"pre_auth_code": "pre-1", "expires_in": 600}),
        auth.PreAuthCode(pre_auth_code="pre-1", expires_in=600),
        headers=COMPONENT,
        body={"pre_auth_code_type": 1},
    ),
    Sample(
        auth.GenAuthLink(redirect_uri="https://admin.example.com/cb"),
        f"{OPEN}/api/tpapp/v3/auth/gen_link/",
        _v2({"link": "https://developer.open-douyin.com/x"}),
        auth.AuthLink(link="https://developer.open-douyin.com/x"),
        headers=COMPONENT,
        body={"link_type": 1, "redirect_uri": "https://admin.example.com/cb"},
    ),
    Sample(
        auth.GetAuthorizerAccessToken(grant_type=auth.GrantType.CODE, authorization_code="c"),
        f"{OPEN}/api/tpapp/v2/auth/get_auth_token/",
        _v2(_TOKENS),
        _TOKENS_REPLY,
        query={"grant_type": "app_to_tp_authorization_code", "authorization_code": "c"},
        headers=COMPONENT,
    ),
    Sample(
        auth.RetrieveAuthCode(authorization_appid=APP),
        f"{OPEN}/api/tpapp/v2/auth/retrieve_auth_code/",
        _v2({"authorization_code": "code-1", "expires_in": 3600}),
        auth.AuthCode(authorization_code="code-1", expires_in=3600),
        headers=COMPONENT,
        body={"authorization_appid": APP},
    ),
    Sample(
        auth.ListAuthApps(page=2),
        f"{OPEN}/api/tpapp/v2/auth/get_auth_app_list/",
        _v2({"auth_app_list": [{"auth_appid": APP, "auth_time": 1735689600}], "total": 51}),
        auth.AuthAppList(auth_app_list=(auth.AuthApp(auth_appid=APP, auth_time=1735689600),), total=51),
        query={"page": "2", "size": "50"},
        headers=COMPONENT,
    ),
    Sample(
        auth.GetComponentAccessTokenV1(
            component_appid="tt0000000000000001", component_appsecret="s", component_ticket="t"
        ),
        f"{MICROAPP}/openapi/v1/auth/tp/token",
        {"component_access_token": "0a1b", "expires_in": 3600},
        auth.ComponentToken(component_access_token="0a1b", expires_in=3600),
        query=_SECRETS,
    ),
    Sample(
        auth.GetAuthorizerAccessTokenV1(grant_type=auth.GrantType.REFRESH, authorizer_refresh_token="r"),
        f"{MICROAPP}/openapi/v1/oauth/token",
        {
            "authorizer_access_token": "08",
            "expires_in": 7200,
            "authorizer_refresh_token": "07",
            "refresh_expires_in": 9,
        },
        auth.AuthorizerTokens(authorizer_access_token="08", authorizer_refresh_token="07", refresh_expires_in=9),
        query={**COMPONENT_V1, "grant_type": "app_to_tp_refresh_token", "authorizer_refresh_token": "r"},
    ),
    Sample(
        auth.RetrieveAuthCodeV1(authorization_appid=APP),
        f"{MICROAPP}/openapi/v1/auth/retrieve",
        {"authorization_code": "code-1", "expires_in": 3600},
        auth.AuthCode(authorization_code="code-1"),
        query={**COMPONENT_V1, "authorization_appid": APP},
    ),
    Sample(
        auth.ClientToken(client_key=APP, client_secret="isvact.a"),
        f"{OPEN}/oauth/client_token/",
        {
            "data": {"access_token": "clt.c", "expires_in": 7200, "error_code": 0, "description": ""},
            "message": "success",
        },
        auth.ClientAccessToken(access_token="clt.c"),
        body={"client_key": APP, "client_secret": "isvact.a", "grant_type": "client_credential"},
    ),
    Sample(
        template.ListTemplateApps(),
        f"{OPEN}/api/tpapp/v2/template/get_tpl_app_list/",
        _v2(_TEMPLATE_APPS),
        _TEMPLATE_APPS_REPLY,
        headers=COMPONENT,
    ),
    Sample(
        template.ListTemplates(),
        f"{OPEN}/api/tpapp/v2/template/get_tpl_list/",
        _v2({"template_list": [{"template_id": 77538, "user_version": "1.0.3", "user_desc": "改版"}]}),
        template.TemplateList(
            template_list=(template.Template(template_id=77538, user_version="1.0.3", user_desc="改版"),)
        ),
        headers=COMPONENT,
    ),
    Sample(
        template.AddTemplate(draft_id=2**60),
        f"{OPEN}/api/tpapp/v2/template/add_tpl/",
        V2_OK,
        headers=COMPONENT,
        body={"draft_id": 2**60},
    ),
    Sample(
        template.DeleteTemplate(template_id=77538),
        f"{OPEN}/api/tpapp/v2/template/del_tpl/",
        V2_OK,
        headers=COMPONENT,
        body={"template_id": 77538},
    ),
    Sample(
        template.ListDraftsV1(),
        f"{MICROAPP}/openapi/v1/tp/template/get_draft_list",
        {**V1_OK, "draft_list": [{"draft_id": 1001, "user_version": "1.0.3", "create_time": 5}]},
        template.DraftList(draft_list=(template.Draft(draft_id=1001, user_version="1.0.3", create_time=5),)),
        query=COMPONENT_V1,
    ),
    Sample(
        domain.GetWebviewCheckFile(),
        f"{OPEN}/api/tpapp/v2/doamin/get_webview_check_file_info/",
        _v2({"file_name": "AbCdEf12.txt", "file_content": "0123456789abcdef"}),
        domain.CheckFile(file_name="AbCdEf12.txt", file_content="0123456789abcdef"),
        headers=COMPONENT,
    ),
    Sample(
        domain.DownloadWebviewCheckFileV1(),
        f"{MICROAPP}/openapi/v1/tp/download/webview_file",
        b"0123456789abcdef",
        b"0123456789abcdef",
        query=COMPONENT_V1,
    ),
    Sample(
        material.UploadTpMaterial(
            material_type=material.MaterialType.APP_ICON,
            material_file=Upload("icon.png", b"\x89PNG-bytes", "image/png"),
        ),
        f"{OPEN}/api/tpapp/v2/file/upload_material/",
        _v2({"path": "tos-example/1"}),
        material.MaterialPath(path="tos-example/1"),
        headers=COMPONENT,
        body=[b'name="material_type"\r\n\r\n2\r\n', b'filename="icon.png"', b"image/png", b"\x89PNG-bytes"],
    ),
    Sample(
        dev.UploadCode(template_id=77538, user_version="1.0.2", user_desc="第二版", ext_json='{"extEnable":true}'),
        f"{_ROOT}/upload/",
        V2_OK,
        headers=AUTHORIZER,
        body={
            "template_id": 77538,
            "user_version": "1.0.2",
            "user_desc": "第二版",
            "ext_json": '{"extEnable":true}',
        },
    ),
    Sample(
        dev.GetAuditHosts(),
        f"{_ROOT}/get_audit_hosts/",
        _v2({"host_names": ["douyin", "douyin_lite"], "released_host_names": None}),
        dev.AuditHosts(host_names=("douyin", "douyin_lite")),
        headers=AUTHORIZER,
    ),
    Sample(
        dev.SubmitAudit(host_names=("douyin",), audit_note="测试账号", audit_way=dev.AuditWay.NORMAL),
        f"{OPEN}/api/apps/v2/package_version/audit/",
        V2_OK,
        headers=AUTHORIZER,
        body={"host_names": ["douyin"], "audit_note": "测试账号", "audit_way": 0},
    ),
    Sample(dev.RevokeAudit(), f"{_ROOT}/revoke_audit/", V2_OK, headers=AUTHORIZER),
    Sample(dev.ReleaseVersion(), f"{_ROOT}/release/", V2_OK, headers=AUTHORIZER),
    Sample(dev.RollbackVersion(), f"{_ROOT}/rollback/", V2_OK, headers=AUTHORIZER),
    Sample(dev.GetVersions(), f"{_ROOT}/versions/", _v2(_VERSIONS), _VERSIONS_REPLY, headers=AUTHORIZER),
    Sample(
        profile.GetAppInfo(),
        f"{OPEN}/api/apps/v2/basic_info/get_info/",
        _v2(_INFO),
        _INFO_REPLY,
        headers=AUTHORIZER,
    ),
    Sample(
        safety.CensorImage(app_id=APP, image="https://example.com/a.png"),
        f"{OPEN}/api/apps/v1/censor/image/",
        {**V2_OK, **_PREDICTS},
        _VERDICT,
        headers=AUTHORIZER,
        body={"app_id": APP, "image": "https://example.com/a.png"},
    ),
    Sample(
        safety.CensorImageV1(app_id=APP, image_data="aGk="),
        f"{TOUTIAO}/api/apps/censor/image",
        {"error": 0, "message": "image censor success", **_PREDICTS},
        _VERDICT,
        body={"app_id": APP, "image_data": "aGk=", "access_token": "authorizer_v1-1"},
    ),
    Sample(
        login.CodeToSession(code="c", app_id=APP),
        f"{OPEN}/api/apps/v1/microapp/code2session/",
        _v2({"session_key": "c2Vzc2lvbg==", "open_id": "o-1", "anonymous_open_id": "", "union_id": "u-1"}),
        login.Session(session_key="c2Vzc2lvbg==", open_id="o-1", union_id="u-1"),
        headers=AUTHORIZER,
        body={"code": "c", "app_id": APP},
    ),
    Sample(
        webhook.WebhookResetSecret(),
        f"{_HOOK}/reset_secret/",
        _v2({"secret": "whs-1"}),
        webhook.WebhookSecret(secret="whs-1"),
        headers=AUTHORIZER,
    ),
    Sample(
        webhook.WebhookSaveCallbackUrl(callback_url="https://api.example.com/hook"),
        f"{_HOOK}/save_callback_url/",
        V2_OK,
        headers=AUTHORIZER,
        body={"callback_url": "https://api.example.com/hook"},
    ),
    Sample(
        webhook.WebhookListEvents(),
        f"{_HOOK}/event_status_list/",
        _v2(
            {
                "webhook_info": {"secret": "whs-1", "callback_url": "https://a"},
                "event_list": [{"event": "e", "name_cn": "示例", "desc": "示例事件", "status": 1}],
            }
        ),
        webhook.WebhookEvents(
            webhook_info=webhook.WebhookInfo(secret="whs-1", callback_url="https://a"),
            event_list=(
                webhook.WebhookEvent(event="e", name_cn="示例", desc="示例事件", status=webhook.Subscription.ON),
            ),
        ),
        headers=AUTHORIZER,
    ),
    Sample(
        webhook.WebhookUpdateEvents(event_list=(webhook.EventStatus(event="e", status=webhook.Subscription.ON),)),
        f"{_HOOK}/update_event_status/",
        V2_OK,
        headers=AUTHORIZER,
        body={"event_list": [{"event": "e", "status": 1}]},
    ),
    Sample(
        settle.SettlePreCheck(**_COMPANY, **_COMPANY_TYPES),
        f"{MICROAPP}/openapi/v1/settle/pre_check",
        V1_OK,
        query=COMPONENT_V1,
        body=_COMPANY_WIRE,
    ),
    Sample(
        settle.SettleApply(**_COMPANY, **_COMPANY_TYPES, **_CONTACT),
        f"{MICROAPP}/openapi/v1/settle/apply",
        _v1({"apply_id": "7184300000000000001"}),
        settle.SettleApplied(apply_id="7184300000000000001"),
        query=COMPONENT_V1,
        body={**_COMPANY_WIRE, **_CONTACT},
    ),
    Sample(
        settle.SettleGetApplyStatus(apply_id="71"),
        f"{MICROAPP}/openapi/v1/settle/get_apply_status",
        _v1({"apply_status": 4, "verify_url": "https://example.com/v", "fail_reason": ""}),
        settle.SettleStatus(apply_status=settle.ApplyStatus.SUCCEEDED, verify_url="https://example.com/v"),
        query={**COMPONENT_V1, "apply_id": "71"},
    ),
]
