"""The menu, top to bottom, and the screens without one."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app.security import acting
from app.views import account
from app.views.cells import clock, local_time, shown, state
from app.views.choices import ChoicesView
from app.views.merchant import AuthorizationView, IndustryView, MerchantView
from app.views.mini_program import MiniProgramView, MyMiniProgramView, UnclaimedMiniProgramView
from app.views.operate import BatchView, OperateView, operation_title, page_for
from app.views.records import (
    ApiCallView,
    AuditEntryView,
    InboundEventView,
    JobView,
    OperationRunView,
    RefusedPushView,
)
from app.views.template import TemplateAppView, TemplateView
from app.views.third_party_app import ThirdPartyAppView
from app.views.version import MyVersionView, VersionView

MENU: tuple[tuple[str, str, tuple[tuple[Any, str], ...]], ...] = (
    ("商户", "fa-building", ((MerchantView, "商户列表"), (IndustryView, "行业"), (AuthorizationView, "授权链接"))),
    (
        "小程序",
        "fa-cube",
        (
            (MyMiniProgramView, "我的小程序"),
            (MyVersionView, "我的版本"),
            (MiniProgramView, "小程序列表"),
            (UnclaimedMiniProgramView, "待认领"),
            (VersionView, "版本"),
            (TemplateView, "模板"),
            (TemplateAppView, "模板小程序"),
        ),
    ),
    (
        "运行",
        "fa-bolt",
        (
            (OperationRunView, "操作记录"),
            (InboundEventView, "事件推送"),
            (RefusedPushView, "拒绝的推送"),
            (ApiCallView, "接口调用"),
            (JobView, "定时任务"),
        ),
    ),
    ("设置", "fa-gear", ((ThirdPartyAppView, "第三方应用"), *account.SETTINGS_VIEWS, (AuditEntryView, "审计日志"))),
)


def register(appbuilder: Any) -> None:
    """Add every screen, in the menu's order."""
    appbuilder.add_link("工作台", href="DashboardView.index", icon="fa-home")
    for category, icon, views in MENU:
        for view, name in views:
            appbuilder.add_view(view, name, category=category, category_icon=icon)
    hidden: tuple[Any, ...] = (OperateView, BatchView, ChoicesView, *account.VIEWS)
    for view in hidden:
        appbuilder.add_view_no_menu(view)
    app = current_app
    app.jinja_env.filters.update(clock=clock, local_time=local_time, shown=shown, state=state)
    app.jinja_env.globals.update(acting=acting, operation_title=operation_title, page_for=page_for)


__all__ = ["register"]
