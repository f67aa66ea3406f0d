"""Every operation that is named anywhere exists: in code, tests, templates, scripts and documents.

Lists of names on screens leave out what is not registered, so a wrong or old name would only make a button vanish.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.operations.registry import OPERATIONS, load
from scripts.tracked import tracked
from tests.conftest import ROOT

pytestmark = pytest.mark.any_database("reads the code itself")
# Functions that are given an operation's name, and where among their arguments it may stand.
CALLS: dict[str, range] = {
    "operate": range(3),
    "_operate": range(3),
    "do": range(1),
    "ask": range(1, 3),
    "request": range(2),
    "request_many": range(2),
    "may_operate": range(2),
    "operate_url": range(1),
    "operation_title": range(1),
    "queue": range(1),
    "find": range(1),
}
NAME = re.compile(r"[a-z]+(?:_[a-z0-9]+)*")
LISTS = re.compile(r"(?i)(?:\w+_)?operations(?:_shown)?")
IN_TEXT = (
    re.compile(r"/operate/([a-z_]+)(?=[?\"'`/&\s])"),
    re.compile(r"run operate ([a-z_]+) "),
    re.compile(r'"operation": ?"([a-z_]+)"'),
    re.compile(r"(?:operate_url|may_operate|operation_title)\(\s*['\"]([a-z_]+)['\"]"),
    re.compile(r"url_for\('OperateView\.operate', name='([a-z_]+)'"),
)
ABSENT = {"nope", "nothing", "no_such_operation"}  # what tests ask for to see it refused
TO_BE_WRITTEN = {"read_credit_score"}  # by who follows docs/new-endpoint.md
STEPS = {"", "link", "claim"}  # what to do next that is no operation


def text_of(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def texts_of(node: ast.AST | None) -> Iterator[str]:
    """The constants of a list, a tuple, a set, or a call that is given one."""
    if isinstance(node, ast.Call):
        node = node.args[0] if node.args else None
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        yield from (text for item in node.elts if (text := text_of(item)) is not None)


def callee(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def places(node: ast.Call) -> Iterator[ast.AST]:
    """The arguments of a call that may be an operation's name."""
    name = callee(node)
    if name == "find" and not (
        isinstance(node.func, ast.Attribute) and callee(node.func.value) in {"core", "operations"}
    ):
        return
    if name in CALLS:
        yield from (node.args[place] for place in CALLS[name] if place < len(node.args))
    yield from (held.value for held in node.keywords if held.arg == "operation")
    for first, second in zip(node.args, node.args[1:], strict=False):
        if text_of(first) == "operate":
            yield second


def named(tree: ast.AST) -> Iterator[str]:
    """The operations that a piece of Python names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (text for place in places(node) if (text := text_of(place)) is not None)
        elif isinstance(node, ast.Subscript) and callee(node.value) == "OPERATIONS":
            yield text_of(node.slice) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(LISTS.fullmatch(callee(target)) for target in targets):
                yield from texts_of(node.value)
        elif isinstance(node, ast.Dict):
            yield from (
                text_of(value) or ""
                for key, value in zip(node.keys, node.values, strict=True)
                if text_of(key) == "operation"
            )
        elif isinstance(node, ast.FunctionDef):
            yield from _in_turn(node)
            if node.name == "_next":
                yield from (
                    text_of(item.elts[1]) or ""
                    for item in ast.walk(node)
                    if isinstance(item, ast.Tuple) and len(item.elts) == 2
                )


def _in_turn(function: ast.FunctionDef) -> Iterator[str]:
    """Names that a loop or a parametrised test gives, one after another, to what takes an operation's name."""
    for node in ast.walk(function):
        for turn in [node] if isinstance(node, ast.For) else getattr(node, "generators", ()):
            if getattr(turn.target, "id", "") in _taken(node):
                yield from texts_of(turn.iter)
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and callee(mark) == "parametrize" and text_of(mark.args[0]) in _taken(function):
            yield from texts_of(mark.args[1])


