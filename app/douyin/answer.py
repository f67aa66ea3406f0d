"""From the bytes of an answer to a typed reply, or to the error that stands for it; nothing is trusted."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from app.douyin.contract import Call, Envelope
from app.douyin.errors import CODES, clean, explain, misfit
from app.douyin.lenient import Unfit, fit
from app.errors import DouyinError, NoAnswer
from app.i18n.sentence import ours, say

R = TypeVar("R")

_OK = 200
_BIGGEST = 2**31
# Neither "00" nor "-0": of all texts "0" alone is success.
_CODE_AS_TEXT = re.compile(r"0|-?[1-9][0-9]{0,9}")
# Nothing the platform says nests nearly as deep; deeper is an attack on whoever walks it.
_DEEPEST = 40


class Malformed(Exception):
    """The answer is JSON but does not fit the contract; `str()` says where, without any of its values."""


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`; raises NoAnswer when there is none."""
    try:
        found = msgspec.json.decode(raw.removeprefix(BOM_UTF8), strict=True)
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
    return NoAnswer(say("抖音的答复不合接口约定：{what}，不能确定操作是否已经生效", what=ours(what)))


def is_enveloped(call: Call[Any], body: Mapping[str, Any]) -> bool:
    """Whether this is an answer at all: the envelope is there, whatever its code says."""
    try:
        code_of(call.route.envelope, body)
    except Malformed:
        return False
    return True


def log_id_of(body: Mapping[str, Any] | None, header: str | None) -> str:
    """The number the platform's support asks for: from the answer, else from its header."""
    named = [(body or {}).get("log_id"), _part(body or {}, "extra").get("logid"), header]
    return clean(next((text for text in named if isinstance(text, str) and text), ""))[:128]


def _reply(call: Call[R], body: Mapping[str, Any], status: int, log_id: str) -> R:
    envelope = call.route.envelope
    if err_no := code_of(envelope, body):
        raise explain(err_no, _said(envelope, body), log_id, about_platform=call.about_platform)
    if status != _OK:
        raise Malformed(f"HTTP {status}")
    if envelope.file:
        raise Malformed("没有文件")
    return _convert(call, _payload(envelope, body) if call.reply_type is not type(None) else {})


def code_of(envelope: Envelope, body: Mapping[str, Any]) -> int:
    """The error code, 0 for success; raises Malformed when it is missing or no number.

    Read where the envelope has it and where the older form has it, which some gateways answer with whatever the call:
    a failure in either place is one.
    """
    outer = _part(body, envelope.inside) if envelope.inside else body
    data, extra = _part(body, "data"), _part(body, "extra")
    named = [outer.get(name) for name in envelope.codes]
    older = [data.get("error_code"), extra.get("error_code")]
    found = [_code(value, envelope) for value in named if value is not None]
    # Beside the envelope's own code, what cannot be read in the older form's place is nothing; a number there counts.
    found += [_code(value, envelope) for value in older if value is not None and (not found or _is_code(value))]
    if not found and not envelope.flat:
        raise Malformed(f"{envelope.codes[0]} 缺失或类型不对")
    err_no = next((number for number in found if number), 0)
    finer = extra.get("sub_error_code")
    return finer if err_no and err_no not in CODES and type(finer) is int and finer in CODES else err_no


def _is_code(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and _CODE_AS_TEXT.fullmatch(value) is not None)


def _code(value: Any, envelope: Envelope) -> int:
    if isinstance(value, str) and _CODE_AS_TEXT.fullmatch(value):
        value = int(value)
    if type(value) is not int or abs(value) >= _BIGGEST:
        raise Malformed(f"{envelope.codes[0]} 缺失或类型不对")
    return value


def _said(envelope: Envelope, body: Mapping[str, Any]) -> str:
    outer = _part(body, envelope.inside) if envelope.inside else body
    data, extra = _part(body, "data"), _part(body, "extra")
    texts = [outer.get(name) for name in envelope.messages]
    texts += [data.get("description"), extra.get("sub_description"), extra.get("description")]
    return next((text for text in texts if isinstance(text, str) and text), "")


def _part(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def _payload(envelope: Envelope, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object the reply is read from. Null is an empty one: what the reply needs is asked for there."""
    if envelope.payload is None:
        return body
    if envelope.payload in body and body[envelope.payload] is None:
        return {}
    found = body.get(envelope.payload)
    if not isinstance(found, Mapping):
        raise Malformed(f"{envelope.payload} 缺失或类型不对")
    return found


def _convert(call: Call[R], payload: Mapping[str, Any]) -> R:
    kind: Any = call.reply_type
    if kind is type(None):
        return cast("R", None)
    try:
        return cast("R", fit(kind, without_nulls(payload), what=call.operation_id))
    except Unfit as unfit:
        problem = Malformed(f"数据不对 {unfit}".strip())
    except (ValueError, TypeError, OverflowError, RecursionError):
        problem = Malformed("数据不对")
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
