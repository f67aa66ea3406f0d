"""What can be done to a row: the operations by their names."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.errors import DeclarationError, Refused
from app.i18n.sentence import say
from app.models.kit.user import MERCHANT_ROLES, PLATFORM_ROLES
from app.models.mini_program import MiniProgram
from app.operations.proof import Proof, Work

LAST = 1000  # the order of an operation that does not say its own


class Look:
    """What checks of rows look at besides the rows: asked for all of them at once, and once however many checks ask."""

    def __init__(self, session: Session, rows: Sequence[Any]) -> None:
        self.session = session
        self._rows = rows
        self._found: dict[Any, Mapping[int, Any]] = {}

    def at(self, read: Callable[[Session, Sequence[Any]], Mapping[int, Any]], row: Any) -> Any:
        """What `read` finds for a row; it gives what belongs to some rows, by their numbers."""
        if read not in self._found:
            self._found[read] = read(self.session, self._rows)
        return self._found[read].get(row.id)


Ready: TypeAlias = "Callable[[Any, Look], str | None]"
Reads: TypeAlias = "Mapping[str, str] | Callable[[Mapping[str, Any]], Sequence[tuple[str, Any]]]"


class Area(StrEnum):
    """What an operation changes of its row: one change at a time in each, so that an alias of unknown outcome stops no
    release.

    Operations that write the same columns share one. None is the whole mini-program: its authorisation may end at any
    moment by a merchant's push, which waits for no lock, so that every run must bear that its row changes under it
    (`row_version`: it looks again) and that its token is gone.
    """

    RELEASE = "release"  # versions, audit, what is live
    PROFILE = "profile"
    CATEGORY = "category"
    DOMAIN = "domain"
    ACCOUNT = "account"
    SEARCH = "search"
    CAPABILITY = "capability"
    FILING = "filing"
    AUTHORIZATION = "authorization"  # tokens: to find them again must not wait for a run that lacks them
    TEMPLATE = "template"  # of a third-party app


def lock_of(row: Any, area: Area) -> str:
    """What stands for an area of a row in `OperationRun.lock`, which is unique.

    That of a mini-program's releases is the name that the whole row had before there were areas: what an older version
    queued, of whatever area, still keeps a release waiting, and waits for one. Other rows are an area each.
    """
    whole = f"{row.__tablename__}:{row.id}"
    return f"{whole}:{area}" if isinstance(row, MiniProgram) and area is not Area.RELEASE else whole


@dataclass(frozen=True)
class NoParams:
    """An operation without parameters."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A named verb on a row, with all that is known of it.

    `on` is the model of its rows, `by` the column by which REST and the command line name one. `roles` are those that
    may ask for it: nobody else may, the administrator neither; `roles_where_let` those that may besides, where the
    platform lets owners submit. `area` is what of the row is locked while it runs, None for what only reads.
    `params` is a frozen dataclass; each field's metadata may hold `label`, `help`, `choices`, `check(value) -> value`.
    `authorized` refuses mini-programs whose authorisation is gone. `propose(row, session)` gives a form's defaults.
    `ready(row, look)` is the sentence why the row's state does not allow it now, or None: the same check greys the
    operation out on the pages and refuses it before it is done. It changes nothing and sends nothing.
    `proof` is how it is known what an operation that changes something did; `calls` is False where none is sent.
    `live`: it changes what Douyin's users have before them; for many at once the pages ask who asks to prove it.
    `reads` is how its result reads, by every door: the labels of the result's keys, or a function of the result that
    gives lines (label, value); what only reads must say it. A value is a text as it is, a state of ours, `ours(text)`,
    a number, yes or no, or several; an older result may lack a key. See app/operations/answer.py.
    `order`: where it stands among the operations that are offered, the least first.
    `offered`: the screens of its rows have it by itself; False where only REST and the command line are to.
    `places`: where functions of its name stand, of which the last is what runs; more than one stop the start.
    """

    name: str
    title: str
    on: type[Any]
    by: str
    area: Area | None
    run: Callable[[Any, Work, Any], Mapping[str, Any] | None]
    params: type[Any]
    roles: frozenset[str]
    roles_where_let: frozenset[str]
    proof: Proof | None
    confirm: str
    mutates: bool
    calls: bool
    danger: bool
    authorized: bool
    propose: Callable[[Any, Session], Mapping[str, Any]] | None
    ready: Ready | None
    live: bool
    reads: Reads | None
    order: int
    offered: bool
    places: frozenset[str]

    def key(self, row: Any) -> str:
        """What is locked while it runs on the row; empty when nothing is."""
        return lock_of(row, self.area) if self.area is not None else ""


OPERATIONS: dict[str, Operation] = {}


def operation(
    title: str,
    *,
    on: type[Any] = MiniProgram,
    by: str = "appid",
    area: Area | None = None,
    params: type[Any] = NoParams,
    roles: Collection[str] = (),
    roles_where_let: Collection[str] = (),
    proof: Proof | None = None,
    confirm: str = "",
    mutates: bool = True,
    calls: bool = True,
    danger: bool = False,
    authorized: bool = True,
    propose: Callable[[Any, Session], Mapping[str, Any]] | None = None,
    ready: Ready | None = None,
    live: bool = False,
    reads: Reads | None = None,
    order: int = LAST,
    offered: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(row, work, params) -> result` under its own name, for every door at once.

    What each argument says stands at `Operation`. What is amiss is said by `load`.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        held = OPERATIONS.get(name)
        OPERATIONS[name] = Operation(
            name=name,
            title=title,
            on=on,
            by=by,
            area=area,
            run=function,
            params=params,
            roles=frozenset(roles),
            roles_where_let=frozenset(roles_where_let),
            proof=proof,
            confirm=confirm,
            mutates=mutates,
            calls=calls,
            danger=danger,
            authorized=authorized,
            propose=propose,
            ready=ready,
            live=live,
            reads=reads,
            order=order,
            offered=offered,
            places=frozenset({_place(function)}) | (held.places if held else frozenset()),
        )
        return function

    return register


def _place(function: Callable[..., Any]) -> str:
    """Where a function stands. Its line, too: two of one name may stand in one module. A module that is loaded again
    has it in the same place."""
    module, line = _stands(function)
    return f"{module} (line {line})" if line else module


def _stands(function: Callable[..., Any]) -> tuple[str, int]:
    """Module and line, 0 where it has none."""
    code = getattr(function, "__code__", None)
    return function.__module__, code.co_firstlineno if code is not None else 0


def load() -> None:
    """Import every module of operations, so that the registry is full, in the order in which they are offered.

    Raises DeclarationError, with a sentence for each operation that does not say all that it must, or whose name is
    another's too.
    """
    package = importlib.import_module("app.operations")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    known = sorted(OPERATIONS.items(), key=lambda item: (item[1].order, *_stands(item[1].run)))
    OPERATIONS.clear()
    OPERATIONS.update(known)
    if amiss := [sentence for op in OPERATIONS.values() for sentence in faults(op)]:
        raise DeclarationError("; ".join(amiss))


def faults(op: Operation) -> Iterator[str]:
    """What an operation's declaration lacks or has wrong, a sentence each."""
    named = f"operation {op.name} ({op.title})"
    if len(op.places) > 1:
        yield f"two operations are called {op.name}: {' and '.join(sorted(op.places))}"
    if not op.roles:
        yield f"{named} is for nobody: say roles="
    if unknown := sorted((op.roles | op.roles_where_let) - {*PLATFORM_ROLES, *MERCHANT_ROLES}):
        yield f"{named} is for roles that do not exist: {', '.join(unknown)}"
    if op.mutates and op.proof is None:
        yield f"{named} changes something: say proof="
    if op.mutates and op.area is None:
        yield f"{named} changes something: say area="
    if not op.mutates and op.area is not None:
        yield f"{named} only reads, and would lock {op.area}: leave area= out"
    if not op.mutates and not op.reads:
        yield f"{named} only reads, and nobody could see what: say reads="
    if not dataclasses.is_dataclass(op.params):
        yield f"{named} takes its parameters as no dataclass: {op.params.__name__}"
    if op.by not in sa.inspect(op.on).column_attrs:
        yield f"{named} finds its row by {op.by}, which is no column of {op.on.__name__}: say by="


def find(name: str) -> Operation:
    """An operation by name; Refused when there is none."""
    if name not in OPERATIONS:
        raise Refused(say("没有名为「{name}」的操作", name=name), field="operation")
    return OPERATIONS[name]


def operation_title(name: str) -> str:
    """An operation's name for people; old names stay as they are."""
    return OPERATIONS[name].title if name in OPERATIONS else name
