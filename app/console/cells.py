"""How one value is shown: times in Shanghai, states as coloured labels, numbers to copy, nothing unescaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from flask import request, url_for
from markupsafe import Markup, escape

from app.console.words import common_labels, tone, word
from app.data.clock import SHANGHAI, utcnow
from app.i18n.html import html
from app.i18n.language import language
from app.i18n.sentence import Sentence, said
from app.redaction import redact_mapping

COPIED = frozenset(
    {"appid", "template_id", "log_id", "key", "draft_id", "expected_appid", "live_template_id", "component_appid"}
)
DASH = Markup('<span class="nothing">—</span>')
NOBODY = frozenset(
    {"系统", "未登录", "抖音", "命令行", "演示数据", "定时任务"}
)  # what the log calls an actor who is no user
EAST = timedelta(hours=8)  # Shanghai, all year
RECENT = timedelta(days=7)  # for so long a time is said from now: 3 小时前


# Addresses of rows. Building one takes longer than all else of a cell, and only its number differs.


def row_address(endpoint: str, key: Any) -> str:
    """The address of a row's page or form, as `url_for(endpoint, pk=key)` gives it."""
    return f"{_before_key(endpoint, request.script_root)}{key}"


@lru_cache(maxsize=512)
def _before_key(endpoint: str, _script_root: str) -> str:
    return url_for(endpoint, pk=0).removesuffix("0")


def list_address(endpoint: str) -> str:
    """The address of a list without arguments, as `url_for(endpoint)` gives it."""
    return _without_key(endpoint, request.script_root)


@lru_cache(maxsize=512)
def _without_key(endpoint: str, _script_root: str) -> str:
    return url_for(endpoint)


# Times.


def local_time(value: datetime | None) -> str:
    """`2025-03-01 18:05`, Shanghai time; empty for None."""
    return "" if value is None else _shanghai(value).strftime("%Y-%m-%d %H:%M")


def _shanghai(value: datetime) -> datetime:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(SHANGHAI)


def clock(value: datetime | None) -> Markup:
    """A time for reading: how long ago within a week, else the day; exactly, with its seconds, on hover."""
    if value is None:
        return DASH
    local = _shanghai(value)
    iso = local.isoformat(timespec="seconds")
    return html(f'<time datetime="{iso}">{when(value, iso)}</time>')  # console.js makes the title of it


def when(value: datetime, iso: str) -> str:
    """A time in few words: 3 小时前 within a week, 03-01 18:05 in this year, 2024-03-01 before."""
    now = utcnow()
    past = now - (value if value.tzinfo else value.replace(tzinfo=UTC))
    if -RECENT < past < RECENT:
        return str(escape(said(_from_now(past))))
    return f"{iso[5:10]} {iso[11:16]}" if iso[:4] == str((now + EAST).year) else iso[:10]


def _from_now(past: timedelta) -> str:
    minutes = int(abs(past).total_seconds() // 60)
    if minutes < 1:
        return "刚刚" if past >= timedelta(0) else "马上"
    if minutes < 60:
        return f"{minutes} 分钟前" if past > timedelta(0) else f"{minutes} 分钟后"
    if minutes < 24 * 60:
        return f"{minutes // 60} 小时前" if past > timedelta(0) else f"{minutes // 60} 小时后"
    return f"{minutes // 1440} 天前" if past > timedelta(0) else f"{minutes // 1440} 天后"


def span_words(span: timedelta) -> str:
    """A length of time in one unit: 3 天, 5 小时, 12 分钟."""
    minutes = max(0, int(span.total_seconds() // 60))
    if minutes >= 48 * 60:
        return f"{minutes // 1440} 天"
    return f"{minutes // 60} 小时" if minutes >= 120 else f"{minutes} 分钟"


def ago(value: datetime | None) -> str:
    """How long ago: 12 分钟前; empty for None."""
    return "" if value is None else f"{span_words(utcnow() - value)}前"


# States, numbers, links.


def said_options(field: Any) -> Any:
    """A select field whose options are in the reader's language; a foreign one stays as it is."""
    field.choices = [replace(choice, label=said(choice.label)) for choice in field.choices]
    return field


def label(text: Any, colour: str) -> Markup:
    """A coloured label; `colour` is good, busy, warn, bad or mute."""
    return _label(
        said(text) if isinstance(text, Sentence) else text if isinstance(text, str) else str(text), colour, language()
    )


@lru_cache(maxsize=1024, typed=True)  # typed: Markup and plain text that look alike are not escaped alike
def _label(text: str, colour: str, _language: str) -> Markup:
    return html(f'<span class="state state-{escape(colour)}">{escape(said(text))}</span>')


def state(value: Any, words: Mapping[Any, str] | None = None) -> Markup:
    """A state as a label in words."""
    if value in (None, ""):
        return DASH
    return label((words or {}).get(value) or word(value), tone(value, words))


def in_use(row: Any) -> Markup:
    """Whether an account or an app is in use, as a label."""
    return label("启用", "good") if row.active else label("停用", "mute")


def who(name: str) -> str:
    """A person's name, or in words what acted where nobody did."""
    return str(said(name)) if name in NOBODY else name


def copyable(text: Any) -> Markup:
    """A number that people paste elsewhere: one click copies it."""
    if not text:
        return DASH
    return html(f'<code class="copy">{escape(text)}</code>')  # console.js adds the button


def link(url: str | None, text: Any) -> Markup | str:
    """A link, or the plain text where the reader may not go."""
    return html(f'<a href="{escape(url)}">{escape(text)}</a>') if url else escape(text)


def pairs(values: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Markup:
    """A mapping as a small table; secrets and phones inside are masked."""
    if not values:
        return DASH
    names = {**common_labels(), **(labels or {})}
    heads = {key: said(names[str(key)]) if str(key) in names else str(key) for key in values}
    rows = "".join(
        f"<tr><th>{escape(heads[key])}</th><td>{escape(_inner(value))}</td></tr>"
        for key, value in redact_mapping(dict(values)).items()
    )
    return html(f'<table class="pairs">{rows}</table>')


def _inner(value: Any) -> Any:
    if isinstance(value, bool):
        return said("是" if value else "否")
    if value in (None, "", [], {}):
        return DASH
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return "、".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def shown(value: Any, *, name: str = "", words: Mapping[Any, str] | None = None) -> Markup | str:
    """Any value as HTML. `words` are those of a text column that holds a state."""
    kind = type(value)
    if kind is Markup:
        return value or DASH
    if value is None or value == "":
        return DASH
    if words is not None or isinstance(value, StrEnum):
        return state(value, words)
    if kind is str:
        value = who(value) if name == "actor_name" else value
        return copyable(value) if name in COPIED else escape(value)
    if kind is bool:
        return str(said("是" if value else "否"))
    if isinstance(value, datetime):
        return clock(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return pairs(value)
    if isinstance(value, list | tuple):
        return escape("、".join(str(item) for item in value)) or DASH
    return copyable(value) if name in COPIED else escape(value)
