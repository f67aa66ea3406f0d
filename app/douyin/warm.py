"""Types built ahead. msgspec makes a dataclass's type information on first use, and two threads that do so at
once end the process: one of them sees the other's half-made. The import lock keeps the making to one thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

import msgspec

from app.douyin.contract import Call, Reply, Upload, wires
from app.douyin.lenient import plan

_PLAIN = frozenset({type(None), bytes, Upload})


def build(calls: Iterable[type[Call[Any]]], messages: Iterable[type[Any]]) -> None:
    """Build what `calls` and `messages` are read from and written to."""
    calls = tuple(calls)
    for call in calls:
        wires(call)
    for kind in kinds(calls, messages):
        msgspec.json.Decoder(kind)
        if issubclass(kind, Reply):
            plan(kind)


def kinds(calls: Iterable[type[Call[Any]]], messages: Iterable[type[Any]]) -> set[Any]:
    """Every dataclass and enum of ours that an answer, a push or a request may hold, however deep."""
    queue: list[Any] = list(messages)
    for call in calls:
        queue += [call.reply_type, *_hints(call)]
    found: set[type[Any]] = set()
    while queue:
        for kind in _named(queue.pop()):
            if kind not in found:
                found.add(kind)
                queue += _hints(kind) if is_dataclass(kind) else ()
    return found


def _hints(kind: Any) -> list[Any]:
    hints = get_type_hints(kind)
    return [hints[item.name] for item in fields(kind)]


def _named(hint: Any) -> Iterator[type[Any]]:
    """The classes of ours in a hint such as `tuple[Draft, ...] | None`."""
    if isinstance(hint, type) and hint not in _PLAIN and (is_dataclass(hint) or issubclass(hint, Enum)):
        yield hint
    for part in get_args(hint):
        yield from _named(part)
