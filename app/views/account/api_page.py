"""The page of the REST API (接口文档): what the asker may call, and a form to try each call with a key."""

from __future__ import annotations

import json
from typing import Any

from flask import abort
from flask_appbuilder import BaseView, expose, has_access

from app.access.roles import ADMIN, AUDITOR, OPERATOR, OWNER, READS
from app.api.operators import openapi
from app.console.words import common_labels

DEPTH = 4  # of schemas within schemas


class SwaggerView(BaseView):
    """Made from the OpenAPI description; the key that is typed stays in the page."""

    roles = {ADMIN: READS, OPERATOR: READS, AUDITOR: READS, OWNER: READS}
    route_base = "/swagger"
    default_view = "show"

    @expose("/<version>", methods=["GET"])
    @has_access
    def show(self, version: str) -> Any:
        if version != openapi.VERSION:
            abort(404)
        spec = openapi.description()
        return self.render_template("account/api.html", groups=groups(spec), about=spec["info"]["description"])


def groups(spec: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The calls under their tags, in the description's order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, methods in spec["paths"].items():
        for method, told in methods.items():
            call = _call(spec, path, method, told)
            found.setdefault(call["tag"], []).append(call)
    return list(found.items())


def _call(spec: dict[str, Any], path: str, method: str, told: dict[str, Any]) -> dict[str, Any]:
    content = told.get("requestBody", {}).get("content", {}).get("application/json")
    return {
        "tag": next(iter(told.get("tags", [])), ""),
        "id": f"{method}-{path.strip('/').replace('/', '-').translate(str.maketrans('', '', '{}'))}",
        "method": method.upper(),
        "path": path,
        "summary": told.get("summary", ""),
        "about": told.get("description", ""),
        "locked": bool(told.get("security")),
        "parameters": told.get("parameters", []),
        "bodies": _bodies(spec, content) if content else [],
        "answers": [
            (code, answer["description"], _fields(spec, _schema(answer))) for code, answer in told["responses"].items()
        ],
    }


def _schema(answer: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _bodies(spec: dict[str, Any], content: dict[str, Any]) -> list[dict[str, Any]]:
    """The bodies that a call takes: title, example, and fields as (name, type, needed, text)."""
    schema, examples = content["schema"], content.get("examples", {})
    found = []
    for kind in schema.get("oneOf", [schema]):
        name = kind.get("title", "")
        example = examples.get(name, {}).get("value") or dict.fromkeys(kind.get("required", ()), "")
        text = json.dumps(example, ensure_ascii=False, indent=2)
        title = f"{name} {kind.get('description', '')}".strip()
        found.append({"name": name, "title": title, "example": text, "fields": _fields(spec, kind)})
    return found


def _fields(spec: dict[str, Any], schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, Any]]:
    """A schema's fields, those within others under `outer.inner`."""
    schema = _resolved(spec, schema)
    if schema.get("type") == "array":
        return _fields(spec, schema.get("items", {}), f"{prefix}[]", depth)
    found = []
    for name, held in schema.get("properties", {}).items():
        kind, full = _resolved(spec, held), f"{prefix}.{name}" if prefix else name
        words = "、".join(map(str, kind["enum"])) if kind.get("enum") else ""
        found.append(
            {
                "name": full,
                "type": kind.get("type", ""),
                "needed": name in schema.get("required", ()),
                "about": held.get("description") or kind.get("description") or common_labels().get(name, ""),
                "values": words,
            }
        )
        if depth < DEPTH:
            found += _fields(spec, kind, full, depth + 1)
    return found


def _resolved(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    held: dict[str, Any] = spec["components"]["schemas"].get(name, {}) if name else schema
    return held
