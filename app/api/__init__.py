"""The doors for machines: operators' REST, Douyin's pushes, health."""

from __future__ import annotations

from flask import Flask
from flask_appbuilder import AppBuilder

from app.api import callbacks, health, models, openapi, operations


def register(app: Flask, appbuilder: AppBuilder) -> None:
    """Attach every API."""
    callbacks.register(app)
    health.register(app)
    operations.register(appbuilder)
    models.register(appbuilder)
    openapi.register(appbuilder)
