"""`make test` on a machine without what the browser tests need, with stand-ins for the commands it calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# The browser starts once apt-get or Playwright has installed it; each command says that it was called.
STANDINS = {
    "python": """case "$*" in
  *browser.py) test -e "$HERE/installed" || { echo 没有找到浏览器; exit 1; } ;;
  *"playwright install"*) echo "playwright" >>"$HERE/called"; test -n "$DOWNLOADS" && touch "$HERE/installed" ;;
  *) echo "pytest $*" >>"$HERE/called"; exit 3 ;;
esac""",
    "id": 'echo "$UID_SHOWN"',
    "apt-get": """echo "apt-get $*" >>"$HERE/called"
case "$*" in install*) test -n "$DOWNLOADS" && touch "$HERE/installed" ;; esac""",
    "nginx": "",  # what deploy/ needs is there
    "systemd-analyze": "",
}
LINE = "apt-get update && apt-get install -y --no-install-recommends chromium fonts-noto-cjk libatomic1"


def run(folder: Path, uid: str, downloads: str) -> tuple[str, list[str]]:
    """What is said, and what was called."""
    for name, text in STANDINS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "BIN": str(folder), "HERE": str(folder)}
    done = subprocess.run(
        ["sh", "scripts/test.sh", "tests/views"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**given, "UID_SHOWN": uid, "DOWNLOADS": downloads},
    )
    assert done.returncode == 3, done.stdout + done.stderr  # the tests', whatever could be installed
    return done.stdout + done.stderr, (folder / "called").read_text().splitlines()


def test_root_installs_what_the_browser_tests_need(tmp_path: Path) -> None:
    words, called = run(tmp_path, "0", "1")
    assert [line.split()[1] for line in called[:2]] == ["update", "install"]
    assert called[1].endswith(LINE.partition("--")[2])
    assert called[2].endswith("tests/views")
    assert LINE not in words


@pytest.mark.parametrize(("uid", "tried"), [("0", "apt-get"), ("1000", "playwright")])
def test_what_could_not_be_installed_is_one_line_to_type(tmp_path: Path, uid: str, tried: str) -> None:
    words, called = run(tmp_path, uid, "")
    assert called[0].split()[0] == tried
    assert called[-1].startswith("pytest")
    assert [line for line in words.splitlines() if line.endswith(LINE)], words
    assert "没有找到浏览器" in words


def test_an_ordinary_user_with_a_network_needs_nobody(tmp_path: Path) -> None:
    words, called = run(tmp_path, "1000", "1")
    assert called[0] == "playwright"
    assert words == ""


def test_nothing_is_installed_where_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "installed").touch()
    words, called = run(tmp_path, "0", "")
    assert [line.split()[0] for line in called] == ["pytest"]
    assert words == ""
