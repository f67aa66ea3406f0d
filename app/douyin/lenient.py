"""Answers and pushes evened out before they are typed, because the platform's types vary from page to page.

What a declared type tells decides. A number in text and text in a number are read, a truth in either too. A required
field that does not fit refuses the whole; an optional one is absent then, and its name is logged. `STRICT` fields and
texts with a declared form (tokens, app ids, version numbers) are taken as they are written, or not at all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from app.addresses import is_address, without_others
from app.douyin.contract import ADDRESS, STRICT, Reply

R = TypeVar("R", bound=Reply)

log = logging.getLogger(__name__)

_INTEGER = re.compile(r"-?[0-9]{1,19}")
_TRUTHS = {"true": True, "false": False}
_EXACT_FLOAT = 2.0**53
_EMPTY: tuple[Any, ...] = ("", [], {})
_MOST_TOLD = 1_000
_told: set[tuple[str, str]] = set()


class Unfit(ValueError):
    """A field that may not be left out does not fit; the text is its path in our names, without any value."""


@dataclass(frozen=True)
class _Field:
    name: str
    arms: tuple[Any, ...]
    required: bool
    strict: bool


def fit(kind: type[R], payload: Mapping[str, Any], *, what: str) -> R:
    """The typed reply or message in `payload`; raises Unfit. `what` names it in the log."""
    absent: list[str] = []
    plain = _object(payload, kind, "", absent)
    for name in absent:
        _tell(what, name)
    found: R = msgspec.convert(plain, kind)
    return found


def _tell(what: str, name: str) -> None:
    """Once a process: what varies varies in every answer."""
    if (what, name) not in _told and len(_told) < _MOST_TOLD:
        _told.add((what, name))
        log.warning("%s: %s has another shape than documented and was read as absent", what, name)


@cache
def plan(kind: Any) -> tuple[_Field, ...]:
    """How each field of a reply or message (`kind` is its class) is read."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for item in fields(kind):
        hint = hints[item.name]
        strict = STRICT in get_args(hint)
        arms = tuple(_arms(get_args(hint)[0] if strict else hint))
        required = item.default is MISSING and item.default_factory is MISSING
        found.append(_Field(item.name, arms, required, strict))
    return tuple(found)


def _arms(hint: Any) -> list[Any]:
    """The types a field may have; null is none of them: it means absent, and is gone by now."""
    if get_origin(hint) in {Union, UnionType}:
        return [arm for arm in get_args(hint) if arm is not NoneType]
    return [hint]


def _object(value: Any, kind: Any, path: str, absent: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Unfit(path)
    value, plain = kind.prepare(value), {}
    for item in plan(kind):
        where = f"{path}.{item.name}".lstrip(".")
        if item.name not in value:
            if item.required:
                raise Unfit(where)
            continue
        try:
            plain[item.name] = _field(value[item.name], item, where, absent)
        except Unfit:
            empty = value[item.name] in _EMPTY
            if item.required or (item.strict and not empty):
                raise
            if not empty:
                absent.append(where)
    return plain


def _field(value: Any, item: _Field, where: str, absent: list[str]) -> Any:
    if len(item.arms) > 1 and any(_is(value, arm) for arm in item.arms):
        return value  # as it is written, before any arm may read it as something else
    for arm in item.arms:
        try:
            return _fit(value, arm, where, absent, item)
        except Unfit as unfit:
            last = unfit
    raise last


def _fit(value: Any, arm: Any, where: str, absent: list[str], item: _Field) -> Any:
    base = get_args(arm)[0] if get_origin(arm) is Annotated else arm
    origin = get_origin(base) or base
    if origin is tuple:
        return _list(value, get_args(base)[0], where, absent, item)
    if isinstance(origin, type) and issubclass(origin, Reply):
        return _object(value, origin, where, absent)
    plain = value if item.strict else _leaf(value, base, declared=base is not arm, side=not item.required)
    if not _is(plain, arm):
        raise Unfit(where)
    return _with_addresses(plain, where, absent) if ADDRESS in get_args(arm) else plain


def _with_addresses(value: Any, where: str, absent: list[str]) -> Any:
    """An address, or an object without the addresses that are none for us."""
    if isinstance(value, str):
        if not is_address(value):
            raise Unfit(where)
        return value
    kept = without_others(value)
    if kept != value:
        absent.append(f"{where}.*")
    return kept


def _is(value: Any, arm: Any) -> bool:
    try:
        msgspec.convert(value, arm)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError):
        return False
    return True


def _list(value: Any, element: Any, where: str, absent: list[str], item: _Field) -> list[Any]:
    if element is str and isinstance(value, str) and value and not item.strict:
        value = [value]
    if not isinstance(value, list):
        raise Unfit(where)
    return [_fit(one, element, f"{where}[]", absent, item) for one in value]


def _leaf(value: Any, base: Any, *, declared: bool, side: bool) -> Any:
    if base is bool:
        return _truth(value)
    if base is str:
        return value if declared else _text(value, side=side)
    return _number(value) if isinstance(base, type) and issubclass(base, int) else value


def _truth(value: Any) -> Any:
    """0 and "0" and "false" are false, another number and "true" true; anything else is neither."""
    if isinstance(value, str):
        value = _TRUTHS.get(value.strip().lower(), _number(value))
    return bool(value) if isinstance(value, int) else value


def _number(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return int(value)
    return value


def _text(value: Any, *, side: bool) -> Any:
    """A whole number as its digits; of a field that nothing hangs on, several texts as one."""
    if type(value) is int:
        return str(value)
    if side and isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return "；".join(value)
    return value