def _taken(tree: ast.AST) -> set[str]:
    """The variables that stand where an operation's name does."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {place.id for call in calls for place in places(call) if isinstance(place, ast.Name)}


def own(tree: ast.AST) -> set[str]:
    """The operations that a test registers for itself."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name for node in functions if "operation" in map(callee, node.decorator_list)}


def files(*suffixes: str) -> list[Path]:
    outside = {"migrations", "contract", "node_modules", "vendor", "snapshots", "sandbox"}
    found = [path for path in tracked() if path.suffix in suffixes and not outside & set(path.parts)]
    return sorted(path for path in found if path.name != Path(__file__).name)


def wanting(names: Iterable[str], known: Iterable[str]) -> list[str]:
    return sorted(
        {name for name in names if NAME.fullmatch(name)} - {*known, *OPERATIONS, *STEPS, *ABSENT, *TO_BE_WRITTEN}
    )


@pytest.fixture(autouse=True)
def _registered() -> None:
    load()


def test_every_name_in_python_is_registered() -> None:
    found, wrong = set(), {}
    for path in files(".py"):
        tree, where = ast.parse(path.read_text()), path.relative_to(ROOT).as_posix()
        names = list(named(tree))
        found |= set(names) & set(OPERATIONS)
        if absent := wanting(names, own(tree)):
            wrong[where] = absent
    assert not wrong, wrong
    assert found == set(OPERATIONS)  # the walk sees each of them somewhere


def test_every_name_in_an_address_command_or_template_is_registered() -> None:
    found: dict[str, set[str]] = {}
    for path in files(".py", ".html", ".js", ".md", ".sh"):
        text = path.read_text()
        for pattern in IN_TEXT:
            for name in pattern.findall(text):
                found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    assert {"release", "sync_app_info", "upload_code"} <= set(found)
    assert {name: found[name] for name in wanting(found, set())} == {}


@pytest.mark.parametrize(
    "text",
    [
        "flask --app run operate relaese APPID",
        """-d '{"operation": "relaese", "appid": "APPID"}'""",
        'href="/operate/relaese?ids=1"',
    ],
)
def test_a_wrong_name_in_a_text_would_be_seen(text: str) -> None:
    assert wanting([name for pattern in IN_TEXT for name in pattern.findall(text)], set()) == ["relaese"]


def test_the_pages_of_documentation_name_what_is_registered() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert set(rows) == set(OPERATIONS)
    granted = (ROOT / "docs/permissions.md").read_text().partition("| role | may start |")[2]
    assert wanting(re.findall(r"`(\w+)`", granted), set()) == []


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ('operate(app, session, "relaese", row)', "relaese"),
        ('class V:\n operations = ["relaese"]', "relaese"),
        ('OPERATIONS["relaese"]', "relaese"),
        ('OperationRun(operation="relaese")', "relaese"),
        ('run(app, "operate", "relaese", appid)', "relaese"),
        ('def f():\n for name in ("release", "relaese"):\n  loop.do(name)', "relaese"),
        ('body = {"operation": "relaese"}', "relaese"),
        ('def _next(row):\n return "now", "relaese"', "relaese"),
        ('def f():\n [may_operate(name) for name in ("relaese",)]', "relaese"),
        ('@pytest.mark.parametrize("name", ["relaese"])\ndef f(name):\n may_operate(name)', "relaese"),
        ('X_OPERATIONS = frozenset({"relaese"})', "relaese"),
        ('OPERATIONS: Any = dict.fromkeys(("relaese",), 1)', "relaese"),
    ],
)
def test_the_walk_would_see_a_wrong_name(code: str, name: str) -> None:
    assert wanting(named(ast.parse(code)), own(ast.parse(code))) == [name]


def test_what_a_screen_offers_is_for_its_rows(app: Any) -> None:
    views = [view for view in app.appbuilder.baseviews if getattr(view, "operations", None)]
    assert len(views) >= 4
    unknown = {(view.endpoint, name) for view in views for name in view.operations if name not in OPERATIONS}
    assert unknown == set()
