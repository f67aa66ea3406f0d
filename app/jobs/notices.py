"""The jobs that find out what nobody announces, and that send what waits for channels."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask

from app.notices import deliveries
from app.operations import watch

WORDS = {"sent": "已发送", "again": "待重试", "failed": "失败", "skipped": "跳过"}


def check(app: Flask, titles: Mapping[str, str]) -> str:
    """Look for states that people should hear of, failed jobs (by their titles) among them; then send what is due."""
    told = watch.look(app, titles)
    return f"新通知 {told} 条；{send(app)}"


def send(app: Flask) -> str:
    """Send what is due."""
    counts = deliveries.send_due(app)
    return "，".join(f"{WORDS[state]} {count}" for state, count in counts.items()) or "没有待发送的消息"
