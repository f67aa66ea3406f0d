"""Thousands of damaged answers: each gives a valid reply, a DouyinError or NoAnswer, and nothing else."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import responses

from app.errors import DouyinError, ErrorKind, NoAnswer

from .conftest import Bench
from .examples import SAMPLES
from .samples import Sample

ROUNDS = 70
WEIRD: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**40,
    -(10**19),
    2**63,
    "",
    "0",
    "x" * 500,
    "\u0000",
    "\u202e",
    "a\r\nb: c",
    [],
    {},
    [[]],
    [None],
    {"a": {"b": []}},
    "1e999",
    [1, "x"],
]


def _spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _spots(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _spots(item, (*path, index))


def _mutant(answer: Any, dice: random.Random) -> bytes:
    """The answer with one or two spots swapped or dropped, sometimes cut off or with a byte changed."""
    changed = copy.deepcopy(answer)
    for _ in range(dice.randint(1, 2)):
        path = dice.choice(list(_spots(changed)) or [()])
        if path:
            _damage(changed, path, dice)
    raw = json.dumps(changed, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    how = dice.random()
    if how < 0.15:
        return raw[: dice.randrange(len(raw) + 1)]
    if how < 0.25 and raw:
        spot = dice.randrange(len(raw))
        return raw[:spot] + bytes([dice.randrange(256)]) + raw[spot + 1 :]
    return raw


def _damage(whole: Any, path: tuple[Any, ...], dice: random.Random) -> None:
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    if dice.random() < 0.3:
        del holder[path[-1]]
    else:
        holder[path[-1]] = copy.deepcopy(dice.choice(WEIRD))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.call.operation_id)
def test_a_damaged_answer_never_crashes(sample: Sample, bench: Bench, http: responses.RequestsMock) -> None:
    dice = random.Random(sample.url)
    answer = sample.answer if isinstance(sample.answer, dict) else {"errno": 40001, "message": "x"}
    raws = [_mutant(answer, dice) for _ in range(ROUNDS)]
    queue = iter(raws)
    last = b""

    def reply(_: Any) -> tuple[int, dict[str, str], bytes]:
        nonlocal last
        last = next(queue, last)
        return 200, {}, last

    http.add_callback(sample.call.route.method, f"https://{sample.url}", reply)
    while len(http.calls) < ROUNDS:
        assert _fits(sample, bench)
        assert repr(bench.records[-1])
    assert len(http.calls) >= ROUNDS


def _fits(sample: Sample, bench: Bench) -> bool:
    """Whether the outcome is one of the three that may be; anything else raised is the failure."""
    try:
        found = bench.douyin.send(sample.call)
    except DouyinError as error:
        return sample.call.reads or error.kind is not ErrorKind.ANSWER
    except NoAnswer as error:
        return error.sent
    return isinstance(found, sample.call.reply_type)


def test_there_are_at_least_two_thousand_of_them() -> None:
    assert ROUNDS * len(SAMPLES) >= 2_000
