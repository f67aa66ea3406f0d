"""Samples made of the contract's examples say what those written by hand do."""

from __future__ import annotations

from typing import Any

import pytest

from app.douyin import CALLS
from app.douyin.contract import Call, PermissionSet, Reply, Route, Token

from .examples import of_contract
from .samples import AUTHORIZER, OPEN


class Score(Reply):
    credit_score: int


class Misnamed(Reply):
    credit_score: int
    score: int = 0


def endpoint(operation_id: str, reply: Any, **more: Any) -> type[Call[Any]]:
    """An endpoint that the product does not use, for this test."""
    route = Route("GET", "/x/", Token.AUTHORIZER, PermissionSet.BASIC_INFO, again="read", doc="https://x")
    body = {"operation_id": operation_id, "route": route, "__orig_bases__": (Call[reply],), **more}
    return type("Made", (Call,), body)


def test_the_example_becomes_call_request_answer_and_reply() -> None:
    sample = of_contract(endpoint("get_credit_score", Score))
    assert sample.url == f"{OPEN}/api/apps/v2/credit_score/get_credit_score/"
    assert (sample.headers, sample.query, sample.body) == (AUTHORIZER, {}, None)
    assert (sample.answer["data"], sample.reply) == ({"credit_score": 92}, Score(credit_score=92))


def test_parameters_are_the_examples() -> None:
    sample = of_contract(endpoint("check_app_name", None, __annotations__={"app_name": str}))
    assert (sample.query, sample.reply) == ({"app_name": "晨光书店"}, None)


def test_a_field_that_the_example_does_not_show_wants_a_sample_by_hand() -> None:
    with pytest.raises(ValueError, match="get_credit_score: the contract's example has no score, write a sample"):
        of_contract(endpoint("get_credit_score", Misnamed))


def test_a_parameter_without_an_example_wants_a_sample_by_hand() -> None:
    with pytest.raises(ValueError, match="settle_get_apply_status: .* no example of apply_id, write a sample"):
        of_contract(CALLS["settle_get_apply_status"])
