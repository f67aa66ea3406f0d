"""What the documents name is there: paths, modules, functions; and every room stands on the page about the house."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.any_database("reads the documents")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FOLDERS = "app|bench|contract|deploy|docs|migrations|sandbox|scripts|tests"
PATH = re.compile(rf"(?<![\w/.-])(?:{FOLDERS})/[\w./<>*-]*\w[\w/>*]*")
IN_A_COMMENT = re.compile(r"(?<![\w/.<-])(?:\w+/)+\w+\.py\b")
DOTTED = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
# What docs/new-screen.md and docs/new-endpoint.md have their reader write.
TO_BE_WRITTEN = {
    "new-screen.md": ["app/models/store.py", "app/views/store.py"],
    "new-endpoint.md": ["app/douyin/rating.py", "app/operations/rating.py", "tests/operations/test_rating.py"],
}
WRITTEN = {path for paths in TO_BE_WRITTEN.values() for path in paths}
IMPORT = re.compile(r"from (app[\w.]*) import ([\w, ]+)")
BASES = (ROOT, ROOT / "docs")
HOUSE = (ROOT / "docs/architecture.md").read_text()


def absent(text: str) -> list[str]:
    """The paths that a text names and that are not there; `<section>` and `*` stand for anything."""
    named = {path.rstrip("/.") for path in PATH.findall(text)} - WRITTEN
    return sorted(path for path in named if not any(ROOT.glob(re.sub(r"<[^>]*>", "*", path))))


def found(dotted: str) -> Any:
    """The module, class or function of app/ of that name; None when there is none."""
    parts = dotted.removeprefix("app.").split(".")
    for count in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(["app", *parts[:count]]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            thing = getattr(thing, name, None)
        return thing
    return None


def whole_names(dotted: str) -> list[str]:
    """What may be meant: a name that is whole, or one that begins with a module's own (`text_index.build`)."""
    modules = (ROOT / "app").rglob(f"{dotted.partition('.')[0]}.py")
    return [dotted, *(".".join([*path.parent.relative_to(ROOT).parts, dotted]) for path in modules)]


def test_a_path_that_is_gone_is_noticed() -> None:
    gone = ["app/security.py", "app/views/records.py", "tests/none/"]
    text = f"`{gone[0]}`, see {gone[1]}. Or {gone[2]}; not `app/douyin/<section>.py`, `deploy/douzhou-*.service`, app/web/."
    assert absent(text) == sorted(path.rstrip("/") for path in gone)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_of_a_page_exists(page: Path) -> None:
    assert absent(page.read_text()) == []


def test_every_path_of_a_comment_exists() -> None:
    sources = sorted(
        path for folder in ("app", "bench", "sandbox", "scripts") for path in (ROOT / folder).rglob("*.py")
    )
    stale = [
        f"{source.relative_to(ROOT)}: {name}"
        for source in sources
        for name in IN_A_COMMENT.findall(source.read_text())
        if not any((base / name).exists() for base in (ROOT, ROOT / "app", source.parent))
    ]
    assert stale == []


def test_every_function_of_the_house_exists() -> None:
    named = {name for name in DOTTED.findall(HOUSE) if not (ROOT / name).exists()}
    assert len(named) > 40
    assert sorted(name for name in named if found(name) is None) == []
    assert found("operations.runs.ask") is None and found("operation.runs") is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_function_of_a_page_exists(page: Path) -> None:
    named = {name for name in DOTTED.findall(page.read_text()) if not any((base / name).exists() for base in BASES)}
    assert sorted(name for name in named if all(found(whole) is None for whole in whole_names(name))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_has_its_reader_import_is_there(page: Path) -> None:
    written = {path.removesuffix(".py").replace("/", ".") for path in WRITTEN}
    asked = {(module, name) for module, names in IMPORT.findall(page.read_text()) for name in names.split(", ")}
    wrong = [
        f"from {module} import {name}"
        for module, name in sorted(asked)
        if module not in written and name != "Store" and found(f"{module}.{name}") is None
    ]
    assert wrong == []


@pytest.mark.parametrize("page", TO_BE_WRITTEN)
def test_the_example_of_a_page_is_as_ruff_would_have_it(page: str) -> None:
    blocks = re.findall(r'^```python\n(""".*?)^```', (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(TO_BE_WRITTEN[page])
    for name, block in zip(TO_BE_WRITTEN[page], blocks, strict=True):
        for command in (["check"], ["format", "--check"]):
            whole = [Path(sys.executable).with_name("ruff"), *command, "--no-cache", "--stdin-filename", name, "-"]
            done = subprocess.run(whole, cwd=ROOT, input=block, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (name, done.stdout, done.stderr)


def test_every_room_stands_in_the_house() -> None:
    rooms = {path.parent for path in (ROOT / "app").glob("*/__init__.py")}
    kit = {path for path in (ROOT / "app/console").iterdir() if not path.name.startswith("__")}
    assert ROOT / "app/console" in rooms and ROOT / "app/console/base.py" in kit
    named = {path: f"`{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}`" for path in rooms | kit}
    assert sorted(name for name in named.values() if name not in HOUSE) == []


def test_the_newcomer_is_led_to_the_house() -> None:
    pages = ("README.md", "README.zh-CN.md")
    assert [page for page in pages if "(docs/architecture.md)" not in (ROOT / page).read_text()] == []
