"""From the bytes of an answer to a typed reply, or to the error that stands for it; nothing is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from app.douyin.contract import Call, Envelope, Reply
from app.douyin.errors import clean, explain, misfit
from app.errors import DouyinError, NoAnswer

R = TypeVar("R")

_OK = 200
_BIGGEST = 2**31
_CODE_AS_TEXT = re.compile(r"-?[0-9]{1,10}")
# Nothing the platform says nests nearly as deep; deeper is an attack on whoever walks it.
_DEEPEST = 40


class Malformed(Exception):
    """The answer is JSON but does not fit the contract; `str()` says where, without any of its values."""


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; raises NoAnswer when there is none."""
    try:
        found = msgspec.json.decode(raw, strict=True)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, OverflowError):
        found = None
    if not isinstance(found, dict) or _depth_exceeds(found, _DEEPEST):
        raise NoAnswer("抖音的答复不是可读的 JSON 对象")
    return found


def read(call: Call[R], body: Mapping[str, Any], *, status: int, log_id: str) -> R:
    """The reply in a decoded answer. Raises DouyinError for a refusal and, when the answer does not fit,
    DouyinError of kind ANSWER for a read, else NoAnswer: it may well have had its effect."""
    try:
        return _reply(call, body, status, log_id)
    except Malformed as error:
        what = str(error)
    raise unfit(call, what, log_id)


def unfit(call: Call[Any], what: str, log_id: str) -> DouyinError | NoAnswer:
    """The error for an answer outside the contract."""
    if call.reads:
        return misfit(what, log_id)
    return NoAnswer(f"抖音的答复不合接口约定：{what}，不能确定操作是否已经生效")


def is_enveloped(call: Call[Any], body: Mapping[str, Any]) -> bool:
    """Whether this is an answer at all: the envelope is there, whatever its code says."""
    envelope = call.route.envelope
    try:
        code_of(envelope, _object(body, envelope.inside) if envelope.inside else body)
    except Malformed:
        return False
    return True


def log_id_of(body: Mapping[str, Any] | None, header: str | None) -> str:
    """The number the platform's support asks for: from the answer, else from its header."""
    found = (body or {}).get("log_id")
    return clean(found if isinstance(found, str) and found else header or "")[:128]


def _reply(call: Call[R], body: Mapping[str, Any], status: int, log_id: str) -> R:
    envelope = call.route.envelope
    outer = _object(body, envelope.inside) if envelope.inside else body
    err_no = code_of(envelope, outer)
    if err_no:
        said = next((outer[name] for name in envelope.messages if isinstance(outer.get(name), str)), "")
        raise explain(err_no, said, log_id, about_platform=call.about_platform)
    if status != _OK:
        raise Malformed(f"HTTP {status}")
    if envelope.file:
        raise Malformed("没有文件")
    return _convert(call, _object(body, envelope.payload) if call.reply_type is not type(None) else {})


def code_of(envelope: Envelope, outer: Mapping[str, Any]) -> int:
    """The error code, 0 for success; raises Malformed when it is missing or no number."""
    found = next((outer[name] for name in envelope.codes if outer.get(name) is not None), None)
    if found is None and envelope.flat:
        return 0
    if envelope.flat and isinstance(found, str) and _CODE_AS_TEXT.fullmatch(found):
        found = int(found)
    if type(found) is not int or abs(found) >= _BIGGEST:
        raise Malformed(f"{envelope.codes[0]} 缺失或类型不对")
    return found


def _object(body: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    found = body if name is None else body.get(name)
    if not isinstance(found, Mapping):
        raise Malformed(f"{name} 缺失或类型不对")
    return found


def _convert(call: Call[R], payload: Mapping[str, Any]) -> R:
    kind: Any = call.reply_type
    if kind is type(None):
        return cast("R", None)
    try:
        plain = without_nulls(payload)
        if issubclass(kind, Reply):
            plain = kind.prepare(plain)
        reply: R = msgspec.convert(plain, kind)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        where = str(error).rsplit(" - at ", 1)[-1] if isinstance(error, msgspec.ValidationError) else ""
        problem = Malformed(f"数据不对 {clean(where)}".strip())
    else:
        return reply
    raise problem


def without_nulls(value: Any) -> Any:
    """The same value without null members, which mean what absent ones do, and without NUL characters, which
    no database wants."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def _depth_exceeds(value: Any, limit: int) -> bool:
    """Level by level instead of by recursion, which is what a deep answer would exhaust."""
    level = [value]
    for _ in range(limit):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return False
    return True


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
