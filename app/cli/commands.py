"""All commands in their groups."""

from __future__ import annotations

import click
from flask import Flask
from flask.cli import with_appcontext
from flask_appbuilder.cli import fab

from app.cli.base import stop
from app.cli.merchant import authorize_link, merchant, thirdparty
from app.cli.operate import events, operate
from app.cli.process import job, keys, phones, scheduler, search, setup_command, worker
from app.cli.user import user

COMMANDS: tuple[click.Command, ...] = (
    setup_command,
    user,
    thirdparty,
    merchant,
    authorize_link,
    operate,
    job,
    scheduler,
    worker,
    events,
    keys,
    phones,
    search,
)


# FAB's commands that take its tables for what they are in other products. (Those that start no application, and those
# that only look, are as they come.)
_ROLES = "角色和权限写在 app/access/roles.py 里，不在数据库中；权限一览见 docs/permissions.md"
INSTEAD = {
    "create-admin": "请用 flask --app run user add NAME --role platform_admin",
    "create-user": "请用 flask --app run user add NAME --role ROLE",
    "reset-password": "请用 flask --app run user reset-password NAME",
    "list-users": "请在控制台的「平台用户」和「商户用户」中查看",
    "create-db": "请用 flask --app run setup",
    "create-permissions": _ROLES,
    "security-cleanup": _ROLES,
    "security-converge": _ROLES,
    "export-roles": _ROLES,
    "import-roles": _ROLES,
}


def _refuse_fab() -> None:
    """End a command of FAB's that starts this application and would do harm to it, with what to use."""
    context = click.get_current_context(silent=True)
    if context is None or context.parent is None or context.parent.command is not fab:
        return
    if instead := INSTEAD.get(context.command.name or ""):
        stop(f"抖舟不使用 flask fab {context.command.name}：{instead}")


def register(app: Flask) -> None:
    _refuse_fab()
    for command in COMMANDS:
        _in_context(command)
        app.cli.add_command(command)


def _in_context(command: click.Command) -> None:
    """Give a command, and those below it, the application's context."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _in_context(below)
    elif command.callback is not None and not getattr(command.callback, "in_context", False):
        command.callback = with_appcontext(command.callback)
        command.callback.in_context = True  # type: ignore[attr-defined]  # a mark on the function, against a second wrapping
