"""Templates in the reader's language: their texts are translated as they are compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flask import Flask
from flask.templating import Environment
from jinja2 import Template
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from app.i18n.catalogue import CHINESE, SLOT, SPACES, Catalogue, catalogue, edges
from app.i18n.language import LANGUAGES, language
from app.i18n.sentence import chained, said, say

# Templates: one compiled form per language.


class LanguageEnvironment(Environment):
    """Flask's template environment with a second form of every template for each language but Chinese."""

    for_language: str | None = None

    def _load_template(self, name: str, globals: Any) -> Template:  # jinja's own name
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

    environment: LanguageEnvironment

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        words = catalogue(self.environment.for_language or "")
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
        return SPACES.sub(" ", text).strip() if CHINESE.search(fixed) else ""

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
        for place, part in enumerate(SLOT.split(f"{before}{target}{after}")):
            if place % 2:
                yield from inner[int(part)]
            elif part:
                yield Token(self.line, "data", part)

    def _edges(self) -> tuple[str, str]:
        first, last = self.parts[0], self.parts[-1]
        before = edges(first)[0] if isinstance(first, str) else ""
        after = edges(last)[2] if isinstance(last, str) else ""
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
    """Templates in every language. The filter `say` is for what Python gives them; the function makes a sentence."""
    app.jinja_environment = LanguageEnvironment
    app.jinja_env.filters["say"] = said
    app.jinja_env.globals.update(language=language, say=say, chained=chained)
