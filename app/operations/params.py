"""What an operation is given, read into its own dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from app.data import texts
from app.data.kinds.base import Kind
from app.data.kinds.plain import GREATEST_BIG, Number, YesNo
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.operations.registry import Operation


def parse_params(op: Operation, given: Mapping[str, Any]) -> Any:
    """Parameters as the operation's dataclass; text from forms and commands is converted. Refused names the field."""
    hints = get_type_hints(op.params)
    known = {item.name: item for item in dataclasses.fields(op.params)}
    for name in given:
        if name not in known:
            raise Refused(say("操作「{title}」没有参数 {name}", title=ours(op.title), name=name), field=name)
    values: dict[str, Any] = {}
    for name, item in known.items():
        raw = given.get(name)
        value = None if raw is None or raw == "" else _convert(raw, hints[name], item)
        if value is None or value == "":  # once it is cleaned: a text of wide blanks is none
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise Refused(say("请填写{label}", label=ours(item.metadata.get("label", name))), field=name)
            continue
        check = item.metadata.get("check")
        values[name] = check(value) if check else value
    return op.params(**values)


def _parsed(kind: Kind, raw: Any, label: str, name: str) -> Any:
    try:
        return kind.parse(str(raw), label)
    except Refused as refused:
        raise Refused(refused.message, field=name) from None


def _convert(raw: Any, hint: Any, item: dataclasses.Field[Any]) -> Any:
    label = item.metadata.get("label", item.name)
    if hint in {list[str], tuple[str, ...]}:
        parts = raw.replace("，", ",").split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise Refused(say("{label}应为逗号分隔的列表", label=ours(label)), field=item.name)
        found = (texts.checked(part, label, field=item.name) for part in parts)
        return type(hint())(part for part in found if part)
    if hint is bool:
        return raw if isinstance(raw, bool) else _parsed(YesNo(), raw, label, item.name)
    if hint is int:
        return raw if type(raw) is int else _parsed(Number(GREATEST_BIG), raw, label, item.name)
    if not isinstance(raw, str | int) or isinstance(raw, bool):
        raise Refused(say("{label}应为文字", label=ours(label)), field=item.name)
    lines = bool(item.metadata.get("multiline"))
    if item.metadata.get("as_typed"):
        return texts.allowed(str(raw).strip(), label, field=item.name, lines=lines)
    return texts.checked(str(raw), label, field=item.name, lines=lines)
