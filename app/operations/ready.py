"""Whether a row's state allows an operation now, and why not."""

from __future__ import annotations

from typing import Any

from app.data.types import words_of
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models.mini_program import AuthorizationState, MiniProgram
from app.operations.registry import Look, Operation


def misfit(op: Operation, row: Any) -> str:
    """Why the operation is not for this row: of another kind, or its authorisation is gone; empty when it is."""
    if not isinstance(row, op.on):
        return say("操作「{title}」不适用于此对象", title=ours(op.title))
    if op.authorized and isinstance(row, MiniProgram) and row.state != AuthorizationState.AUTHORIZED:
        state = ours(words_of(AuthorizationState)[row.state])
        return say("小程序「{name}」的授权状态为{state}：请先让商户完成授权", name=str(row), state=state)
    return ""


def obstacle(op: Operation, row: Any, look: Look) -> str:
    """Why the row's state does not allow the operation now, as a sentence; empty when it does."""
    return misfit(op, row) or (op.ready(row, look) if op.ready is not None else None) or ""


def check_row(op: Operation, row: Any, look: Look) -> None:
    """Refuse a row whose state does not allow the operation now."""
    if sentence := obstacle(op, row, look):
        raise Refused(sentence)
