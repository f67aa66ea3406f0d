"""Builds for every operation of the contract the call of its own example, with living tokens and ids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

from .harness import Merchant, Row
from .receiver import Receiver
from .validator import Documented, Validator

_FILE = ("a.png", b"\x89PNG\r\n\x1a\nx", "image/png")


@dataclass
class Bench:
    """What a test of one call needs: a sandbox, a merchant with all tokens, a console's addresses."""

    validator: Validator
    merchant: Merchant
    receiver: Receiver
    notes: Row = field(default_factory=dict)

    @property
    def sandbox(self) -> Any:
        return self.merchant.sandbox

    @property
    def provider(self) -> Any:
        return self.merchant.provider

    def control(self, action: str, **body: Any) -> Row:
        found: Row = self.sandbox.control(action, **body)
        return found

    def app(self, **fields: Any) -> None:
        """Change the merchant's mini-program."""
        self.control(f"apps/{self.merchant.appid}", **fields)


@dataclass
class Prepared:
    """A call ready to be sent; tests bend it before."""

    operation: Documented
    query: Row
    headers: dict[str, str]
    body: Any
    files: Row | None = None

    def send(self, bench: Bench) -> requests.Response:
        more: Row = {}
        if self.files is not None:
            more = {"data": self.body, "files": self.files}
        elif self.body is not None:
            more = {"json": self.body}
        answer: requests.Response = bench.sandbox.http.request(
            self.operation.method,
            bench.sandbox.base + self.operation.path,
            params=self.query,
            headers=self.headers,
            allow_redirects=False,
            timeout=10,
            **more,
        )
        return answer


def prepare(bench: Bench, operation_id: str) -> Prepared:
    """The operation's example with this bench's tokens; whatever must be there before, is there."""
    operation = bench.validator.operations[operation_id]
    query = {name: _example(row) for name, row in operation.parameters().items() if row.get("required")}
    prepared = Prepared(operation, query, {}, None)
    content = operation.content()
    if content:
        media, part = content
        examples: list[Row] = list((part.get("examples") or {}).values())
        prepared.body = part.get("example") or (examples[0]["value"] if examples else None)
        if media.startswith("multipart/"):
            _form(prepared, part["schema"])
    _tokens(bench, prepared)
    if operation_id in _READY:
        _READY[operation_id](bench, prepared)
    if isinstance(prepared.body, dict):
        prepared.body = {name: _own(bench, name, value) for name, value in prepared.body.items()}
    prepared.query = {name: _own(bench, name, value) for name, value in prepared.query.items()}
    return prepared


def _example(parameter: Row) -> Any:
    schema = parameter["schema"]
    for found in (parameter.get("example"), *schema.get("examples", []), *schema.get("enum", [])):
        if found is not None:
            return found
    if schema.get("type") == "array":
        return [_example({"schema": schema["items"]})]
    return 1 if schema.get("type") == "integer" else "example"


def _form(prepared: Prepared, schema: Row) -> None:
    """Files for the fields named so, text for the others."""
    prepared.body, prepared.files = {}, {}
    for name, sub in schema["properties"].items():
        is_file = sub.get("format") == "binary" or "contentMediaType" in sub or name in ("material_file", "file")
        if is_file:
            prepared.files[name] = _FILE
        elif name in schema.get("required", []):
            prepared.body[name] = str(_example({"schema": sub}))


def _tokens(bench: Bench, prepared: Prepared) -> None:
    merchant, words = bench.merchant, prepared.operation.token
    if "component_access_token of the V2" in words or "V2 token of the third-party" in words:
        prepared.headers["access-token"] = bench.provider.v2
    elif "isvact" in words or "V2 authorizer" in words:
        prepared.headers["access-token"] = merchant.v2
    elif "clt." in words:
        prepared.headers["access-token"] = merchant.client_token()
    elif "X-Token" in words:
        prepared.headers["X-Token"] = merchant.v1
    elif "header access-token" in words:
        prepared.headers["access-token"] = merchant.v1
    for name, value in (
        ("component_appid", bench.provider.appid),
        ("component_access_token", bench.provider.v1),
        ("authorizer_access_token", merchant.v1),
    ):
        if name in prepared.query:
            prepared.query[name] = value
    if isinstance(prepared.body, dict) and "access_token" in prepared.body:
        prepared.body["access_token"] = merchant.v1


def _own(bench: Bench, name: str, value: Any) -> Any:
    """The examples' app ids become this merchant's."""
    return bench.merchant.appid if name in ("app_id", "appid", "authorization_appid") else value


