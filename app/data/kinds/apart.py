"""Kinds that no list is asked about: what is sealed, documents, and what no screen shows."""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import JSON

from app.data import phones, texts
from app.data.kinds.base import Kind
from app.errors import Refused
from app.i18n.sentence import ours, say


class Phone(Kind, named="phone"):
    """A phone number in its one form, sealed where it is kept; people see its mask."""

    holds_text = True
    rule = "手机、座机（写区号）或 400 号码"

    def parse(self, text: str, label: str) -> str:
        return str(phones.given(text, label))

    def plain(self, value: Any) -> str:
        found = phones.one(value or "")
        return found.masked if found else ""

    def same(self, one: Any, other: Any) -> bool:
        return phones.read(one or "") == phones.read(other or "")


class Secret(Kind, named="secret"):
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


class Document(Kind, types=(JSON,)):
    """JSON, letter for letter as it was given."""

    is_document = True
    rule = "JSON"

    def clean(self, text: str) -> str:
        return text.strip()

    def parse(self, text: str, label: str) -> Any:
        try:
            found = json.loads(text, parse_constant=_no_constant, parse_float=_no_infinity)
            json.dumps(found, ensure_ascii=False).encode()  # half a letter, written as \\ud800, is in no database
            return found
        except (ValueError, RecursionError):
            raise Refused(say("{label}应为 JSON", label=ours(label))) from None

    def plain(self, value: Any) -> str:
        return "" if value is None else json.dumps(value, ensure_ascii=False)


class Folded(Kind, named="folded"):
    """What a name beside it reads as: for searches, and in no screen."""


class Bare(Kind):
    """What no screen shows: bytes."""


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _no_infinity(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is more than any number")
    return number
