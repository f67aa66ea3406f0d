"""How one value is shown: times in Shanghai, states as coloured labels, numbers to copy, nothing unescaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from markupsafe import Markup, escape

from app.models.base import utcnow
from app.redaction import redact_mapping
from app.views.interface import SHANGHAI
from app.views.words import LABELS, tone, word

COPIED = frozenset(
    {"appid", "template_id", "log_id", "key", "draft_id", "expected_appid", "live_template_id", "component_appid"}
)
DASH = Markup('<span class="nothing">—</span>')


def local_time(value: datetime | None) -> str:
    """`2025-03-01 18:05`, Shanghai time; empty for None."""
    if value is None:
        return ""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")


def clock(value: datetime | None) -> Markup:
    """A time for reading, with its seconds on hover."""
    if value is None:
        return DASH
    exact = value.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")
    return Markup('<time class="when" datetime="{}" title="{}">{}</time>').format(
        value.isoformat(), exact, local_time(value)
    )


def span_words(span: timedelta) -> str:
    """A length of time in one unit: 3 天, 5 小时, 12 分钟."""
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes >= 48 * 60:
        return f"{minutes // 1440} 天"
    return f"{minutes // 60} 小时" if minutes >= 120 else f"{minutes} 分钟"


def ago(value: datetime | None) -> str:
    """How long ago: 12 分钟前; empty for None."""
    return "" if value is None else f"{span_words(utcnow() - value)}前"


def label(text: Any, colour: str) -> Markup:
    """A coloured label; `colour` is good, busy, warn, bad or mute."""
    return Markup('<span class="state state-{}">{}</span>').format(colour, text)


def state(value: Any, words: Mapping[Any, str] | None = None) -> Markup:
    """A state as a label in words."""
    if value in (None, ""):
        return DASH
    return label((words or {}).get(value) or word(value), tone(value))


def copyable(text: Any) -> Markup:
    """A number that people paste elsewhere: one click copies it."""
    if not text:
        return DASH
    return Markup(
        '<span class="copy"><code>{0}</code><button type="button" class="copy-button" data-copy="{0}" '
        'title="复制" aria-label="复制 {0}">复制</button></span>'
    ).format(text)


def link(url: str | None, text: Any) -> Markup | str:
    """A link, or the plain text where the reader may not go."""
    return Markup('<a href="{}">{}</a>').format(url, text) if url else escape(text)


def pairs(values: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Markup:
    """A mapping as a small table; secrets and phones inside are masked."""
    if not values:
        return DASH
    names = {**LABELS, **(labels or {})}
    rows = Markup("").join(
        Markup("<tr><th>{}</th><td>{}</td></tr>").format(names.get(str(key), str(key)), _inner(value))
        for key, value in redact_mapping(dict(values)).items()
    )
    return Markup('<table class="pairs">{}</table>').format(rows)


def _inner(value: Any) -> Any:
    if isinstance(value, bool):
        return "是" if value else "否"
    if value in (None, "", [], {}):
        return DASH
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return "、".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def shown(value: Any, *, name: str = "", words: Mapping[Any, str] | None = None) -> Markup | str:
    """Any value as HTML. `words` are those of a text column that holds a state."""
    if value is None or value == "":
        return DASH
    if isinstance(value, Markup):
        return value
    if words is not None or isinstance(value, StrEnum):
        return state(value, words)
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, datetime):
        return clock(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return pairs(value)
    if isinstance(value, list | tuple):
        return "、".join(str(item) for item in value) or DASH
    return copyable(value) if name in COPIED else escape(value)
