"""A platform session of its own that may read first and write later, wherever the caller stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy.orm import Session

from app.database import writing
from app.tenancy import PLATFORM, app_scope


@contextmanager
def own_session(app: Flask) -> Iterator[Session]:
    """Never the caller's session, and never open while HTTP is waiting: short, committed by its user."""
    with writing(), app_scope(app, PLATFORM) as session:
        yield session
