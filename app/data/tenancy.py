"""Tenant isolation: the scope of a session and the listeners that enforce it, for every door at once.

A session has one scope, set once: PLATFORM, a merchant, or LOGIN (only what is needed to know who is asking).
No scope means ScopeError. Every model declares what it is by one mixin:

MerchantOwned   rows of one merchant (`merchant_id`); a merchant reads and writes its own only
SharedRead      `merchant_id` NULL = the platform's, read by all, written by the platform only
SelfScoped      Merchant and User: a merchant sees its own row and its own staff
PlatformOnly    never named by a statement in a merchant's scope
Reference       the platform's, read by all, owned by none (industries)
Unscoped        login tables: an allow-list kept by a test
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from flask import Flask
from flask_appbuilder import Model
from sqlalchemy import ColumnElement, Delete, ForeignKey, Select, Table, Update, event, false, or_
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import (
    Mapped,
    ORMExecuteState,
    Session,
    declared_attr,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.orm.attributes import get_history

from app.data.engine import INDEX, alone, writing
from app.extensions import db

SCOPE = "scope"
READABLE = frozenset({"ab_role"})  # tables of FAB's own that a merchant's session may read
MARK = "tenancy_mark"


class ScopeError(Exception):
    """A statement or row outside the session's scope: a fault of ours or an attack, never a user's mistake."""


@dataclass(frozen=True)
class Scope:
    """Whose rows a session may touch. `merchant_id` is set for a merchant only."""

    kind: str
    merchant_id: int | None = None

    @property
    def is_merchant(self) -> bool:
        return self.kind == "merchant"


PLATFORM = Scope("platform")
LOGIN = Scope("login")


def merchant_scope(merchant_id: int) -> Scope:
    """The scope of one merchant; refuses None, which must never come to mean "no limit"."""
    if not isinstance(merchant_id, int) or isinstance(merchant_id, bool):
        raise ScopeError("a merchant's scope needs its id")
    return Scope("merchant", merchant_id)


class PlatformOnly:
    """Rows that only the platform sees."""

    __tenancy__: ClassVar[str] = "platform"


class Unscoped:
    """Rows needed before it is known who asks (sessions, log-in attempts)."""

    __tenancy__: ClassVar[str] = "unscoped"


class MerchantOwned:
    """Rows of one merchant. NULL is a row that waits to be given to one: no merchant sees it."""

    __tenancy__: ClassVar[str] = "owned"

    @declared_attr
    def merchant_id(cls) -> Mapped[int | None]:
        return mapped_column(ForeignKey("merchant.id"), index=True, nullable=True, info={"label": "商户编号"})


class SharedRead:
    """Rows of one merchant, or of the platform (NULL) and then readable by every merchant."""

    __tenancy__: ClassVar[str] = "shared"

    @declared_attr
    def merchant_id(cls) -> Mapped[int | None]:
        return mapped_column(ForeignKey("merchant.id"), index=True, nullable=True, info={"label": "商户编号"})


class Reference:
    """Rows of the platform that every merchant may read (industries); written by the platform only."""

    __tenancy__: ClassVar[str] = "reference"


class SelfScoped:
    """Merchant and User: seen by their own merchant. `scope_column` names the column that says which."""

    __tenancy__: ClassVar[str] = "self"
    scope_column: ClassVar[str] = "merchant_id"


def scope_of(session: Session) -> Scope:
    """The session's scope; ScopeError when none was set."""
    scope: Scope | None = session.info.get(SCOPE)
    if scope is None:
        raise ScopeError("the session has no scope")
    return scope


def set_scope(session: Session, scope: Scope) -> None:
    """Give a fresh session its scope. A session keeps its scope: another one needs another session."""
    held = session.info.get(SCOPE)
    if held is not None and held != scope:
        raise ScopeError(f"the session already has the scope {held.kind}")
    session.info[SCOPE] = scope


