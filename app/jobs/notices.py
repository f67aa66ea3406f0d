"""The jobs that find out what nobody announces, and that send what waits for channels."""

from __future__ import annotations

from flask import Flask

from app.operations import deliveries, watch

WORDS = {"sent": "已发送", "again": "待重试", "failed": "失败", "skipped": "跳过"}


def check(app: Flask) -> str:
    """Look for states that people should hear of, then send what that made due."""
    from app.jobs import SCHEDULE  # noqa: PLC0415  (the table names this function)

    told = watch.look(app, {name: job.title for name, job in SCHEDULE.items()})
    return f"新通知 {told} 条；{send(app)}"


def send(app: Flask) -> str:
    """Send what is due."""
    counts = deliveries.send_due(app)
    return "，".join(f"{WORDS[state]} {count}" for state, count in counts.items()) or "没有待发送的消息"
