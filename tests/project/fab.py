"""Where our classes meet Flask-AppBuilder's: what they override, found by looking, and what its members look like."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import flask_appbuilder
from flask_appbuilder.api import BaseApi
from flask_appbuilder.baseviews import BaseView
from flask_appbuilder.models.base import BaseInterface
from flask_appbuilder.models.filters import BaseFilter, BaseFilterConverter, Filters
from flask_appbuilder.security.manager import BaseSecurityManager

import app

ROOTS = (BaseView, BaseApi, BaseInterface, BaseFilter, BaseFilterConverter, Filters, BaseSecurityManager)
HOME = Path(flask_appbuilder.__file__).parent
for _found in pkgutil.walk_packages(app.__path__, "app."):
    importlib.import_module(_found.name)  # every screen, API, filter and manager


class Seam(NamedTuple):
    """One member of a class of FAB's that one of ours has too."""

    base: type[Any]
    name: str
    ours: type[Any]

    def __str__(self) -> str:
        return f"{self.base.__name__}.{self.name} in {self.ours.__name__}"

    @property
    def theirs(self) -> Any:
        return inspect.getattr_static(self.base, self.name)

    @property
    def mine(self) -> Any:
        return inspect.getattr_static(self.ours, self.name)


def _below(root: type[Any]) -> Iterator[type[Any]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _below(kind)


def is_fab(kind: type[Any]) -> bool:
    return kind.__module__.partition(".")[0] == "flask_appbuilder"


@cache
def seams() -> list[Seam]:
    """Every override, ours by ours."""
    kinds = {kind for root in ROOTS for kind in _below(root) if kind.__module__.partition(".")[0] == "app"}
    found = []
    for kind in sorted(kinds, key=lambda kind: kind.__qualname__):
        bases = [base for base in kind.__mro__ if is_fab(base)]
        for mixed in (part for part in kind.__mro__ if part is kind or (part not in kinds and not is_fab(part))):
            for name in vars(mixed):
                base = next((base for base in bases if name in vars(base)), None)
                if base is not None and not name.startswith("__"):
                    found.append(Seam(base, name, kind))
    return sorted(found, key=str)


def unwrapped(member: Any) -> Any:
    """A method behind its decorators, a static one's function."""
    return inspect.unwrap(member.__func__ if isinstance(member, staticmethod | classmethod) else member)


def shape(member: Any) -> str:
    """A member as whoever overrides or calls it knows it."""
    if isinstance(member, property):
        return "property"
    if not callable(unwrapped(member)) or isinstance(member, type):
        return "attribute"
    kind = f"{type(member).__name__} " if isinstance(member, staticmethod | classmethod) else ""
    return f"{kind}({', '.join(map(_told, parameters(member)))})"


def parameters(member: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(unwrapped(member)).parameters.values())


def _told(item: inspect.Parameter) -> str:
    stars = {item.VAR_POSITIONAL: "*", item.VAR_KEYWORD: "**"}.get(item.kind, "")
    return f"{stars}{item.name}" + ("=…" if item.default is not item.empty else "")


def picture() -> dict[str, str]:
    """What we override of FAB's, as FAB has it."""
    return {f"{seam.base.__name__}.{seam.name}": shape(seam.theirs) for seam in seams()}


@cache
def sources() -> str:
    """All of FAB's Python."""
    return "\n".join(path.read_text() for path in sorted(HOME.rglob("*.py")))
