"""What is kept between requests stands in the application's `Kept`, not in a module: there it has one owner and an end."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.any_database("reads the code itself")
CHANGES = frozenset({"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "remove"})
CHANGES |= {"setdefault", "update"}
ALLOWED = {
    "app.addresses._loopback": "set once a process, by whoever makes the application",
    "app.console.kinds.face.FACES": "a register, filled while faces are read",
    "app.console.row.changes.SAID": "a register, filled while screens are read",
    "app.data.kinds.base.NAMED": "a register, filled while kinds are read",
    "app.data.kinds.base.TYPED": "a register, filled while kinds are read",
    "app.data.process.PROCESS": "what a process calls itself, anew after a fork",
    "app.data.types.WORDS": "a register, filled while enums are read",
    "app.douyin.inbound.MESSAGES": "a register, filled while the module is read",
    "app.douyin.lenient._told": "what was logged once a process, a thousand at most; the contract knows no application",
    "app.operations.registry.OPERATIONS": "a register, filled while modules are read",
}


def kept(tree: ast.Module) -> Iterator[str]:
    """The names of a module that its functions change."""
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (name for node in ast.walk(function) for name in _changed(node) if name in names)


def _changed(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Global):
        yield from node.names
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        yield getattr(node.value, "id", "")
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        yield getattr(node.func.value, "id", "")


def test_no_module_keeps_anything() -> None:
    found = set()
    for path in sorted((ROOT / "app").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found |= {f"{module}.{name}" for name in kept(ast.parse(path.read_text()))}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "code",
    [
        "_held = {}\ndef f(name):\n _held[name] = 1",
        "_seen: set[str] = set()\ndef f(name):\n _seen.add(name)",
        "_one = None\ndef f():\n global _one\n _one = 1",
        "class C:\n def f(self):\n  _list.append(self)\n_list = []",
    ],
)
def test_it_would_be_seen(code: str) -> None:
    assert list(kept(ast.parse(code)))


def test_what_a_function_keeps_for_itself_is_let_be() -> None:
    assert list(kept(ast.parse("ALL = {1: 2}\ndef f():\n own = {}\n own[1] = ALL[1]\n return own"))) == []
