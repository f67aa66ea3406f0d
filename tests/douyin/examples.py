"""A golden sample of every endpoint: written by hand where that says more, else made of the contract's own example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, get_type_hints

import msgspec

from app.douyin import CALLS
from app.douyin.contract import Call, Place, Route, Token, wires

from . import samples
from .contract_files import operations
from .samples import AUTHORIZER, COMPONENT, COMPONENT_V1, Sample

APPID = {"component_appid": COMPONENT_V1["component_appid"]}
SHOWN = {  # what a call shows of its token: in its header, in its query
    Token.NONE: ({}, {}),
    Token.COMPONENT: (COMPONENT, {}),
    Token.COMPONENT_V1: ({}, COMPONENT_V1),
    Token.AUTHORIZER: (AUTHORIZER, {}),
    Token.AUTHORIZER_V1: ({}, {**APPID, "authorizer_access_token": "authorizer_v1-1"}),
    Token.CLIENT: ({"access-token": "client-1"}, {}),
}


def shown(route: Route) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and query by which a call of a route shows its token. Of the older tokens some stand in the header."""
    headers, query = SHOWN[route.token]
    if route.carry is Place.HEADER and "authorizer_access_token" in query:
        return {"access-token": query["authorizer_access_token"]}, {}
    return headers, query


def of_contract(call: type[Call[Any]]) -> Sample:
    """The example of the contract as a sample. Raises ValueError where one by hand is wanted instead."""
    entry = operations()[call.operation_id]
    given = dict(_given(entry))
    held = {name: (place, wire) for name, place, wire in wires(call) if wire in given}
    hints = get_type_hints(call)
    if bare := sorted({item.name for item in fields(call) if item.default is MISSING} - held.keys()):
        raise ValueError(f"{call.operation_id}: the contract has no example of {', '.join(bare)}, write a sample")
    made = call(**{name: msgspec.convert(given[wire], hints[name]) for name, (_, wire) in held.items()})
    headers, query = shown(call.route)
    answer = _success(entry)
    payload = answer if call.route.envelope.payload is None else answer.get(call.route.envelope.payload)
    return Sample(
        made,
        f"{entry['host'].removeprefix('https://')}{entry['path']}",
        answer,
        _reply(call, payload),
        query={**query, **{wire: str(given[wire]) for place, wire in held.values() if place is Place.QUERY}},
        headers=headers if call.route.carry is Place.HEADER else {},
        body={wire: given[wire] for place, wire in held.values() if place is Place.JSON} or None,
    )


def _given(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters of an operation's example, by their names on the wire."""
    for row in entry.get("parameters", []):
        shown = [row.get("example"), *row["schema"].get("examples", []), *row["schema"].get("enum", [])]
        yield from [(row["name"], value) for value in shown if value is not None][:1]
    content = entry.get("requestBody", {}).get("content", {})
    for example in content.get("application/json", {}).get("examples", {}).values():
        yield from example["value"].items()


def _success(entry: dict[str, Any]) -> dict[str, Any]:
    examples = entry["responses"]["200"]["content"].get("application/json", {}).get("examples", {})
    found: dict[str, Any] | None = (examples.get("success") or examples.get("ok") or {}).get("value")
    if found is None:
        raise ValueError(f"{entry['operationId']}: the contract has no answer as an example, write a sample")
    return found


def _reply(call: type[Call[Any]], payload: Any) -> Any:
    """The example's answer in its type. A field that it does not show may be a wrong name: that wants a sample."""
    if call.reply_type is NoneType:
        return None
    if unseen := sorted(_unseen(call.reply_type, payload)):
        raise ValueError(f"{call.operation_id}: the contract's example has no {', '.join(unseen)}, write a sample")
    return msgspec.convert(payload, call.reply_type)


def _unseen(kind: Any, payload: Any) -> Iterator[str]:
    hints = get_type_hints(kind)
    for name in (item.name for item in fields(kind)):
        if name not in payload:
            yield name
        elif isinstance(payload[name], dict) and is_dataclass(hints[name]):
            yield from _unseen(hints[name], payload[name])


BY_HAND = {sample.call.operation_id for sample in samples.SAMPLES}
SAMPLES = [*samples.SAMPLES, *(of_contract(call) for name, call in CALLS.items() if name not in BY_HAND)]
