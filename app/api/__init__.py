"""The doors for machines: operators' REST, Douyin's pushes, health."""

from __future__ import annotations

from flask import Flask

from app.api import callbacks, health


def register(app: Flask) -> None:
    """Attach the doors that are no view of FAB's; the operators' are found with the screens (app/views)."""
    callbacks.register(app)
    health.register(app)
