"""The side of bench.mutants that runs inside pytest: which test reaches which line, then one fault a forked process.

A fault is planted by giving the functions that are there already the code of the changed module, so that nothing is
imported anew and what fixtures of the session made (the application, its database, the sandbox) serves every fork.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import coverage
import pytest
from _pytest.runner import runtestprotocol
from flask import Flask

from app.extensions import db

SECONDS = 120.0  # of tests that one fault runs at most, as long as they took without it
AT_START = "start"  # what fixtures of the session run: a planted fault comes too late for it
CONTROLS = 5  # forks without a fault; one that "notices" it means that the tests fail by themselves
ROOT = Path(__file__).resolve().parent.parent


class Reached:
    """Which tests reach which line of the modules, and how long each takes; `broken` fail without any fault."""

    def __init__(self, modules: list[str]) -> None:
        files = [str(ROOT / name) for name in modules]
        self.cover = coverage.Coverage(data_file=None, include=files, config_file=False)
        self.seconds: dict[str, float] = {}
        self.broken: set[str] = set()
        self.of: dict[str, dict[int, set[str]]] = {}
        self.item = AT_START
        self.app: Flask | None = None

    def record(self, session: pytest.Session) -> None:
        self.cover.start()
        items = session.items
        for item, following in zip(items, [*items[1:], _elsewhere(items, items[-1])], strict=True):
            self.item = item.nodeid
            self.cover.switch_context(item.nodeid)
            began = time.monotonic()
            if not _passes(item, following):
                self.broken.add(item.nodeid)
            self.seconds[item.nodeid] = time.monotonic() - began
        self.cover.stop()
        data = self.cover.get_data()
        for path in data.measured_files():
            lines = data.contexts_by_lineno(path)
            self.of[str(Path(path).relative_to(ROOT))] = {line: set(names) for line, names in lines.items()}

    def tests(self, path: str, lines: range) -> list[str]:
        """Those that reach one of the lines, as many as the time allows: the module's own first, then those that
        walk through most of it."""
        at = self.of.get(path, {})
        own, walked = f"/test_{Path(path).stem}.py::", Counter(name for names in at.values() for name in names)
        reached: set[str] = set().union(*(at.get(line, set()) for line in lines))
        chosen, left = [], SECONDS
        by_use = lambda name: (own not in name, -walked[name], self.seconds[name])  # noqa: E731
        for name in sorted(reached - self.broken - {AT_START, ""}, key=by_use):
            if chosen and (left := left - self.seconds[name]) < 0:
                break
            chosen.append(name)
        return chosen


reached: Reached


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """What a fixture of the session runs is no test's; the application is kept, for its connections."""
    if fixturedef.scope != "session":
        return (yield)
    reached.cover.switch_context(AT_START)
    try:
        made = yield
        if fixturedef.argname == "_application":
            reached.app = made
        return made
    finally:
        reached.cover.switch_context(reached.item)


def pytest_runtestloop(session: pytest.Session) -> bool:
    global reached  # noqa: PLW0603  (pytest calls the hooks of a module)
    began, plan = time.monotonic(), json.loads(Path(os.environ["MUTANTS_PLAN"]).read_text())
    reached = Reached(plan["modules"])
    reached.record(session)
    if reached.app is not None:
        with reached.app.app_context():
            db.engine.dispose()  # no fork shares a connection with another
    by_id = {item.nodeid: item for item in session.items}
    told = [_fate(one, by_id) for one in plan["mutants"]]
    often = sorted({test for one in told for test in one.get("ran", [])}, key=reached.seconds.__getitem__)
    controls = sum(_fork([by_id[name] for name in often[at::CONTROLS]][:40], {}) == "noticed" for at in range(CONTROLS))
    answer = {"tests": len(session.items), "broken": sorted(reached.broken), "controls": controls}
    answer |= {"seconds": time.monotonic() - began, "mutants": told}
    Path(os.environ["MUTANTS_TOLD"]).write_text(json.dumps(answer))
    return True


