"""The strict check of requests."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.schema import Mismatch, check, compact, from_text

SHOP = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "count": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
        "note": {"type": ["string", "null"]},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    "good", [{"name": "店"}, {"name": "店", "count": 1, "tags": ["a", "b"]}, {"name": "店", "note": None}]
)
def test_documented_values_pass(good: Any) -> None:
    check(good, SHOP)


@pytest.mark.parametrize(
    ("bad", "where", "missing"),
    [
        ({}, "body.name", True),
        ({"name": "四个字符"}, "body.name", False),
        ({"name": "店", "count": 0}, "body.count", False),
        ({"name": "店", "count": True}, "body.count", False),
        ({"name": "店", "count": "1"}, "body.count", False),
        ({"name": "店", "tags": ["c"]}, "body.tags[0]", False),
        ({"name": "店", "tags": ["a", "a", "a"]}, "body.tags", False),
        ({"name": "店", "unknown": 1}, "body.unknown", False),
        ([], "body", False),
        (None, "body", False),
    ],
)
def test_others_are_refused_at_their_place(bad: Any, where: str, missing: bool) -> None:
    with pytest.raises(Mismatch) as refused:
        check(bad, SHOP)
    assert (refused.value.where, refused.value.missing) == (where, missing)


def test_references_and_all_of_become_one_schema() -> None:
    named = {"Base": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
    whole = compact({"allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"b": {}}}]}, named)
    check({"a": 1, "b": "x"}, whole)
    with pytest.raises(Mismatch):
        check({"b": 1}, whole)


@pytest.mark.parametrize(
    ("text", "kind", "value"), [("5", "integer", 5), ("true", "boolean", True), ("x", "string", "x")]
)
def test_query_text_gets_its_type(text: str, kind: str, value: object) -> None:
    assert from_text(text, {"type": kind}, "query.n") == value


@pytest.mark.parametrize(
    ("text", "kind"), [("5.0", "integer"), ("", "integer"), ("9" * 30, "integer"), ("yes", "boolean")]
)
def test_query_text_of_another_type_is_refused(text: str, kind: str) -> None:
    with pytest.raises(Mismatch):
        from_text(text, {"type": kind}, "query.n")
