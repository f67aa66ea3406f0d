"""`make translate`: every Chinese text of app/, merged into the English catalogue; both languages compiled.

Texts come from the templates (as app/i18n/templates.py reads them), from string literals and f-strings of the Python
code (an f-string's expressions are `{0}`, `{1}`, …), and from nothing else. Entries that no text asks for are dropped.
What `say(…)` is given is a sentence with named places: a literal, or a choice of literals, else it could not be found.
The Chinese catalogue holds the texts of libraries only; it is kept by hand.
`--check` changes nothing and fails when the catalogue is behind, or a translation lacks a place of its text;
`--missing` prints what has no translation yet.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.i18n.catalogue import CHINESE, source
from app.i18n.compiled import compiled
from app.i18n.language import LANGUAGES
from app.i18n.sentence import PLACE
from app.i18n.templates import Run, literals, runs

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"
# Printed on a terminal, written to a log, data of the demo, or ranges of characters: no page shows them.
LEFT_OUT = {"web/logs.py", "data/text_index.py"}
_PLACES = re.compile(r"%\(\w+\)[sd]|%[sd]|\{[a-z_]*(?::[^{}]*)?\}")
_ANY_PLACE = re.compile(r"\{\w+\}")
_TAGS = re.compile(r"<[^<>]*>")


def python_texts(source: str) -> Iterator[str]:
    """The Chinese sentences of a module, f-strings as patterns; docstrings are none."""
    tree = ast.parse(source)
    skipped = {id(node) for node in ast.walk(tree) for node in (*_docstring(node), *_example(node))}
    for node in ast.walk(tree):
        for template in _templates(node):
            skipped.add(id(template))
            yield from _whole(template.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(value) for value in node.values}
            yield from _whole(_pattern(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from _whole(_numbered(node.value))


def _templates(node: ast.AST) -> list[Any]:
    """The literals that a `say(…)` is given: one, or those of a choice."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "say":
        return []
    found: list[Any] = list(node.args[:1])
    while branches := [item for item in found if isinstance(item, ast.IfExp)]:
        found = [item for item in found if item not in branches]
        found += [part for item in branches for part in (item.body, item.orelse)]
    if not all(isinstance(item, ast.Constant) and isinstance(item.value, str) for item in found):
        raise ValueError(f"line {node.lineno}: say() takes a literal, or a choice of literals")
    return found


def misplaced(source: str, target: str) -> bool:
    """Whether a translation leaves out a place of its text, or has one that the text has not."""
    wanted, had = set(_ANY_PLACE.findall(source)), set(_ANY_PLACE.findall(target))
    return not had <= wanted or (bool(PLACE.search(source)) and had != wanted and bool(target))


def _example(node: ast.AST) -> list[ast.AST]:
    """What `example=` is given: data that somebody might really have, never to be translated."""
    return list(ast.walk(node.value)) if isinstance(node, ast.keyword) and node.arg == "example" else []


def _docstring(node: ast.AST) -> list[ast.AST]:
    body = getattr(node, "body", None)
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not body:
        return []
    first = body[0]
    return [first.value] if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else []


def _pattern(node: ast.JoinedStr) -> str:
    text, number = "", 0
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
        else:
            text, number = f"{text}{{{number}}}", number + 1
    return text


def _numbered(text: str) -> str:
    """A text for `.format` or `%` with its places as `{0}`, `{1}`, …; any other text as it is."""
    count = iter(range(99))
    return _PLACES.sub(lambda _found: f"{{{next(count)}}}", text)


def _whole(text: str) -> Iterator[str]:
    """The texts between the tags of a piece of HTML; a plain text is one."""
    for part in _TAGS.split(text):
        clean = re.sub(r"\s+", " ", part).strip()
        if CHINESE.search(re.sub(r"\{\d+\}", "", clean)) and "\\" not in clean:  # a regular expression is no text
            yield clean


def template_texts(source: str) -> Iterator[str]:
    """The Chinese texts of a template, and of the string literals in its expressions."""
    tokens = list(Environment(autoescape=True).lexer.tokenize(source))
    for run in runs(tokens):
        if isinstance(run, Run):
            if run.message:
                yield run.message
            for part in run.parts:
                if not isinstance(part, str):
                    for _place, text in literals(part):
                        yield from _whole(text if PLACE.search(text) else _numbered(text))  # of say('…{name}…')


def gathered() -> dict[str, list[str]]:
    """Every text with the files it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted([*APP.rglob("*.py"), *APP.rglob("*.html")]):
        if str(path.relative_to(APP)) in LEFT_OUT or (path.parent == APP / "cli" and path.stem != "setup"):
            continue
        read = python_texts if path.suffix == ".py" else template_texts
        for text in read(path.read_text()):
            places = found.setdefault(text, [])
            name = str(path.relative_to(ROOT))
            if name not in places:
                places.append(name)
    return found


def merged(path: Path, texts: dict[str, list[str]], language: str) -> Catalog:
    """The catalogue with exactly these texts, keeping the translations it has; without texts, as it stands."""
    old = Catalog(locale=language)
    if path.exists():
        with path.open("rb") as file:
            old = read_po(file, locale=language)
    texts = texts or {str(entry.id): [] for entry in old if entry.id and isinstance(entry.id, str)}
    made = Catalog(locale=language, project="Douzhou", fuzzy=False, header_comment="# What the console says.")
    for text, places in sorted(texts.items()):
        known = old.get(text)
        made.add(text, known.string if known else "", locations=[(name, 0) for name in places[:3]])
    return made


def _bytes(made: Catalog) -> bytes:
    text = BytesIO()
    write_po(text, made, width=110, omit_header=True, sort_output=True, include_lineno=False)
    header = b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    return header + text.getvalue()


def main(arguments: list[str]) -> int:
    texts, behind, missing = gathered(), [], []
    for language in LANGUAGES:
        path = source(language)
        made = merged(path, {} if language == "zh" else texts, language)
        words = _bytes(made)
        missing += [str(entry.id) for entry in made if entry.id and not entry.string]
        missing += [f"{entry.id}（places）" for entry in made if misplaced(str(entry.id), str(entry.string))]
        if not path.exists() or path.read_bytes() != words:
            behind.append(language)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(words)
            compiled(path)
    if "--missing" in arguments:
        print("\n".join(missing))
    print(f"{len(texts)} 条文字，{len(missing)} 条没有英文（texts without a translation）", file=sys.stderr)
    if "--check" in arguments and (behind or missing):
        print("词条目录不是最新：请运行 make translate 并补全英文。", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
