"""The description of the REST API and its page: complete, by role, in Chinese, and without a key in it."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.access.roles import may_operate
from app.api.operators import operations
from app.data.clock import utcnow
from app.models import Door, OperationRun, RunState
from app.operations import registry, runs
from app.operations.registry import OPERATIONS
from tests.access.second import make_key, with_key
from tests.conftest import Actors

SPEC, PAGE = "/api/v1/_openapi", "/swagger/v1"
CALLS = {
    ("post", "/api/v1/security/login"),
    ("post", "/api/v1/security/refresh"),
    ("get", "/api/v1/menu/"),
    ("get", "/api/v1/merchants/"),
    ("get", "/api/v1/merchants/{pk}"),
    ("get", "/api/v1/mini_programs/"),
    ("get", "/api/v1/mini_programs/{pk}"),
    ("get", "/api/v1/versions/"),
    ("get", "/api/v1/versions/{pk}"),
    ("post", "/api/v1/operations/"),
    ("get", "/api/v1/operations/{run_id}"),
    ("get", "/api/v1/operations/"),
    ("get", "/api/{version}/_openapi"),
}


def spec(client: FlaskClient) -> dict[str, Any]:
    answer = client.get(SPEC)
    assert answer.status_code == 200
    return dict(answer.get_json())


def calls(told: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method, path) for path, methods in told["paths"].items() for method in methods}


def bodies(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The body of each operation, by name."""
    content = told["paths"]["/api/v1/operations/"]["post"]["requestBody"]["content"]["application/json"]
    return {body["title"]: body for body in content["schema"]["oneOf"]}


