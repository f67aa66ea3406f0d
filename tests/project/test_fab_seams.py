"""Each place where we lean on Flask-AppBuilder's insides, one test each: what its next release changes is told here.

The picture of what we override (snapshots/fab.json) says what a member looked like; these say whether ours still fits.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_appbuilder import AppBuilder, IndexView, Model, ModelView, const
from flask_appbuilder.api import BaseApi, ModelRestApi
from flask_appbuilder.api.manager import OpenApi
from flask_appbuilder.baseviews import BaseModelView, BaseView
from flask_appbuilder.menu import Menu, MenuItem
from flask_appbuilder.models.filters import BaseFilter, BaseFilterConverter, Filters
from flask_appbuilder.models.sqla import filters as sqla_filters
from flask_appbuilder.models.sqla.interface import SQLAInterface
from flask_appbuilder.security.manager import BaseSecurityManager
from flask_appbuilder.security.sqla import models as security_models
from flask_login import LoginManager
from jinja2 import nodes

from config import Config
from tests.conftest import ROOT
from tests.project.fab import HOME, Seam, parameters, seams, shape, sources, unwrapped

pytestmark = pytest.mark.any_database("seams of classes, not of tables")
METHODS = [seam for seam in seams() if callable(unwrapped(seam.mine)) and not isinstance(seam.mine, type)]
OPTIONS = frozenset({"self", "cls"})
# What we call or read, by where it is: (owner, its shape). What we override is found by itself.
USED: dict[str, tuple[Any, str]] = {
    "AppBuilder.add_view": (
        AppBuilder,
        "(self, baseview, name, href=…, icon=…, label=…, category=…, category_icon=…, category_label=…, menu_cond=…)",
    ),
    "AppBuilder.add_view_no_menu": (AppBuilder, "(self, baseview, endpoint=…, static_folder=…)"),
    "AppBuilder.add_link": (
        AppBuilder,
        "(self, name, href, icon=…, label=…, category=…, category_icon=…, category_label=…, baseview=…, cond=…)",
    ),
    "AppBuilder.add_api": (AppBuilder, "(self, baseview)"),
    "AppBuilder.app_name": (AppBuilder, "property"),
    "AppBuilder.get_url_for_index": (AppBuilder, "property"),
    "AppBuilder.get_url_for_logout": (AppBuilder, "property"),
    "AppBuilder.get_url_for_userinfo": (AppBuilder, "property"),
    "BaseApi.add_api_spec": (BaseApi, "(self, api_spec)"),
    "BaseApi.get_method_permission": (BaseApi, "(self, method_name)"),
    "BaseApi.response": (BaseApi, "static (code, **kwargs)"),
    "BaseApi.response_404": (BaseApi, "(self)"),
    "BaseView.render_template": (BaseView, "(self, template, **kwargs)"),
    "BaseFilter.__init__": (BaseFilter, "(self, column_name, datamodel, is_related_view=…)"),
    "BaseFilterConverter.__init__": (BaseFilterConverter, "(self, datamodel)"),
    "Filters._add_filter": (Filters, "(self, filter_instance, values)"),
    "Filters.add_filter_list": (Filters, "(self, active_filter_list=…)"),
    "Filters.get_search_filters": (Filters, "(self)"),
    "Menu.get_list": (Menu, "(self)"),
    "MenuItem.get_url": (MenuItem, "(self)"),
    "OpenApi._create_api_spec": (OpenApi, "static (version)"),
    "SQLAInterface.apply_filters": (SQLAInterface, "(self, query, filters)"),
    "SQLAInterface.get_columns_list": (SQLAInterface, "(self)"),
    "SQLAInterface.get_pk_name": (SQLAInterface, "(self)"),
    "SQLAInterface.get_related_model": (SQLAInterface, "(self, col_name)"),
    "SQLAInterface.get_relation_fk": (SQLAInterface, "(self, col_name)"),
    "SQLAInterface.is_relation": (SQLAInterface, "(self, col_name)"),
    "SQLAInterface.is_relation_many_to_one": (SQLAInterface, "(self, col_name)"),
    "get_field_setup_query": (sqla_filters, "(query, model, column_name)"),
    "_update_request_context_with_user": (LoginManager, "(self, user=…)"),
}
# Templates of ours in FAB's folder that FAB has not: pieces of the others.
PIECES = {"bar_tools.html"}
PRIVATE = {  # of others than FAB
    "_get_current_object": "werkzeug's proxies",
    "_generate_cache_key": "SQLAlchemy's statements",
    "_catalog": "gettext's translations",
    "_pool": "SQLAlchemy's pool: the size of the next one",
}


def test_the_walk_finds_what_we_know_of() -> None:
    found = {str(seam) for seam in seams()}
    assert {
        "BaseSecurityManager.has_access in SecurityManager",
        "ModelView.list in ListPages",
        "SQLAInterface.query in ScopedInterface",
        "IndexView.index in DashboardView",
    } <= found
    assert len(METHODS) > 50


@pytest.mark.parametrize("seam", METHODS, ids=str)
def test_ours_takes_what_fab_gives(seam: Seam) -> None:
    """As many arguments, under the same names where FAB could name them, and no other that it would have to give."""
    if isinstance(seam.theirs, property) or not callable(unwrapped(seam.theirs)):
        pytest.fail(f"FAB has no method {seam.base.__name__}.{seam.name} any more: {shape(seam.theirs)}")
    told = {item.name.lstrip("_") for item in parameters(seam.mine)}
    open_ended = {item.kind for item in parameters(seam.mine)}
    given = [item for item in parameters(seam.theirs) if item.name not in OPTIONS]
    for item in given:
        if item.kind in {item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY}:
            renamed = item.kind is item.POSITIONAL_OR_KEYWORD and item.default is item.empty
            assert item.name in told or item.VAR_KEYWORD in open_ended or (renamed and _place(seam, item)), item
    needed = [item for item in parameters(seam.mine) if item.default is item.empty and item.name not in OPTIONS]
    needed = [item for item in needed if item.kind not in {item.VAR_POSITIONAL, item.VAR_KEYWORD}]
    assert len(needed) <= len([item for item in given if item.default is item.empty]), (seam, shape(seam.theirs))


def _place(seam: Seam, item: inspect.Parameter) -> bool:
    """Whether ours has an argument where FAB has this one; FAB gives it by place."""
    place = [held.name for held in parameters(seam.theirs)].index(item.name)
    return place < len(parameters(seam.mine))


@pytest.mark.parametrize("seam", [seam for seam in seams() if seam not in METHODS], ids=str)
def test_a_property_or_value_stays_one(seam: Seam) -> None:
    assert shape(seam.theirs) in {"property", "attribute"}


@pytest.mark.parametrize("name", sorted({seam.name for seam in seams() if not hasattr(seam.mine, "_urls")}))
def test_fab_still_asks_for_what_we_override(name: str) -> None:
    """An override that nobody reads does nothing, and says nothing. Routes are apart: the URL map knows them."""
    assert re.search(rf"\.{name}\b", sources()), name


@pytest.mark.parametrize("name", USED)
def test_what_we_use_is_as_we_know_it(name: str) -> None:
    owner, known = USED[name]
    member = inspect.getattr_static(owner, name.rpartition(".")[2])
    assert shape(member).replace("staticmethod", "static") == known


def test_every_private_name_that_is_not_ours_is_named_here() -> None:
    ours, used = set(), set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                ours.add(node.name)
            elif isinstance(node, ast.Attribute | ast.Name):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                if isinstance(node.ctx, ast.Store):
                    ours.add(name)
                elif isinstance(node, ast.Attribute) and re.match(r"_[a-z]", name):
                    used.add(name)
    known = {name.rpartition(".")[2] for name in USED} | set(PRIVATE)
    assert used - ours - known == set()
    assert set(PRIVATE) <= used


@pytest.mark.parametrize("name", ["label", "href", "icon", "childs", "baseview", "name"])
def test_an_entry_of_the_menu_has_what_the_frame_reads(app: Flask, name: str) -> None:
    item = app.appbuilder.menu.get_list()[1]  # type: ignore[attr-defined]
    assert hasattr(item, name)
    assert hasattr(item.childs[0], name)


@pytest.mark.parametrize(
    "name",
    ["endpoint", "route_base", "base_permissions", "class_permission_name", "method_permission_name", "appbuilder"],
)
def test_a_screen_has_what_the_walks_read(app: Flask, name: str) -> None:
    assert [view for view in app.appbuilder.baseviews if not hasattr(view, name)] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["_init_properties", "_init_forms", "_init_titles"])
def test_a_screen_is_set_up_by_the_steps_we_replace(name: str) -> None:
    assert re.search(rf"self\.{name}\(", inspect.getsource(ModelView) + inspect.getsource(BaseModelView) + sources())


def test_fab_keeps_its_filters_where_ours_are_per_request() -> None:
    assert "self._filters = " in inspect.getsource(BaseModelView)
    assert "self._filters" in inspect.getsource(ModelRestApi)


def test_the_screens_decorators_ask_the_manager() -> None:
    from flask_appbuilder.security import decorators

    for name in ("has_access", "protect"):
        assert ".has_access(" in inspect.getsource(getattr(decorators, name)), name
    assert "before_request" in inspect.getsource(BaseSecurityManager)


def test_a_filter_holds_no_state_but_its_column() -> None:
    """One object serves every request."""
    written = re.findall(r"self\.(\w+) = ", inspect.getsource(BaseFilter))
    assert set(written) == {"column_name", "datamodel", "model", "is_related_view"}


def test_filters_by_text_are_those_that_we_replace() -> None:
    kinds = [kind.__name__ for _, kinds in sqla_filters.SQLAFilterConverter.conversion_table for kind in kinds]
    ours = {"StartsWith", "NotStartsWith", "EndsWith", "NotEndsWith", "Contains", "NotContains"}
    assert {f"Filter{name}" for name in ours} <= set(kinds)
    others = {name for name in kinds if re.search(r"With|Contains|Like", name)} - {f"Filter{name}" for name in ours}
    assert others <= {"FilterRelationManyToManyEqual"}


def test_the_query_of_an_api_has_the_names_that_the_guard_checks() -> None:
    known = {name: value for name, value in vars(const).items() if name.endswith("_RIS_KEY")}
    assert known["API_URI_RIS_KEY"] == "q"
    assert {"page", "page_size", "order_column", "order_direction", "filters", "columns", "keys"} <= set(known.values())
    for name in ("col", "opr", "value"):
        assert f'["{name}"]' in inspect.getsource(Filters), name


def test_the_log_in_of_an_api_has_the_names_that_ours_keeps() -> None:
    given = [const.API_SECURITY_USERNAME_KEY, const.API_SECURITY_PASSWORD_KEY, const.API_SECURITY_REFRESH_KEY]
    assert [*given, const.API_SECURITY_PROVIDER_KEY] == ["username", "password", "refresh", "provider"]
    assert [const.API_SECURITY_ACCESS_TOKEN_KEY, const.API_SECURITY_REFRESH_TOKEN_KEY] == [
        "access_token",
        "refresh_token",
    ]


def test_users_and_roles_are_the_tables_that_we_build_upon() -> None:
    assert security_models.User.__tablename__ == "ab_user"
    assert security_models.Role.__tablename__ == "ab_role"
    assert set(security_models.assoc_user_role.c.keys()) == {"id", "user_id", "role_id"}
    assert Model.metadata is security_models.User.metadata
    needed = {"username", "first_name", "last_name", "email", "password", "active", "last_login", "fail_login_count"}
    assert needed <= set(security_models.User.__table__.c.keys())
    assert callable(security_models.User.get_full_name)


# Settings.


@pytest.mark.parametrize("name", [name for name in vars(Config) if name.startswith(("FAB_", "AUTH_", "APP_"))])
def test_a_setting_of_fab_is_read_by_fab(name: str) -> None:
    said = sources() + "".join(path.read_text() for path in HOME.rglob("*.html"))
    assert re.search(rf"""["']{name}["']""", said), name


# Templates.


def own_templates() -> list[str]:
    folder = ROOT / "app/templates"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))