@contextmanager
def app_scope(app: Flask, scope: Scope, *, actor: dict[str, Any] | None = None) -> Iterator[Session]:
    """An application context with a session of its own in `scope`; closed at the end. For jobs and commands."""
    with app.app_context(), writing():
        session = db.session()
        set_scope(session, scope)
        if actor is not None:
            session.info["actor"] = actor
        try:
            yield session
        finally:
            db.session.remove()


@contextmanager
def platform_look(app: Flask) -> Iterator[Connection]:
    """The same for one statement that only reads: where a transaction would cost more than it, there is none."""
    with app.app_context(), alone():
        engine = db.engine
        if engine.dialect.name == "postgresql":  # elsewhere the connection would have to be told, and told back
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection


@contextmanager
def platform_connection(app: Flask) -> Iterator[Connection]:
    """A connection for statements of Core in the platform's name, where a session would cost more than they do: one
    check-out for as many transactions as are begun on it."""
    with app.app_context(), writing(), db.engine.connect() as connection:
        yield connection


def tenancy_of(model: type[Any]) -> str | None:
    """Which of these kinds a model is; None when it declares none."""
    return getattr(model, "__tenancy__", None)


def _criteria(scope: Scope) -> list[Any]:
    """Loader options that hold every model to a merchant's rows, aliases and relations included."""
    merchant_id = scope.merchant_id
    return [
        with_loader_criteria(
            MerchantOwned,
            lambda cls: cls.merchant_id == merchant_id,
            include_aliases=True,
            track_closure_variables=True,
        ),
        with_loader_criteria(
            SharedRead,
            lambda cls: or_(cls.merchant_id == merchant_id, cls.merchant_id.is_(None)),
            include_aliases=True,
            track_closure_variables=True,
        ),
        with_loader_criteria(PlatformOnly, lambda cls: false(), include_aliases=True),
        *(
            with_loader_criteria(model, getattr(model, model.scope_column) == merchant_id, include_aliases=True)
            for model in _self_scoped()
        ),
    ]


@lru_cache(maxsize=1)
def _self_scoped() -> tuple[type[Any], ...]:
    return tuple(
        m.class_ for m in Model.registry.mappers if tenancy_of(m.class_) == "self" and m.local_table is not None
    )


@lru_cache(maxsize=4)
def _tables(kinds: tuple[str, ...]) -> frozenset[str]:
    mappers = Model.registry.mappers
    named = {
        table.name
        for mapper in mappers
        if tenancy_of(mapper.class_) in kinds
        for table in mapper.tables
        if isinstance(table, Table)
    }
    if "platform" in kinds:  # a text index holds every merchant's words, whosever the rows are
        named |= {f"{INDEX}{mapper.local_table}" for mapper in mappers if hasattr(mapper.class_, "__searched__")}
    return frozenset(named)


@lru_cache(maxsize=4)
def _naming(kinds: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?i)\b(" + "|".join(sorted(map(re.escape, _tables(kinds)))) + r")\b")


def _confine_statement(state: ORMExecuteState) -> None:
    """do_orm_execute: hold every ORM statement of a merchant's session to its rows; refuse where there is no scope."""
    scope = scope_of(state.session)
    if not scope.is_merchant:
        return
    mapper = state.bind_mapper
    if mapper is None:
        return  # Core: the engine's listener asks for the mark of `scoped`
    if state.is_insert:
        raise ScopeError("bulk inserts are not made in a merchant's scope: add the rows to the session")
    for named in {mapper, *state.all_mappers}:
        _refuse_foreign_model(named.class_)
    if not state.is_column_load:
        statement: Any = state.statement
        own = (
            statement.options(*_criteria(scope)) if state.is_select else _confined_dml(statement, mapper.class_, scope)
        )
        state.statement = own
    state.update_execution_options(**{MARK: scope.merchant_id})


def _refuse_foreign_model(model: type[Any]) -> None:
    kind = tenancy_of(model)
    if kind == "platform" or (kind is None and getattr(model, "__tablename__", "") not in READABLE):
        raise ScopeError(f"{model.__name__} is not read in a merchant's scope")


