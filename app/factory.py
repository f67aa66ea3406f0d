"""The application: `create_app` puts configuration, extensions, models, operations, views and commands together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask_appbuilder import AppBuilder
from flask_babel import Babel
from werkzeug.middleware.proxy_fix import ProxyFix

from app import addresses, api, views
from app.access import sessions
from app.access.gate import task_gate
from app.cli import commands, demo
from app.console.base import tables_of
from app.console.operate.actions import check_offers
from app.data import engine, names, pool, secrets, tenancy
from app.data.engine import reading
from app.extensions import csrf, db, migrate, wrap_wsgi
from app.i18n import templates
from app.i18n.language import language
from app.jobs import run
from app.models.kit import audit
from app.operations import registry
from app.views import menu
from app.web import assets, bodies, guard, headers, logs
from config import Config

PRIVATE = 0o077  # database, storage and logs are this user's alone, whoever started the process


def create_app(env: Mapping[str, str] | None = None, **overrides: Any) -> Flask:
    """A ready application. Raises config.SettingError or secrets.KeyRingError with one sentence on a bad setting,
    errors.DeclarationError where what an operation or a view says of itself cannot be right.

    `overrides` are settings that no environment has, TESTING above all.
    """
    app = without_pages(env, **overrides)
    with app.app_context():
        appbuilder = AppBuilder(app, db.session)
        app.extensions["babel"].locale_selector = language
        menu.register(appbuilder)
        api.register(app)
        check_offers(appbuilder.baseviews)
    assets.init_app(app)
    commands.register(app)
    demo.register(app)
    return app


def without_pages(env: Mapping[str, str] | None = None, **overrides: Any) -> Flask:
    """An application that serves no page, but does all else: jobs, operations, background tasks."""
    os.umask(PRIVATE)
    app = Flask("app")
    app.config.from_object(Config(env))
    app.config.update(overrides)
    if app.config["DEMO"] or app.testing:
        addresses.allow_loopback()
    templates.init_app(app)
    logs.init_logging(app.config["LOG_LEVEL"])
    secrets.init_app(app)
    pool.init_app(app)
    db.init_app(app)
    migrate.init_app(app, db, directory=str(Path(__file__).resolve().parent.parent / "migrations"))
    bodies.init_app(app)  # the first to see a request
    csrf.init_app(app)
    sessions.init_app(app)
    headers.init_app(app)
    guard.init_app(app)
    wrap_wsgi(app, lambda served: _before(app, served))
    Babel(app, locale_selector=language)  # FAB's classes are not made without it
    registry.load()
    app.extensions["task_gate"] = task_gate  # the tasks' floor knows no user
    screens = views.screens()
    app.extensions["screens"] = screens
    app.extensions["plurals"] = views.plurals(screens)
    app.extensions["roles"] = views.view_roles(screens)
    app.extensions["tables"] = tables_of(screens)
    with app.app_context():
        engine.keep_private(db.engine.url)
        engine.prepare(db.engine)
        pool.be_patient(db.engine)
        tenancy.install(db.session.session_factory.class_, db.engine)
        audit.install(db.session.session_factory.class_)
        names.install(db.session.session_factory.class_)
    run.init_app(app)
    return app


def _before(app: Flask, served: Any) -> Any:
    """What a request passes before the application sees it."""
    if hops := app.config["PROXY_HOPS"]:
        served = ProxyFix(served, x_for=hops, x_proto=hops, x_host=hops)
    return _ReadOnlyUnlessPost(served)


class _ReadOnlyUnlessPost:
    """WSGI: the transactions of a GET take no write lock on SQLite, so that pages do not wait for workers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with reading(enabled=environ["REQUEST_METHOD"] in {"GET", "HEAD", "OPTIONS"}):
            return self.app(environ, start_response)