@pytest.mark.parametrize("name", [name for name in own_templates() if name.startswith("appbuilder/")])
def test_a_template_in_fabs_folder_stands_before_one_of_fabs(name: str) -> None:
    assert Path(name).name in PIECES or (HOME / "templates" / name).is_file(), name


def extended(app: Flask, name: str) -> str | None:
    """The template that one extends; the layouts that are named by a variable are told here."""
    source, _, _ = app.jinja_env.loader.get_source(app.jinja_env, name)  # type: ignore[union-attr]
    found = next(app.jinja_env.parse(source).find_all(nodes.Extends), None)
    if found is None:
        return None
    if isinstance(found.template, nodes.Const):
        return str(found.template.value)
    variables = {"base_template": "appbuilder/baselayout.html", "layout": "appbuilder/base.html"}
    return variables[found.template.name]  # type: ignore[attr-defined]


def chain(app: Flask, name: str) -> Iterator[str]:
    above = extended(app, name)
    while above is not None:
        yield above
        above = extended(app, above)


@pytest.mark.parametrize("name", own_templates())
def test_every_block_of_a_page_has_its_place_above(app: Flask, name: str) -> None:
    """What stands in a block that no layout has is never shown."""
    layouts = list(chain(app, name))
    if not layouts:
        return
    places = {block for layout in layouts for block in app.jinja_env.get_template(layout).blocks}
    source, _, _ = app.jinja_env.loader.get_source(app.jinja_env, name)  # type: ignore[union-attr]
    tree = app.jinja_env.parse(source)
    outer = [node.name for node in tree.body if isinstance(node, nodes.Block)]
    assert set(outer) <= places, layouts


