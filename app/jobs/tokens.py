"""The job that keeps credentials fresh."""

from __future__ import annotations

from flask import Flask

from app.operations import credentials


def refresh(app: Flask) -> str:
    """Component tokens before they end, and refresh tokens before they are 20 days old."""
    counts = credentials.refresh_due(app)
    return "，".join(f"{name} {count}" for name, count in counts.items()) if counts else "没有需要刷新的凭据"
