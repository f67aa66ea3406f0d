"""Languages: what is written in Chinese is shown in the reader's language, at the moment it is shown.

Templates and Python hold plain Chinese. A template's own text is translated once, when it is compiled for a language;
a sentence that Python made (a label, a flash, a stored result) is looked up when it is shown, by its words or by the
pattern of the f-string it came from. Chinese costs nothing; what no catalogue knows is shown as it is.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, g, has_request_context, request, session
from flask.templating import Environment
from jinja2 import Template
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup, escape

LANGUAGES = ("zh", "en")
FOLDER = Path(__file__).resolve().parent / "translations"
NOTHING = "∅"  # a translation that leaves a word out: gettext takes an empty one for a missing one
CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SPACES = re.compile(r"\s+")
_SLOT = re.compile(r"\{(\d+)\}")
_EDGES = re.compile(r"^(\s*)(.*?)(\s*)$", re.DOTALL)
_NODES = re.compile(r'(?<=>)[^<>]+(?=<)|^[^<>]+(?=<)|(?<=>)[^<>]+$|^[^<>]+$|(?<=(?:title|label)=")[^"]+(?=")')
# What sentences are put together with, the strongest first, and what stands for it in another language.
_JOINTS = {
    "\n": "\n", "。": ". ", "；": "; ", " · ": " · ", "：": ": ", "，": ", ", "、": ", ", "（": " (", "）": ")",
    "「": " “", "」": "”", "…": "…", " ": " ",
}  # fmt: skip


def language() -> str:
    """The reader's language: `zh`, or `en` when they chose it. `zh` outside requests."""
    try:
        return g.language  # type: ignore[no-any-return]  # asked hundreds of times a page
    except (AttributeError, RuntimeError):
        if not has_request_context():
            return LANGUAGES[0]
    g.language = _chosen()
    return str(g.language)


def _chosen() -> str:
    known = g.get("principal")
    kept = (getattr(known.user, "preferences", None) or {}).get("locale") if known else None
    wanted = session.get("locale") or kept or request.cookies.get("locale")
    return wanted if wanted in LANGUAGES else LANGUAGES[0]


def say(text: Any) -> Any:
    """A text of ours in the reader's language. HTML (Markup) has the text between its tags translated."""
    if language() == "zh" or not isinstance(text, str) or not CHINESE.search(text):
        return text
    words = catalogue(language())
    if isinstance(text, Markup):
        return Markup(_NODES.sub(lambda found: escape(words.say(_unescaped(found[0]))), text))  # noqa: S704
    return words.say(text)


def _unescaped(text: str) -> str:
    return Markup(text).unescape()  # noqa: S704  (a part of a Markup)


@dataclass(frozen=True)
class Pattern:
    """A sentence with places: `已保存{0}「{1}」`."""

    anchor: str  # its longest fixed part: what a text must hold to be tried at all
    shape: re.Pattern[str]
    slots: tuple[int, ...]
    named: frozenset[int]  # those in 「」: names of rows, mostly
    target: str
    weight: int  # letters of its fixed parts


class Catalogue:
    """One language's translations of Chinese texts, by exact words and by pattern."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self.exact = {source: "" if target == NOTHING else target for source, target in entries if target}
        made = [_pattern(source, target) for source, target in self.exact.items() if _SLOT.search(source)]
        # The most said first; of equals the one that begins with words: 剩 3 天 is 剩 {0}, not {0} 天.
        self.patterns = sorted(made, key=lambda item: (-item.weight, item.shape.pattern.startswith("(")))
        self.say = lru_cache(maxsize=4096)(self._say)

    def find(self, text: str) -> str | None:
        """The translation of a whole message; None when there is none."""
        return self.exact.get(_SPACES.sub(" ", text).strip())

    def _say(self, text: str) -> str:
        before, core, after = _EDGES.match(text).groups()  # type: ignore[union-attr]
        found = self._whole(core, depth=2)
        return f"{before}{self._in_parts(core) if found is None else found}{after}"

    def _whole(self, text: str, depth: int) -> str | None:
        found = self.find(text)
        if found is not None or depth == 0:
            return found
        for pattern in self.patterns:
            match = pattern.shape.fullmatch(text) if pattern.anchor in text else None
            if match:
                return self._filled(pattern, match, depth)
        return None

    def _filled(self, pattern: Pattern, match: re.Match[str], depth: int) -> str:
        parts = {}
        for number, value in zip(pattern.slots, match.groups(), strict=True):
            parts[number] = self._slot(value, depth - 1, named=number in pattern.named)
        return _SLOT.sub(lambda slot: parts.get(int(slot[1]), ""), pattern.target)

    def _slot(self, value: str, depth: int, *, named: bool) -> str:
        """What stands in a sentence's place. A name stays as it is, unless it is a word of ours (a state's, a noun)."""
        if not CHINESE.search(value):
            return value
        known = self.find(value) if named else self._whole(value, depth)
        if known is None and named:
            words = [self.find(part) for part in value.split("、")]
            return value if None in words else _JOINTS["、"].join(word or "" for word in words)
        return self._in_parts(value) if known is None else known

    def _in_parts(self, text: str) -> str:
        """Sentences that were put together, one by one; what nothing knows stays as it is."""
        joint = next((joint for joint in _JOINTS if joint in text), None)
        if joint is None or not CHINESE.search(text):
            return text
        parts = text.split(joint)
        shown = [self._part(part) for part in parts]
        return text if shown == parts else _JOINTS[joint].join(shown)

    def _part(self, text: str) -> str:
        before, core, after = _EDGES.match(text).groups()  # type: ignore[union-attr]
        known = self._whole(core, depth=1) if CHINESE.search(core) else core
        return f"{before}{self._in_parts(core) if known is None else known}{after}"


def _pattern(source: str, target: str) -> Pattern:
    parts = _SLOT.split(source)
    fixed, slots = parts[::2], tuple(int(number) for number in parts[1::2])
    shape = "(.*?)".join(re.escape(part) for part in fixed)
    named = frozenset(slot for slot, before in zip(slots, fixed, strict=False) if before.endswith("「"))
    return Pattern(max(fixed, key=len), re.compile(shape, re.DOTALL), slots, named, target, sum(map(len, fixed)))


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(name: str) -> Catalogue:
    """A language's catalogue, read once."""
    path = FOLDER / name / "LC_MESSAGES" / "messages.mo"
    if not path.exists():
        return Catalogue(())
    with path.open("rb") as file:
        held: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return Catalogue((source, target) for source, target in held.items() if isinstance(source, str) and source)


