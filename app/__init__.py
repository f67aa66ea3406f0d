"""The application: `create_app` puts configuration, extensions, models, operations, views and commands together."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from flask_appbuilder import AppBuilder
from werkzeug.middleware.proxy_fix import ProxyFix

from config import Config

PRIVATE = 0o077  # database, storage and logs are this user's alone, whoever started the process


def create_app(env: Mapping[str, str] | None = None, **overrides: Any) -> Flask:
    """A ready application. Raises config.SettingError or secrets.KeyRingError with one sentence on a bad setting.

    `overrides` are settings that no environment has, TESTING above all.
    """
    os.umask(PRIVATE)
    importlib.import_module("app.models")  # all mappers before anything asks the metadata
    from app import (  # noqa: PLC0415  (the packages import this one: only now are they complete)
        addresses,
        api,
        assets,
        bodies,
        cli,
        database,
        demo,
        headers,
        i18n,
        jobs,
        logs,
        operations,
        requestguard,
        secrets,
        tenancy,
        views,
        websession,
    )
    from app.extensions import csrf, db, migrate  # noqa: PLC0415
    from app.models import audit  # noqa: PLC0415

    app = Flask(__name__)
    app.config.from_object(Config(env))
    app.config.update(overrides)
    if app.config["DEMO"] or app.testing:
        addresses.allow_loopback()
    i18n.init_app(app)
    logs.init_logging(app.config["LOG_LEVEL"])
    secrets.init_app(app)
    db.init_app(app)
    migrate.init_app(app, db, directory=str(Path(__file__).resolve().parent.parent / "migrations"))
    bodies.init_app(app)  # the first to see a request
    csrf.init_app(app)
    websession.init_app(app)
    headers.init_app(app)
    requestguard.init_app(app)
    app.wsgi_app = _before(app)  # type: ignore[method-assign]
    operations.load()
    with app.app_context():
        database.keep_private(db.engine.url)
        database.prepare(db.engine)
        tenancy.install(db.session.session_factory.class_, db.engine)
        audit.install(db.session.session_factory.class_)
        appbuilder = AppBuilder(app, db.session)
        app.extensions["babel"].locale_selector = i18n.language
        views.register(appbuilder)
        api.register(app, appbuilder)
    assets.init_app(app)
    jobs.init_app(app)
    cli.register(app)
    demo.register(app)
    return app


def _before(app: Flask) -> Any:
    """What a request passes before the application sees it."""
    served: Any = app.wsgi_app
    if hops := app.config["PROXY_HOPS"]:
        served = ProxyFix(served, x_for=hops, x_proto=hops, x_host=hops)
    return _ReadOnlyUnlessPost(served)


class _ReadOnlyUnlessPost:
    """WSGI: the transactions of a GET take no write lock on SQLite, so that pages do not wait for workers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        from app.database import reading  # noqa: PLC0415  (see create_app)

        with reading(enabled=environ["REQUEST_METHOD"] in {"GET", "HEAD", "OPTIONS"}):
            return self.app(environ, start_response)
