"""Reads the contract's yaml files once into a table of operations: path, token, parameters, codes, sample."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from .schema import Schema, compact

CONTRACT_DIR = Path(__file__).resolve().parent.parent / "contract"
_NOT_METHODS = ("servers", "parameters", "summary", "description")


class Credential(StrEnum):
    """Which token a call must show, and where."""

    NONE = "none"
    COMPONENT_V2 = "component_v2"
    COMPONENT_V1 = "component_v1"
    AUTHORIZER_V2 = "authorizer_v2"
    AUTHORIZER_V1 = "authorizer_v1"
    AUTHORIZER_V1_HEADER = "authorizer_v1_header"
    AUTHORIZER_EITHER = "authorizer_either"
    CLIENT = "client"


class Style(StrEnum):
    """How an answer names its code and its text."""

    V2 = "err_no"
    V1 = "errno"
    CENSOR = "error"
    QRCODE = "errcode"
    TEXT_CHECK = "error_id"
    OAUTH = "data"


@dataclass(frozen=True, slots=True)
class Parameter:
    required: bool
    schema: Schema


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract, with what the gateway needs to judge a request."""

    id: str
    method: str
    path: str
    core: bool
    credential: Credential
    style: Style
    permission: int
    query: dict[str, Parameter]
    body: Schema | None
    body_type: str
    codes: dict[int, str]
    sample: bytes
    media: str
    token_field: str = ""
    also_client: bool = False


@dataclass(slots=True)
class Contract:
    """All operations, by (method, path without its last slash), and the catalogue of error texts."""

    routes: dict[tuple[str, str], Operation] = field(default_factory=dict)
    by_id: dict[str, Operation] = field(default_factory=dict)
    catalogue: dict[int, str] = field(default_factory=dict)

    def message(self, operation: Operation | None, code: int) -> str:
        """The platform's English text for a code, the operation's own before the catalogue's."""
        own = operation.codes.get(code) if operation else None
        return own or self.catalogue.get(code) or "system error"


def load(folder: Path = CONTRACT_DIR) -> Contract:
    """Core first: six calls stand in both files and core owns them."""
    contract = Contract()
    for name, core in (("contract-core.yaml", True), ("contract-manage.yaml", False)):
        document = yaml.load((folder / name).read_bytes(), Loader=_loader())  # noqa: S506 - a safe loader, in C
        _catalogue(contract, document)
        named = document["components"]["schemas"]
        for path, method, entry in _entries(document):
            operation = _operation(path, method, entry, named, core=core)
            key = (operation.method, operation.path.rstrip("/"))
            if key not in contract.routes:
                contract.routes[key] = operation
                contract.by_id[operation.id] = operation
    return contract


def _loader() -> Any:
    """libyaml where it is there: ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _catalogue(contract: Contract, document: dict[str, Any]) -> None:
    common = document.get("x-common-errors", {})
    for row in [*document.get("x-error-catalogue", []), *common.get("v1", []), *common.get("V2", [])]:
        contract.catalogue.setdefault(row["code"], row["meaning"])


def _entries(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, entry in item.items():
            if method not in _NOT_METHODS:
                yield path, method, entry


def _operation(path: str, method: str, entry: dict[str, Any], named: dict[str, Schema], *, core: bool) -> Operation:
    credential, token_field = _credential(entry, core=core)
    media, body = _body(entry, named)
    answer_media, sample, style = _answer(entry)
    return Operation(
        id=entry["operationId"],
        method=method.upper(),
        path=f"/openapi{path}" if path.startswith("/v1/") else path,
        core=core,
        credential=credential,
        style=style,
        permission=_permission(entry.get("x-permission") or ""),
        query=_query(entry, named, credential),
        body=body,
        body_type=media,
        codes={row["code"]: row["meaning"] for row in entry.get("x-errors", [])},
        sample=sample,
        media=answer_media,
        token_field=token_field,
        also_client=entry["operationId"] == "censor_image",
    )


def _permission(text: str) -> int:
    """The permission set's number: core writes `(id 1)`, manage writes its name."""
    found = re.search(r"\(id (\d)\)", text)
    if found:
        return int(found.group(1))
    for number, name in ((1, "开发管理"), (2, "基本信息设置"), (3, "运营管理")):
        if name in text:
            return number
    return 0


def _credential(entry: dict[str, Any], *, core: bool) -> tuple[Credential, str]:
    told = entry.get("x-token", "") if not core else _told_by_parameters(entry)
    table = (
        ("V2 token of the third-party", Credential.COMPONENT_V2, ""),
        ("component_access_token (V1)", Credential.COMPONENT_V1, ""),
        ("component_access_token of the V2", Credential.COMPONENT_V2, ""),
        ("authorizer_access_token of the V2", Credential.AUTHORIZER_V2, ""),
        ("V2 authorizer token", Credential.AUTHORIZER_V2, ""),
        ("query component_appid + authorizer", Credential.AUTHORIZER_V1, ""),
        ("clt.", Credential.CLIENT, ""),
        ("header access-token = V1", Credential.AUTHORIZER_V1_HEADER, "access-token"),
        ("header access-token", Credential.AUTHORIZER_EITHER, "access-token"),
        ("header X-Token", Credential.AUTHORIZER_EITHER, "x-token"),
        ("body field access_token", Credential.AUTHORIZER_EITHER, "body"),
    )
    for words, credential, place in table:
        if words in told:
            return credential, place
    return Credential.NONE, ""


def _told_by_parameters(entry: dict[str, Any]) -> str:
    """Core names the token in its parameters: put it into the words that manage uses."""
    names = {row["name"]: row for row in entry.get("parameters", [])}
    if "access-token" in names:
        return str(names["access-token"].get("description", ""))
    if "component_access_token" in names:
        return "component_access_token (V1)"
    if "authorizer_access_token" in names:
        return "query component_appid + authorizer"
    content = entry.get("requestBody", {}).get("content", {})
    fields = content.get("application/json", {}).get("schema", {}).get("properties", {})
    return "body field access_token" if "access_token" in fields else ""


def _query(entry: dict[str, Any], named: dict[str, Schema], credential: Credential) -> dict[str, Parameter]:
    found = {
        row["name"]: Parameter(bool(row.get("required")), compact(row["schema"], named))
        for row in entry.get("parameters", [])
        if row["in"] == "query"
    }
    text = Parameter(required=True, schema={"type": "string"})
    if credential in (Credential.COMPONENT_V1, Credential.AUTHORIZER_V1):
        kind = "component" if credential is Credential.COMPONENT_V1 else "authorizer"
        found.setdefault("component_appid", text)
        found.setdefault(f"{kind}_access_token", text)
    return found


def _body(entry: dict[str, Any], named: dict[str, Schema]) -> tuple[str, Schema | None]:
    for media, part in entry.get("requestBody", {}).get("content", {}).items():
        return media, compact(part.get("schema", {}), named)
    return "", None


def _answer(entry: dict[str, Any]) -> tuple[str, bytes, Style]:
    """(media type of a success, sample of a success, how failures are written)."""
    content = entry["responses"]["200"]["content"]
    media = next(iter(content))
    examples = content.get("application/json", {}).get("examples", {})
    success = (examples.get("ok") or examples.get("success") or {}).get("value")
    failure = (examples.get("error") or examples.get("failure") or {}).get("value", {"errno": 0})
    sample = b"" if success is None else json.dumps(success, ensure_ascii=False).encode()
    return media, sample, Style(next(iter(failure)))
