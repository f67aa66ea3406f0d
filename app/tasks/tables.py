"""What the screens let out, take in and change: exports, imports and the rules of a save, by the name of the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import current_app

from app.errors import Refused
from app.tasks.importing.columns import ImportSpec

Made = TypeVar("Made")


@dataclass(frozen=True)
class Column:
    """One column of an export: its head, and how it is read from a row."""

    name: str
    label: str
    read: Callable[[Any], Any]


@dataclass(frozen=True)
class ExportSpec:
    """What a list gives away: an allow-list of columns, and the relations that are loaded with the rows."""

    model: type[Any]
    title: str
    columns: Sequence[Column]
    loading: Callable[[], list[Any]]


class Declared(Mapping[str, Made]):
    """What screens declare, by their names: each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Made]]) -> None:
        self._makers = makers
        self._made: dict[str, Made] = {}

    def __getitem__(self, name: str) -> Made:
        if name not in self._made:
            self._made[name] = self._makers[name]()  # two at the same moment make two, which are alike
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class Hooks:
    """What a screen does with a row of its own around a save: `check` may refuse it."""

    check: Callable[[Any], None]
    saved: Callable[[Any], None]


@dataclass(frozen=True)
class Tables:
    """What the application's screens declare: handed down as it starts, for this floor knows no screen."""

    exports: Mapping[str, ExportSpec]
    imports: Mapping[str, ImportSpec]
    hooks: Mapping[str, Hooks]  # of the screens that change many rows at once


def tables() -> Tables:
    """The current application's."""
    found: Tables = current_app.extensions["tables"]
    return found


def export_of(view: str) -> ExportSpec:
    """A list's export by the list's name; Refused when it has none."""
    if view not in tables().exports:
        raise Refused("这个列表不能导出")
    return tables().exports[view]


def import_of(view: str) -> ImportSpec:
    """A list's import by the list's name; Refused when it has none."""
    if view not in tables().imports:
        raise Refused("这个列表不能导入")
    return tables().imports[view]
