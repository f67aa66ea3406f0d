"""What the console shows and keeps, as plain data: each function looks at the running application from outside.

Nothing here names a module of the application but the three registries and the log, so that the pictures stay the same when code
moves. Class names of screens are in them: they are addresses, permissions and stored values.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any, get_type_hints

import click
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from sqlalchemy.dialects import mysql, postgresql, sqlite

from app.extensions import db
from app.jobs.schedule import SCHEDULE
from app.models.kit.audit import is_quiet, is_told
from app.operations.registry import OPERATIONS
from config import Config
from tests.conftest import ROOT, Actors, csrf_token, test_environment

PLATFORM, MERCHANT = ("platform_admin", "operator", "auditor"), ("owner", "staff", "clerk")
ROLES = (*PLATFORM, *MERCHANT)
DIALECTS = (sqlite.dialect(), postgresql.dialect(), mysql.dialect())
HOME = "DashboardView.index"
KEY = "the-key-asked-for"


@dataclasses.dataclass
class Seen:
    """The application, and a client of each role."""

    app: Flask
    clients: Mapping[str, FlaskClient]
    actors: Actors

    @property
    def views(self) -> list[Any]:
        return sorted(self.app.appbuilder.baseviews, key=lambda view: str(view.endpoint))  # type: ignore[attr-defined]

    def has_access(self, role: str) -> Callable[[str, str], bool]:
        """What FAB is told when it asks whether a role may do something: inside a request of that role, in place of a
        page that every role has."""
        asked = {(name, view.class_permission_name) for view in self.views for name in view.base_permissions}
        asked |= {(name, "OperateView") for name in OPERATIONS}
        found: set[tuple[str, str]] = set()

        def page() -> str:
            found.update(pair for pair in asked if self.app.appbuilder.sm.has_access(*pair))  # type: ignore[attr-defined]
            return "asked"

        kept = self.app.view_functions[HOME]
        self.app.view_functions[HOME] = page
        try:
            assert self.clients[role].get("/").get_data(as_text=True) == "asked"
        finally:
            self.app.view_functions[HOME] = kept
        return lambda permission, view: (permission, view) in found


def roles(seen: Seen) -> Any:
    """The rows that FAB keeps of roles, and what each role may do: its permissions on each screen, its operations."""
    with seen.app.app_context(), db.engine.connect() as connection:
        tables = ("ab_role", "ab_permission", "ab_view_menu", "ab_permission_view_role")
        kept = {name: connection.execute(sa.select(Model.metadata.tables[name])).mappings().all() for name in tables}
    found: dict[str, Any] = {"rows": {name: sorted(str(row.get("name", row)) for row in kept[name]) for name in kept}}
    for role in ROLES:
        may = seen.has_access(role)
        screens = {view.class_permission_name: sorted(set(view.base_permissions)) for view in seen.views}
        held = {screen: " ".join(name for name in names if may(name, screen)) for screen, names in screens.items()}
        found[role] = {
            "screens": {screen: names for screen, names in held.items() if names},
            "operations": sorted(name for name in OPERATIONS if may(name, "OperateView")),
        }
    return found


def may_submit(seen: Seen) -> Any:
    """What a merchant's people may start where the platform lets owners submit."""
    before = seen.app.config["OWNERS_MAY_SUBMIT"]
    seen.app.config["OWNERS_MAY_SUBMIT"] = not before
    try:
        found = {role: seen.has_access(role) for role in ROLES}
    finally:
        seen.app.config["OWNERS_MAY_SUBMIT"] = before
    return {role: [name for name in sorted(OPERATIONS) if may(name, "OperateView")] for role, may in found.items()}


def openapi(seen: Seen) -> Any:
    """The description of the API as the administrator is given it, and which calls the other roles find in it."""
    told = {role: seen.clients[role].get("/api/v1/_openapi") for role in ROLES}
    whole = told[PLATFORM[0]].get_json()
    whole["servers"] = None  # the address that was asked
    calls = {
        role: sorted(f"{method} {path}" for path, methods in answer.get_json()["paths"].items() for method in methods)
        if answer.status_code == 200
        else f"answer {answer.status_code}"
        for role, answer in told.items()
    }
    return {"platform_admin": whole, "calls": calls}


