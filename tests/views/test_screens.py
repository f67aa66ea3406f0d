"""Every screen is one of ours, renders with data for every platform role, and speaks Chinese."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import ModelView
from sqlalchemy import inspect
from sqlalchemy.orm import Session

from app.console.base import ConsoleView, MerchantFace, PlatformView
from app.models.kit.user import PLATFORM_ROLES
from tests.conftest import Actors
from tests.pages import BATCH, text_of

# Views that are no lists of a model, each with its reason.
OTHERS = {
    "ApiKeyView": "own API keys",
    "BatchView": "progress of a batch",
    "ChoicesView": "options of select fields",
    "DashboardView": "the first page",
    "JobView": "jobs are no rows",
    "LocaleView": "FAB's language switch",
    "LoginAsView": "log in as",
    "LoginView": "log-in",
    "MenuApi": "FAB's menu as JSON",
    "NoticeSettingsView": "own rules and channels",
    "NoticesView": "own notifications",
    "OpenApi": "the API described",
    "OperateView": "confirmation",
    "PaletteView": "answers of the search over everything",
    "ProfileView": "own account",
    "SavedViewsView": "a list as it was kept",
    "SwaggerView": "the API's page",
    "SystemView": "facts",
    "TasksView": "own long work",
    "TwoFactorView": "own second factor",
    "UtilView": "FAB's way back",
    "SecurityApi": "REST",
    "OperationsApi": "REST",
    "MerchantApi": "REST",
    "MiniProgramApi": "REST",
    "VersionApi": "REST",
}


def _views(app: Flask) -> list[ConsoleView]:
    return [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]


def test_every_view_is_one_of_ours(app: Flask) -> None:
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        ours = isinstance(view, PlatformView | MerchantFace)
        assert ours or view.endpoint in OTHERS, view.endpoint
        assert ours or not isinstance(view, ModelView), view.endpoint


def test_no_view_keeps_filters_between_requests(app: Flask) -> None:
    for view in _views(app):
        assert "_filters" not in vars(view)
        assert view._filters is not view._filters


def test_no_screen_names_a_secret_or_hidden_column(app: Flask) -> None:
    hidden = re.compile(r"_sealed$|_hash$|^row_uid$|^row_version$|^password$")
    for view in _views(app):
        mapper = inspect(view.datamodel.obj)
        columns = {*mapper.columns.keys(), *mapper.relationships.keys()}
        named = {*view.list_columns, *view.search_columns, *view.order_columns, *view.show_columns, *view.quick_columns}
        named |= {*view.add_columns, *view.edit_columns}
        assert not [name for name in named if hidden.search(name)], view.endpoint
        assert {*view.order_columns, *view.quick_columns} <= columns, view.endpoint


def test_no_row_action_route_exists(app: Flask) -> None:
    rules = [rule.rule for rule in app.url_map.iter_rules()]
    assert not [rule for rule in rules if "/action" in rule or "/download/" in rule]


def _pages(app: Flask) -> list[str]:
    """Every list, and the first row's page of every list."""
    pages = ["/", "/jobs/", f"/batch/{BATCH}"]
    for view in _views(app):
        if isinstance(view, PlatformView) and "list" in view.include_route_methods:
            pages.append(f"{view.route_base}/list/")
    return pages


@pytest.mark.parametrize("role", PLATFORM_ROLES)
def test_every_list_and_page_renders_for(
    role: str, app: Flask, full: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for(role)
    for page in _pages(app):
        answer = client.get(page)
        assert answer.status_code in {200, 403}, page
        shown = re.findall(r'href="(/\w+/show/\d+)"', answer.get_data(as_text=True))
        for link in sorted(set(shown))[:2]:
            assert client.get(link).status_code == 200, link
    for page in ("/merchantview/show/1", "/miniprogramview/show/1", "/versionview/show/1"):
        text_of(client, page)


def test_a_merchant_sees_its_own_stages_and_nothing_else(full: Actors, client_for: Callable[..., FlaskClient]) -> None:
    alice, bob = client_for("owner", full.alice), client_for("owner", full.bob)
    assert "1.0.1 审核驳回" in text_of(alice, "/")
    assert full.bob_app.appid not in text_of(alice, "/myminiprogramview/list/")
    text_of(alice, f"/myminiprogramview/show/{full.alice_app.id}")
    text_of(bob, f"/myminiprogramview/show/{full.alice_app.id}", 404)
    assert "页面空白" not in text_of(bob, "/myversionview/list/")


def test_an_unclaimed_app_is_given_to_a_merchant(session: Session, full: Actors, operator: FlaskClient) -> None:
    from sqlalchemy import select

    from app.models import MiniProgram
    from tests.pages import submit

    row = session.scalars(select(MiniProgram).where(MiniProgram.merchant_id.is_(None))).one()
    assert "无主小程序" in text_of(operator, "/unclaimedminiprogramview/list/")
    page = f"/unclaimedminiprogramview/claim/{row.id}"
    assert submit(operator, page, merchant=str(full.bob.id)).status_code == 302
    session.rollback()
    session.expire_all()
    assert session.get_one(MiniProgram, row.id).merchant_id == full.bob.id


def test_an_open_link_shows_its_code_and_no_foreign_host(full: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, "/authorizationview/show/1")
    assert "<svg" in page
    assert "复制链接" in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//(?!open\.douyin\.com)', page)


def test_scripts_are_files_of_ours(full: Actors, operator: FlaskClient) -> None:
    for page in ("/", "/miniprogramview/list/", "/merchantview/add"):
        for tag in re.findall(r"<script[^>]*>", text_of(operator, page)):
            assert 'src="/static/' in tag


def test_a_screen_shows_text_as_text(session: Session, full: Actors, operator: FlaskClient) -> None:
    full.alice.name = "<img src=x onerror=alert(1)>"
    full.alice_app.name = "{{ 7 * 7 }}<script>alert(2)</script>"
    session.commit()
    for page in (
        "/merchantview/list/",
        "/merchantview/show/1",
        "/miniprogramview/list/",
        "/miniprogramview/show/1",
        "/",
    ):
        text = text_of(operator, page)
        assert "<img src=x" not in text
        assert "<script>alert" not in text
