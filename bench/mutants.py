"""R9: faults planted one by one in the modules that must hold, and how many of them the tests beside them notice.

    python -m bench.mutants [--area tenancy ...] [--each 60 | --each 0 for all] [--processes 2]

What is planted are mutmut's: a comparison turned, an argument dropped, a constant changed. Which of them is chosen by
a hash of the change itself, so the same ones are planted after an edit elsewhere. An area's tests are run once, to see
which of them reach which line; a fault then runs those that reach it until one fails (bench/mutants_worker.py).

At least SHARE of an area's faults must be noticed. What is known to go unnoticed stands in bench/mutants.toml with its
reason; it counts as unnoticed all the same. Prints a line an area, and each survivor that has no reason yet.
Words for people are not turned; "not planted" is what changes no function's body, or only runs while the application
is made. "Controls" are forks without a fault that failed all the same: there must be none.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import libcst as cst
from mutmut.mutation.file_mutation import create_mutations

ROOT = Path(__file__).resolve().parent.parent
SHARE = 0.90
SENTENCE = re.compile(r"[\u4e00-\u9fff]|[a-z] [a-z]")
HEADS = ("area", "tests", "planted", "noticed", "share", "with a reason", "without", "not planted", "controls", "time")
KNOWN = ROOT / "bench" / "mutants.toml"


@dataclass(frozen=True)
class Area:
    """Modules that are to hold something, and the tests that must notice when they do not."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def paths(self) -> list[str]:
        return sorted(str(found.relative_to(ROOT)) for name in self.modules for found in ROOT.glob(f"app/{name}"))


