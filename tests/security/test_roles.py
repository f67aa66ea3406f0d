"""The table of roles: frozen in a snapshot, complete, and asked without a query."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app.extensions import db
from app.models.user import MERCHANT_ROLES
from app.operations import OPERATIONS as REGISTERED
from app.roles import OPERATIONS, ROLES, VIEWS, can, may_operate, role_matrix
from app.security import OWN_VIEWS
from app.views.base import MerchantFace, PlatformView
from tests.conftest import Actors

SNAPSHOT = Path(__file__).with_name("role_matrix.json")
# One's own: account, notices, saved views, tasks. Everyone may write there, an auditor too.
OWN = OWN_VIEWS | {"NoticesView", "NoticeSettingsView", "SavedViewsView", "TasksView"}
OPEN = {"UtilView", "LocaleView", "LoginView", "SecurityApi"}  # for visitors: each does its own check


def test_matrix_is_as_frozen(app: Flask) -> None:
    assert role_matrix(app) == json.loads(SNAPSHOT.read_text()), (
        "run python -m tests.security.freeze and look at the diff"
    )


def test_every_view_is_in_the_table(app: Flask) -> None:
    registered = {view.class_permission_name for view in app.appbuilder.baseviews}  # type: ignore[attr-defined]
    assert registered - OPEN <= set(VIEWS)


def test_every_registered_operation_is_in_the_table() -> None:
    assert set(REGISTERED) <= set(OPERATIONS)


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
    seen = {view for view in VIEWS if can([role], "can_list", view)}
    own = OWN | {view.class_permission_name for view in faces}
    common = {
        "DashboardView", "PaletteView", "OpenApi", "SwaggerView", "OperateView", "OperationsApi", "ChoicesView",
        "MenuApi",
    }  # fmt: skip
    assert seen <= own | common
    platform = [view for view in app.appbuilder.baseviews if isinstance(view, PlatformView)]  # type: ignore[attr-defined]
    assert len(platform) >= 10
    assert not seen & {view.class_permission_name for view in platform}


def test_operators_change_no_setting() -> None:
    for view in ("ThirdPartyAppView", "UserView", "AuditEntryView"):
        assert not can(["operator"], "can_edit", view)


@pytest.mark.parametrize("allowed", [True, False])
def test_owners_submit_only_where_the_platform_lets_them(allowed: bool) -> None:
    assert may_operate(["owner"], "submit_audit", allowed) is allowed
    assert not may_operate(["owner"], "release", allowed)


def test_unknown_names_give_nothing() -> None:
    assert not any(can(ROLES, permission, "NoSuchView") for permission in ("can_list", "menu_access"))
    assert not may_operate(["operator", "owner"], "no_such_operation", True)
    assert not can(["Admin", "Public"], "can_list", "MerchantView")


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
