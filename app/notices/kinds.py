"""The kinds of news: what each is called, and which roles hear of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES

ADMIN, OPERATOR, AUDITOR = PLATFORM_ROLES
OWNER, STAFF, CLERK = MERCHANT_ROLES
_DESK = frozenset({ADMIN, OPERATOR})
_ALL = frozenset({*PLATFORM_ROLES, *MERCHANT_ROLES})


@dataclass(frozen=True)
class Kind:
    """One kind of news. `roles` hear of it: the platform's always, a merchant's when it is about that merchant.

    `level` is info, good, warn or bad. `hint` says when it comes, for the settings page.
    """

    title: str
    level: str
    roles: frozenset[str]
    hint: str = ""
    personal: bool = False  # one person's own matter: told by name, and never through a shared channel


KINDS: dict[str, Kind] = {
    "audit_passed": Kind("审核通过", "good", _DESK | {OWNER, STAFF}, "版本通过抖音审核，可以发布"),
    "audit_rejected": Kind("审核被驳回", "bad", _DESK | {OWNER, STAFF}, "附抖音给出的驳回原因"),
    "audit_stuck": Kind("审核超时", "warn", _DESK, "提审后太久没有结果"),
    "authorization_lapsing": Kind("授权即将到期", "warn", _DESK | {OWNER}, "授权在 7 天内到期"),
    "authorization_revoked": Kind("授权已取消", "bad", _DESK | {OWNER}, "商户在抖音取消了授权"),
    "permissions_lacking": Kind("缺少必要权限", "warn", _DESK | {OWNER}, "授权时没有勾选上线需要的权限"),
    "unclaimed": Kind("待认领小程序", "info", _DESK, "已授权但不知道属于哪个商户"),
    "ticket_late": Kind("推送票据迟到", "warn", _DESK, "30 分钟没有收到时提醒，60 分钟时告警"),
    "app_fault": Kind("第三方应用故障", "bad", _DESK, "密钥失效或服务器 IP 不在白名单"),
    "call_refused": Kind("接口不可用", "bad", _DESK, "抖音停用了接口，或不认得系统调用的地址"),
    "run_unknown": Kind("操作结果待核实", "warn", _DESK, "系统无法自行判断操作是否成功"),
    "job_failed": Kind("定时任务失败", "bad", _DESK, ""),
    "account_security": Kind("账号安全", "warn", _ALL, "密码或两步验证被他人重置，登录凭据被重复使用", personal=True),
    "transfer_done": Kind("导入导出完成", "good", _ALL, "您自己的导入和导出任务", personal=True),
}


# Reading


def kinds_for(role_names: Collection[str]) -> dict[str, Kind]:
    """The kinds that somebody of these roles can hear of."""
    return {name: kind for name, kind in KINDS.items() if kind.roles & set(role_names)}
