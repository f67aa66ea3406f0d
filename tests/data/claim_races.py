"""The races of a claim, for `frontrun`, which decides between any two steps of Python which thread goes on.

    frontrun python -m tests.data.claim_races

Each race is run twice: with a fault planted, which must be found, and as it is. Prints one JSON object.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import frontrun
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.data.claims import Claims
from app.data.clock import utcnow
from app.data.types import UtcDateTime

T = TypeVar("T")
SPAN = timedelta(seconds=60)
TRIES, TO_FIND = 80, 1000
BOTH = [1, 2]


class Base(DeclarativeBase):
    """Tables of this file alone."""


class Job(Base):
    """A row that is worked on, with what the holders of the product's rows rely on besides the lease."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    lock_key: Mapped[str] = mapped_column(default="same")
    lock: Mapped[str | None] = mapped_column(unique=True)
    generation: Mapped[int] = mapped_column(default=0)
    result: Mapped[str] = mapped_column(default="")
    owner: Mapped[str | None]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


CLAIMS = Claims(Job)


class Table:
    """The rows of one interleaving, and who believes to have got what."""

    def __init__(self, engine: Engine, **values: Any) -> None:
        self.engine = engine
        self.got: list[Any] = []
        with engine.begin() as connection:
            connection.execute(sa.delete(Job))
            connection.execute(sa.insert(Job), [{"id": number, **values} for number in BOTH])

    def commit(self, work: Callable[[Connection], T]) -> T:
        """One transaction; again where the other holds SQLite's writer, so that the explorer may go on with it."""
        while True:
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except OperationalError:
                time.sleep(0.001)

    def row(self) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(Job).where(Job.id == 1)).one()


class Race(NamedTuple):
    """What each of two does, by the number of its row; how the rows stand before, and what must hold after. `planted`
    does it wrongly."""

    right: Callable[[Table, int], None]
    planted: Callable[[Table, int], None]
    holds: Callable[[Table], bool]
    before: dict[str, Any] = {}  # noqa: RUF012  (of a NamedTuple; nobody changes it)


GONE = {"owner": "dead", "lease_until": datetime.fromisoformat("2020-01-01T00:00:00+00:00")}


def _take(table: Table, _number: int) -> None:
    mark = table.commit(lambda it: CLAIMS.take(it, Job.id == 1, CLAIMS.free(utcnow()), span=SPAN))
    table.got += [mark] if mark else []


def _look_then_take(table: Table, _number: int) -> None:
    free = table.commit(lambda it: it.scalar(sa.select(Job.id).where(Job.id == 1, CLAIMS.free(utcnow()))))
    if free:
        table.got.append(table.commit(lambda it: CLAIMS.take(it, Job.id == 1, span=SPAN)))


def _take_both(table: Table, _number: int) -> None:
    table.got += table.commit(lambda it: CLAIMS.take_each(it, BOTH, CLAIMS.free(utcnow()), span=SPAN))[1]


def _look_then_take_both(table: Table, _number: int) -> None:
    free = table.commit(lambda it: list(it.scalars(sa.select(Job.id).where(CLAIMS.free(utcnow())))))
    table.got += table.commit(lambda it: CLAIMS.take_each(it, free, span=SPAN))[1]


def _work(table: Table, write: Callable[[Connection, str], bool]) -> None:
    """Take the row, whoever has it (its time is over the moment it is taken), and write an outcome."""
    mark = table.commit(lambda it: CLAIMS.take(it, Job.id == 1, CLAIMS.free(utcnow()), span=-SPAN))
    if mark and table.commit(lambda it: write(it, mark)):
        table.got.append(mark)


def _write_while_held(table: Table, _number: int) -> None:
    _work(table, lambda it, mark: CLAIMS.write(it, 1, mark, result=mark))


def _write_anyway(table: Table, _number: int) -> None:
    def write(it: Connection, mark: str) -> bool:
        it.execute(sa.update(Job).where(Job.id == 1).values(result=mark))
        return True

    _work(table, write)


def _is_the_holders(table: Table) -> bool:
    """A lost hold writes nothing after the new one's outcome."""
    row = table.row()
    return row.owner not in table.got or row.result == row.owner


def _lock(table: Table, number: int) -> None:
    """Runs of one mini-program: the unique lock is taken with the claim, in one statement."""
    try:
        mark = table.commit(lambda it: CLAIMS.take(it, Job.id == number, span=SPAN, lock=Job.lock_key))
    except IntegrityError:
        return
    table.got.append(mark)


def _look_then_lock(table: Table, number: int) -> None:
    if not table.commit(lambda it: it.scalar(sa.select(Job.id).where(Job.owner.is_not(None)))):
        table.got.append(table.commit(lambda it: CLAIMS.take(it, Job.id == number, span=SPAN)))


def _refresh(table: Table, *, seen_only: bool) -> None:
    """Spend a single-use token, as the keeper does: of what was read, while nothing of it has changed."""
    seen = table.row()
    free = CLAIMS.free(utcnow())
    if seen_only:
        free = sa.and_(Job.generation == seen.generation, Job.owner == seen.owner, free)
    mark = table.commit(lambda it: CLAIMS.take(it, Job.id == 1, free, span=SPAN))
    if mark:
        table.got.append(seen.generation)
        table.commit(lambda it: CLAIMS.end(it, 1, mark, generation=Job.generation + 1))


RACES = {
    "one row is had by one": Race(_take, _look_then_take, lambda table: len(table.got) == 1),
    "what a dead one left is had by one": Race(_take, _look_then_take, lambda table: len(table.got) == 1, GONE),
    "no row of a chunk is had by two": Race(
        _take_both, _look_then_take_both, lambda table: sorted(table.got) == BOTH, GONE
    ),
    "a lost hold writes nothing": Race(_write_while_held, _write_anyway, _is_the_holders),
    "one run of a mini-program at a time": Race(_lock, _look_then_lock, lambda table: len(table.got) == 1),
    "a token is spent once": Race(
        lambda table, _number: _refresh(table, seen_only=True),
        lambda table, _number: _refresh(table, seen_only=False),
        lambda table: len(table.got) == len(set(table.got)),
        GONE,
    ),
}


def explored(engine: Engine, race: Race, act: Callable[[Table, int], None]) -> bool | None:
    """Whether the race held in every interleaving that was tried; None where that could not be found out."""
    found = frontrun.explore(
        setup=lambda: Table(engine, **race.before),
        workers=[lambda table, number=number: act(table, number) for number in BOTH],
        invariant=race.holds,
        strategy="random",
        max_attempts=TRIES if act is race.right else TO_FIND,  # the explorer stops at what it finds
        seed=1,
        timeout_per_run=20,
        trace_packages=["app.*"],
    )
    held: bool | None = found.property_holds
    return held


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{Path(folder) / 'races.db'}"
        # No waiting inside the library for the other's lock: the explorer could not let the other go on.
        engine = sa.create_engine(address, poolclass=sa.NullPool, connect_args={"timeout": 0})
        Base.metadata.create_all(engine)
        told = {
            name: {"planted": explored(engine, race, race.planted), "right": explored(engine, race, race.right)}
            for name, race in RACES.items()
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
