"""The menu, top to bottom, and the screens without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flask import current_app, redirect, url_for

from app.access.principal import acting
from app.console.base import tables_of
from app.console.cells import clock, local_time, said_options, shown, state
from app.console.cells import who as actor
from app.console.frame.compact import Compact
from app.console.frame.script_words import SCRIPT_WORDS, script
from app.console.frame.shell import shell, who
from app.console.kept import kept
from app.console.places import page_for
from app.console.row.tabs import Related
from app.console.words import many
from app.errors import DeclarationError
from app.extensions import the_app
from app.i18n.catalogue import catalogue
from app.i18n.language import LANGUAGES
from app.models.kit.user import via_words
from app.operations.registry import operation_title
from app.views.api_call import ApiCallView
from app.views.audit import AuditEntryView
from app.views.authorization import AuthorizationView
from app.views.dashboard import DashboardView
from app.views.inbound import InboundEventView, RefusedPushView
from app.views.job import JobView
from app.views.merchant import IndustryView, MerchantView
from app.views.mini_program import MiniProgramView, MyMiniProgramView, UnclaimedMiniProgramView
from app.views.operation import OperationRunView
from app.views.system import SystemView
from app.views.template import TemplateAppView, TemplateView
from app.views.third_party_app import ThirdPartyAppView
from app.views.user import StaffView, UserView
from app.views.version import MyVersionView, VersionEventView, VersionView
from app.web.assets import files_of

MENU: tuple[tuple[str, str, tuple[tuple[Any, str], ...]], ...] = (
    (
        "商户",
        "building-store",
        (
            (MerchantView, "商户列表"),
            (StaffView, "商户用户"),
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
            (UserView, "用户"),
            (AuditEntryView, "审计日志"),
            (SystemView, "系统状态"),
        ),
    ),
)


def register(appbuilder: Any) -> None:
    """Add every screen and API that there is, those of the menu in its order.

    DeclarationError for those without roles, and those that name a screen that there is not.
    """
    appbuilder.add_link("工作台", href="DashboardView.index", icon=DashboardView.icon)
    for category, icon, views in MENU:
        for view, name in views:
            appbuilder.add_view(view, name, category=category, category_icon=icon)
    named = {view for _category, _icon, views in MENU for view, _name in views}
    for view in current_app.extensions["screens"]:
        if view not in named and view is not DashboardView:
            appbuilder.add_view_no_menu(view)
    if amiss := [*_amiss(appbuilder.baseviews)]:
        raise DeclarationError("; ".join(amiss))
    app = current_app
    app.extensions["tables"] = tables_of(app.extensions["screens"], appbuilder.baseviews)
    shut_language_link(app)
    app.jinja_env.add_extension(Compact)
    app.jinja_env.filters.update(
        actor=actor, clock=clock, local_time=local_time, shown=shown, state=state, many=many, said_options=said_options
    )
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
        words = script({key: said(text) or text for key, text in SCRIPT_WORDS.items()})
        files_of(the_app()).generate(f"words.{locale}.js", words)


def _amiss(built: Sequence[Any]) -> Iterator[str]:
    """What is seen of the screens only when all are there, a sentence each."""
    known = {view.endpoint for view in built}
    for view in built:
        if view.class_permission_name not in current_app.extensions["roles"].held:
            yield f"{type(view).__name__} is registered and nothing says its roles: see OF_FAB in app/views"
        if absent := named_by(view) - known:
            yield f"{type(view).__name__} names screens that are none: {', '.join(sorted(absent))}"


def named_by(view: Any) -> set[str]:
    """The other screens that a screen names: of its tabs, of the menu's entry it stands under, of what is above it."""
    tabs = {tab.view for tab in getattr(view, "tabs", ()) if isinstance(tab, Related)}
    above = getattr(view, "above", ("", ""))[1].partition(".")[0]
    return (tabs | {above, getattr(view, "under", "")}) - {""}


def shut_language_link(app: Any) -> None:
    """FAB changes the language by GET; its address now only leads to the page where it is chosen."""
    app.view_functions["LocaleView.index"] = lambda locale: redirect(url_for("ProfileView.preferences"))