# Templates: one compiled form per language.


class LanguageEnvironment(Environment):
    """Flask's template environment with a second form of every template for each language but Chinese."""

    for_language: str | None = None

    def _load_template(self, name: str, globals: Any) -> Template:  # noqa: A002  (jinja's own name)
        wanted = language()
        if self.for_language is not None or wanted == "zh":
            return super()._load_template(name, globals)
        return self._forms()[wanted]._load_template(name, globals)

    def _forms(self) -> dict[str, LanguageEnvironment]:
        if "language_forms" not in self.__dict__:
            made = {}
            for name in LANGUAGES[1:]:
                form: Any = self.overlay()
                form.for_language = name
                # Not through `extensions=`: that would load the extension into the Chinese form's list too.
                form.extensions = {**self.extensions, TranslateText.identifier: TranslateText(form)}
                made[name] = form
            self.language_forms = made
        return self.language_forms


class TranslateText(Extension):
    """Replace Chinese text and string literals of a template while it is compiled."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        words = catalogue(self.environment.for_language or "")  # type: ignore[attr-defined]
        return translated(list(stream), words)


def translated(tokens: list[Token], words: Catalogue) -> Iterator[Token]:
    """A template's tokens with its Chinese replaced by `words`."""
    for run in runs(tokens):
        if isinstance(run, Token):
            yield run
        else:
            yield from run.translated(words)


class Run:
    """Text of a page that belongs together: words with `{{ … }}` among them, between two tags or quotes."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.parts: list[str | list[Token]] = []

    @property
    def message(self) -> str:
        """The text with `{0}` for each expression, blanks collapsed; empty when nothing in it is Chinese."""
        text, number = "", 0
        for part in self.parts:
            if isinstance(part, str):
                text += part
            else:
                text, number = f"{text}{{{number}}}", number + 1
        fixed = "".join(part for part in self.parts if isinstance(part, str))
        return _SPACES.sub(" ", text).strip() if CHINESE.search(fixed) else ""

    def translated(self, words: Catalogue) -> Iterator[Token]:
        """The run's tokens in another language; as it is when there is no translation."""
        inner = [list(_strings(part, words)) for part in self.parts if not isinstance(part, str)]
        target = words.find(self.message) if self.message else None
        if target is None:
            held = iter(inner)
            for part in self.parts:
                yield from [Token(self.line, "data", part)] if isinstance(part, str) else next(held)
            return
        before, after = self._edges()
        for place, part in enumerate(_SLOT.split(f"{before}{target}{after}")):
            if place % 2:
                yield from inner[int(part)]
            elif part:
                yield Token(self.line, "data", part)

    def _edges(self) -> tuple[str, str]:
        first, last = self.parts[0], self.parts[-1]
        before = _EDGES.match(first)[1] if isinstance(first, str) else ""  # type: ignore[index]
        after = _EDGES.match(last)[3] if isinstance(last, str) else ""  # type: ignore[index]
        return before, after


def runs(tokens: list[Token]) -> Iterator[Token | Run]:
    """A template as runs of text and the tokens between them, in order."""
    held = Run(1)
    place = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if token.type == "data":
            for part in re.split(r'([<>"])', token.value):
                if part in {"<", ">", '"'}:
                    yield held
                    held = Run(token.lineno)
                    yield Token(token.lineno, "data", part)
                elif part:
                    held.parts.append(part)
            continue
        end = {"variable_begin": "variable_end", "block_begin": "block_end"}.get(token.type)
        group = [token]
        while end and group[-1].type != end:
            group.append(tokens[place])
            place += 1
        if token.type == "variable_begin" and group[1].value not in {"ui", "caller", "super"}:
            held.parts.append(group)
            continue
        yield held
        held = Run(token.lineno)
        held.parts.append(group)
        yield held
        held = Run(token.lineno)
    yield held


def literals(group: list[Token]) -> Iterator[tuple[int, str]]:
    """(place, text) of the Chinese strings in a `{{ … }}` or `{% … %}` that are shown, not compared."""
    compared = {"eq", "ne"}
    for place, token in enumerate(group):
        if token.type != "string" or not CHINESE.search(token.value):
            continue
        near = {group[place - 1].type, group[place + 1].type if place + 1 < len(group) else ""}
        if not near & compared and group[place - 1].value != "in":
            yield place, token.value


def _strings(group: list[Token], words: Catalogue) -> list[Token]:
    made = list(group)
    for place, text in literals(group):
        made[place] = Token(group[place].lineno, "string", words.say(text))
    return made


def init_app(app: Flask) -> None:
    """Templates in every language, and `say` for what Python gives them."""
    app.jinja_environment = LanguageEnvironment
    app.jinja_env.filters["say"] = say
    app.jinja_env.globals.update(language=language, say=say)
