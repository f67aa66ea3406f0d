"""Kinds of value: what may be asked of one, how it is read and cleaned, said, exported, encoded and compared.

Each is one class, in any module of this folder, which says of which columns it is; how it looks in lists and forms is
one class, too, in `app.console.kinds`. Nobody else asks a column for its type.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from typing import Any

from app.data.kinds.apart import Bare
from app.data.kinds.base import NAMED, TYPED, Kind
from app.data.kinds.plain import Words

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)


@lru_cache(maxsize=4096)
def kind_of(column: Any) -> Kind:
    """The kind of a column's values: by its `info["kind"]` where its type says too little (a String may be a name, an
    Integer an amount of money), by its words, else by its type. TypeError for a kind that there is not, and for a
    column that cannot hold it."""
    typed = next((TYPED[base] for base in type(column.type).__mro__ if base in TYPED), Bare)
    info = getattr(column, "info", {})
    named = info.get("kind", "listed" if typed is Words and "words" in info else None)
    if named is None:
        return typed.of(column)
    kind = kind_named(named, column)
    if kind.held and not isinstance(column.type, kind.held):
        fitting = " or ".join(held.__name__ for held in kind.held)
        raise TypeError(f"{column} is of the kind {named}: its type is {fitting}, not {type(column.type).__name__}")
    return kind.of(column)


def kind_named(name: str, asker: Any) -> type[Kind]:
    """A class of kinds by its name. TypeError, which names the asker, for one that there is not."""
    if name not in NAMED:
        raise TypeError(f"{asker} asks for a kind of value that there is not: {name}")
    return NAMED[name]
