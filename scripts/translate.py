"""`make translate`: every Chinese text of app/, merged into the English catalogue and compiled.

Texts come from the templates (as app/i18n.py reads them), from string literals and f-strings of the Python code (an
f-string's expressions are `{0}`, `{1}`, …), and from nothing else. Entries that no text asks for are dropped.
The Chinese catalogue holds the texts of libraries only; it is kept by hand and compiled here.
`--check` changes nothing and fails when the catalogue is behind; `--missing` prints what has no translation yet.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.i18n import CHINESE, FOLDER, LANGUAGES, Run, literals, runs  # noqa: E402  (after the path)

APP = ROOT / "app"
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
# Printed on a terminal, written to a log, data of the demo, or ranges of characters: no page shows them.
LEFT_OUT = {"cli.py", "demo.py", "logs.py", "textindex.py"}
_PLACES = re.compile(r"%\(\w+\)[sd]|%[sd]|\{[a-z_]*(?::[^{}]*)?\}")
_TAGS = re.compile(r"<[^<>]*>")


def python_texts(source: str) -> Iterator[str]:
    """The Chinese sentences of a module, f-strings as patterns; docstrings are none."""
    tree = ast.parse(source)
    skipped = {id(node) for node in ast.walk(tree) for node in (*_docstring(node), *_example(node))}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(value) for value in node.values}
            yield from _whole(_pattern(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield from _whole(_numbered(node.value))


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
                        yield from _whole(_numbered(text))


def gathered() -> dict[str, list[str]]:
    """Every text with the files it stands in."""
    found: dict[str, list[str]] = {}
    for path in sorted([*APP.rglob("*.py"), *APP.rglob("*.html")]):
        if path.name in LEFT_OUT and path.parent == APP:
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
    made.revision_date = made.creation_date = EPOCH  # the same texts give the same file
    return made


def _bytes(made: Catalog) -> tuple[bytes, bytes]:
    text, compiled = BytesIO(), BytesIO()
    write_po(text, made, width=110, omit_header=True, sort_output=True, include_lineno=False)
    write_mo(compiled, made)
    header = b'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'
    return header + text.getvalue(), compiled.getvalue()


def main(arguments: list[str]) -> int:
    texts, behind, missing = gathered(), [], []
    for language in LANGUAGES:
        path = FOLDER / language / "LC_MESSAGES" / "messages.po"
        made = merged(path, {} if language == "zh" else texts, language)
        source, compiled = _bytes(made)
        missing += [str(entry.id) for entry in made if entry.id and not entry.string]
        if not path.exists() or path.read_bytes() != source or path.with_suffix(".mo").read_bytes() != compiled:
            behind.append(language)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)
            path.with_suffix(".mo").write_bytes(compiled)
    if "--missing" in arguments:
        print("\n".join(missing))
    print(f"{len(texts)} 条文字，{len(missing)} 条没有英文（texts without a translation）", file=sys.stderr)
    if "--check" in arguments and (behind or missing):
        print("词条目录不是最新：请运行 make translate 并补全英文。", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