def _fate(mutant: dict[str, Any], by_id: dict[str, pytest.Item]) -> dict[str, Any]:
    """noticed, survived, unreached (no test comes to the line), or not_planted (no function's body changes)."""
    path, line = mutant["path"], mutant["line"]
    changes = _changes(path, mutant["source"])
    if not changes:
        return {"fate": "not_planted", "tests": 0}
    if reached.of.get(path, {}).get(line, set()) == {AT_START}:
        return {"fate": "not_planted", "tests": 0}
    tests = reached.tests(path, range(line, line + 1)) or reached.tests(path, _around(next(iter(changes)), line))
    if not tests:
        return {"fate": "unreached", "tests": 0}
    return {"fate": _fork([by_id[name] for name in tests], changes), "tests": len(tests), "ran": tests}


def _around(code: CodeType, line: int) -> range:
    """The lines of the function before a line: a statement of several lines is reached by its first."""
    starts = sorted({number for _, _, number in code.co_lines() if number and number <= line})
    return range(starts[-1] if starts else line, line + 1)


def _codes(code: CodeType, at: str = "") -> Iterator[tuple[str, CodeType]]:
    """Each function of a module under a name that it keeps when a line or a lambda elsewhere goes."""
    seen: dict[str, int] = defaultdict(int)
    for inner in (const for const in code.co_consts if isinstance(const, CodeType)):
        name = f"{at}/{inner.co_name}#{seen[inner.co_name]}"
        seen[inner.co_name] += 1
        yield name, inner
        yield from _codes(inner, name)


def _body(code: CodeType) -> tuple[Any, ...]:
    """What a function does, without its lines."""
    consts = tuple(_body(const) if isinstance(const, CodeType) else (type(const), const) for const in code.co_consts)
    return code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_exceptiontable


def _changes(path: str, source: str) -> dict[CodeType, CodeType]:
    """The functions whose body a change reaches: their code as it is, and as it is to be."""
    file = str(ROOT / path)
    old = dict(_codes(compile((ROOT / path).read_text(), file, "exec")))
    new = dict(_codes(compile(source, file, "exec")))
    functions = [name for name, code in old.items() if code.co_flags & inspect.CO_NEWLOCALS and name in new]
    return {old[name]: new[name] for name in functions if _body(old[name]) != _body(new[name])}


def _plant(changes: dict[CodeType, CodeType]) -> bool:
    """Give every function that is there the new code; whether there was one."""
    by_place = {(old.co_filename, old.co_qualname, old.co_firstlineno): new for old, new in changes.items()}
    planted = False
    for found in gc.get_objects():
        if type(found) is FunctionType:
            code = found.__code__
            new = by_place.get((code.co_filename, code.co_qualname, code.co_firstlineno))
            if new is not None and len(new.co_freevars) == len(code.co_freevars):
                found.__code__, planted = new, True
    return planted


def _fork(items: list[pytest.Item], changes: dict[CodeType, CodeType]) -> str:
    """Run tests in a process of its own until one fails: noticed (also by its time), survived or not_planted."""
    child = os.fork()
    if not child:
        os._exit(_in_child(items, changes))
    _, status = os.waitpid(child, 0)
    return {0: "survived", 3: "not_planted"}.get(os.waitstatus_to_exitcode(status), "noticed")


def _in_child(items: list[pytest.Item], changes: dict[CodeType, CodeType]) -> int:
    signal.alarm(int(60 + 4 * SECONDS))  # its end is the end of this process: a fault that hangs is noticed
    os.setsid()
    if changes and not _plant(changes):
        return 3
    try:
        for item, following in zip(items, [*items[1:], None], strict=True):
            if not _passes(item, following or _elsewhere(items, item)):
                return 1
    except BaseException:  # noqa: BLE001  (whatever it is, the fault was noticed)
        return 1
    return 0


def _passes(item: pytest.Item, following: pytest.Item) -> bool:
    return all(report.outcome != "failed" for report in runtestprotocol(item, log=False, nextitem=following))


def _elsewhere(items: list[pytest.Item], last: pytest.Item) -> pytest.Item:
    """An item of another module, so that what is the session's stays up."""
    return next((item for item in last.session.items if item.parent is not last.parent), last)
