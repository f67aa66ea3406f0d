"""Sentences with places: said in the reader's language, and never mistaken for anything else.

Two kinds of text meet on a page. What is *ours* is a sentence, `say("已保存{noun}「{name}」", noun=…, name=…)`: a
template that the catalogues know, and its values. What is *foreign* (a row's name, Douyin's words, what somebody
typed) is an ordinary text or `Foreign`: as a sentence's value it stays letter by letter as it is. A value of our own
vocabulary is a sentence itself: `say("商户")`, or `ours(word)` for one that a table holds.

A sentence is a text, too, of the finished Chinese: REST, the command line and the log take it as it is. `said` gives
the reader's language, `{{ … }}` of a template and `escape` ask it by themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any, Self, TypeAlias

from markupsafe import Markup, escape

from app.i18n.catalogue import CHINESE, JOINTS, catalogue
from app.i18n.language import LANGUAGES, language

PLACE = re.compile(r"\{([a-z_]+)\}")
COMMAS = {"zh": "、", "en": JOINTS["、"]}
_SIGNS = {ord(sign): other for sign, other in JOINTS.items() if len(sign) == 1}
Value: TypeAlias = "str | int | float | Iterable[str]"  # several are listed: 甲、乙


class Foreign(str):
    """A text that is not ours, or that was said already: shown as it is, in every language."""

    __slots__ = ()


class Sentence(str):
    """A sentence of ours. As a text it is the finished Chinese; `in_language` says it in another."""

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]  # Sentence, Foreign, numbers, and lists of those

    def __new__(cls, template: str, values: Mapping[str, Value] | None = None) -> Self:
        held = {name: _value(value) for name, value in (values or {}).items()}
        if set(PLACE.findall(template)) != set(held):
            raise TypeError(f"the places of {template!r} are not {sorted(held)}")
        made = super().__new__(cls, _filled(template, held, LANGUAGES[0]))
        made.template, made.values = template, held
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Sentence, (self.template, self.values)

    def __html__(self) -> Markup:
        return escape(Foreign(self.in_language(language())))

    def in_language(self, name: str) -> str:
        """The sentence in a language; where that has no translation, the Chinese around what it has."""
        if name == LANGUAGES[0]:
            return str(self)
        return _filled(_template(self.template, name), self.values, name)

    def with_values(self, change: Callable[[str], str]) -> Sentence:
        """The same with every foreign text in it changed: redacted, shortened."""
        return Sentence(self.template, {name: _changed(value, change) for name, value in self.values.items()})


def say(template: str, /, **values: Value) -> Sentence:
    """A sentence of ours, said when somebody reads it. `template` is a literal: `make translate` gathers it."""
    return Sentence(template, values)


def ours(word: str) -> str:
    """A text of our own that is no literal here (a noun, a state's word, an operation's title) as a sentence's value.

    Never what somebody else wrote, nor a text that holds it: all of it is taken for ours.
    """
    if isinstance(word, Sentence | Foreign):
        return word
    return Foreign(word) if PLACE.search(word) else Sentence(word)


def chained(texts: Sequence[str], sign: str = "；") -> str:
    """Several sentences of ours in one: 甲；乙."""
    return reduce(lambda one, more: Sentence(f"{{one}}{sign}{{more}}", {"one": ours(one), "more": ours(more)}), texts)


def listed(texts: Iterable[str]) -> Sentence:
    """Several texts, one after the other: 甲、乙."""
    return Sentence("{several}", {"several": list(texts)})


@lru_cache(maxsize=1024)
def _template(source: str, name: str) -> str:
    """A template in a language: by its catalogue; of one without words the signs; a text of `ours` recognised."""
    if not CHINESE.search(source):
        return source.translate(_SIGNS)
    words = catalogue(name)
    found = words.find(source)
    return found if found is not None else source if PLACE.search(source) else words.say(source)


def _value(value: Value) -> Any:
    if isinstance(value, Sentence | Foreign | int | float):
        return value
    if isinstance(value, str):
        return Foreign(value)
    return [_value(item) for item in value]


def _filled(template: str, values: Mapping[str, Any], name: str) -> str:
    return PLACE.sub(lambda place: _said(values[place[1]], name), template)


def _said(value: Any, name: str) -> str:
    if isinstance(value, list):
        return COMMAS[name].join(_said(item, name) for item in value)
    return value.in_language(name) if isinstance(value, Sentence) else str(value)


def changed(text: str, change: Callable[[str], str]) -> str:
    """A text changed (redacted, cleaned); of a sentence, what is foreign in it; what is foreign stays that."""
    if isinstance(text, Sentence):
        return text.with_values(change)
    return Foreign(change(text)) if isinstance(text, Foreign) else change(text)


def cut(text: str, longest: int, more: str = "") -> str:
    """A text of at most so many letters; what is cut off a sentence leaves its Chinese, which nobody takes for one."""
    return text if len(text) <= longest else Foreign(f"{text[: longest - len(more)]}{more}")


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, Sentence):
        return value.with_values(change)
    return change(value) if isinstance(value, str) else value


# What the reader sees.


def said(text: Any) -> Any:
    """A text in the reader's language: a sentence of ours by its template, what is foreign as it is.

    An ordinary text is taken for a finished sentence of ours and recognised: that is for our own words only. HTML
    (Markup) has been said where it was put together.
    """
    if isinstance(text, Sentence):
        return Foreign(text.in_language(language()))
    if not isinstance(text, str) or isinstance(text, Foreign | Markup) or language() == LANGUAGES[0]:
        return text
    return catalogue(language()).say(text) if CHINESE.search(text) else text


# What is kept: in a column, in a session.


def packed(text: str) -> str | list[Any]:
    """A text as JSON that gives the same back: a sentence's template and values; other text is itself."""
    if isinstance(text, Sentence):
        return [text.template, {name: _packed(value) for name, value in text.values.items()}]
    return str(text)


def _packed(value: Any) -> Any:
    if isinstance(value, list):
        return {"several": [_packed(item) for item in value]}
    return packed(value) if isinstance(value, str) else value


def unpacked(held: Any) -> Sentence | Foreign:
    """What `packed` gave."""
    if isinstance(held, str):
        return Foreign(held)
    template, values = held
    return Sentence(template, {name: _unpacked(value) for name, value in values.items()})


def restated(held: Any) -> str:
    """What `packed` gave of a text of ours: of an ordinary one itself, to be recognised."""
    return held if isinstance(held, str) else unpacked(held)


def _unpacked(held: Any) -> Any:
    if isinstance(held, dict):
        return [_unpacked(item) for item in held["several"]]
    return unpacked(held) if isinstance(held, str | list) else held


MARK = "\x1f"  # the unit separator: in a column, between the finished text and how it is made


def stored(text: str) -> str:
    """A text for a column: the finished Chinese, which is searched and read by anything, then how it is made."""
    plain = text.replace(MARK, "")
    if isinstance(text, Sentence) and text.values:
        return f"{plain}{MARK}{json.dumps(packed(text), ensure_ascii=False, separators=(',', ':'))}"
    return f"{plain}{MARK}" if isinstance(text, Foreign) else plain


def restored(text: str) -> str:
    """What `stored` was given; of a row of old, its plain text."""
    plain, mark, made = text.partition(MARK)
    if not mark:
        return plain
    return unpacked(json.loads(made)) if made else Foreign(plain)
