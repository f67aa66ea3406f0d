"""抖舟: the console. Nearly empty, so that a part of it may be used without the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def create_app(env: Mapping[str, str] | None = None, **overrides: Any) -> Flask:
    """A ready application; app/factory.py puts it together."""
    from app import factory  # noqa: PLC0415  (the web server's master process uses this package, and holds no product)

    return factory.create_app(env, **overrides)
