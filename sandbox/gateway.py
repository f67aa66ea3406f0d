"""Judges a platform call: route, token, permission, parameters; runs its handler and wraps the answer."""

from __future__ import annotations

import email.parser
import email.policy
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .authorization import beijing
from .calls import HANDLERS, Answer, Call, Fields, Raw
from .contract import Contract, Credential, Operation, Style
from .errors import Fault
from .pictures import png
from .schema import Mismatch, Schema, check, from_text
from .simulation import Platform
from .state import App, Kind, ThirdParty, Token

_KINDS = {
    Credential.COMPONENT_V2: (Kind.COMPONENT_V2,),
    Credential.COMPONENT_V1: (Kind.COMPONENT_V1,),
    Credential.AUTHORIZER_V2: (Kind.AUTHORIZER_V2,),
    Credential.AUTHORIZER_V1: (Kind.AUTHORIZER_V1,),
    Credential.AUTHORIZER_V1_HEADER: (Kind.AUTHORIZER_V1,),
    Credential.AUTHORIZER_EITHER: (Kind.AUTHORIZER_V1, Kind.AUTHORIZER_V2),
    Credential.CLIENT: (Kind.CLIENT,),
}
_TOKEN_CODES = {Style.CENSOR: (2, 2), Style.QRCODE: (40002, 40002)}
_CREDENTIAL_CODES = {
    Credential.COMPONENT_V1: (40010, 40009),
    Credential.AUTHORIZER_V1: (40020, 40020),
}
_BAD_PARAMETER = {Style.CENSOR: 1, Style.OAUTH: 10002}
_CHECKED_IN_HANDLER = ("open_authorize_page",)


@dataclass(slots=True)
class Request:
    """One HTTP request as it arrived; header names are lower-case."""

    method: str
    path: str
    query_text: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.query_text:
            self.pairs = parse_qsl(self.query_text, keep_blank_values=True)
            self.query = dict(self.pairs)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]


@dataclass(slots=True)
class Shown:
    """The token that a request showed, and whose it is."""

    text: str = ""
    owner: ThirdParty | None = None
    app: App | None = None


def route(contract: Contract, request: Request) -> Operation | None:
    """V2 paths end with a slash and also work without; V1 paths have none."""
    found = contract.routes.get((request.method, request.path.rstrip("/")))
    if found is None or (request.path.endswith("/") and not found.path.endswith("/")):
        return None
    return found


def run(platform: Platform, operation: Operation, request: Request, shown: Shown) -> Answer | Awaitable[Answer]:
    """The handler's answer, or the contract's sample for an operation without one. Raises Fault."""
    call = Call(
        platform,
        operation,
        query=_query(operation, request),
        body=_body(operation, request),
        token=shown.text,
        owner=shown.owner,
        target=shown.app,
        headers=request.headers,
    )
    handler = HANDLERS.get(operation.id)
    return handler(call) if handler else _sample(platform, operation)


def _sample(platform: Platform, operation: Operation) -> Raw:
    if operation.media == "image/png":
        return Raw("image/png", png(64, (32, 32, 48)))
    if not operation.sample:
        return Raw(operation.media, b"")
    answer = json.loads(operation.sample)
    if "log_id" in answer:
        answer["log_id"] = log_id(platform)
    return Raw("application/json", dump(answer))


# token and permission


def authenticate(platform: Platform, operation: Operation, request: Request) -> Shown:
    """The token's owner and mini-program. Raises Fault with the code of the generation."""
    credential = operation.credential
    if credential is Credential.NONE:
        return Shown()
    owner = _component_appid(platform, operation, request)
    text = _token_text(operation, request)
    kinds = _KINDS[credential] + ((Kind.CLIENT,) if operation.also_client else ())
    token = platform.token(text, *kinds)
    wrong, expired = _token_codes(operation)
    if token is None or (owner and token.thirdparty != owner.appid):
        raise Fault(wrong)
    if token.expires_at <= platform.now():
        raise Fault(expired)
    owner = platform.thirdparty(token.thirdparty)
    if owner is None:
        raise Fault(40003 if 40003 in operation.codes else wrong)
    return Shown(text, owner, _app_of(platform, operation, token, wrong) if token.appid else None)


def _app_of(platform: Platform, operation: Operation, token: Token, wrong: int) -> App:
    app = platform.app(token.appid)
    if app is not None and app.authorized_to == token.thirdparty:
        return app
    raise Fault(next((code for code in (40004, 10100) if app is None and code in operation.codes), wrong))


def _component_appid(platform: Platform, operation: Operation, request: Request) -> ThirdParty | None:
    if operation.credential not in _CREDENTIAL_CODES:
        return None
    appid = request.query.get("component_appid")
    if not appid:
        raise Fault(bad_parameter(operation, missing=True))
    owner = platform.thirdparty(appid)
    if owner is None:
        raise Fault(40003)
    return owner


def _token_text(operation: Operation, request: Request) -> str:
    if operation.credential is Credential.COMPONENT_V1:
        return _present(operation, request, "component_access_token")
    if operation.credential is Credential.AUTHORIZER_V1:
        return _present(operation, request, "authorizer_access_token")
    if operation.token_field == "body":  # a place, no password
        body = _json(request.body)
        found = body.get("access_token") if isinstance(body, dict) else None
        if found is None:
            raise Fault(bad_parameter(operation, missing=True))
        return str(found)
    return request.headers.get(operation.token_field or "access-token", "")


def _present(operation: Operation, request: Request, name: str) -> str:
    text = request.query.get(name)
    if not text:
        raise Fault(bad_parameter(operation, missing=True))
    return text


def _token_codes(operation: Operation) -> tuple[int, int]:
    """(wrong, expired)."""
    found = _TOKEN_CODES.get(operation.style) or _CREDENTIAL_CODES.get(operation.credential)
    return found or (28001003, 28001008)


