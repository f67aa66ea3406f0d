"""No test asserts how fast something is: on a busy machine such a test fails for nothing.

Seen is an assertion that a value made from a clock is below a fixed one. That at least some time has passed may be
asserted, and what two measurements of the same moment are to each other. Count statements, calls or bytes, look at the
order of events, or let a timeout end what hangs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.any_database("reads the tests themselves")
CLOCKS = frozenset(
    {
        "time",
        "monotonic",
        "perf_counter",
        "process_time",
        "thread_time",
        "time_ns",
        "monotonic_ns",
        "perf_counter_ns",
        "process_time_ns",
    }
)
MOMENTS = frozenset({"utcnow", "now", "today"})  # of a day: `utcnow()`, `datetime.now(UTC)`
# By the test's name, where files move: why it has to measure.
ALLOWED = {
    "test_slow_clients_stop_nobody": "a real server's promise to others while 200 clients dawdle; seconds, of a half",
    "test_slow_uploads_of_those_who_have_logged_in_stop_nobody": "the same of uploads",
    "test_of_too_many_that_say_nothing_the_first_must_leave": "the same of silent ones",
    "test_a_body_that_dawdles_is_given_up": "the time after which 408 is answered is itself what is promised",
}


def is_clock(node: ast.AST) -> bool:
    """`time.monotonic()`, `monotonic()`, `utcnow()`, `datetime.now(UTC)`: a reading of a clock."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if getattr(function, "attr", getattr(function, "id", "")) in MOMENTS:
        return True
    if node.args:
        return False
    if isinstance(function, ast.Attribute):
        return function.attr in CLOCKS and getattr(function.value, "id", "") == "time"
    return isinstance(function, ast.Name) and function.id in CLOCKS - {"time"}


