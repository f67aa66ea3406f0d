"""The folded twin of a name: a column beside it that says what the name reads as, for searches and for uniqueness.

Whoever sets the name sets the twin (`keeps_twin`); `fold` does it for rows that were stored before there was one. Rows
of old whose names read the same stay apart: all but the first have their own number behind the twin, and are listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from flask_appbuilder import Model
from sqlalchemy import Index, String, event, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, ORMExecuteState, Session, mapped_column

from app.data import texts
from app.data.engine import rows_changed
from app.data.tenancy import tenancy_of
from app.i18n.sentence import Sentence, ours, say

LONGEST = 240  # characters of a folded name; the number of a row that collides stands behind it
CHUNK = 500
BEHIND = "\ue000"  # before that number: of no script, and left out of what names read as


def twin_column(of: str, noun: str) -> Mapped[str | None]:
    """The column beside that named `of`, in a table whose rows are called `noun`; `keeps_twin` gives it its index."""
    info = {"kind": "folded", "of": of, "noun": noun, "quiet": True}
    return mapped_column(String(LONGEST + 15), default=None, info=info)


def twin_of(model: type[Any], name: str) -> str:
    """The twin of a model's column; empty where it has none."""
    columns = model.__mapper__.columns.values()
    return next((column.key for column in columns if column.info.get("of") == name), "")


class Twin(NamedTuple):
    """A model with a twin: the column that it is the twin of, and what its rows are called."""

    model: type[Any]
    name: str
    noun: str


def twins() -> list[Twin]:
    """Every one, by the names of their tables."""
    mappers = sorted(Model.registry.mappers, key=lambda mapper: str(mapper.local_table.name))
    held = [(mapper.class_, column.info) for mapper in mappers for column in mapper.local_table.columns]
    return [Twin(model, info["of"], info["noun"]) for model, info in held if info.get("kind") == "folded"]


def twinned(model: type[Any], column: str) -> str:
    """The column that one is the twin of, else the same."""
    found = model.__mapper__.columns.get(column)
    return str(found.info.get("of", column)) if found is not None and found.info.get("kind") == "folded" else column


def folded(name: str) -> str:
    """What a name reads as, no longer than its twin may be."""
    return texts.folded(name.replace(BEHIND, ""))[:LONGEST]


def keeps_twin(model: type[Any], name: str) -> None:
    """Have a model's twin follow its name. A row that collided keeps its number behind it while it reads the same.

    No two rows have one twin; of rows that merchants own, no two of one merchant.
    """
    twin, table = twin_of(model, name), model.__table__
    Index(f"ix_{table.name}_{twin}", *(table.c[column] for column in (twin, *_apart(model))), unique=True)

    def follow(row: Any, value: str, _before: Any, _initiator: Any) -> None:
        if _bare(getattr(row, twin)) != folded(value):
            setattr(row, twin, folded(value))

    event.listen(getattr(model, name), "set", follow)


def _apart(model: type[Any]) -> tuple[str, ...]:
    """By which column rows are strangers to one another: what one merchant calls its own tells no other anything."""
    return ("merchant_id",) if tenancy_of(model) in {"owned", "shared"} else ()


def _refuse_half(state: ORMExecuteState) -> None:
    """do_orm_execute: a statement that sets names goes past `keeps_twin`, so it must set their twins too."""
    if not state.is_update or state.bind_mapper is None:
        return
    rows = state.parameters if isinstance(state.parameters, list) else [state.parameters or {}]
    stated = getattr(state.statement, "_values", None) or {}  # there is no public way to what a statement sets
    named = {getattr(column, "key", column) for column in stated}.union(*rows)
    for model, name, _noun in twins():
        if model is state.bind_mapper.class_ and name in named and twin_of(model, name) not in named:
            raise TypeError(f"a statement sets {model.__name__}.{name} and not {twin_of(model, name)}: set it on rows")


def install(session_class: type[Session]) -> None:
    """Attach the listener to the application's session class; safe to repeat."""
    if not event.contains(session_class, "do_orm_execute", _refuse_half):
        event.listen(session_class, "do_orm_execute", _refuse_half)


