"""The one lease: who works on a row, and until when, taken by a compare-and-set.

A hold is told by a mark that nobody ever has again, not by its process: what ran out may be taken over by another
thread of the same one. Whatever a holder writes names the mark, so that a lost hold writes nothing. Nothing here
commits: a hold counts from the commit of its caller on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, CursorResult, Update, bindparam, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from app.data import process
from app.data.clock import utcnow

Asks: TypeAlias = Session | Connection
Which: TypeAlias = ColumnElement[bool]


def new_mark() -> str:
    """What tells one hold from every other; its first part says which process has it."""
    return f"{process.PROCESS}-{uuid.uuid4().hex[:16]}"


def pause(attempt: int, *, first: float, most: float) -> float:
    """Seconds before the next attempt, the one before having been the `attempt`th: twice as long each time."""
    return min(most, first * 2.0 ** min(max(0, attempt - 1), 60))


class Claims:
    """The leases on the rows of one table: who has one (`owner`), and until when (`until`, UTC)."""

    def __init__(self, model: type[Any], *, owner: str = "owner", until: str = "lease_until") -> None:
        self.model, self.table = model, model.__table__
        self.key, self.owner, self.until = self.table.c.id, self.table.c[owner], self.table.c[until]

    def free(self, now: datetime) -> Which:
        """Nobody has the row, or whoever had it let the time run out."""
        return or_(self.owner.is_(None), self.until.is_(None), self.until < now)

    def take(self, asks: Asks, *which: Which, span: timedelta, **values: Any) -> str | None:
        """Take the one row that is still as the conditions say; the mark of the hold, None when it is not."""
        return self.taking(*which, **values).take(asks, span=span)

    def taking(self, *which: Which, **values: Any) -> Taking:
        """The same, made once: to build a statement costs more than to send it."""
        lease = {self.owner.key: bindparam("mark"), self.until.key: bindparam("until", type_=self.until.type)}
        return Taking(self._change(which).values({**values, **lease}))

    def writing(self, *which: Which) -> Writing:
        """`write` under conditions that are always the same, its statements made once."""
        return Writing(self, which)

    def take_each(
        self, asks: Asks, keys: Iterable[int], *which: Which, span: timedelta, **values: Any
    ) -> tuple[str, list[int]]:
        """Take those of some rows that are still as the conditions say; the mark they share, and their ids in order."""
        mark, wanted = new_mark(), list(keys)
        taken = self._change((self.key.in_(wanted), *which)).values({**values, **self._lease(mark, span)})
        if not wanted or not (count := _changed(asks, taken)):
            return mark, []
        if count == len(wanted):
            return mark, sorted(wanted)
        ours = select(self.key).where(self.key.in_(wanted), self.owner == mark).order_by(self.key)
        return mark, list(asks.scalars(ours))

    def lengthen(self, asks: Asks, key: int, mark: str, span: timedelta) -> bool:
        """A new lease for whoever still has the row; False where another has it."""
        return _changed(asks, self.held(key, mark).values({self.until: utcnow() + span})) == 1

    def write(self, asks: Asks, key: int, mark: str, *which: Which, **values: Any) -> bool:
        """Change a row that is still ours; False where it is not, and nothing was written."""
        return _changed(asks, self.held(key, mark).where(*which).values(**values)) == 1

    def end(self, asks: Asks, key: int, mark: str, *which: Which, **values: Any) -> bool:
        """The same, and nobody has the row any more."""
        return self.write(asks, key, mark, *which, **values, **{self.owner.key: None, self.until.key: None})

    def held(self, key: int, mark: str) -> Update:
        """A change of the row while the hold of this mark stands."""
        return self._change((self.key == key, self.owner == mark))

    def _change(self, which: Iterable[Which]) -> Update:
        return update(self.model).where(*which)  # of the model: a merchant's session holds it to its own rows

    def _lease(self, mark: str, span: timedelta) -> dict[str, Any]:
        return {self.owner.key: mark, self.until.key: utcnow() + span}


class Taking:
    """A statement by which one row is taken, for as often as it is asked; what its conditions bind comes by name."""

    def __init__(self, statement: Update) -> None:
        self._statement = statement

    def take(self, asks: Asks, *, span: timedelta, **named: Any) -> str | None:
        """The mark of the hold; None when the row is not as the conditions say."""
        mark = new_mark()
        taken = _changed(asks, self._statement, {**named, "mark": mark, "until": utcnow() + span})
        return mark if taken == 1 else None


class Writing:
    """Changes of rows that are still ours: one statement for each choice of columns, made when it is first asked."""

    def __init__(self, claims: Claims, which: Iterable[Which]) -> None:
        self._claims, self._which = claims, tuple(which)
        self._made: dict[frozenset[str], Update] = {}

    def write(self, asks: Asks, key: int, mark: str, **values: Any) -> bool:
        """Whether the row is ours still and has these plain values now."""
        names = frozenset(values)
        statement = self._made.get(names)
        if statement is None:
            statement = self._made[names] = self._make(names)
        bound = {f"new_{name}": value for name, value in values.items()}
        return _changed(asks, statement, {**bound, "of": key, "mark": mark}) == 1

    def _make(self, names: frozenset[str]) -> Update:
        claims = self._claims
        ours = (claims.key == bindparam("of"), claims.owner == bindparam("mark"))
        columns = [claims.table.c[name] for name in sorted(names)]
        values = {column.key: bindparam(f"new_{column.key}", type_=column.type) for column in columns}
        return update(claims.model).where(*ours, *self._which).values(values)


def _changed(asks: Asks, statement: Update, named: dict[str, Any] | None = None) -> int:
    """What the session holds of the rows stays as it is: the database alone decides."""
    if isinstance(asks, Session):
        statement = statement.execution_options(synchronize_session=False)
    return cast("CursorResult[Any]", asks.execute(statement, named)).rowcount
