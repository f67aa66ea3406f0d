"""The floors hold: each kind of import that a contract is for is refused, and what nobody placed is too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.any_database("reads the code itself")
# What may not be: who imports, and what. A module that is not there yet is made.
WRONG = [
    ("app.views.template", "app.cli.demo"),
    ("app.console.base", "app.jobs.run"),
    ("app.api.health", "app.console.words"),
    ("app.operations.runs", "app.access.gate"),
    ("app.tasks.queue", "app.link.pace"),
    ("app.models.kit.user", "app.douyin.client"),
    ("app.console.row.rows", "app.console.list.listing"),
    # A table of the product, also one that nobody has named yet.
    ("app.console.cells", "app.models.store"),
    ("app.console.places", "app.models"),
    # A request and its forms are for the doors.
    *(
        (module, name)
        for module in ("app.link.pace", "app.tasks.queue", "app.notices.tell", "app.jobs.run", "app.operations.runs")
        for name in ("wtforms", "flask_wtf", "flask_login")
    ),
    # Neither database nor Flask by whatever name.
    *(
        ("app.douyin.crypto", name)
        for name in ("sqlalchemy", "flask", "flask_appbuilder", "flask_sqlalchemy", "app.data.engine", "app.extensions")
    ),
    ("app.notices.egress", "requests"),
    ("app.jobs.tokens", "app.douyin.client"),
    ("sandbox.gateway", "app.errors"),
    # What is beside the house is no part of what runs.
    ("app.errors", "tests.conftest"),
    ("app.cli.setup", "scripts.demo"),
    ("sandbox.calls", "bench.dataset"),
]
LOOSE = ["app.loose", "app.console.loose"]


def place(folder: Path, module: str) -> Path:
    return folder.joinpath(*module.split(".")).with_suffix(".py")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is said of a house in which all of them stand."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name in ("app", "sandbox"):
        shutil.copytree(ROOT / name, folder / name, ignore=lambda _, names: [one for one in names if not _is_code(one)])
    for module in ("app.models.store", *LOOSE):
        place(folder, module).write_text("")
    for module, name in WRONG:
        with place(folder, module).open("a") as file:
            file.write(f"\nimport {name}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def _is_code(name: str) -> bool:
    return name.endswith(".py") or "." not in name and not name.startswith("__")


@pytest.mark.parametrize(("module", "name"), WRONG)
def test_a_wrong_import_is_seen(said: str, module: str, name: str) -> None:
    assert f"{module} -> {name.partition('.')[0] if not name.startswith('app') else name} " in said


@pytest.mark.parametrize("module", LOOSE)
def test_a_module_without_a_floor_is_seen(said: str, module: str) -> None:
    assert module in said.partition("not listed as layers")[2]
