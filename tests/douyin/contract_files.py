"""The contract files, read once: the tests walk them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONTRACT = Path(__file__).resolve().parents[2] / "contract"


@cache
def contract(name: str) -> dict[str, Any]:
    """`core` or `manage`, as written."""
    text = (CONTRACT / f"contract-{name}.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return found


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Operation id -> its entry with path, method and host; the core's entry wins over the manage one's."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("manage", "core"):
        whole = contract(name)
        for path, item in whole["paths"].items():
            for method in {"get", "post"} & set(item):
                entry = item[method]
                servers = item.get("servers") or entry.get("servers") or whole["servers"]
                place = {"path": path, "method": method.upper(), "host": servers[0]["url"], "file": name}
                schemas = {"schemas": whole["components"]["schemas"]}
                found[entry["operationId"]] = {**entry, **place, **schemas}
    return found
