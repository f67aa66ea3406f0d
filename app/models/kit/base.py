"""What tables share: when a row was made and changed, and the state machine's `move_to`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Self

from flask_appbuilder import Model
from sqlalchemy.orm import Mapped, mapped_column

from app.data.clock import utcnow
from app.data.types import UtcDateTime, words_of
from app.errors import Refused
from app.i18n.sentence import ours, say


class Timestamps:
    """When a row was made and last changed, UTC."""

    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, nullable=False, info={"label": "创建时间", "quiet": True}
    )
    changed_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utcnow, onupdate=utcnow, nullable=False, info={"label": "更新时间", "quiet": True}
    )


class StateMachine:
    """A `state` column whose moves are a table: `NEXT[state]` is the set of states that may follow."""

    NEXT: ClassVar[Mapping[Any, frozenset[Any]]]
    state: Any

    def may_move(self, target: StrEnum) -> bool:
        return target in self.NEXT[self.state]

    def move_to(self, target: StrEnum) -> Self:
        """Take the next state; Refused when the table has no such move."""
        words = words_of(type(target))
        if not self.may_move(target):
            now, wanted = ours(words[self.state]), ours(words[target])
            raise Refused(say("当前状态「{state}」不能变为「{target}」", state=now, target=wanted))
        self.state = target
        return self


__all__ = ["Model", "StateMachine", "Timestamps"]
