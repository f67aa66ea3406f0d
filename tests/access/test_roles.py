"""The table of roles: complete, and asked without a query. A snapshot freezes what it gives (tests/project)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import BaseView, expose
from flask_appbuilder.menu import MenuApi
from flask_login import AnonymousUserMixin
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app import create_app, views
from app.access.roles import READS, ROLES, WATCHED, WRITES, Level, can, may_operate, role_matrix, roles_of
from app.console.base import ConsoleView, MerchantFace, PlatformView
from app.console.row.tabs import Related
from app.errors import DeclarationError
from app.extensions import db
from app.models.kit.user import MERCHANT_ROLES, ConsoleUser
from tests.conftest import Actors, test_environment

# One's own: account, notices, saved views, tasks. Everyone may write there, an auditor too.
OWN = {"ProfileView", "TwoFactorView", "ApiKeyView", "NoticesView", "NoticeSettingsView", "SavedViewsView", "TasksView"}
OPEN = {"UtilView", "LocaleView", "LoginView", "SecurityApi"}  # for visitors: each does its own check


def test_only_what_visitors_need_is_no_roles(app: Flask) -> None:
    registered = {view.class_permission_name for view in app.appbuilder.baseviews}  # type: ignore[attr-defined]
    held = app.extensions["roles"].held
    assert set(held) == registered
    assert {name for name, roles in held.items() if not roles} == OPEN


def test_fab_hears_the_roles_of_those_who_are_in_only(app: Flask, session: Session, operator: FlaskClient) -> None:
    manager = app.appbuilder.sm  # type: ignore[attr-defined]
    user = session.scalars(select(ConsoleUser).where(ConsoleUser.roles.any())).first()
    assert user is not None and manager.get_user_roles(user) == list(user.roles) != []
    assert manager.get_user_roles(AnonymousUserMixin()) == manager.get_user_roles(None) == []


def test_what_stays_open_before_a_password_or_a_second_factor_is_declared_by_its_view(app: Flask) -> None:
    held = app.extensions["roles"]
    assert held.own == {"ProfileView", "TwoFactorView", "ApiKeyView"}
    assert held.before_change == {"ProfileView.password", "LoginView.logout"}
    assert held.before_enrolment == {"TwoFactorView.enrol", "ProfileView.confirm", "LoginView.logout"}

    class Odd(BaseView):
        roles = {"platform_admin": READS}
        before_change = ("nowhere",)

    with pytest.raises(DeclarationError, match="Odd.before_change names no page: nowhere"):
        views.view_roles([Odd])


def test_nothing_is_for_everyone_by_default() -> None:
    for base in (ConsoleView, PlatformView, MerchantFace):
        with pytest.raises(DeclarationError, match=f"{base.__name__} says no roles"):
            roles_of(base)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "NewView says no roles"),
        ({"roles": None}, "NewView says no roles"),
        ({"roles": {"operators": WRITES}}, "NewView says roles that are none: operators"),
        ({"roles": {"operator": "wirte"}}, "NewView says roles that are none: operator: wirte"),
        ({"roles": {"operator": Level.NONE}}, "NewView says roles that are none: operator"),
        ({"roles": {}}, "NewView is for nobody: say roles"),
        ({"roles": WATCHED, "x": expose("/x")(lambda self: "x")}, "NewView.x asks for no permission: @has_access"),
    ],
)
def test_a_screen_without_roles_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: dict[str, Any], sentence: str
) -> None:
    from app.views import job

    monkeypatch.setattr(
        job, "NewView", type("NewView", (BaseView,), {"__module__": job.__name__, **said}), raising=False
    )
    with pytest.raises(DeclarationError, match=sentence):
        create_app(test_environment(f"sqlite:///{tmp_path}/one.db", "http://127.0.0.1:1"), TESTING=True)


def test_a_view_that_fab_adds_by_itself_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(views.OF_FAB, MenuApi)  # type: ignore[attr-defined]
    with pytest.raises(DeclarationError, match="MenuApi is registered and nothing says its roles"):
        create_app(test_environment(f"sqlite:///{tmp_path}/one.db", "http://127.0.0.1:1"), TESTING=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tabs", (Related("apps", "小程序", "MiniProgramsView", "merchant"),)),
        ("under", "MiniProgramsView"),
        ("above", ("小程序", "MiniProgramsView.list")),
    ],
)
def test_a_screen_that_names_one_that_is_none_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: Any
) -> None:
    from app.views.merchant import IndustryView

    monkeypatch.setattr(IndustryView, name, said, raising=False)
    with pytest.raises(DeclarationError, match="IndustryView names screens that are none: MiniProgramsView"):
        create_app(test_environment(f"sqlite:///{tmp_path}/one.db", "http://127.0.0.1:1"), TESTING=True)


def test_the_walk_finds_a_screen_that_another_is_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.views import job

    made = {"__module__": job.__name__}
    monkeypatch.setattr(job, "BaseOne", type("BaseOne", (BaseView,), made), raising=False)
    monkeypatch.setattr(job, "FirstView", type("FirstView", (job.BaseOne,), made | {"roles": WATCHED}), raising=False)
    monkeypatch.setattr(job, "SecondView", type("SecondView", (job.FirstView,), made), raising=False)
    found = {view.__name__ for view in views.screens()}
    assert {"FirstView", "SecondView", "JobView"} <= found
    assert "BaseOne" not in found
    assert roles_of(job.FirstView) == {"platform_admin": WRITES, "operator": WRITES, "auditor": READS}


def test_no_stock_security_view_is_registered(app: Flask) -> None:
    paths = {str(rule) for rule in app.url_map.iter_rules()}
    assert not any(
        path.startswith(("/roles", "/resetpassword", "/resetmypassword", "/groups", "/registeruser")) for path in paths
    )


@pytest.mark.parametrize("role", ["auditor"])
def test_auditor_changes_nothing_but_its_own_account(role: str, app: Flask) -> None:
    allowed = {view for view, held in role_matrix(app)[role]["views"].items() if held == "write"}
    assert allowed == OWN


@pytest.mark.parametrize("role", MERCHANT_ROLES)
def test_merchants_people_see_no_screen_of_the_platform(app: Flask, role: str) -> None:
    faces = [view for view in app.appbuilder.baseviews if isinstance(view, MerchantFace)]  # type: ignore[attr-defined]
    with app.app_context():
        seen = {view for view in app.extensions["roles"].held if can([role], "can_list", view)}
    own = OWN | {view.class_permission_name for view in faces}
    common = {
        "DashboardView",
        "PaletteView",
        "OpenApi",
        "SwaggerView",
        "OperateView",
        "OperationsApi",
        "ChoicesView",
        "MenuApi",
    }
    assert seen <= own | common
    platform = [view for view in app.appbuilder.baseviews if isinstance(view, PlatformView)]  # type: ignore[attr-defined]
    assert len(platform) >= 10
    assert not seen & {view.class_permission_name for view in platform}


def test_operators_change_no_setting(app: Flask) -> None:
    with app.app_context():
        for view in ("ThirdPartyAppView", "UserView", "AuditEntryView"):
            assert not can(["operator"], "can_edit", view)


@pytest.mark.parametrize("allowed", [True, False])
def test_owners_submit_only_where_the_platform_lets_them(allowed: bool) -> None:
    assert may_operate(["owner"], "submit_audit", allowed) is allowed
    assert not may_operate(["owner"], "release", allowed)


def test_unknown_names_give_nothing(app: Flask) -> None:
    with app.app_context():
        assert not any(can(ROLES, permission, "NoSuchView") for permission in ("can_list", "menu_access"))
        assert not can(["Admin", "Public"], "can_list", "MerchantView")
    assert not may_operate(["operator", "owner"], "no_such_operation", True)


def visit(client: FlaskClient, path: str) -> int:
    return int(client.get(path).status_code)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("operator", "/users/list/", 403),
        ("operator", "/staff/list/", 200),
        ("auditor", "/users/list/", 200),
        ("auditor", "/users/add", 403),
        ("auditor", "/loginas/1", 403),
        ("platform_admin", "/users/add", 200),
    ],
)
def test_platform_roles_over_http(client_for: Callable[..., FlaskClient], role: str, path: str, status: int) -> None:
    assert visit(client_for(role), path) == status


@pytest.mark.parametrize("role", MERCHANT_ROLES)
def test_merchants_people_over_http(client_for: Callable[..., FlaskClient], actors: Actors, role: str) -> None:
    client = client_for(role, actors.alice)
    assert visit(client, "/account/") == 200
    for path in ("/users/list/", "/staff/list/", f"/loginas/{actors.bob.id}", "/staff/add?merchant=1"):
        assert visit(client, path) == 403


def test_permissions_cost_no_query_but_the_session_and_the_user(
    app: Flask, client_for: Callable[..., FlaskClient]
) -> None:
    client, statements = client_for("operator"), []
    visit(client, "/account/password")  # the form's token is stored
    listen: Any = lambda _c, _cur, statement, *_rest: statements.append(statement)  # noqa: E731
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", listen)
    try:
        assert visit(client, "/account/password") == 200
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    asked = [text for text in statements if "ab_permission" in text or "ab_role" in text]
    assert len(asked) == 1  # the user with its roles
    assert sum("web_session" in text for text in statements) == 1