def menu(seen: Seen) -> Any:
    """The menu in the page of each role and of an operator at work as a merchant, in order, in each language."""
    client = seen.clients["operator"]
    found = {role: _side_menu(seen.clients[role]) for role in ROLES}
    found["platform_admin in English"] = _side_menu(seen.clients[PLATFORM[0]], "en")
    where = f"/loginas/{seen.actors.alice.id}"
    answer = client.post(where, data={"reason": "工单 4711：看菜单", "csrf_token": csrf_token(client, where)})
    assert answer.status_code == 302, answer.get_data(as_text=True)[:500]
    return {**found, "operator as a merchant": _side_menu(client)}


def _side_menu(client: FlaskClient, language: str = "zh") -> list[str]:
    client.set_cookie("locale", language)
    page = client.get("/").get_data(as_text=True)
    client.delete_cookie("locale")
    (side,) = re.findall(r'<nav class="side-menu".*?</nav>', page, re.DOTALL)
    pieces = r'<summary>([^<]*)|<a class="side-link" href="([^"]*)".*?icon i-([\w-]+)".*?<span>([^<]*)</span>'
    found = [
        title.strip() if title else f"    {label.strip()}  {address}  {icon}"
        for title, address, icon, label in re.findall(pieces, side, re.DOTALL)
    ]
    assert len([line for line in found if line.startswith(" ")]) == side.count("<a "), side
    return [unescape(line) for line in found]


def routes(seen: Seen) -> Any:
    """Every address, its methods and its endpoint."""
    ignored = {"HEAD", "OPTIONS"}
    return sorted(
        f"{rule.rule}  {' '.join(sorted((rule.methods or set()) - ignored))}  {rule.endpoint}"
        for rule in seen.app.url_map.iter_rules()
    )


def screens(seen: Seen) -> Any:
    """What FAB knows of each screen: its place, its permissions, the columns of its lists and forms."""
    kept = ("list_columns", "show_columns", "search_columns", "order_columns", "add_columns", "edit_columns")
    found = {}
    for view in seen.views:
        told = {
            "class": type(view).__name__,
            "permission name": view.class_permission_name,
            "address": view.route_base,
            "permissions": " ".join(sorted(set(view.base_permissions))),
            "renamed": getattr(view, "method_permission_name", None) or {},
        }
        for name in kept if hasattr(view, "datamodel") else ():
            told[name] = " ".join(getattr(view, name, None) or [])
        if hasattr(view, "datamodel"):
            labels = getattr(view, "label_columns", None) or {}
            told["table"] = view.datamodel.obj.__tablename__
            told["labels"] = {name: str(labels[name]) for name in view.list_columns if name in labels}
            told["titles"] = " · ".join(
                str(getattr(view, f"{name}_title", "")) for name in ("list", "show", "add", "edit")
            )
        found[view.endpoint] = told
    items = seen.app.appbuilder.menu.get_list()  # type: ignore[attr-defined]
    menus = [(item.name, [child.name for child in item.childs]) for item in items]
    return {"screens": found, "menus": [f"{name}: {'、'.join(children)}" for name, children in menus]}


def commands(seen: Seen) -> Any:
    """The commands of ours: what each takes, and what it says of itself."""
    group = seen.app.cli
    return dict(sorted(_commands({name: group.commands[name] for name in group.commands}, "")))


def _commands(found: Mapping[str, click.Command], above: str) -> Iterator[tuple[str, Any]]:
    for name, command in found.items():
        if isinstance(command, click.Group):
            inner = dict(_commands(command.commands, f"{above}{name} "))
            if inner:
                yield f"{above}{name}", command.help
                yield from inner.items()
        elif (command.callback.__module__ if command.callback else "").partition(".")[0] == "app":
            yield f"{above}{name}", {"help": command.help, "takes": [_taken(item) for item in command.params]}


def _taken(item: click.Parameter) -> str:
    told = item.to_info_dict()
    default = told["default"] if isinstance(told["default"], str | int | float | bool | None) else "made"
    words = [*(told["opts"] + told["secondary_opts"]), told["type"]["param_type"], "required" if item.required else ""]
    words += [f"default {default}" if default not in {None, False} else "", "many" if item.multiple else ""]
    words += ["/".join(told["type"].get("choices", ())), str(told.get("help") or "")]
    return " · ".join(word for word in words if word)


def operations(seen: Seen) -> Any:
    """The registry: who is asked, what about, by which key, with which parameters."""
    return {name: _operation(seen, op) for name, op in sorted(OPERATIONS.items())}