# what an example needs before it can succeed

Ready = Callable[[Bench, Prepared], None]


def _component(bench: Bench, call: Prepared) -> None:
    provider = bench.provider
    call.query = {
        "component_appid": provider.appid,
        "component_appsecret": provider.secret,
        "component_ticket": provider.ticket,
    }


def _code_grant(bench: Bench, call: Prepared) -> None:
    code = bench.merchant.retrieve()
    call.query |= {"grant_type": "app_to_tp_authorization_code", "authorization_code": code}


def _page(bench: Bench, call: Prepared) -> None:
    answer = bench.sandbox.post("/api/tpapp/v3/auth/get_pre_auth_code/", bench.provider.v2, {})
    call.query |= {
        "component_appid": bench.provider.appid,
        "pre_auth_code": answer["data"]["pre_auth_code"],
        "redirect_uri": "https://admin.example.com/back",
    }
    call.headers["Referer"] = "https://admin.example.com/authorize"


def _paged(bench: Bench, call: Prepared) -> None:
    call.query |= {"page": 1, "size": 10}


def _template_id(bench: Bench, call: Prepared) -> None:
    call.body["template_id"] = bench.provider.template()


def _upload(bench: Bench, call: Prepared) -> None:
    ext = json.loads(call.body["ext_json"]) | {"extAppid": bench.merchant.appid}
    call.body |= {"ext_json": json.dumps(ext), "template_id": bench.provider.template()}


def _uploaded(bench: Bench, call: Prepared) -> None:
    bench.merchant.upload()


def _in_audit(bench: Bench, call: Prepared) -> None:
    bench.merchant.upload()
    bench.merchant.submit()


def _passed(bench: Bench, call: Prepared) -> None:
    _in_audit(bench, call)
    bench.merchant.decide()


def _two_online(bench: Bench, call: Prepared) -> None:
    bench.merchant.publish("1.0.0")
    bench.merchant.publish("1.0.1")


def _rejected(bench: Bench, call: Prepared) -> None:
    bench.merchant.publish("1.0.0")
    _in_audit(bench, call)
    bench.merchant.decide("reject", "页面空白")


def _code(bench: Bench, call: Prepared) -> None:
    target = call.query if call.operation.method == "GET" else call.body
    target["code"] = f"user-xiaoming-{bench.merchant.appid}"


def _secret(bench: Bench, call: Prepared) -> None:
    bench.sandbox.get("/api/platform/v1/webhook/reset_secret/", bench.merchant.v2)
    if isinstance(call.body, dict) and "callback_url" in call.body:
        call.body["callback_url"] = f"{bench.receiver.url}/hook"


def _hooked(bench: Bench, call: Prepared) -> None:
    _secret(bench, call)
    url = {"callback_url": f"{bench.receiver.url}/hook"}
    bench.sandbox.post("/api/platform/v1/webhook/save_callback_url/", bench.merchant.v2, url)


def _licence(bench: Bench, call: Prepared) -> None:
    call.body["credit_image_path"] = bench.provider.material(1)


def settle_request(bench: Bench) -> str:
    """An apply_id."""
    call = prepare(bench, "settle_apply")
    number: str = call.send(bench).json()["data"]["apply_id"]
    return number


def _applied(bench: Bench, call: Prepared) -> None:
    call.query["apply_id"] = settle_request(bench)


_READY: dict[str, Ready] = {
    "get_component_access_token": _component,
    "get_component_access_token_v1": _component,
    "get_authorizer_access_token": _code_grant,
    "get_authorizer_access_token_v1": _code_grant,
    "open_authorize_page": _page,
    "list_auth_apps": _paged,
    "list_auth_apps_v1": _paged,
    "delete_template": _template_id,
    "delete_template_v1": _template_id,
    "upload_code": _upload,
    "upload_code_v1": _upload,
    "submit_audit": _uploaded,
    "submit_audit_v2_old": _uploaded,
    "submit_audit_v1": _uploaded,
    "submit_audit_v1_old": _uploaded,
    "revoke_audit": _in_audit,
    "revoke_audit_v1": _in_audit,
    "release_version": _passed,
    "release_version_v1": _passed,
    "rollback_version": _two_online,
    "rollback_version_v1": _two_online,
    "get_versions": _rejected,
    "get_versions_v1": _rejected,
    "code_to_session": _code,
    "code_to_session_v1": _code,
    "webhook_save_callback_url": _secret,
    "webhook_list_events": _hooked,
    "webhook_update_events": _hooked,
    "settle_apply": _licence,
    "settle_get_apply_status": _applied,
}
