"""Kinds that no list is asked about: what is sealed, documents, and what no screen shows."""

from __future__ import annotations

import json
from typing import Any

from app.data import phones, texts
from app.data.kinds.base import Kind
from app.errors import Refused


class Phone(Kind):
    """A phone number in its one form, sealed where it is kept; people see its mask."""

    holds_text = True
    rule = "手机、座机（写区号）或 400 号码"

    def parse(self, text: str, label: str) -> str:
        found = phones.read(text)
        if not found:
            raise Refused(f"{label}格式不正确，例如 138 0013 8000 或 0571-88880003 转 801")
        if found[1:]:
            raise Refused("这里有多个号码：请只填写一个，其余的写在备注里")
        return str(found[0])

    def plain(self, value: Any) -> str:
        found = phones.one(value or "")
        return found.masked if found else ""

    def same(self, one: Any, other: Any) -> bool:
        return phones.read(one or "") == phones.read(other or "")


class Secret(Kind):
    """What is sealed: written, never shown, and in no file, task or log."""

    holds_text = True

    def clean(self, text: str) -> str:
        return text.strip()

    def parse(self, text: str, label: str) -> str:
        return texts.allowed(text.strip(), label)

    def plain(self, value: Any) -> str:
        return "已设置" if value else ""

    def exported(self, value: Any) -> Any:
        return None

    def encode(self, value: Any) -> Any:
        raise TypeError("a secret is kept sealed, and nowhere else")


class Document(Kind):
    """JSON, letter for letter as it was given."""

    is_document = True
    rule = "JSON"

    def clean(self, text: str) -> str:
        return text.strip()

    def parse(self, text: str, label: str) -> Any:
        try:
            return json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refused(f"{label}应为 JSON") from None

    def plain(self, value: Any) -> str:
        return "" if value is None else json.dumps(value, ensure_ascii=False)


class Folded(Kind):
    """What a name beside it reads as: for searches, and in no screen."""


class Bare(Kind):
    """What no screen shows: bytes."""


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")
