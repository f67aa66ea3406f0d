"""Roles as code: who may see which screen and do which operation. Pure data and functions, no query."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any

from flask import Flask

from app.models.user import MERCHANT_ROLES, PLATFORM_ROLES, ROLE_WORDS

ADMIN, OPERATOR, AUDITOR = PLATFORM_ROLES
OWNER, STAFF, CLERK = MERCHANT_ROLES
ROLES = (*PLATFORM_ROLES, *MERCHANT_ROLES)


class Level(IntEnum):
    """What a role may do on a screen; each level holds those below it."""

    NONE = 0
    READ = 1
    WRITE = 2


# FAB calls a permission `can_` and the method's name. These only look; every other one changes something.
READ_PERMISSIONS = frozenset(
    f"can_{name}"
    for name in (
        "list", "show", "get", "get_list", "info", "index", "read", "download", "export", "userinfo",
        "choices", "progress", "status", "checklist", "preview", "qrcode", "page", "dashboard", "profile",
    )
) | {"menu_access"}  # fmt: skip

_R, _W = "read", "write"
_WATCHED = {ADMIN: _W, OPERATOR: _W, AUDITOR: _R}  # operators act here, auditors look
_SETTING = {ADMIN: _W, AUDITOR: _R}
_EVERYONE = dict.fromkeys(ROLES, _R)

VIEWS: Mapping[str, Mapping[str, str]] = {
    "DashboardView": _EVERYONE,
    "ProfileView": dict.fromkeys(ROLES, _W),
    "TwoFactorView": dict.fromkeys(ROLES, _W),
    "ApiKeyView": {ADMIN: _W, OPERATOR: _W, AUDITOR: _W, OWNER: _W},  # who has anything to ask the API for
    "SavedViewsView": dict.fromkeys(ROLES, _W),  # each their own, of lists that they may open
    "NoticesView": dict.fromkeys(ROLES, _W),  # everyone's own
    "NoticeSettingsView": dict.fromkeys(ROLES, _W),
    "ChoicesView": _EVERYONE,  # the options of select fields: it asks the view whose field it is
    "MerchantView": _WATCHED,
    "IndustryView": _WATCHED,
    "MiniProgramView": _WATCHED,
    "UnclaimedMiniProgramView": _WATCHED,
    "AuthorizationView": _WATCHED,
    "TemplateView": _WATCHED,
    "TemplateAppView": _WATCHED,
    "VersionView": _WATCHED,
    "VersionEventView": _WATCHED,
    "OperationRunView": _WATCHED,
    "BatchView": _WATCHED,
    "TasksView": dict.fromkeys(ROLES, _W),  # each their own: whoever may export may also cancel it
    "OperateView": {ADMIN: _W, OPERATOR: _W, OWNER: _W},  # and then `may_operate` for each operation
    "InboundEventView": _WATCHED,
    "RefusedPushView": _WATCHED,
    "ApiCallView": _WATCHED,
    "JobView": _WATCHED,
    "SystemView": _SETTING,
    "PaletteView": _EVERYONE,  # finds only what its user may open
    "StaffView": _WATCHED,
    "LoginAsView": {ADMIN: _W, OPERATOR: _W},
    "ThirdPartyAppView": {ADMIN: _W, OPERATOR: _R, AUDITOR: _R},
    "UserView": _SETTING,
    "AuditEntryView": _SETTING,
    "MyMiniProgramView": {OWNER: _R, STAFF: _R},
    "MyVersionView": {OWNER: _R, STAFF: _R},
    "OperationsApi": {ADMIN: _W, OPERATOR: _W, AUDITOR: _R, OWNER: _W},
    "MerchantApi": _WATCHED,
    "MiniProgramApi": _WATCHED,
    "VersionApi": _WATCHED,
    "MenuApi": _EVERYONE,
    "OpenApi": {ADMIN: _R, OPERATOR: _R, AUDITOR: _R, OWNER: _R},
    "SwaggerView": {ADMIN: _R, OPERATOR: _R, AUDITOR: _R, OWNER: _R},
}

_PLATFORM = frozenset({ADMIN, OPERATOR})
OPERATIONS: Mapping[str, frozenset[str]] = dict.fromkeys(
    (
        "sync_app_info", "modify_name", "modify_intro", "modify_icon", "list_categories", "add_category",
        "supply_category", "delete_category", "publish_category", "set_server_domains", "set_webview_domains",
        "get_credit_score", "get_quality_rating", "upload_code", "submit_audit", "withdraw_audit", "release",
        "rollback", "sync_versions", "experience_qrcode", "miniapp_code", "apply_video_mount",
        "apply_live_component", "apply_phone_number", "bind_account", "unbind_account", "set_aliases",
        "set_search_tags", "set_anchor", "refresh_token", "recover_authorization", "clear_authorization",
        "sync_templates", "add_template", "delete_template",
    ),
    _PLATFORM,
)  # fmt: skip
OWNERS_OPERATIONS = frozenset({"submit_audit"})  # where the platform lets owners submit


def can(role_names: Collection[str], permission: str, view: str) -> bool:
    """Whether any of the roles has a FAB permission (`can_list`, `menu_access`, ...) on a view."""
    return _can(frozenset(role_names), permission, view)


@lru_cache(maxsize=4096)
def _can(role_names: frozenset[str], permission: str, view: str) -> bool:
    needed = Level.READ if permission in READ_PERMISSIONS else Level.WRITE
    return level(role_names, view) >= needed


def level(role_names: Collection[str], view: str) -> Level:
    """The highest level that any of the roles has on a view; NONE for a view that is not in the table."""
    held = VIEWS.get(view, {})
    return max((Level[held[name].upper()] for name in role_names if name in held), default=Level.NONE)


def may_operate(role_names: Collection[str], operation: str, owners_may_submit: bool) -> bool:
    """Whether any of the roles may do an operation; one that is not in the table is the administrator's."""
    if OPERATIONS.get(operation, frozenset({ADMIN})) & set(role_names):
        return True
    return owners_may_submit and OWNER in role_names and operation in OWNERS_OPERATIONS


