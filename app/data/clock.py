"""The only clock, aware and in UTC, and the time zone that people read."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


def utcnow() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)
