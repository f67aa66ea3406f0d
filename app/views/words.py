"""The words and colours of every state, and the labels of columns that many screens share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from app.models.audit import AuditEntry
from app.models.base import TONES as OWN_TONES
from app.models.base import WORDS as OWN_WORDS
from app.models.inbound import INBOUND_WORDS, InboundEvent, InboundState, RefusedPush
from app.models.merchant import (
    MERCHANT_STATE_WORDS,
    SUBJECT_WORDS,
    Industry,
    Merchant,
    MerchantState,
    SubjectType,
)
from app.models.mini_program import (
    AUTHORIZATION_WORDS,
    AuthorizationLink,
    AuthorizationState,
    LinkState,
    MiniProgram,
)
from app.models.operation import DOOR_WORDS, RUN_WORDS, Door, OperationRun, RunState
from app.models.task import TASK_STATE_WORDS, TaskState
from app.models.template import Template, TemplateApp
from app.models.third_party_app import ThirdPartyApp
from app.models.version import VERSION_WORDS, Version, VersionState

LINK_WORDS = {LinkState.OPEN: "待使用", LinkState.USED: "已使用", LinkState.VOID: "已作废"}
# Besides those of the enums that say their words themselves (`worded` in app/models/base.py).
WORDS: dict[type[StrEnum], Mapping[Any, str]] = OWN_WORDS
WORDS |= {
    AuthorizationState: AUTHORIZATION_WORDS,
    Door: DOOR_WORDS,
    InboundState: INBOUND_WORDS,
    LinkState: LINK_WORDS,
    MerchantState: MERCHANT_STATE_WORDS,
    RunState: RUN_WORDS,
    SubjectType: SUBJECT_WORDS,
    TaskState: TASK_STATE_WORDS,
    VersionState: VERSION_WORDS,
}
TONES: dict[str, str] = {
    # good: done and well; busy: under way; warn: look at it; bad: act; mute: over
    "active": "good", "authorized": "good", "succeeded": "good", "approved": "good", "released": "good",
    "done": "good", "ok": "good", "used": "good",
    "uploaded": "busy", "auditing": "busy", "queued": "busy", "running": "busy", "received": "busy",
    "processing": "busy", "open": "busy",
    "pending": "warn", "unknown": "warn", "withdrawn": "warn", "partly": "warn", "rolled_back": "warn",
    "ignored": "mute",
    "error": "bad", "bad_answer": "bad", "no_answer": "warn", "timeout": "warn",
    "rejected": "bad", "failed": "bad", "revoked": "bad", "suspended": "bad", "refused": "bad",
    "cleared": "mute", "superseded": "mute", "cancelled": "mute", "void": "mute",
}  # fmt: skip
RECEIVER_WORDS = {"authorization": "授权事件", "message": "消息与事件"}
OUTCOME_WORDS = {
    "ok": "成功", "partly": "有失败", "error": "抖音拒绝", "refused": "抖音拒绝", "no_answer": "无应答",
    "timeout": "超时", "running": "执行中", "failed": "失败", "bad_answer": "应答异常",
}  # fmt: skip
EVENT_WORDS: dict[str, str] = {
    **{str(state): words for state, words in VERSION_WORDS.items()},
    "authorized": "授权成功", "revoked": "取消授权", "cleared": "清除授权", "note": "备注", "claimed": "已认领",
    "live": "线上版本", "taken_down": "被下架",
}  # fmt: skip
PUSH_WORDS = {
    "PUSH": "推送票据", "AUTHORIZED": "授权成功", "UNAUTHORIZED": "取消授权", "UPDATE_AUTHORIZED": "更新授权",
    "PACKAGE_AUDIT": "代码审核结果", "SETTLE_APPLY": "入驻申请结果", "SETTLE_VERIFY": "入驻认证结果",
    "MODIFY_APP_NAME": "名称修改结果", "APP_NAME_RESET_NOTIFICATION": "名称被重置",
    "MODIFY_APP_INTRO": "简介修改结果", "MODIFY_APP_ICON": "头像修改结果", "MODIFY_APP_CATEGORY": "类目修改结果",
    "PUBLISH_APP_CATEGORY_AUDIT_RESULT": "类目发布结果", "MESSAGE": "用户消息",
}  # fmt: skip
DOORS: dict[str, str] = {**{str(door): words for door, words in DOOR_WORDS.items()}, "web": "网页"}
ACTION_WORDS = {
    "create": "新建", "update": "修改", "delete": "删除", "login": "登录", "logout": "退出登录",
    "login_failed": "登录失败", "log_in_as": "登录商户", "log_in_as_end": "结束登录商户", "export": "导出",
    "password_change": "修改密码", "password_reset": "重置密码", "password_set": "通过链接设置密码",
    "refresh_reused": "刷新令牌重复使用", "sessions_end": "结束其他登录",
    "api_key_create": "新建 API 密钥", "api_key_revoke": "撤销 API 密钥", "two_factor_on": "开启两步验证",
    "two_factor_off": "关闭两步验证", "two_factor_reset": "重置两步验证", "recovery_codes_renew": "更换恢复码",
    "recovery_code_used": "使用恢复码", "operation": "操作", "replay": "重新处理", "job_run": "立即执行任务",
    "reveal": "查看完整手机号", "resolve": "人工标记", "import": "导入", "cancel": "取消",
    "view_share": "共享视图", "channel_test": "测试通知渠道", "self_test": "自检", "notice_rules": "修改通知规则",
}  # fmt: skip
SUBJECTS: dict[str, str] = {
    "merchant": "商户", "industry": "行业", "mini_program": "小程序", "version": "版本", "template": "模板",
    "template_app": "模板小程序", "third_party_app": "第三方应用", "authorization_link": "授权链接", "ab_user": "用户",
    "operation_run": "操作记录", "inbound_event": "事件推送", "task": "后台任务",
    "notification_channel": "通知渠道", "saved_view": "保存的视图",
}  # fmt: skip
LABELS: dict[str, str] = {
    "id": "编号", "name": "名称", "appid": "小程序编号（AppID）", "state": "状态", "remarks": "备注",
    "created_at": "创建时间", "changed_at": "更新时间", "merchant": "商户", "third_party_app": "第三方应用",
    "industry": "行业", "position": "排序", "contact": "联系人", "phone": "手机号", "phone_masked": "手机号",
    "subject_type": "主体类型", "commission_rate": "佣金比例（%）", "plan": "套餐", "expires_on": "套餐到期日",
    "key": "商户标识", "mini_program": "小程序", "number": "版本号", "description": "说明",
    "template_id": "模板编号", "uploaded_at": "上传时间", "submitted_at": "提审时间", "decided_at": "审核时间",
    "released_at": "上线时间", "reason": "驳回原因", "audit_note": "审核备注", "hosts": "审核宿主端",
    "ext_json": "ext.json", "taken_down": "已下架", "at": "时间", "actor_name": "操作人", "actor_ip": "来源地址",
    "on_behalf_of": "代操作商户", "via": "密码链接", "address": "来源地址", "door": "入口", "action": "动作",
    "log_id": "抖音日志编号（log_id）", "err_no": "错误码",
    "message": "结果", "advice": "处理建议", "attempts": "尝试次数", "operation": "操作", "params": "参数",
    "result": "返回", "batch_id": "批次", "started_at": "开始时间", "finished_at": "结束时间",
    "not_before": "最早执行时间", "received_at": "收到时间", "event": "事件", "event_at": "事件时间",
    "receiver": "接收地址", "summary": "内容摘要", "verdict": "处理结果", "copies": "收到次数",
    "processed_at": "处理时间", "version": "版本号", "added_at": "添加时间", "gone": "已删除",
    "draft_id": "草稿编号", "draft_version": "草稿版本", "draft_description": "草稿说明", "draft_by": "开发者",
    "draft_at": "草稿时间", "active": "启用", "ticket_at": "推送票据时间", "fault": "故障", "fault_at": "故障时间",
    "link_fault": "授权页故障",
    "secret": "应用密钥（AppSecret）", "token": "消息校验令牌（Token）", "aes_key": "消息加解密密钥（EncodingAESKey）",
    "expected_appid": "限定小程序", "url": "链接", "expires_at": "有效期至", "used_at": "使用时间",
    "failure": "失败原因", "intro": "简介", "icon_url": "头像", "authorized_at": "授权时间",
    "unauthorized_at": "取消授权时间", "refresh_expires_at": "授权令牌到期", "permissions": "权限集",
    "token_fault": "令牌故障", "synced_at": "同步时间", "info_at": "信息同步时间", "subject_verified": "主体已认证",
    "live_version": "线上版本", "audit_version": "审核版本", "uploaded_version": "测试版本",
    "audit_state": "审核状态", "audit_since": "提审时间", "component_appid": "第三方应用编号", "remote": "来源地址",
    "size": "字节数", "method": "方法", "host": "主机", "path": "接口路径", "ms": "耗时（毫秒）",
    "http_status": "HTTP 状态", "outcome": "结果", "request": "请求", "answer": "应答", "before": "修改前",
    "merchant_id": "商户编号", "mini_program_id": "小程序记录编号", "third_party_app_id": "第三方应用记录编号",
    "industry_id": "行业编号", "username": "用户名", "first_name": "名", "last_name": "姓", "email": "邮箱",
    "password": "密码", "roles": "角色", "must_change_password": "须修改密码", "password_changed_at": "密码修改时间",
    "phone_sealed": "手机号", "secret_sealed": "应用密钥", "token_sealed": "消息校验令牌",
    "aes_key_sealed": "消息加解密密钥", "subject_name": "主体名称", "app_state": "小程序状态", "poll_at": "下次查询",
    "rollback_requested_at": "申请回滚时间", "version_id": "版本记录编号", "reason_detail": "驳回详情",
    "screenshots": "截图", "attachments": "审核附件", "audit_ctime": "抖音提审时间",
    "rows": "行数", "format": "格式", "filters": "筛选条件", "view": "列表", "file": "文件", "mode": "已有的记录",
    "created_by_fk": "创建人", "changed_by_fk": "修改人", "user_id": "用户", "kind": "类型", "kinds": "通知内容",
    "address_sealed": "地址", "hint": "地址",
    "start": "密钥开头", "scope": "权限范围", "left": "剩余恢复码", "count": "数量", "silent": "不提醒的通知",
    "quiet": "免打扰", "title": "标题", "until": "截止时间", "query": "条件", "shared": "共享",
    "after": "修改后", "job": "任务", "slot": "时段", "live_template_id": "线上模板",
}  # fmt: skip

NAMED = (
    AuditEntry, AuthorizationLink, Industry, InboundEvent, Merchant, MiniProgram, OperationRun, RefusedPush,
    Template, TemplateApp, ThirdPartyApp, Version,
)  # fmt: skip


def word(value: Any) -> str:
    """A state in words; the value itself when it has none."""
    table = WORDS.get(type(value), {})
    return table.get(value, str(value))


def tone(value: Any) -> str:
    """The colour class of a state; that of its enum, where that says its own."""
    return OWN_TONES.get(type(value), TONES).get(str(value), "mute")
