"""Roles as code: who may see which screen, as it declares, and do which operation, as that says itself. No query."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeAlias

from flask import Flask, current_app

from app.errors import DeclarationError
from app.extensions import appbuilder
from app.models.kit.user import MERCHANT_ROLES, OPERATORS, PLATFORM_ROLES, ROLE_WORDS
from app.operations.registry import OPERATIONS

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
        "list",
        "show",
        "get",
        "get_list",
        "info",
        "index",
        "read",
        "download",
        "export",
        "userinfo",
        "choices",
        "progress",
        "status",
        "checklist",
        "preview",
        "qrcode",
        "page",
        "dashboard",
        "profile",
    )
) | {"menu_access"}

# What a view declares as its `roles`: of each role, whether it reads or writes there. Who is not named may nothing.
READS, WRITES = Level.READ, Level.WRITE
Roles: TypeAlias = Mapping[str, Level]
WATCHED: Roles = {ADMIN: WRITES, OPERATOR: WRITES, AUDITOR: READS}  # operators act here, auditors look
SETTING: Roles = {ADMIN: WRITES, AUDITOR: READS}
ALL_READ: Roles = dict.fromkeys(ROLES, READS)
ALL_WRITE: Roles = dict.fromkeys(ROLES, WRITES)  # each their own
OPEN_BEFORE = ("before_change", "before_enrolment")  # see ViewRoles
VISITORS: Roles = {}  # for who is not known yet: it does its own check


def role_faults(view: type[Any]) -> Iterator[str]:
    """What is amiss with the roles that a view declares, a sentence each."""
    said = getattr(view, "roles", None)
    if not isinstance(said, Mapping):
        yield f"{view.__name__} says no roles: declare `roles = {{...}}`, who may read or write there"
        return
    if not said and said is not VISITORS:
        yield f"{view.__name__} is for nobody: say roles, or VISITORS where nobody is known yet"
    yield from _unguarded(view)
    for name, held in said.items():
        if name not in ROLES or held not in (READS, WRITES):
            yield f"{view.__name__} says roles that are none: {name}: {held}"
    for attribute in OPEN_BEFORE:
        for method in getattr(view, attribute, ()):
            if not hasattr(getattr(view, method, None), "_urls"):
                yield f"{view.__name__}.{attribute} names no page: {method}"


def _unguarded(view: type[Any]) -> Iterator[str]:
    """Pages of a screen of ours that ask for no permission: whoever knows their address has them."""
    if view.roles is VISITORS:
        return
    for name in dir(view):
        page = getattr(view, name)
        if not hasattr(page, "_urls") or hasattr(page, "_permission_name"):
            continue
        of_fab = page.__module__.startswith("flask_appbuilder.")  # its own ask by themselves
        if not of_fab and name not in getattr(view, "open_to_all", ()):
            yield f"{view.__name__}.{name} asks for no permission: @has_access, or name it in open_to_all"


def roles_of(view: type[Any]) -> Roles:
    """What a view declares. DeclarationError where that is nothing, or a role that is none."""
    if amiss := [*role_faults(view)]:
        raise DeclarationError("; ".join(amiss))
    held: Roles = view.roles
    return held


class ViewRoles:
    """What each role may do on each view, by the view's name: made once when the application starts, asked without a
    query.

    `own` are the views of one's own account: while logged in as a merchant there is no account. `before_change` and
    `before_enrolment` are the endpoints where a user may still go whose password must be changed first, or who must
    set up the second factor first.
    """

    def __init__(self, held: Mapping[str, Roles], views: Iterable[type[Any]] = ()) -> None:
        views = [*views]
        self.held = held
        self.own = frozenset(view.__name__ for view in views if getattr(view, "own_account", False))
        self.before_change = _endpoints(views, OPEN_BEFORE[0])
        self.before_enrolment = _endpoints(views, OPEN_BEFORE[1])
        self.can = lru_cache(maxsize=4096)(self._can)

    def _can(self, role_names: frozenset[str], permission: str, view: str) -> bool:
        needed = Level.READ if permission in READ_PERMISSIONS else Level.WRITE
        return self.level(role_names, view) >= needed

    def level(self, role_names: Collection[str], view: str) -> Level:
        held = self.held.get(view, {})
        return max((held[name] for name in role_names if name in held), default=Level.NONE)


def _endpoints(views: Iterable[type[Any]], attribute: str) -> frozenset[str]:
    """The endpoints of the methods that views name in an attribute."""
    return frozenset(f"{view.__name__}.{method}" for view in views for method in getattr(view, attribute, ()))


def view_roles() -> ViewRoles:
    """The current application's."""
    held: ViewRoles = current_app.extensions["roles"]
    return held


def can(role_names: Collection[str], permission: str, view: str) -> bool:
    """Whether any of the roles has a FAB permission (`can_list`, `menu_access`, ...) on a view."""
    return view_roles().can(frozenset(role_names), permission, view)


def level(role_names: Collection[str], view: str) -> Level:
    """The highest level that any of the roles has on a view; NONE for a view that there is not."""
    return view_roles().level(role_names, view)


def may_operate(role_names: Collection[str], operation: str, owners_may_submit: bool) -> bool:
    """Whether any of the roles may do an operation, as it says itself; what does not exist is nobody's."""
    op, held = OPERATIONS.get(operation), set(role_names)
    if op is None:
        return False
    return bool(op.roles & held or (owners_may_submit and op.roles_where_let & held))


def is_platform(role_names: Collection[str]) -> bool:
    return bool(set(PLATFORM_ROLES) & set(role_names))


def may_act_as_merchant(role_names: Collection[str]) -> bool:
    """Who may log in as a merchant (登录商户)."""
    return bool(OPERATORS & set(role_names))


def role_words(role_names: Collection[str]) -> str:
    """Roles as people read them: 平台运营、平台审计."""
    return "、".join(ROLE_WORDS[name] for name in ROLES if name in role_names)


def role_matrix(app: Flask) -> dict[str, dict[str, Any]]:
    """What each role may do on each registered screen, and its operations; for the docs and a snapshot.

    A screen is `write` with all its permissions, `read` with the looking ones, else the list of them.
    """
    matrix: dict[str, dict[str, Any]] = {}
    held: ViewRoles = app.extensions["roles"]
    for role in ROLES:
        screens = {view.class_permission_name: _granted(held, role, view) for view in appbuilder(app).baseviews}
        matrix[role] = {
            "views": {name: held for name, held in sorted(screens.items()) if held},
            "operations": sorted(name for name in OPERATIONS if may_operate([role], name, False)),
            "operations_if_owners_may_submit": sorted(name for name in OPERATIONS if may_operate([role], name, True)),
        }
    return matrix


def _granted(held: ViewRoles, role: str, view: Any) -> str | list[str]:
    screen = view.class_permission_name
    names = sorted(name for name in view.base_permissions if held.can(frozenset({role}), name, screen))
    if not names:
        return ""
    if held.level([role], screen) == Level.WRITE:
        return "write"
    return "read" if set(names) <= READ_PERMISSIONS else names
