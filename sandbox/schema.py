"""Checks a request against the contract's schemas, strictly: unknown and missing fields are refused."""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}
_KEPT = (
    "type",
    "enum",
    "const",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "minimum",
    "maximum",
    "pattern",
)


class Mismatch(Exception):
    """A value that the contract does not allow; `missing` tells an absent field from a wrong one."""

    def __init__(self, where: str, *, missing: bool = False) -> None:
        super().__init__(where)
        self.where = where
        self.missing = missing


def compact(schema: Schema, named: dict[str, Schema]) -> Schema:
    """The schema without references, `allOf` and prose: what `check` needs and nothing more."""
    if "$ref" in schema:
        return compact(named[schema["$ref"].rsplit("/", 1)[-1]], named)
    found: Schema = {key: schema[key] for key in _KEPT if key in schema}
    if "properties" in schema:
        found["properties"] = {name: compact(sub, named) for name, sub in schema["properties"].items()}
        found["required"] = list(schema.get("required", []))
    if "items" in schema:
        found["items"] = compact(schema["items"], named)
    for part in schema.get("allOf", []):
        _merge(found, compact(part, named))
    return found


def _merge(target: Schema, part: Schema) -> None:
    for key, value in part.items():
        if key == "properties":
            target.setdefault("properties", {}).update(value)
        elif key == "required":
            target.setdefault("required", []).extend(value)
        else:
            target.setdefault(key, value)


def check(value: Any, schema: Schema, where: str = "body") -> None:
    """Raise `Mismatch` for the first thing in `value` that the schema does not allow."""
    if "type" in schema:
        _check_type(value, schema["type"], where)
    if "enum" in schema and value not in schema["enum"]:
        raise Mismatch(where)
    if "const" in schema and value != schema["const"]:
        raise Mismatch(where)
    if isinstance(value, str):
        _check_text(value, schema, where)
    elif isinstance(value, dict):
        _check_object(value, schema, where)
    elif isinstance(value, list):
        _check_list(value, schema, where)
    elif isinstance(value, (int, float)):
        _check_number(value, schema, where)


def _check_type(value: Any, wanted: str | list[str], where: str) -> None:
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if isinstance(value, bool) and name != "boolean":
            continue
        if isinstance(value, _KINDS[name]):
            return
    raise Mismatch(where)


def _check_text(value: str, schema: Schema, where: str) -> None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        raise Mismatch(where)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise Mismatch(where)


def _check_number(value: float, schema: Schema, where: str) -> None:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise Mismatch(where)


def _check_list(value: list[Any], schema: Schema, where: str) -> None:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        raise Mismatch(where)
    items = schema.get("items")
    if items:
        for number, item in enumerate(value):
            check(item, items, f"{where}[{number}]")


def _check_object(value: dict[str, Any], schema: Schema, where: str) -> None:
    properties = schema.get("properties")
    if properties is None:
        return
    for name in schema["required"]:
        if name not in value:
            raise Mismatch(f"{where}.{name}", missing=True)
    for name, item in value.items():
        if name not in properties:
            raise Mismatch(f"{where}.{name}")
        check(item, properties[name], f"{where}.{name}")


def from_text(value: str, schema: Schema, where: str) -> Any:
    """A query or form value as its schema's type."""
    wanted = schema.get("type")
    typed: Any = value
    if wanted == "integer":
        if not re.fullmatch(r"-?\d{1,19}", value):
            raise Mismatch(where)
        typed = int(value)
    elif wanted == "boolean":
        if value not in ("true", "false"):
            raise Mismatch(where)
        typed = value == "true"
    check(typed, schema, where)
    return typed
