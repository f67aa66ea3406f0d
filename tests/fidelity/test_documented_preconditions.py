"""Generated: every code on every page of contract-core is brought about, and comes in the right envelope."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from .breakers import CANNOT, breaker_of, ready
from .examples import Bench, Prepared
from .validator import Validator

DOCUMENTED = [
    (operation.id, code)
    for operation in Validator().operations.values()
    if operation.core
    for code in sorted(operation.errors)
]


def test_each_documented_code_has_a_way_to_bring_it_about_or_a_reason() -> None:
    untested = [pair for pair in DOCUMENTED if breaker_of(*pair) is None and pair not in CANNOT]
    assert untested == []


@pytest.mark.parametrize(("operation_id", "code"), [pair for pair in DOCUMENTED if pair not in CANNOT])
def test_broken_precondition_gets_its_code(bench: Bench, operation_id: str, code: int) -> None:
    breaker = breaker_of(operation_id, code)
    assert breaker is not None
    call = ready(bench, operation_id)
    breaker(bench, call)

    answer = _send(bench, call)

    assert _code(answer) == code, answer.text[:300]
    row = bench.sandbox.journal()[-1]
    if answer.headers["Content-Type"].startswith("application/json"):
        assert list(bench.validator.answer(call.operation, row)) == []


def _send(bench: Bench, call: Prepared) -> requests.Response:
    """A browser page is opened, or its form is sent back when the breaker filled one in."""
    if "form" not in bench.notes:
        return call.send(bench)
    answer: requests.Response = bench.sandbox.http.post(
        bench.sandbox.base + call.operation.path, params=call.query, data=bench.notes["form"], timeout=10
    )
    return answer


def _code(answer: requests.Response) -> int:
    """The number in any envelope; on a page, the one it shows."""
    if answer.headers["Content-Type"].startswith("text/html"):
        shown = re.search(r"错误码 (\d+)", answer.text)
        return int(shown.group(1)) if shown else 0
    found: dict[str, Any] = answer.json()
    return int(next(found[name] for name in ("err_no", "errno", "error") if name in found))
