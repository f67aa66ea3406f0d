"""The `q` of the API, Rison or JSON, from anybody: bounded before `prison` reads it, and in one plain form after."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

import prison
from prison.decoder import ParserException

LONGEST = 4000
DEEPEST = 8  # brackets within one another; a list's question has three
_QUOTED = re.compile(r"'(?:[^'!]|!.)*'?|\"(?:[^\"\\]|\\.)*\"?", re.DOTALL)
_STEP = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


def read(text: str) -> Any:
    """What a text says. ValueError when it is too long, too deep, or neither Rison nor JSON."""
    if len(text) > LONGEST or not 0 <= depth(text) <= DEEPEST:
        raise ValueError("too long, too deep, or brackets without their others")
    try:
        return prison.loads(text)
    except ParserException:
        return json.loads(text)
    except (ArithmeticError, LookupError, TypeError, RecursionError) as fault:  # it stumbles over ends and odd keys
        raise ValueError("no Rison") from fault


def plain(value: Any) -> str:
    """The value in Rison. ValueError when reading it again would give another one."""
    try:
        text = str(prison.dumps(value))
    except TypeError as fault:  # a key that is no text
        raise ValueError("cannot be said in Rison") from fault
    if read(text) != value:
        raise ValueError("cannot be said in Rison")
    return text


def depth(text: str) -> int:
    """How many brackets stand within one another, outside of quotation marks; -1 when they do not match."""
    steps = list(accumulate(_STEP[letter] for letter in _QUOTED.sub("", text) if letter in _STEP)) or [0]
    return max(steps) if steps[-1] == 0 and min(steps) >= 0 else -1
