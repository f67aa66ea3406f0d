"""The way of data: which rooms of app/ a journey passes through, seen by the profiler's hook."""

from __future__ import annotations

import gc
import sys
import threading
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tests.conftest import ROOT

APP = ROOT / "app"
APART = {"i18n"}  # a word of the language is no station; modules beside the rooms have no folder
IMPORTING = "<module>"


@cache
def floors() -> dict[str, int]:
    """Each room's floor, 0 the lowest, as the floors of pyproject.toml have it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [found["layers"] for found in contracts if found["name"] == "Floors"]
    return {name.strip(" ()"): floor for floor, line in enumerate(reversed(layers)) for name in line.split("|")}


@cache
def room_of(code: CodeType) -> str:
    """The room in which a function stands; empty for others' code, and for what stands beside the rooms."""
    path = Path(code.co_filename)
    if path.suffix != ".py" or not path.is_relative_to(APP):
        return ""
    parts = path.relative_to(APP).parts
    return parts[0] if len(parts) > 1 and parts[0] not in APART else ""


@dataclass
class Way:
    """What a journey passed: its rooms, the most on one call stack at a time, calls up the floors by their arrow."""

    rooms: set[str] = field(default_factory=set)
    deepest: tuple[str, ...] = ()
    climbs: Counter[str] = field(default_factory=Counter)
    _guard: Any = field(default_factory=threading.Lock, repr=False)

    def called(self, stack: list[str]) -> None:
        with self._guard:
            self.rooms.add(stack[-1])
            if len(stack) > 1 and floors()[stack[-1]] > floors()[stack[-2]]:
                self.climbs[f"{stack[-2]} -> {stack[-1]}"] += 1
            on_it = tuple(dict.fromkeys(stack))
            if len(on_it) > len(self.deepest):
                self.deepest = on_it

    def line(self, name: str) -> str:
        up = ", ".join(f"{arrow} {count}" for arrow, count in sorted(self.climbs.items())) or "-"
        rooms = " ".join(sorted(self.rooms, key=lambda room: (-floors()[room], room)))
        return f"| {name} | {len(self.rooms)}: {rooms} | {len(self.deepest)}: {' > '.join(self.deepest)} | {up} |"


class _Thread:
    """One thread's stack of rooms: a room is on it once for each call of ours that is under way."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.stack: list[str] = []
        self.importing = 0

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> None:
        if event not in {"call", "return"} or not (room := room_of(frame.f_code)):
            return
        if frame.f_code.co_name == IMPORTING:
            self.importing += 1 if event == "call" else -1
        elif not self.importing and event == "call":
            self.stack.append(room)
            self.way.called(self.stack)
        elif not self.importing and self.stack:
            self.stack.pop()


@contextmanager
def watched() -> Iterator[Way]:
    """Watch this thread, and the workers that it starts meanwhile; not the daemons, whose time is their own."""
    way, local = Way(), threading.local()

    def of_another(frame: FrameType, event: str, arg: Any) -> None:
        if threading.current_thread().daemon:
            sys.setprofile(None)
            return
        if not hasattr(local, "seen"):
            local.seen = _Thread(way)
        local.seen(frame, event, arg)

    gc.collect()
    gc.disable()  # what an earlier test left half-way is closed wherever the collector runs, and would be seen there
    threading.setprofile(of_another)
    sys.setprofile(_Thread(way))
    try:
        yield way
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        gc.enable()
