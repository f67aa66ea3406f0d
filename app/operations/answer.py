"""How the result of an operation reads: the same lines for whoever asked, by whatever door."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from app.data.types import WORDS
from app.i18n.sentence import Foreign, Sentence, listed
from app.models.kit.operation import OperationRun, RunState
from app.operations.registry import OPERATIONS, Reads


class Line(NamedTuple):
    """One line of an answer."""

    label: str
    text: Sentence | Foreign  # a text of ours, or one that is shown as it is


def answer(run: OperationRun) -> list[Line]:
    """What a run that succeeded found or did, as its operation reads it; [] where there is nothing to read."""
    op = OPERATIONS.get(run.operation)
    if op is None or op.reads is None or run.state != RunState.SUCCEEDED:
        return []
    return list(_lines(op.reads, run.result))


def _lines(reads: Reads, result: Mapping[str, Any]) -> Iterator[Line]:
    read = reads(result) if callable(reads) else [(label, result.get(name)) for name, label in reads.items()]
    for label, value in read:
        if value not in (None, ""):
            yield Line(label, _text(value))


def _text(value: Any) -> Sentence | Foreign:
    if isinstance(value, StrEnum):
        return Sentence(WORDS[type(value)][value])
    if isinstance(value, bool):
        return Sentence("是" if value else "否")
    if isinstance(value, list | tuple):
        if not value:
            return Sentence("无")
        return listed(_text(item) for item in value)
    return value if isinstance(value, Sentence) else Foreign(value)