def test_fabs_base_is_our_layout(app: Flask) -> None:
    assert extended(app, "appbuilder/base.html") == "appbuilder/baselayout.html"
    assert app.config["FAB_BASE_TEMPLATE"] == "appbuilder/baselayout.html"


def test_no_screen_shows_a_page_of_fabs(app: Flask) -> None:
    """Each template that a registered screen names and its routes use is ours."""
    ours, wrong = set(own_templates()), []
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        routes = {
            rule.endpoint.rpartition(".")[2]
            for rule in app.url_map.iter_rules()
            if rule.endpoint.startswith(f"{view.endpoint}.")
        }
        for name in routes:
            used = (
                re.findall(
                    r"self\.((?!render_)\w+_template)\b", inspect.getsource(unwrapped(getattr(type(view), name)))
                )
                if hasattr(type(view), name)
                else []
            )
            wrong += [(view.endpoint, name) for held in used if getattr(view, held) not in ours]
    assert wrong == []


# Addresses.


@pytest.mark.parametrize(
    ("endpoint", "rule"),
    [
        ("LoginView.login", "/login/"),
        ("LoginView.logout", "/logout/"),
        ("LocaleView.index", "/lang/<string:locale>"),
        ("UtilView.back", "/back"),
        ("MenuApi.get_menu_data", "/api/v1/menu/"),
        ("OpenApi.get", "/api/<version>/_openapi"),
        ("SecurityApi.login", "/api/v1/security/login"),
        ("SecurityApi.refresh", "/api/v1/security/refresh"),
        ("appbuilder.static", "/static/appbuilder/<path:filename>"),
        ("MerchantView.list", "/merchantview/list/"),
        ("MerchantView.show", "/merchantview/show/<pk>"),
        ("MerchantView.edit", "/merchantview/edit/<pk>"),
        ("MerchantView.add", "/merchantview/add"),
        ("MerchantApi.get_list", "/api/v1/merchants/"),
    ],
)
def test_an_address_that_fab_makes_is_where_it_was(app: Flask, endpoint: str, rule: str) -> None:
    assert rule in {found.rule for found in app.url_map.iter_rules(endpoint)}


def test_the_first_page_is_ours(app: Flask) -> None:
    view = next(view for view in app.appbuilder.baseviews if view.endpoint == "DashboardView")  # type: ignore[attr-defined]
    assert isinstance(view, IndexView)
    assert app.appbuilder.indexview is type(view)  # type: ignore[attr-defined]
