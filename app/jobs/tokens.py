"""The job that keeps credentials fresh."""

from __future__ import annotations

from flask import Flask

from app.link.refresh import refresh_due

WORDS = {"component": "第三方应用令牌", "authorizer": "小程序令牌", "refresh": "刷新令牌", "failed": "失败"}


def refresh(app: Flask) -> str:
    """Component tokens before they end, and refresh tokens before they are 20 days old."""
    counts = refresh_due(app)
    return "，".join(f"{WORDS[name]} {count}" for name, count in counts.items() if count) or "没有需要刷新的凭据"
