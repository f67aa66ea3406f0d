"""What is refused is said in the reader's language: a sentence with places, and no text that was put together before."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from app.i18n.catalogue import CHINESE

pytestmark = pytest.mark.any_database("reads the code itself")
ROOT = Path(__file__).resolve().parents[2]
REFUSALS = {"Refused", "TooSoon", "NotGranted", "Held", "NoAnswer", "ValidationError", "InputRequired", "flash"}


def put_together(source: str) -> list[int]:
    """The lines on which a refusal has a Chinese text with values in it that is no sentence with places."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and node.args]
    named = [node for node in calls if getattr(node.func, "id", getattr(node.func, "attr", "")) in REFUSALS]
    texts = [(node.lineno, node.args[0]) for node in named if isinstance(node.args[0], ast.JoinedStr | ast.BinOp)]
    return [line for line, text in texts if CHINESE.search(ast.unparse(text))]


def test_no_refusal_is_put_together_before_it_is_said() -> None:
    found = {str(path): lines for path in (ROOT / "app").rglob("*.py") if (lines := put_together(path.read_text()))}
    assert not found
    assert put_together('raise Refused(f"没有{name}")\nraise Refused("没有" + name)\nraise Refused(say("没有"))') == [
        1,
        2,
    ]