def permit(operation: Operation, shown: Shown) -> None:
    """The call's permission set must have been granted."""
    if not operation.permission or shown.app is None or operation.permission in shown.app.permissions:
        return
    if operation.style is Style.CENSOR:
        raise Fault(2)
    if operation.style is Style.V1:
        raise Fault(10003 if 10003 in operation.codes and 40036 not in operation.codes else 40036)
    raise Fault(28001018)


# parameters


def bad_parameter(operation: Operation, *, missing: bool = False, where: str = "") -> int:
    """The code that this operation's page gives to a wrong parameter."""
    codes = operation.codes
    if operation.style in _BAD_PARAMETER:
        return _BAD_PARAMETER[operation.style]
    if where == "query.grant_type" and not missing:
        return 40040
    if missing and 40002 in codes:
        return 40002
    if 11009 in codes:
        return 28001007 if missing else 11009
    documented = 40001 in codes or operation.style is not Style.V2 or not operation.core
    return 40001 if documented else 28001007


def _query(operation: Operation, request: Request) -> Fields:
    found: Fields = {}
    try:
        for name, parameter in operation.query.items():
            if name in request.query:
                found[name] = _query_value(request, name, parameter.schema)
            elif parameter.required and operation.id not in _CHECKED_IN_HANDLER:
                raise Mismatch(f"query.{name}", missing=True)
        for name in request.query:
            if name not in operation.query:
                raise Mismatch(f"query.{name}")
    except Mismatch as found_wrong:
        raise _fault(operation, found_wrong) from None
    return found


def _query_value(request: Request, name: str, schema: Schema) -> Any:
    """A list is written as OpenAPI's default says: the name repeated; anything else stands once."""
    values, where = request.values(name), f"query.{name}"
    if schema.get("type") == "array":
        typed = [from_text(value, schema.get("items", {}), where) for value in values]
        check(typed, schema, where)
        return typed
    if len(values) > 1:
        raise Mismatch(where)
    return from_text(values[0], schema, where)


def _fault(operation: Operation, wrong: Mismatch) -> Fault:
    code = bad_parameter(operation, missing=wrong.missing, where=wrong.where)
    return Fault(code, "" if operation.style is Style.CENSOR else f"bad parameter: {wrong.where}")


def _body(operation: Operation, request: Request) -> Fields:
    """The checked body; a call without a body may still send `{}`."""
    try:
        if operation.body is None:
            if request.body.strip() not in (b"", b"{}"):
                raise Mismatch("body")
            return {}
        if operation.body_type.startswith("multipart/"):
            return _multipart(operation, request)
        if not request.body:
            body: Any = {}
        elif "json" not in request.headers.get("content-type", ""):
            raise Mismatch("content-type")
        else:
            body = _json(request.body)
        check(body, {"type": "object", **operation.body})
    except Mismatch as wrong:
        raise _fault(operation, wrong) from None
    fields: Fields = body
    return fields


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _multipart(operation: Operation, request: Request) -> Fields:
    """Form fields by their schema's type; a file becomes its size in words."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise Mismatch("content-type")
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
    schema = operation.body or {}
    properties = schema.get("properties", {})
    found: Fields = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = str(part.get_param("name", header="content-disposition"))
        if name not in properties or name in found:
            raise Mismatch(f"body.{name}")
        content = part.get_payload(decode=True)
        raw = content if isinstance(content, bytes) else b""
        if part.get_filename() is not None:
            found[name] = f"<{len(raw)} bytes>" if raw else ""
        else:
            found[name] = from_text(raw.decode("utf-8", "replace"), properties[name], f"body.{name}")
    check(found, schema)
    return found


# envelopes


def dump(answer: Any) -> bytes:
    return json.dumps(answer, ensure_ascii=False).encode()


def log_id(platform: Platform) -> str:
    """As the platform's: the time, then what makes it unique."""
    platform.world.calls += 1
    stamp = beijing(platform.now())
    digits = stamp[0:4] + stamp[5:7] + stamp[8:10] + stamp[11:13] + stamp[14:16] + stamp[17:19]
    return f"{digits}{platform.world.seed & 0xFFFF:04X}{platform.world.calls:014X}"


def success(platform: Platform, operation: Operation, extra: Fields) -> bytes:
    """The sample's envelope of success with the handler's fields."""
    if operation.sample and operation.id not in _ENVELOPES:
        sample = json.loads(operation.sample)
        _ENVELOPES[operation.id] = {name: sample[name] for name in _OWN if name in sample}
    answer = dict(_ENVELOPES.get(operation.id, {}))
    if "log_id" in answer:
        answer["log_id"] = log_id(platform)
    answer.update(extra)
    return dump(answer)


_OWN = ("err_no", "err_msg", "errno", "message", "error", "errcode", "errmsg", "log_id")
_ENVELOPES: dict[str, Fields] = {}


def failure(platform: Platform, operation: Operation, fault: Fault) -> bytes:
    """The operation's way to say no. V2's component token answers its number as text."""
    text = fault.message or platform.contract.message(operation, fault.code)
    style, code = operation.style, fault.code
    if operation.id == "get_component_access_token":
        return dump({"errno": str(code), "message": text})
    if style is Style.V2:
        return dump({"err_no": code, "err_msg": text, "log_id": log_id(platform)})
    if style is Style.OAUTH:
        return dump({"data": {"error_code": code, "description": text}, "message": "error"})
    if style is Style.QRCODE:
        return dump({"errcode": code, "errmsg": text})
    if style is Style.TEXT_CHECK:
        return dump({"error_id": log_id(platform), "code": code, "message": text, "exception": text})
    return dump({style.value: code, "message": text})
