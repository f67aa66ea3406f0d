"""The API's questions come from anybody, and their reader is not kept up: bounded before it, plain after it."""

from __future__ import annotations

import json
import sys

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.web import rison
from bench.rison import LETTERS, ask, string
from tests.world import principal

pytestmark = pytest.mark.any_database("what is asked here is how an argument is read")

GRAMMAR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=1500, deadline=1000, suppress_health_check=list(HealthCheck))
@given(st.text(LETTERS, max_size=200) | st.text(max_size=100) | st.randoms(use_true_random=False).map(string))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert ask(text) in {"read", "refused", "read, not to be said plainly"}


@settings(max_examples=500, deadline=1000, suppress_health_check=list(HealthCheck))
@given(GRAMMAR)
def test_what_is_said_plainly_reads_as_what_it_was(value: object) -> None:
    try:
        text = rison.plain(value)
    except ValueError:
        return
    assert rison.read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "!((",
        "!(" * 1999,
        "(" * 3000,
        "!(" * 9 + ")" * 9,
        "[" * 9 + "]" * 9,
        "a" * 4001,
        "!",
        "(!(1):2)",
        "(a:",
        ")(",
        "'" * 3999,
        "-",
        "9" * 4400,
        "!(1,",
        '{"a":',
        "\0",
    ],
)
def test_what_breaks_the_reader_is_refused_at_once(text: str) -> None:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        if text != "-":
            with pytest.raises(ValueError):  # noqa: PT011
                rison.read(text)
    finally:
        sys.setprofile(None)
    assert calls < 500 + 20 * len(text)  # in the text's length, not in its square


def test_brackets_in_quotation_marks_are_text() -> None:
    assert rison.read("(a:'((((((((((!'')") == {"a": "(((((((((('"}
    assert rison.depth("(a:'(((!'(((')") == 1
    assert rison.depth('{"a": "[[[\\"[["}') == 1


@pytest.mark.parametrize("value", ["a%00b", "a%2500b", "x&q=(page:0)", "a+b", "%ff", "a%22b"])
def test_what_was_checked_is_what_is_asked(world: Flask, value: str) -> None:
    """The API's own reader takes JSON's escapes off a second time: a NUL came past the check that way."""
    asker = principal(world, "operator_token")
    asked = json.dumps({"filters": [{"col": "name", "opr": "eq", "value": value}]})
    answer = asker.open("/api/v1/merchants/", query_string={"q": asked})
    assert (answer.status_code, answer.get_json()["count"]) == (200, 0)
    found = asker.open(
        "/api/v1/merchants/", query_string={"q": '{"filters":[{"col":"name","opr":"ct","value":"CAN"}]}'}
    )
    assert found.get_json()["count"] == 2


def test_a_text_is_cleaned_as_what_it_is_compared_with(world: Flask) -> None:
    asker = principal(world, "operator_token")

    def named(operator: str, value: str) -> list[str]:
        asked = json.dumps({"filters": [{"col": "name", "opr": operator, "value": value}]})
        answer = asker.open("/api/v1/merchants/", query_string={"q": asked})
        return [row["name"] for row in answer.get_json()["result"]]

    name = named("ct", "CAN")[0]
    for typed in (f"{name[:3]}\u200b{name[3:]}", f" {name}\u3000", f"\ufeff{name}"):
        assert named("eq", typed) == named("ct", typed) == [name], ascii(typed)