def _operation(seen: Seen, op: Any) -> Any:
    hints = get_type_hints(op.params)
    told = {
        item.name: item.default if item.default is not dataclasses.MISSING else "required"
        for item in dataclasses.fields(op.params)
    }
    for item in dataclasses.fields(op.params):
        if item.default_factory is not dataclasses.MISSING:
            told[item.name] = item.default_factory()
    params = [
        f"{item.name}: {_hint(hints[item.name])} = {told[item.name]!r} · "
        + " · ".join(f"{key}={_plain(value)}" for key, value in sorted(item.metadata.items()))
        for item in dataclasses.fields(op.params)
    ]
    flags = ("mutates", "calls", "danger", "authorized", "live")
    return {
        "title": op.title,
        "on": op.on.__tablename__,
        "key": _key(seen.app, op.name),
        "confirm": op.confirm,
        "flags": " ".join(flag for flag in flags if getattr(op, flag)),
        "parameters": params,
        "read back": op.proof is not None,
        "checked before": op.ready is not None,
        "proposes": op.propose is not None,
    }


def _hint(hint: Any) -> str:
    return str(hint) if getattr(hint, "__args__", None) else hint.__name__


def _plain(value: Any) -> str:
    return "…" if callable(value) else str(value)


def _key(app: Flask, name: str) -> str:
    """The column by which a row is asked for, as the database hears it."""
    heard: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if KEY in str(parameters):
            heard.extend(re.findall(r"WHERE (\w+\.\w+) =", statement))

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", listen)
    try:
        assert app.test_cli_runner().invoke(args=["operate", name, KEY]).exit_code == 2
    finally:
        sa.event.remove(engine, "before_cursor_execute", listen)
    return " ".join(sorted(set(heard)))


def schedule(_seen: Seen) -> Any:
    """The jobs, as they are triggered and as people read them."""
    return [f"{name}  {job.title}  every {job.seconds} s" for name, job in SCHEDULE.items()]


def tables(_seen: Seen) -> Any:
    """Every table: its columns on the three databases, its keys and its indexes."""
    return {table.name: _table(table) for table in Model.metadata.sorted_tables}


def logged(_seen: Seen) -> Any:
    """Every table whose changes are logged: what of it is never in the log, and what is only said to have changed."""
    mappers = [mapper for mapper in Model.registry.mappers if getattr(mapper.class_, "__audited__", False)]
    return {
        mapper.local_table.name: {
            "quiet": _columns(mapper, is_quiet),
            "changed": _columns(mapper, lambda column: not is_told(column)),
        }
        for mapper in mappers
    }


def _columns(mapper: Any, wanted: Callable[[Any], bool]) -> str:
    return ", ".join(sorted(name for name, column in mapper.columns.items() if wanted(column)))


def _table(table: sa.Table) -> Any:
    uniques = [item for item in table.constraints if isinstance(item, sa.UniqueConstraint)]
    return {
        "columns": {column.name: _column(column) for column in table.columns},
        "indexes": sorted(
            f"{index.name}{' UNIQUE' if index.unique else ''}: {', '.join(map(_part, index.expressions))}"
            for index in table.indexes
        ),
        "unique": sorted(", ".join(column.name for column in item.columns) for item in uniques),
    }


def _part(expression: Any) -> str:
    return expression.name if isinstance(expression, sa.Column) else str(expression)


def _column(column: sa.Column[Any]) -> str:
    types = list(dict.fromkeys(str(column.type.compile(dialect)) for dialect in DIALECTS))
    words = [" / ".join(types), "" if column.nullable else "NOT NULL", "KEY" if column.primary_key else ""]
    words += [f"-> {key.target_fullname} {key.ondelete or ''}".strip() for key in column.foreign_keys]
    if column.default is not None and column.default.is_scalar:
        words.append(f"default {column.default.arg}")
    if hasattr(column.type, "enum"):
        words.append("|".join(map(str, column.type.enum)))
    return " ".join(word for word in words if word)


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(test_environment("sqlite:///x.db", "http://127.0.0.1:1"))
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.names.add(key)
        return super().__getitem__(key)


def settings(_seen: Seen) -> Any:
    """The settings that the environment gives, those of the example, and what the application makes of them."""
    environment = Asked()
    made = vars(Config(environment)).keys() | {name for name in vars(Config) if name.isupper()}
    fixed = {name: value for name, value in vars(Config).items() if name.isupper()}
    example = re.findall(r"^([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return {
        "read from the environment": sorted(environment.names),
        "in the example": sorted(example),
        "in the application": sorted(made),
        "fixed": {name: str(value).rpartition(".")[2] if _path(value) else str(value) for name, value in fixed.items()},
    }


def _path(value: Any) -> bool:
    """Whether a setting names a class by its module."""
    return isinstance(value, str) and value.startswith("app.")
