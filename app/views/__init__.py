"""The menu, top to bottom, and the screens without one."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app import assets
from app.i18n import LANGUAGES, catalogue
from app.models.user import via_words
from app.security import acting
from app.views import account
from app.views.cells import clock, local_time, shown, state
from app.views.cells import who as actor
from app.views.choices import ChoicesView
from app.views.compact import Compact
from app.views.kept import kept
from app.views.merchant import AuthorizationView, IndustryView, MerchantView
from app.views.mini_program import MiniProgramView, MyMiniProgramView, UnclaimedMiniProgramView
from app.views.notice_settings import NoticeSettingsView
from app.views.notices import NoticesView
from app.views.operate import BatchView, OperateView, operation_title
from app.views.palette import PaletteView
from app.views.places import page_for
from app.views.records import (
    ApiCallView,
    AuditEntryView,
    InboundEventView,
    OperationRunView,
    RefusedPushView,
)
from app.views.saved import SavedViewsView
from app.views.script_words import SCRIPT_WORDS, script
from app.views.shell import many, shell, who
from app.views.system import JobView, SystemView
from app.views.tasks import TasksView
from app.views.template import TemplateAppView, TemplateView
from app.views.third_party_app import ThirdPartyAppView
from app.views.version import MyVersionView, VersionEventView, VersionView

MENU: tuple[tuple[str, str, tuple[tuple[Any, str], ...]], ...] = (
    (
        "商户",
        "building-store",
        (
            (MerchantView, "商户列表"),
            *account.STAFF_VIEWS,
            (IndustryView, "行业"),
            (AuthorizationView, "授权链接"),
        ),
    ),
    (
        "小程序",
        "apps",
        (
            (MyMiniProgramView, "我的小程序"),
            (MyVersionView, "我的版本"),
            (MiniProgramView, "小程序列表"),
            (UnclaimedMiniProgramView, "待认领"),
            (VersionView, "版本"),
            (VersionEventView, "版本动态"),
            (TemplateView, "模板"),
            (TemplateAppView, "模板小程序"),
        ),
    ),
    (
        "运行",
        "activity",
        (
            (OperationRunView, "操作记录"),
            (InboundEventView, "事件推送"),
            (RefusedPushView, "被拒绝的推送"),
            (ApiCallView, "接口调用"),
            (JobView, "定时任务"),
        ),
    ),
    (
        "设置",
        "settings",
        (
            (ThirdPartyAppView, "第三方应用"),
            *account.SETTINGS_VIEWS,
            (AuditEntryView, "审计日志"),
            (SystemView, "系统状态"),
        ),
    ),
)


def register(appbuilder: Any) -> None:
    """Add every screen, in the menu's order."""
    appbuilder.add_link("工作台", href="DashboardView.index", icon="layout-dashboard")
    for category, icon, views in MENU:
        for view, name in views:
            appbuilder.add_view(view, name, category=category, category_icon=icon)
    hidden: tuple[Any, ...] = (
        OperateView, BatchView, TasksView, ChoicesView, SavedViewsView, PaletteView, NoticesView, NoticeSettingsView,
        *account.VIEWS,
    )  # fmt: skip
    for view in hidden:
        appbuilder.add_view_no_menu(view)
    app = current_app
    account.shut_language_link(app)
    app.jinja_env.add_extension(Compact)
    app.jinja_env.filters.update(actor=actor, clock=clock, local_time=local_time, shown=shown, state=state, many=many)
    app.jinja_env.globals.update(
        acting=acting,
        via_words=via_words,
        operation_title=operation_title,
        page_for=page_for,
        kept=kept,
        shell=shell,
        who=who,
    )
    for locale in LANGUAGES:
        said = catalogue(locale).find
        assets.generate(f"words.{locale}.js", script({key: said(text) or text for key, text in SCRIPT_WORDS.items()}))


__all__ = ["register"]
