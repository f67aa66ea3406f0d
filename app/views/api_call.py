"""Calls to Douyin (接口调用)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from flask import url_for
from markupsafe import Markup
from sqlalchemy import select

from app.access.roles import WATCHED
from app.console import cells
from app.console.base import PlatformView
from app.console.frame.palette import EACH, LONG_NUMBER, hit
from app.console.query.interface import ScopedInterface
from app.extensions import db
from app.link import call_log
from app.models import ApiCall
from app.models.records import CALL_WORDS


def body_cell(text: Any) -> Any:
    """What was sent or answered, in lines when it is JSON."""
    if not text:
        return cells.DASH
    with suppress(ValueError):  # cut off, or no JSON: as it is
        text = json.dumps(json.loads(text) if isinstance(text, str) else text, ensure_ascii=False, indent=2)
    return Markup('<pre class="code">{}</pre>').format(text)


class ApiCallView(PlatformView):
    """Every call to Douyin, redacted, with its log_id (接口调用)."""

    roles = WATCHED
    icon = "api"
    datamodel = ScopedInterface(ApiCall)
    palette_key = "c"
    noun = list_title = "接口调用"
    list_columns = ["at", "name", "appid", "outcome", "err_no", "ms", "log_id"]
    label_columns = {"name": "接口"}
    search_columns = ["name", "appid", "outcome", "err_no", "ms", "at"]
    chip_column = "outcome"
    chip_words = {name: CALL_WORDS[name] for name in ("ok", "error", "no_answer")}
    empty_hint = "对抖音接口的每次调用都会记在这里，内容已脱敏。"
    quick_columns = ["appid", "log_id", "path", "name"]
    order_columns = ["at", "ms"]
    base_order = ("at", "desc")
    export_columns = [
        "at",
        "name",
        "method",
        "host",
        "path",
        "component_appid",
        "appid",
        "outcome",
        "http_status",
        "err_no",
        "ms",
        "log_id",
    ]
    export_cells = {"name": lambda row: call_log.title_of(row.name)}
    cells = {
        "name": lambda row: call_log.title_of(row.name),
        "request": lambda row: body_cell(row.request),
        "answer": lambda row: body_cell(row.answer),
    }
    show_sections = [
        ("调用", ["name", "method", "host", "path", "at", "ms"]),
        ("结果", ["outcome", "http_status", "err_no", "log_id"]),
        ("对象", ["component_appid", "appid"]),
        ("内容（已脱敏）", ["request", "answer"]),
    ]

    def palette_rows(self, text: str) -> Iterator[dict[str, Any]]:
        """By Douyin's log id."""
        if not LONG_NUMBER.fullmatch(text):
            return
        for row in db.session.scalars(select(ApiCall).where(ApiCall.log_id.in_({text, text.upper()})).limit(EACH)):
            yield hit("接口调用", row.path, row.log_id, url_for("ApiCallView.show", pk=row.id), "api")
