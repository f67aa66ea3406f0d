"""The vendor contract: every endpoint of the Douyin Open Platform the product uses."""

from __future__ import annotations

from typing import Any

from app.douyin import (
    authorization,
    development,
    domain,
    inbound,
    login,
    material,
    profile,
    safety,
    settle,
    template,
    warm,
    webhook,
)
from app.douyin.contract import Call

_SECTIONS = (
    authorization,
    template,
    domain,
    material,
    development,
    profile,
    safety,
    login,
    webhook,
    settle,
)

# operation_id -> endpoint. A new endpoint enters by being defined in its section, a section by its name.
CALLS: dict[str, type[Call[Any]]] = {
    found.operation_id: found
    for section in _SECTIONS
    for found in vars(section).values()
    if isinstance(found, type) and issubclass(found, Call) and found is not Call
}

warm.build(CALLS.values(), (*inbound.MESSAGES.values(), inbound.UnknownEvent))