AREAS = {
    "tenancy": Area(
        ("data/tenancy.py",), ("tests/data", "tests/console/form", "tests/notices", "tests/test_conflicts.py")
    ),
    "secrets": Area(
        ("data/secrets.py", "data/keys.py"), ("tests/data", "tests/test_start.py", "tests/access/test_two_factor.py")
    ),
    "verifier": Area(
        ("douyin/crypto.py", "operations/inbound/receive.py"),
        ("tests/douyin", "tests/operations/inbound", "tests/api/test_callbacks.py"),
    ),
    "link": Area(("link/*.py",), ("tests/link", "tests/operations", "tests/jobs", "tests/notices")),
    "engine": Area(
        tuple(f"operations/{name}.py" for name in ("perform", "runs", "batches", "registry", "proof")),
        ("tests/operations", "tests/link", "tests/jobs", "tests/api", "tests/console/operate"),
    ),
    "access": Area(("access/*.py",), ("tests/access", "tests/api", "tests/web/test_visitors.py", "tests/cli")),
}


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, what it turns into what, and the whole module with it."""

    path: str
    function: str
    before: str
    after: str
    nth: int  # of the same change in the same function
    line: int
    source: str

    def name(self) -> str:
        """What stands in the list of those that go unnoticed; the same after an edit elsewhere in the module."""
        nth = f" ({self.nth + 1})" if self.nth else ""
        return f"{self.path}: {self.function}: {self.before} -> {self.after}{nth}"


def mutants_of(paths: list[str], most: int) -> list[Mutant]:
    """Faults in the functions of some modules, `most` of them (0 for all), as the hash of each change chooses.

    What stands outside of functions is not planted: the modules are imported before.
    """
    found = []
    for path in paths:
        module, mutations, _, _ = create_mutations(path, (ROOT / path).read_text())
        owners, seen = _owners(module), Counter[tuple[str, ...]]()
        for mutation in mutations:
            if (owner := owners.get(mutation.contained_by_top_level_function)) is None or _is_sentence(mutation):
                continue
            change = (path, owner, _code(module, mutation.original_node), _code(module, mutation.mutated_node))
            found.append((*change, seen[change], module, mutation))
            seen[change] += 1
    found.sort(key=lambda one: hashlib.sha256(repr(one[:5]).encode()).hexdigest())
    return [_planted(*one) for one in found[: most or None]]


def _is_sentence(mutation: Any) -> bool:
    """Words for people: that a message is worded otherwise is for eyes to see, not for tests."""
    node = mutation.original_node
    return isinstance(node, cst.SimpleString | cst.FormattedStringText) and bool(SENTENCE.search(node.value))


def _owners(module: cst.Module) -> dict[cst.CSTNode | None, str]:
    """The name of each function and method of a module."""
    owners: dict[cst.CSTNode | None, str] = {}
    for node in module.body:
        if isinstance(node, cst.FunctionDef):
            owners[node] = node.name.value
        elif isinstance(node, cst.ClassDef):
            inner = [method for method in node.body.body if isinstance(method, cst.FunctionDef)]
            owners |= {method: f"{node.name.value}.{method.name.value}" for method in inner}
    return owners


def _code(module: cst.Module, node: cst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())


def _planted(path: str, function: str, before: str, after: str, nth: int, module: cst.Module, mutation: Any) -> Mutant:
    source = module.deep_replace(mutation.original_node, mutation.mutated_node).code
    lines = enumerate(zip(module.code.splitlines(), source.splitlines(), strict=False), 1)
    line = next((number for number, (old, new) in lines if old != new), 0)
    return Mutant(path, function, before, after, nth, line, source)


def measure(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Plant one area's faults; what its worker tells of each, and of its tests."""
    area, folder = AREAS[name], Path(tempfile.mkdtemp(prefix="douzhou-mutants-"))
    planted = mutants_of(area.paths(), chosen.each)
    plan, told = folder / "plan.json", folder / "told.json"
    plan.write_text(json.dumps({"modules": area.paths(), "mutants": [asdict(one) for one in planted]}))
    options = ["-q", "-p", "no:randomly", "-p", "bench.mutants_worker", "-m", "not browser and not slow"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *area.tests],
        cwd=ROOT,
        env=os.environ | {"MUTANTS_PLAN": str(plan), "MUTANTS_TOLD": str(told), "DOUZHOU_ENV": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not told.exists():
        raise SystemExit(f"{name}: the worker ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(told.read_text())
    for one, mutant in zip(answer["mutants"], planted, strict=True):
        one |= {"name": mutant.name(), "line": mutant.line}
    return answer


def tell(name: str, answer: dict[str, Any], known: dict[str, str]) -> bool:
    """One area's line, and the survivors without a reason; whether enough was noticed."""
    fates = Counter(one["fate"] for one in answer["mutants"])
    planted = fates["noticed"] + fates["survived"] + fates["unreached"]
    share = fates["noticed"] / planted if planted else 1.0
    survivors = [one for one in answer["mutants"] if one["fate"] in {"survived", "unreached"}]
    unexplained = [one for one in survivors if one["name"] not in known]
    line = [name, answer["tests"], planted, fates["noticed"], f"{share:.0%}", len(survivors) - len(unexplained)]
    line += [len(unexplained), fates["not_planted"], answer["controls"], f"{answer['seconds']:.0f} s"]
    print(f"| {' | '.join(str(cell) for cell in line)} |", flush=True)
    if answer["broken"]:
        print(f"    fail without a fault, so they notice none: {', '.join(answer['broken'])}", flush=True)
    for one in unexplained:
        print(f"    {one['fate']} (line {one['line']}, {one['tests']} tests): {one['name']}", flush=True)
    return share >= SHARE and not unexplained and not answer["controls"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--area", nargs="*", choices=list(AREAS), default=list(AREAS))
    parser.add_argument("--each", type=int, default=60, help="faults an area; 0 plants every one")
    parser.add_argument("--processes", type=int, default=2)
    chosen = parser.parse_args()
    known = {one["fault"]: one["reason"] for one in tomllib.loads(KNOWN.read_text())["unnoticed"]}
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    with ThreadPoolExecutor(chosen.processes) as pool:
        measured = pool.map(lambda name: measure(name, chosen), chosen.area)
        held = [tell(name, answer, known) for name, answer in zip(chosen.area, measured, strict=True)]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