def test_every_call_of_the_api_is_described(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    rules = {
        (method.lower(), re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(("/api/v1/", "/api/<version>/"))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = spec(client_for("platform_admin"))
    assert calls(told) == rules
    assert rules >= CALLS


@pytest.mark.parametrize("role", ["platform_admin", "operator"])
def test_every_operation_and_each_of_its_parameters_is_described(
    client_for: Callable[..., FlaskClient], role: str
) -> None:
    found = bodies(spec(client_for(role)))
    assert set(found) == {name for name in OPERATIONS if may_operate([role], name, False)}
    for name, body in found.items():
        fields = {item.name: item for item in dataclasses.fields(OPERATIONS[name].params)}
        params = body["properties"]["params"]
        assert set(params["properties"]) == set(fields), name
        needed = {key for key, item in fields.items() if item.default is item.default_factory is dataclasses.MISSING}
        assert set(params.get("required", ())) == needed, name
        assert body["properties"]["operation"]["enum"] == [name]
        for key, told in params["properties"].items():
            assert told["type"] in {"string", "integer", "boolean", "array"}
            assert fields[key].metadata.get("label", "") in told["description"]


def test_the_examples_are_bodies_that_the_api_understands(client_for: Callable[..., FlaskClient]) -> None:
    told = spec(client_for("operator"))
    content = told["paths"]["/api/v1/operations/"]["post"]["requestBody"]["content"]["application/json"]
    for name, example in content["examples"].items():
        params = example["value"]["params"]
        known = {item.name for item in dataclasses.fields(registry.find(name).params)}
        assert set(params) <= known
        assert example["value"].keys() == {"operation", "appid", "params"}


def test_the_answer_of_an_operation_is_described_field_by_field(client_for: Callable[..., FlaskClient]) -> None:
    told = spec(client_for("operator"))
    for call in (
        told["paths"]["/api/v1/operations/"]["post"],
        told["paths"]["/api/v1/operations/{run_id}"]["get"],
    ):
        shown = call["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
        run = OperationRun(created_at=utcnow(), state=RunState.QUEUED, door=Door.REST)
        assert set(shown) == set(runs.as_json(run))


def test_the_list_of_operations_is_described(client_for: Callable[..., FlaskClient]) -> None:
    told = spec(client_for("auditor"))["paths"]["/api/v1/operations/"]["get"]
    assert {item["name"] for item in told["parameters"]} == {"page_size", "before", *operations._COLUMNS}
    assert all(item["description"] and item["schema"] for item in told["parameters"])
    shown = told["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
    assert set(shown) == {"result", "next"}
    run = OperationRun(created_at=utcnow(), state=RunState.QUEUED, door=Door.REST)
    assert set(shown["result"]["items"]["properties"]) == set(runs.as_json(run))


def test_the_auditor_is_shown_no_call_that_changes_something(client_for: Callable[..., FlaskClient]) -> None:
    told = calls(spec(client_for("auditor")))
    assert ("post", "/api/v1/operations/") not in told
    assert ("get", "/api/v1/operations/{run_id}") in told


@pytest.mark.parametrize(("may_submit", "offered"), [(False, None), (True, {"submit_audit"})])
def test_an_owner_is_shown_what_it_may_do(
    app: Flask,
    actors: Actors,
    client_for: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
    may_submit: bool,
    offered: set[str] | None,
) -> None:
    monkeypatch.setitem(app.config, "OWNERS_MAY_SUBMIT", may_submit)
    client = client_for("owner", actors.alice)
    told = spec(client)
    assert not [path for _, path in calls(told) if "merchants" in path or "versions" in path]
    assert ("get", "/api/v1/operations/") in calls(told)
    assert (set(bodies(told)) if ("post", "/api/v1/operations/") in calls(told) else None) == offered
    page = client.get(PAGE).get_data(as_text=True)
    assert "/api/v1/merchants/" not in page
    assert "release" not in page


@pytest.mark.parametrize("role", ["staff", "clerk"])
def test_others_have_no_such_page(actors: Actors, client_for: Callable[..., FlaskClient], role: str) -> None:
    client = client_for(role, actors.alice)
    assert client.get(PAGE).status_code == 403
    assert client.get(SPEC).status_code == 403


def test_visitors_have_no_such_page(app: Flask) -> None:
    assert app.test_client().get(PAGE).status_code == 302
    assert app.test_client().get(SPEC).status_code == 401


def test_a_key_opens_the_description(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    text = make_key(client_for("operator"))
    assert app.test_client().get(SPEC, headers=with_key(text)).status_code == 200


@pytest.mark.parametrize("version", ["v2", "x", "../v1"])
def test_there_is_one_version(client_for: Callable[..., FlaskClient], version: str) -> None:
    client = client_for("operator")
    assert client.get(f"/api/{version}/_openapi").status_code == 404
    assert client.get(f"/swagger/{version}").status_code == 404


def test_the_page_shows_every_call_and_parameter(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("platform_admin")
    page, told = client.get(PAGE).get_data(as_text=True), spec(client)
    for method, path in calls(told):
        assert f'data-method="{method.upper()}" data-path="{path}"' in page
    for name, body in bodies(told).items():
        assert f'value="post-api-v1-operations-{name}"' in page
        for key in body["properties"]["params"]["properties"]:
            assert f"<code>params.{key}</code>" in page


def test_the_forms_begin_with_bodies_that_are_json(client_for: Callable[..., FlaskClient]) -> None:
    page = client_for("operator").get(PAGE).get_data(as_text=True)
    texts = re.findall(r"data-body[^>]*>([^<]*)</textarea>", page) + re.findall(r'data-example="([^"]*)"', page)
    assert len(texts) > len(OPERATIONS)
    for text in texts:
        assert isinstance(json.loads(html.unescape(text)), dict)


def test_the_page_speaks_chinese(client_for: Callable[..., FlaskClient]) -> None:
    told = spec(client_for("platform_admin"))
    for methods in told["paths"].values():
        for call in methods.values():
            assert re.search(r"[\u4e00-\u9fff]", call["summary"]), call
            assert all(re.search(r"[\u4e00-\u9fff]", answer["description"]) for answer in call["responses"].values())
            assert all(re.search(r"[\u4e00-\u9fff]", item["description"]) for item in call.get("parameters", ()))


def test_the_page_holds_no_key_and_no_inline_script(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    text = make_key(client)
    page = client.get(PAGE).get_data(as_text=True)
    assert text[:9] not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=", page)
    field = re.search(r'<input[^>]*id="api-key"[^>]*>', page)
    assert field is not None
    assert 'type="password"' in field[0]
    assert "name=" not in field[0]  # no form could send it
    assert "value=" not in field[0]
