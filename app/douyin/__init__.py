"""The vendor contract: every endpoint of the Douyin Open Platform the product uses."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from app.douyin import inbound, warm
from app.douyin.contract import Call


def _defined() -> Iterator[type[Call[Any]]]:
    """The endpoints that the modules here define."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, Call) and found.__module__ == module.name:
                yield found


# operation_id -> endpoint. A new endpoint enters by being defined in a module here.
CALLS: dict[str, type[Call[Any]]] = {found.operation_id: found for found in _defined() if found is not Call}

warm.build(CALLS.values(), (*inbound.MESSAGES.values(), inbound.UnknownEvent))
