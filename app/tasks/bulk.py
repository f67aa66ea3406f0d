"""The same values for many rows (批量修改): row by row through the ORM, so that the audit log has each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask_appbuilder import Model
from sqlalchemy import select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.data.engine import taken
from app.data.kinds import kind_of
from app.errors import Refused
from app.i18n.sentence import chained, ours, say
from app.models.kit.task import Task
from app.tasks.tables import Hooks, tables

CHUNK = 200  # rows of one transaction
MOST = 100_000  # rows of one task
MOST_REASONS = 5
TAKEN = "与已有记录重复"
GONE = "记录已被删除或不可见"
CONFLICTS: dict[type[Exception], str] = {
    StaleDataError: "记录刚被他人或系统更新",
    IntegrityError: "与已有数据冲突",
    DataError: "数值超出可保存的范围",
}


FAULTS: tuple[type[Exception], ...] = tuple(CONFLICTS)


@dataclass
class Outcome:
    """How a change of many rows went."""

    changed: int = 0
    same: int = 0  # had the values already
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return self.changed + self.same

    @property
    def failed(self) -> int:
        return self.refused.total()

    def add(self, other: Outcome) -> None:
        self.changed, self.same = self.changed + other.changed, self.same + other.same
        self.refused.update(other.refused)

    def words(self) -> str:
        """The outcome in one sentence."""
        words = say("已修改 {count} 条", count=f"{self.changed:,}")
        if self.same:
            words = say("{words}，{count} 条本来就是这样", words=words, count=f"{self.same:,}")
        if not self.refused:
            return words
        most = self.refused.most_common(MOST_REASONS)
        reasons = [say("{why}（{count} 条）", why=ours(why), count=f"{number:,}") for why, number in most]
        failed = f"{self.failed:,}"
        return say("{words}，{count} 条未修改：{reasons}", words=words, count=failed, reasons=chained(reasons))


def apply(session: Session, task: Task, progress: Callable[[int, int], bool | None] | None = None) -> Outcome:
    """Do a task of the kind BULK_EDIT in the session's scope. `progress(done, failed)` ends it by answering False.

    The task's `params` hold `model` (a table's name), `ids`, and `values` as `encoded` makes them.
    """
    params = task.params
    return change(
        session,
        model_named(params["model"]),
        params["ids"],
        params["values"],
        hooks=tables().hooks.get(task.view),
        progress=progress,
    )


def model_named(table: str) -> type[Any]:
    """The model of a table. LookupError when there is none."""
    for mapper in Model.registry.mappers:
        if getattr(mapper.class_, "__tablename__", None) == table:
            found: type[Any] = mapper.class_
            return found
    raise LookupError(f"no model has the table {table}")


def change(
    session: Session,
    model: type[Any],
    ids: Sequence[int],
    values: Mapping[str, Any],
    *,
    hooks: Hooks | None = None,
    progress: Callable[[int, int], bool | None] | None = None,
) -> Outcome:
    """Give the rows the values, a few hundred a transaction; what refuses is counted and the rest goes on."""
    total = Outcome()
    for start in range(0, min(len(ids), MOST), CHUNK):
        total.add(_chunk(session, model, ids[start : start + CHUNK], values, hooks))
        if progress is not None and progress(total.done, total.failed) is False:
            break
    return total


def _chunk(session: Session, model: type[Any], ids: Sequence[int], values: Mapping[str, Any], hooks: Any) -> Outcome:
    try:
        return _together(session, model, ids, values, hooks)
    except FAULTS:
        session.rollback()
    found = Outcome()
    for key in ids:
        try:
            found.add(_together(session, model, [key], values, hooks))
        except FAULTS as error:
            session.rollback()
            found.refused[_sentence(error, model)] += 1
    return found


def _sentence(error: Exception, model: type[Any]) -> str:
    if isinstance(error, IntegrityError) and taken(error, model.__table__):
        return TAKEN
    return CONFLICTS[type(error)]


def _together(session: Session, model: type[Any], ids: Sequence[int], values: Mapping[str, Any], hooks: Any) -> Outcome:
    """Change some rows in one transaction."""
    found, changed = Outcome(), []
    wanted = dict(_decoded(session, model, values))
    rows = {row.id: row for row in session.scalars(select(model).where(model.id.in_(ids)))}
    found.refused[GONE] += len(set(ids)) - len(rows)
    with session.no_autoflush:
        for row in rows.values():
            before = {name: getattr(row, name) for name in wanted}
            if before == wanted:
                found.same += 1
                continue
            try:
                _set(row, wanted)
                if hooks is not None:
                    hooks.check(row)
                changed.append(row)
            except Refused as refused:
                session.expire(row)  # as it was, whatever the check did to it
                found.refused[refused.message] += 1
    session.flush()
    for row in changed if hooks is not None else ():
        hooks.saved(row)
    session.commit()
    found.changed = len(changed)
    found.refused = +found.refused
    return found


def _set(row: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)


def encoded(model: type[Any], name: str, value: Any) -> Any:
    """A form's value for a model's column as a task's JSON keeps it; a row by its number."""
    if name in model.__mapper__.relationships:
        return getattr(value, "id", None)
    return kind_of(model.__mapper__.columns[name]).encode(value)


def _decoded(session: Session, model: type[Any], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        relation = model.__mapper__.relationships.get(name)
        if relation is not None:
            row = session.get(relation.mapper.class_, value) if value is not None else None
            if value is not None and row is None:
                raise Refused("所选的记录不存在：请重新选择", field=name)
            yield name, row
            continue
        yield name, kind_of(model.__mapper__.columns[name]).decode(value)
