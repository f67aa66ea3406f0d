"""Every operation of both files, called as its own example, succeeds, and the answer is as documented."""

from __future__ import annotations

import pytest

from .examples import Bench, prepare
from .validator import Validator

OPERATIONS = sorted(Validator().operations)


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_example_call_succeeds_and_both_sides_follow_the_contract(bench: Bench, operation_id: str) -> None:
    call = prepare(bench, operation_id)
    before = bench.sandbox.journal()[-1]["n"]

    answer = call.send(bench)

    assert answer.status_code == 200
    (row,) = bench.sandbox.journal(before)
    assert row["operation_id"] == operation_id
    assert bench.validator.check(row) == []
    if isinstance(row["answer"], dict):
        codes = [row["answer"].get(name, 0) for name in ("err_no", "errno", "error", "errcode")]
        assert codes == [0, 0, 0, 0], row["answer"]


def test_validator_sees_what_is_wrong(bench: Bench) -> None:
    """The validator itself can fail: unknown field, unknown query, wrong token, wrong answer."""
    call = prepare(bench, "gen_auth_link")
    call.body["nonsense"] = 1
    call.query["extra"] = "1"
    call.headers["access-token"] = "0a1b2c"
    call.send(bench)
    row = bench.sandbox.journal()[-1]
    row["answer"] = {"err_no": 0, "err_msg": "", "data": {"link": 1}, "surprise": True}

    problems = "\n".join(bench.validator.check(row))

    for words in (
        "query extra: not documented",
        "nonsense",
        "a clt. token is wanted",
        "surprise",
        "data/link",
    ):
        assert words in problems
