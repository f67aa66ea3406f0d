"""What the project promises of itself: its commands, settings, sizes, and what may not stand in it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from app.douyin import CALLS
from app.operations.registry import OPERATIONS, load
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


def test_a_file_counts_before_it_is_added(tmp_path: Path) -> None:
    """Else who adds an endpoint as its page says fails the checks until `git add`."""
    if not shutil.which("git"):
        pytest.skip("without git every file is walked to")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    names = [".gitignore", "app/added.py", "app/new.py", "app/gone.py", ".env", "app/__pycache__/own.pyc"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / ".gitignore").read_bytes())
    subprocess.run(["git", "-C", str(tmp_path), "add", "app/added.py", "app/gone.py"], check=True)
    (tmp_path / "app/gone.py").unlink()
    found = [path.relative_to(tmp_path).as_posix() for path in tracked(tmp_path)]
    assert found == [".gitignore", "app/added.py", "app/new.py"]


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


ESCAPE = re.compile(r"#\s*(?:noqa|type:\s*ignore|nosec|pragma|pylint|mypy:|ruff:)[^#(-]*")


def test_escapes_are_few_and_say_why() -> None:
    """Of what runs: one in a thousand lines at most, each with its reason behind it; and nobody is let off the format."""
    lines = [(path, line) for path in sources("app", "sandbox") for line in path.read_text().splitlines()]
    escapes = [
        (path.relative_to(ROOT).as_posix(), line, found) for path, line in lines if (found := ESCAPE.search(line))
    ]
    assert len(escapes) <= len(lines) / 1000
    assert [(name, line) for name, line, found in escapes if not line[found.end() :].strip(" #()-")] == []
    everywhere = sources("app", "sandbox", "tests", "bench", "scripts")
    off = re.compile(r"#\s*fmt" r":")
    assert [path.relative_to(ROOT).as_posix() for path in everywhere if off.search(path.read_text())] == []


def test_no_folder_is_a_heap() -> None:
    """Sections of Douyin's contract, and the operations that use them, are not counted: the platform says how many."""
    load()
    declared = {call.__module__ for call in CALLS.values()} | {op.run.__module__ for op in OPERATIONS.values()}
    modules = [path.relative_to(ROOT).with_suffix("") for path in sources("app")]
    count = Counter(path.parent.as_posix() for path in modules if ".".join(path.parts) not in declared)
    assert {name: found for name, found in count.items() if found > 20} == {}
    assert count["app/douyin"] > 5


def test_a_name_is_had_from_where_it_stands() -> None:
    """mypy lets nobody import what a module only imported, but for what is in its `__all__`: these have one."""
    told = {path.relative_to(ROOT).as_posix() for path in sources("app") if "__all__" in path.read_text()}
    assert told == {"app/models/__init__.py", "app/models/kit/base.py", "app/operations/__init__.py"}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT)
        for path in sources("app", "sandbox", "bench", "scripts")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


APART = {
    "browser",
    "fidelity",
    "project",
    "sandbox",
    "security",
}  # what is asked of the whole, or of what is no part of it


def test_the_tests_stand_as_the_rooms_that_they_are_of() -> None:
    """A folder of tests for each folder of the house, and none for what is no folder of it."""
    rooms = {path.parent.relative_to(ROOT / "app") for path in (ROOT / "app").rglob("*/__init__.py")}
    tests = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("*/test_*.py")}
    assert sorted(map(str, rooms - tests)) == []
    assert sorted(str(path) for path in tests - rooms if path.parts[0] not in APART) == []
