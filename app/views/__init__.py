"""The screens: what a module of this package declares is a screen, and so is what the console and the API bring."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from flask_appbuilder import BaseView
from flask_appbuilder.api import BaseApi
from flask_appbuilder.babel.views import LocaleView
from flask_appbuilder.menu import MenuApi
from flask_appbuilder.views import UtilView

from app.access.roles import ALL_READ, VISITORS, Roles, ViewRoles, role_faults, roles_of
from app.console import declarations
from app.errors import DeclarationError

ROOMS = ("app.views", "app.console", "app.api.operators")
# FAB registers these by itself; any other of its own stops the start.
OF_FAB: Mapping[type[Any], Roles] = {UtilView: VISITORS, LocaleView: VISITORS, MenuApi: ALL_READ}


def screens() -> list[type[Any]]:
    """The class of every screen and API, found by a walk over the packages: of those that are declared there, each
    from which no other is made, and any that says roles of its own."""
    found = dict.fromkeys(_declared())
    bases = {base for view in found for base in view.__mro__[1:]}
    return [view for view in found if view not in bases or "roles" in vars(view)]


def _declared() -> Iterator[type[Any]]:
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in sorted(item.name for item in pkgutil.walk_packages(package.__path__, f"{room}.")):
            for view in vars(importlib.import_module(module)).values():
                if isinstance(view, type) and issubclass(view, BaseView | BaseApi) and view.__module__ == module:
                    yield view


def name_of(view: type[Any]) -> str:
    """By which name permissions and stored values know a view."""
    return str(getattr(view, "class_permission_name", None) or view.__name__)


def plurals(views: list[type[Any]]) -> dict[str, str]:
    """What many of a thing are called where a language tells one from many, by the word for one: 商户, 多个商户."""
    return {view.many[2:]: view.many for view in views if getattr(view, "many", "")}


def view_roles(views: list[type[Any]]) -> ViewRoles:
    """The table of roles of some screens, and of FAB's own.

    DeclarationError with a sentence for all that is amiss in what the screens declare, as far as their classes tell.
    """
    if amiss := [*(sentence for view in views for sentence in role_faults(view)), *declarations.faults(views)]:
        raise DeclarationError("; ".join(amiss))
    said = {name_of(view): roles_of(view) for view in views}
    return ViewRoles(said | {name_of(view): held for view, held in OF_FAB.items()}, views)
