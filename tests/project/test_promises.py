"""What the project promises of itself: its commands, settings, sizes, and what may not stand in it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.tracked import tracked, walked

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = (
    "demo",
    "test",
    "check",
    "bench",
    "demo-passwords",
    "docs",
    "lint-miniapp",
    "migration",
    "translate",
    "help",
)
TEXT = {".py", ".md", ".toml", ".sh", ".html", ".js", ".css", ".lock", ".ini", ".mako", ""}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_make_help_lists_every_command() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in COMMANDS if f"make {name} " not in text] == []


def test_every_setting_is_in_the_example() -> None:
    named = set(re.findall(r"""(?:env\.get\(|env, )"([A-Z][A-Z0-9_]+)""", (ROOT / "config.py").read_text()))
    named -= {"FLASK_DEBUG"}
    example = (ROOT / ".env.example").read_text()
    assert sorted(name for name in named if f"\n{name}=" not in example) == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_short(name: str) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_pin_is_exact(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []


def test_no_registry_and_no_machine_is_named() -> None:
    banned = re.compile("py" r"pi\.org|npm" r"js\.org|deb\.debian" r"\.org|/wo" "rk/(main|shared)|/home/[a-z]+/")
    found = [
        path.relative_to(ROOT)
        for path in tracked()
        if path.suffix in TEXT and banned.search(path.read_text(errors="ignore"))
    ]
    assert found == []


def test_the_files_are_found_without_git_too(tmp_path: Path) -> None:
    assert sorted(set(tracked()) - set(walked())) == []
    copy = tmp_path / "another/copy"
    kept = [".gitignore", "app/own.py", "own.md"]
    for name in (*kept, ".env", "var/demo.db", "app/__pycache__/own.pyc", ".venv/lib/own.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / ".gitignore").read_bytes())
    if shutil.which("git"):  # in the repository of somebody else, git would list nothing of ours
        subprocess.run(["git", "init", "-q", str(copy.parent)], check=True)
    assert [path.relative_to(copy).as_posix() for path in tracked(copy)] == kept


def test_files_and_functions_keep_their_size() -> None:
    long_files = [
        path.relative_to(ROOT) for path in sources("app", "sandbox") if len(path.read_text().splitlines()) > 500
    ]
    assert long_files == []
    long_functions = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in sources("app", "sandbox")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long_functions == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT)
        for path in sources("app", "sandbox", "bench", "scripts")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