def is_platform(role_names: Collection[str]) -> bool:
    return bool(set(PLATFORM_ROLES) & set(role_names))


def may_act_as_merchant(role_names: Collection[str]) -> bool:
    """Who may log in as a merchant (登录商户)."""
    return bool(_PLATFORM & set(role_names))


def may_have_keys(role_names: Collection[str]) -> bool:
    """Who may make API keys."""
    return bool(set(VIEWS["ApiKeyView"]) & set(role_names))


def role_words(role_names: Collection[str]) -> str:
    """Roles as people read them: 平台运营、平台审计."""
    return "、".join(ROLE_WORDS[name] for name in ROLES if name in role_names)


def role_matrix(app: Flask) -> dict[str, dict[str, Any]]:
    """What each role may do on each registered screen, and its operations; for the docs and a snapshot.

    A screen is `write` with all its permissions, `read` with the looking ones, else the list of them.
    """
    matrix: dict[str, dict[str, Any]] = {}
    for role in ROLES:
        screens = {view.class_permission_name: _granted(role, view) for view in app.appbuilder.baseviews}  # type: ignore[attr-defined]
        matrix[role] = {
            "views": {name: held for name, held in sorted(screens.items()) if held},
            "operations": sorted(name for name in OPERATIONS if may_operate([role], name, False)),
            "operations_if_owners_may_submit": sorted(name for name in OPERATIONS if may_operate([role], name, True)),
        }
    return matrix


def _granted(role: str, view: Any) -> str | list[str]:
    held = sorted(name for name in view.base_permissions if can([role], name, view.class_permission_name))
    if not held:
        return ""
    if level([role], view.class_permission_name) == Level.WRITE:
        return "write"
    return "read" if set(held) <= READ_PERMISSIONS else held
