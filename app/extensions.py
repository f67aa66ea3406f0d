"""Unbound extension objects, which `create_app` binds; and what Flask holds without saying its type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g
from flask_appbuilder import Model
from flask_appbuilder.models.sqla.base import SQLA
from flask_migrate import Migrate
from flask_wtf.csrf import CSRFProtect
from werkzeug.local import LocalProxy

Made = TypeVar("Made")
# FAB's metadata holds our tables too: without it Alembic would see neither.
db = SQLA(metadata=Model.metadata, session_options={"expire_on_commit": False})
migrate = Migrate(compare_type=True, render_as_batch=False)
csrf = CSRFProtect()


def the_app() -> Flask:
    """The Flask application of the current context, itself, to hand to another thread or session."""
    return cast("LocalProxy[Flask]", current_app)._get_current_object()


def appbuilder(app: Flask | None = None) -> Any:
    """FAB's builder, of the current application when none is given: its views, its menu, its security manager."""
    return (app or current_app).extensions["appbuilder"]


def once_a_request(name: str, make: Callable[[], Made]) -> Made:
    """What `make` gives, asked for once in a request."""
    if name not in g:
        setattr(g, name, make())
    made: Made = getattr(g, name)
    return made


def wrap_wsgi(app: Flask, middleware: Callable[[Any], Any]) -> None:
    """Let requests pass a middleware before all that they pass so far."""
    app.wsgi_app = middleware(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way
