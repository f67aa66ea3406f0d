"""The project's own files: what git tracks or would with the next `git add`; in a copy without git, everything that
.gitignore does not name."""

from __future__ import annotations

import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tracked(root: Path = ROOT) -> list[Path]:
    """Without git, with a downloaded archive, or with one unpacked inside another repository: by walking."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        top = subprocess.run([*command[:3], "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=True)
        if Path(top.stdout.rstrip("\n")).resolve() != root.resolve():
            return walked(root)
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return walked(root)
    names = {name for name in listed.split("\0") if name}  # while a merge stands open, one in conflict comes thrice
    return sorted(root / name for name in names if (root / name).is_file())


def walked(root: Path = ROOT) -> list[Path]:
    """Every file below that no line of .gitignore names; it knows names and folders, as ours are, and no more."""
    rules = [line for line in (root / ".gitignore").read_text().split() if not line.startswith("#")]
    if odd := [rule for rule in rules if rule.startswith("!") or "/" in rule.rstrip("/")]:
        raise ValueError(f".gitignore: only names and folders are understood here, not {odd}")
    folders = [".git", *(rule.rstrip("/") for rule in rules)]
    names = [".git", *(rule for rule in rules if not rule.endswith("/"))]
    found: list[Path] = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if not _any(name, folders)]
        found += [Path(folder) / name for name in files if not _any(name, names)]
    return sorted(found)


def _any(name: str, rules: list[str]) -> bool:
    return any(fnmatchcase(name, rule) for rule in rules)