def _bare(twin: str | None) -> str | None:
    return None if twin is None else twin.partition(BEHIND)[0]


class Alike(NamedTuple):
    """Rows whose names read the same: (number, name), the first one first."""

    rows: tuple[tuple[int, str], ...]


def fold(session: Session, model: type[Any], name: str) -> Iterator[int]:
    """Fold the names that have no twin, some hundred in a transaction; gives how many each time. Commits.

    May stop anywhere and be done again: what is folded stays folded.
    """
    after = 0
    while True:
        held, twin = getattr(model, name), getattr(model, twin_of(model, name))
        found = select(model.id, held).where(twin.is_(None), model.id > after).order_by(model.id).limit(CHUNK)
        rows = session.execute(found).all()
        session.rollback()
        if not rows:
            break
        yield sum(_give(session, model, name, key, held_name) for key, held_name in rows)
        after = rows[-1][0]
        session.commit()
    _move_up(session, model, name)
    session.commit()


def _move_up(session: Session, model: type[Any], name: str) -> None:
    """Where the first of some rows is called otherwise now, the next one has the name: nobody else can take it."""
    twin = getattr(model, twin_of(model, name))
    apart = [getattr(model, column) for column in _apart(model)]
    behind = session.execute(select(twin, model.id, *apart).where(twin.contains(BEHIND)).order_by(model.id)).all()
    for value, key, *owner in behind:
        bare = value.partition(BEHIND)[0]
        beside = (column == own for column, own in zip(apart, owner, strict=True))
        if session.scalar(select(model.id).where(twin == bare, *beside)) is None:
            rows_changed(session, update(model).where(model.id == key, twin == value).values({twin.key: bare}))


def _give(session: Session, model: type[Any], name: str, key: int, held: str) -> int:
    """Give a row its twin: the folded name, or where another row has that, with the number behind it."""
    twin = getattr(model, twin_of(model, name))
    row = update(model).where(model.id == key, getattr(model, name) == held, twin.is_(None))
    kept = {"changed_at": model.changed_at} if hasattr(model, "changed_at") else {}
    try:
        with session.begin_nested():
            return rows_changed(session, row.values({twin.key: folded(held), **kept}))
    except IntegrityError:
        return rows_changed(session, row.values({twin.key: f"{folded(held)}{BEHIND}{key}", **kept}))


def alike(session: Session, model: type[Any], name: str) -> list[Alike]:
    """The rows whose names read as another's, all of each name together."""
    held, twin = getattr(model, name), getattr(model, twin_of(model, name))
    asked = select(twin, model.id, held, *(getattr(model, column) for column in _apart(model)))
    behind = session.execute(asked.where(twin.contains(BEHIND)).order_by(model.id)).all()
    found: dict[tuple[Any, ...], list[tuple[int, str]]] = {}
    for value, key, text, *owner in behind:
        found.setdefault((value.partition(BEHIND)[0], *owner), []).append((key, text))
    wanted = list(dict.fromkeys(value for value, *_owner in found))
    for start in range(0, len(wanted), CHUNK):
        for value, key, text, *owner in session.execute(asked.where(twin.in_(wanted[start : start + CHUNK]))).all():
            if (value, *owner) in found:
                found[value, *owner].insert(0, (key, text))
    return [Alike(tuple(rows)) for _key, rows in sorted(found.items(), key=lambda item: item[0][0]) if rows[1:]]


def fold_all(session: Session) -> Iterator[Sentence]:
    """Fold every table whose names have a twin; how many that were, and which have rows that read the same. Commits."""
    for model, name, noun in twins():
        if made := sum(fold(session, model, name)):
            yield say("{noun}名称 {made} 个已可按读法查找", noun=ours(noun), made=made)
        if same := len(alike(session, model, name)):
            yield say("有 {same} 组{noun}的名称读起来相同：flask merchant fold 列出它们", same=same, noun=ours(noun))