class Function:
    """One function of a test: which of its names come from a clock, and what it asserts of them."""

    def __init__(self, node: ast.FunctionDef, givers: frozenset[str]) -> None:
        self.node, self.givers = node, givers
        self.names, self.spans = set[str](), set[str]()  # made of readings; of the time between two
        for _ in range(3):  # names made of names
            for inner in ast.walk(node):
                if isinstance(inner, ast.Assign):
                    self._assign(inner.targets, inner.value)
                elif isinstance(inner, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and inner.value is not None:
                    self._assign([inner.target], inner.value)

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        for target in targets:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                for one, made in zip(target.elts, value.elts, strict=True):
                    self._assign([one], made)
            elif isinstance(target, ast.Name) and self.timed(value):
                self.names.add(target.id)
                if self.spans_time(value):
                    self.spans.add(target.id)

    def timed(self, node: ast.AST) -> bool:
        """Whether a value comes from a clock."""
        for inner in ast.walk(node):
            if is_clock(inner) or (isinstance(inner, ast.Name) and inner.id in self.names):
                return True
            if (
                isinstance(inner, ast.Call)
                and getattr(inner.func, "attr", getattr(inner.func, "id", "")) in self.givers
            ):
                return True
        return False

    def spans_time(self, node: ast.AST) -> bool:
        """Whether a value is the time between two readings, not a moment."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub) and self.timed(inner):
                return True
            if isinstance(inner, ast.Name) and inner.id in self.spans:
                return True
            if (
                isinstance(inner, ast.Call)
                and getattr(inner.func, "attr", getattr(inner.func, "id", "")) in self.givers
            ):
                return True
        return False

    @property
    def gives(self) -> bool:
        """Whether it answers with a time."""
        returns = [inner for inner in ast.walk(self.node) if isinstance(inner, ast.Return) and inner.value]
        return any(self.spans_time(inner.value) for inner in returns if inner.value and not _is_plain(inner.value))

    def limits(self) -> Iterator[int]:
        """The lines that assert of a time that it is below something that is none."""
        for inner in ast.walk(self.node):
            if isinstance(inner, ast.Assert):
                for compared in ast.walk(inner.test):
                    if isinstance(compared, ast.Compare) and any(map(self._is_limit, _pairs(compared))):
                        yield inner.lineno
                        break

    def _is_limit(self, pair: tuple[ast.expr, ast.cmpop, ast.expr]) -> bool:
        left, operator, right = pair
        if isinstance(operator, ast.Gt | ast.GtE):
            left, right = right, left
        elif not isinstance(operator, ast.Lt | ast.LtE):
            return False
        return self.spans_time(left) and not self.timed(right)


def _is_plain(node: ast.expr) -> bool:
    """A call of a function that is given times and answers with something else."""
    return isinstance(node, ast.Call) and not is_clock(node)


def _pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    sides = [node.left, *node.comparators]
    yield from zip(sides, node.ops, sides[1:], strict=False)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def givers(trees: list[ast.AST]) -> frozenset[str]:
    """The names of the tests' own functions that answer with a time."""
    found: frozenset[str] = frozenset()
    for _ in range(2):
        found |= {node.name for tree in trees for node in functions(tree) if Function(node, found).gives}
    return found


def limits(tree: ast.AST, known: frozenset[str] = frozenset()) -> list[tuple[str, int]]:
    """(function, line) of each assertion about speed."""
    return sorted({(node.name, line) for node in functions(tree) for line in Function(node, known).limits()})


def sources() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def test_no_test_asserts_wall_time() -> None:
    texts = {path: path.read_text() for path in sources()}
    known: frozenset[str] = frozenset()
    for _ in range(2):  # only files that name a clock, or a function that answers with a time, are looked into
        told = re.compile(rf"\b({'|'.join(CLOCKS | MOMENTS | known)})\(")
        trees = {path: ast.parse(text) for path, text in texts.items() if told.search(text)}
        known |= givers(list(trees.values()))
    found = [
        (path.relative_to(ROOT).as_posix(), *where) for path, tree in trees.items() for where in limits(tree, known)
    ]
    assert [where for where in found if where[1] not in ALLOWED] == []
    assert {where[1] for where in found} == set(ALLOWED)  # none is allowed that does not need it


@pytest.mark.parametrize(
    "code",
    [
        "began = time.monotonic()\n assert time.monotonic() - began < 2",
        "began = time.perf_counter()\n work()\n took = time.perf_counter() - began\n assert took <= LIMIT",
        "began = time.time()\n assert 0.3 < time.time() - began < 2",
        "began, n = monotonic(), 1\n assert 2 > monotonic() - began",
        "worst = 0.0\n worst = max(worst, clocked(client))\n assert worst < SOON",
        "began = time.process_time()\n assert time.process_time() - began < 0.1, text",
        "assert done and time.monotonic() - self.began < 5",
        "assert utcnow() - row.seen_at < timedelta(minutes=1)",
        "began = datetime.now(UTC)\n work()\n assert (datetime.now(UTC) - began).total_seconds() < 2",
        "assert timedelta(seconds=20) < row.not_before - utcnow() <= timedelta(seconds=30)",
    ],
)
def test_it_would_be_seen(code: str) -> None:
    assert limits(ast.parse(f"def test_x():\n {code}"), frozenset({"clocked"}))


@pytest.mark.parametrize(
    "code",
    [
        "began = time.monotonic()\n assert time.monotonic() - began > 0.5",
        "until = time.monotonic() + 60\n while time.monotonic() < until:\n  pass\n assert found",
        "began = time.monotonic()\n assert len(found) <= 3 + (time.monotonic() - began) / EVERY",
        "before = time.time()\n assert before <= stamp <= time.time()",
        "before = utcnow()\n work()\n assert before <= row.at - timedelta(minutes=5) <= utcnow()",
        "assert cost(a) < 3 * cost(b)",
        "assert len(statements) < 4",
    ],
)
def test_what_is_no_speed_is_let_be(code: str) -> None:
    assert limits(ast.parse(f"def test_x():\n {code}"), frozenset({"cost"})) == []


def test_a_function_that_answers_with_a_time_is_known() -> None:
    code = "def seconds(self):\n began = time.monotonic()\n return time.monotonic() - began"
    assert givers([ast.parse(code)]) == {"seconds"}
