"""Walks every endpoint: its golden sample on the wire, and its route against the contract files."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
import responses

from app.douyin import CALLS
from app.douyin.authorization import authorize_page_url
from app.douyin.contract import Host, PermissionSet, Place, Route, Token, wires
from app.douyin.development import AuditStatus, GetVersions, LatestVersion
from app.douyin.settle import SettleGetApplyStatus

from .conftest import HOSTS, Bench
from .contract_files import operations
from .examples import SAMPLES, shown
from .samples import Sample

# An older path of submit_audit, kept in the contract for the sandbox only.
SUPERSEDED = {"submit_audit_v2_old"}
# The token's page is named in the contract's conventions, not among its paths.
ELSEWHERE = {"client_token"}
TOKEN_PARAMETERS = {
    "access-token",
    "component_appid",
    "component_access_token",
    "authorizer_access_token",
    "access_token",
}
READING_POSTS = {"censor_image", "censor_image_v1"}


def _required(entry: dict[str, Any]) -> set[str]:
    names = {item["name"] for item in entry.get("parameters", []) if item.get("required")}
    for content in entry.get("requestBody", {}).get("content", {}).values():
        names |= _required_of(content["schema"], entry["schemas"])
    return names - TOKEN_PARAMETERS


def _required_of(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    return set(schema.get("required", [])).union(*(_required_of(part, schemas) for part in schema.get("allOf", [])))


def _known(entry: dict[str, Any]) -> set[str]:
    names = {item["name"] for item in entry.get("parameters", [])}
    for content in entry.get("requestBody", {}).get("content", {}).values():
        names |= _properties(content["schema"], entry["schemas"])
    return names


def _properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    return set(schema.get("properties", {})).union(*(_properties(part, schemas) for part in schema.get("allOf", [])))


def name_of(sample: Sample) -> str:
    return sample.call.operation_id


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_the_request_is_exactly_what_the_wire_wants_and_the_answer_becomes_the_reply(
    sample: Sample, bench: Bench, http: responses.RequestsMock
) -> None:
    body = sample.answer if isinstance(sample.answer, bytes) else json.dumps(sample.answer)
    http.add(sample.call.route.method, f"https://{sample.url}", body=body)
    reply = bench.douyin.send(sample.call)
    assert reply == sample.reply
    request = http.calls[0].request
    address = urlsplit(request.url or "")
    assert f"{address.netloc}{address.path}" == sample.url
    assert dict(parse_qsl(str(address.query), keep_blank_values=True)) == sample.query
    assert {k: v for k, v in request.headers.items() if k == "access-token"} == sample.headers
    if isinstance(sample.body, list):
        assert all(part in (request.body or b"") for part in sample.body)
    else:
        assert (json.loads(request.body) if request.body else None) == sample.body


def test_every_endpoint_has_one_sample() -> None:
    assert sorted(map(name_of, SAMPLES)) == sorted(CALLS)


def test_every_current_endpoint_of_the_core_contract_exists() -> None:
    wanted = {name for name, entry in operations().items() if entry["file"] == "core" and entry["x-generation"] == "V2"}
    assert wanted - SUPERSEDED <= set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_endpoint_names_its_page_and_its_chinese_title(name: str) -> None:
    assert CALLS[name].route.doc.startswith("https://")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in CALLS[name].title()) or name == "code_to_session"


@pytest.mark.parametrize("name", sorted(set(CALLS) - ELSEWHERE))
def test_every_route_is_the_contracts(name: str) -> None:
    route, entry = CALLS[name].route, operations()[name]
    assert (route.method, route.path) == (entry["method"], entry["path"])
    assert HOSTS[f"{route.host.value}_url"] == entry["host"]
    if "x-zh" in entry:
        assert CALLS[name].title() == entry["x-zh"]


@pytest.mark.parametrize("name", sorted(set(CALLS) - ELSEWHERE))
def test_every_required_parameter_is_required_and_none_is_invented(name: str) -> None:
    entry = operations()[name]
    ours = {wire for _, _, wire in wires(CALLS[name])}
    assert _required(entry) <= ours
    assert ours <= _known(entry)


@pytest.mark.parametrize("name", sorted(set(CALLS) - ELSEWHERE))
def test_every_permission_set_is_the_contracts(name: str) -> None:
    text = operations()[name].get("x-permission") or "none"
    wanted = {member for member in PermissionSet if member.word.removesuffix("权限") in text}
    permission = CALLS[name].route.permission
    assert ({permission} if permission else set()) == wanted


@pytest.mark.parametrize("name", sorted(set(CALLS) - ELSEWHERE))
def test_every_token_stands_where_the_contract_puts_it(name: str) -> None:
    route, entry = CALLS[name].route, operations()[name]
    places = {item["name"]: item["in"] for item in entry.get("parameters", [])}
    if route.token is Token.NONE:
        return
    if entry["file"] == "manage":
        assert route.carry is Place.HEADER
    elif route.carry is Place.HEADER:
        assert places["access-token"] == "header"
    elif route.carry is Place.QUERY:
        kind = "component" if route.token is Token.COMPONENT_V1 else "authorizer"
        assert places[f"{kind}_access_token"] == "query"
    else:
        assert "access_token" in _properties(
            entry["requestBody"]["content"]["application/json"]["schema"], entry["schemas"]
        )


@pytest.mark.parametrize(
    ("token", "host", "headers", "query"),
    [
        (Token.AUTHORIZER_V1, Host.OPEN, {"access-token"}, set()),
        (Token.AUTHORIZER_V1, Host.MICROAPP, set(), {"component_appid", "authorizer_access_token"}),
        (Token.AUTHORIZER, Host.OPEN, {"access-token"}, set()),
        (Token.COMPONENT_V1, Host.MICROAPP, set(), {"component_appid", "component_access_token"}),
    ],
)
def test_samples_show_a_token_where_its_host_wants_it(
    token: Token, host: Host, headers: set[str], query: set[str]
) -> None:
    found = shown(Route("GET", "/x/", token, host=host, doc="https://x"))
    assert ({*found[0]}, {*found[1]}) == (headers, query)


def test_only_reads_may_be_resent() -> None:
    safe = {name for name, call in CALLS.items() if call.route.again == "read"}
    assert all(CALLS[name].route.method == "GET" for name in safe - READING_POSTS)
    assert not safe & {
        "webhook_reset_secret",
        "get_component_access_token",
        "get_component_access_token_v1",
        "get_authorizer_access_token",
        "get_authorizer_access_token_v1",
    }


def test_no_repr_of_a_call_or_reply_shows_a_secret() -> None:
    shown = "".join(f"{sample.call!r}{sample.reply!r}" for sample in SAMPLES)
    for secret in (
        "isvact.a",
        "isvrft.b",
        "clt.x",
        "clt.c",
        "c2Vzc2lvbg",
        "whs-1",
        "code-1",
        "appsecret='s'",
    ):
        assert secret not in shown
    assert "110101199001010000" not in shown


def test_a_state_the_platform_invents_is_kept_as_a_number() -> None:
    status = msgspec.convert(9, AuditStatus)
    assert (status, status.name) == (9, "UNKNOWN_9")


def test_an_empty_stage_and_a_missing_one_both_mean_no_version(bench: Bench, http: responses.RequestsMock) -> None:
    data: dict[str, Any] = {"latest": {}, "audit": None}
    http.get(f"{HOSTS['open_url']}{GetVersions.route.path}", json={"err_no": 0, "data": data})
    reply = bench.douyin.send(GetVersions())
    assert (reply.latest, reply.audit, reply.current, reply.gray) == (None, None, None, None)


@pytest.mark.parametrize(
    ("written", "paths"),
    [
        ("a;b", ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        (None, []),
        ("", []),
        ("a.png,b.png", ["a.png", "b.png"]),
        ("tos/1,tos/2;tos/3", ["tos/1", "tos/2", "tos/3"]),
        ("https://h/a.png,https://h/b.png", ["https://h/a.png", "https://h/b.png"]),
        ("https://h/a,b.png", ["https://h/a,b.png"]),
        ("https://h/a.png?size=1,2;https://h/b.png", ["https://h/a.png?size=1,2", "https://h/b.png"]),
        ("https://h/a;b.png", ["https://h/a;b.png"]),
        ("one, two", ["one, two"]),
        (("a.png,b.png", "c.png"), ["a.png", "b.png", "c.png"]),
    ],
)
def test_screenshots_are_a_list_whichever_way_they_are_written(written: Any, paths: list[str]) -> None:
    assert LatestVersion(version="1.0.0", screenshot=written).screenshots == paths


@pytest.mark.parametrize("spelling", ["attachInfo", "attach_info"])
@pytest.mark.parametrize("down", [1, True])
def test_both_spellings_and_both_kinds_of_flag_are_read(
    spelling: str, down: Any, bench: Bench, http: responses.RequestsMock
) -> None:
    current = {"version": "1.0.0", spelling: {"抖音": "u"}, "has_down": down}
    http.get(f"{HOSTS['open_url']}{GetVersions.route.path}", json={"err_no": 0, "data": {"current": current}})
    found = bench.douyin.send(GetVersions()).current
    assert found is not None
    assert (found.attach_info, bool(found.has_down)) == ({"抖音": "u"}, True)


def test_the_authorisation_page_address_escapes_its_parts() -> None:
    url = authorize_page_url("https://h/", component_appid="tt1", pre_auth_code="p&x", redirect_uri="https://a/b?c=d")
    assert url == (
        "https://h/mappconsole/tp/authorization?component_appid=tt1&pre_auth_code=p%26x"
        "&redirect_uri=https%3A%2F%2Fa%2Fb%3Fc%3Dd"
    )


def test_a_call_is_frozen() -> None:
    call = SettleGetApplyStatus(apply_id="1")
    with pytest.raises(AttributeError):
        call.apply_id = "2"  # type: ignore[misc]