def _confined_dml(statement: Any, model: type[Any], scope: Scope) -> Any:
    column = getattr(model, getattr(model, "scope_column", "merchant_id"), None)
    return statement if column is None else statement.where(column == scope.merchant_id)


def scoped(statement: Any, session: Session) -> Any:
    """A Core select, update or delete held to the session's merchant and marked as such; unchanged for the platform."""
    scope = scope_of(session)
    if not scope.is_merchant:
        return statement
    if not isinstance(statement, Select | Update | Delete):
        raise ScopeError("only select, update and delete can be scoped")
    tables = statement.get_final_froms() if isinstance(statement, Select) else [statement.table]
    for table in tables:
        statement = statement.where(_own_rows(table, scope))
    return statement.execution_options(**{MARK: scope.merchant_id})


def _own_rows(table: Any, scope: Scope) -> ColumnElement[bool]:
    if not isinstance(table, Table) or table.name not in _tables(("owned",)):
        raise ScopeError("a scoped Core statement names plain owned tables only")
    own: ColumnElement[bool] = table.c.merchant_id == scope.merchant_id
    return own


def _stamp_rows(session: Session, _context: Any, _instances: Any) -> None:
    """before_flush: stamp new rows; refuse rows of, or moved to or from, another merchant."""
    scope = scope_of(session)
    for row in (*session.new, *session.dirty, *session.deleted):
        _check_row(row, scope, is_new=row in session.new)
    session.info["flushing"] = True


def _flushed(session: Session, _context: Any) -> None:
    session.info.pop("flushing", None)


def _check_row(row: Any, scope: Scope, *, is_new: bool) -> None:
    kind = tenancy_of(type(row))
    if not scope.is_merchant or kind == "unscoped":
        return
    if kind in {None, "platform", "reference"}:
        raise ScopeError(f"{type(row).__name__} is not written in a merchant's scope")
    column = getattr(row, "scope_column", "merchant_id")
    if is_new and column == "merchant_id" and row.merchant_id is None:
        row.merchant_id = scope.merchant_id
    history = get_history(row, column)
    held = {getattr(row, column), *history.deleted, *history.unchanged}
    if held != {scope.merchant_id}:
        raise ScopeError(f"{type(row).__name__} belongs to another merchant")


def _bind_connection(session: Session, _transaction: Any, connection: Connection) -> None:
    """after_begin: let the engine's listener know whose connection this is."""
    connection.info["session_info"] = session.info


def _release_connection(_dbapi: Any, record: Any) -> None:
    record.info.pop("session_info", None)


def _refuse_unmarked(
    connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    """before_cursor_execute: in a merchant's scope no statement names an owned table without the mark."""
    info = connection.info.get("session_info")
    scope: Scope | None = info.get(SCOPE) if info else None
    if scope is None or not scope.is_merchant:
        return
    options = context.execution_options if context is not None else {}
    if named := _naming(("platform",)).search(statement):
        raise ScopeError(f"a statement names {named.group(1)} in a merchant's scope")
    if options.get(MARK) == scope.merchant_id or (info and info.get("flushing")):
        return
    if named := _naming(("owned", "shared", "self")).search(statement):
        raise ScopeError(f"an unmarked statement names {named.group(1)} in a merchant's scope")


def install(session_class: type[Session], engine: Engine) -> None:
    """Attach the listeners to the application's session class and engine; safe to repeat."""
    hooks: list[tuple[Any, str, Any]] = [
        (session_class, "do_orm_execute", _confine_statement),
        (session_class, "before_flush", _stamp_rows),
        (session_class, "after_flush_postexec", _flushed),
        (session_class, "after_soft_rollback", lambda session, _previous: session.info.pop("flushing", None)),
        (session_class, "after_begin", _bind_connection),
        (engine, "before_cursor_execute", _refuse_unmarked),
        (engine.pool, "checkin", _release_connection),
    ]
    for target, name, listener in hooks:
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)
