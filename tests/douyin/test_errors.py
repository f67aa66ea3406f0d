"""The code table against the contract files, and the errors made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.douyin import CALLS
from app.douyin.errors import CODES, clean, explain
from app.errors import ErrorKind

from .contract_files import contract, operations


def _codes() -> Iterator[tuple[int, str]]:
    """Every code that can come, with what the contract says of it."""
    core, manage = contract("core"), contract("manage")
    rows: list[dict[str, Any]] = [*core["x-error-catalogue"]]
    for generation in ("v1", "V2"):
        rows += manage["x-common-errors"][generation]
    for numbers in manage["x-common-errors"]["handling"].values():
        rows += [{"code": number} for number in numbers if number not in {20105, 21303}]
    for name, entry in operations().items():
        if entry["file"] == "core" or name in CALLS:
            rows += entry.get("x-errors") or []
    yield from ((int(row["code"]), str(row)) for row in rows)


def test_every_code_of_the_contract_is_in_the_table() -> None:
    missing = [row for number, row in _codes() if number not in CODES and number]
    assert not missing, "\n".join(["a row of CODES in app/douyin/errors.py for each of:", *missing])


@pytest.mark.parametrize("err_no", sorted(CODES))
def test_every_row_tells_a_person_in_chinese_what_to_do(err_no: int) -> None:
    row = CODES[err_no]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in row.meaning)
    assert row.advice.endswith("。")
    assert len(row.advice) > 6


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (ErrorKind.RATE, [11301, 11501, 28003018, 28001052]),
        (ErrorKind.QUOTA, [28003017, 2190001]),
        (ErrorKind.PLATFORM, [40003, 40006, 40007, 28005079]),
        (ErrorKind.TOKEN, [40009, 40010, 40020, 28001003, 28001008, 11016, 2190002, 2190008]),
        (ErrorKind.AUTHORIZATION, [40004, 40018, 40021, 40022, 40036, 28001042, 2100007]),
        (ErrorKind.SYSTEM, [-1, 20000, 40000, 40045, 11300, 11400, 11500, 11600, 28001005, 28001006, 2100004]),
        (ErrorKind.BANNED, [10104, 10107, 28001016]),
        (ErrorKind.CAPABILITY, [28001014, 28001018, 28001019, 2190004]),
        (ErrorKind.PERSON, [28001012, 28001045, 28001046, 28001047, 2100009]),
        (ErrorKind.PARAMETER, [28001007, 28001015, 2100005]),
        (ErrorKind.FAULT, [28001017]),
        (ErrorKind.RETIRED, [28001056]),
        (ErrorKind.LINK, [40011, 40013, 40014, 40015, 40016, 40017, 28004020]),
        (ErrorKind.STATE, [28001020, 28001021, 11302, 11303, 11402, 11403, 11601, 11602, 11603]),
    ],
)
def test_the_classes_are_as_decided(kind: ErrorKind, numbers: list[int]) -> None:
    assert {CODES[number].kind for number in numbers} == {kind}


def test_what_helps_by_waiting_says_how_long_and_nothing_else_does() -> None:
    waits = {ErrorKind.RATE, ErrorKind.SYSTEM}
    assert all((row.retry_after is not None) == (row.kind in waits) for row in CODES.values())
    assert (CODES[11301].retry_after, CODES[11501].retry_after) == (10.0, 600.0)
    assert (CODES[28001052].retry_after, CODES[28003018].retry_after) == (600.0, 60.0)
    assert (CODES[28001005].retry_after, CODES[2100004].retry_after) == (30.0, 30.0)


def test_an_unknown_code_keeps_what_douyin_said() -> None:
    found = explain(99887766, "something new", "L1")
    assert (found.kind, found.retry_after, found.log_id) == (ErrorKind.UNKNOWN, None, "L1")
    assert "something new" in found.message
    assert found.advice


def test_foreign_text_is_masked_cut_and_kept_on_one_line() -> None:
    assert clean("a\nb\x00c\u202ed 13812345678 access_token=abcdefgh") == "a b c d 138****5678 access_token=***"
    assert len(clean("x" * 5_000)) == 300
