"""Operations: what can be done to a row, and the one way to do it.

`request` writes the wish, `perform` does it: the intent (RUNNING + lock, and what stood at Douyin) is committed before
the call, the outcome after it. An outcome that nobody knows is read back by the operation's `proof`; nothing is ever
resent blindly.
"""

from __future__ import annotations

import dataclasses
import importlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, get_type_hints

from flask import Flask, current_app
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app import texts
from app.database import reading
from app.errors import Refused
from app.extensions import db
from app.models.base import utcnow
from app.models.mini_program import AuthorizationState, MiniProgram
from app.models.operation import RUN_WORDS, Door, OperationRun, RunState
from app.models.template import Template, TemplateApp
from app.models.third_party_app import ThirdPartyApp
from app.models.user import via_words
from app.operations.proof import Proof, Work
from app.tenancy import PLATFORM, app_scope

MODULES = ("release", "template", "profile", "onboarding")


@dataclass(frozen=True)
class Actor:
    """Who asks. `merchant_id` is set for a merchant's user; `on_behalf_of` while logged in as a merchant; `via` names
    who made the link by which the user's password was lately set (`reset:<name>`)."""

    id: int | None
    name: str
    address: str = ""
    merchant_id: int | None = None
    on_behalf_of: str = ""
    via: str = ""

    def words(self) -> str:
        """The name, with the merchant at work for whom and whose link it was that let the actor in."""
        behalf = f"（代{self.on_behalf_of}）" if self.on_behalf_of else ""
        return f"{self.name}{behalf}" + (f"（{via_words(self.via)}）" if self.via else "")

    def info(self, door: Door | str) -> dict[str, Any]:
        """As the audit log keeps it in the session."""
        return {
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "on_behalf_of": self.on_behalf_of,
            "via": self.via,
            "door": str(door),
        }


SYSTEM = Actor(None, "系统")


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


@dataclass(frozen=True)
class NoParams:
    """An operation without parameters."""


@dataclass(frozen=True)
class Operation:
    """A named verb on a row. `proof` tells what a call without an answer did."""

    name: str
    title: str
    on: type[Any]
    run: Callable[[Any, Work, Any], Mapping[str, Any] | None]
    params: type[Any]
    proof: Proof | None
    confirm: str
    mutates: bool
    calls: bool
    danger: bool
    authorized: bool
    propose: Callable[[Any, Session], Mapping[str, Any]] | None
    ready: Ready | None
    live: bool


OPERATIONS: dict[str, Operation] = {}


def operation(
    title: str,
    *,
    on: type[Any] = MiniProgram,
    params: type[Any] = NoParams,
    proof: Proof | None = None,
    confirm: str = "",
    mutates: bool = True,
    calls: bool = True,
    danger: bool = False,
    authorized: bool = True,
    propose: Callable[[Any, Session], Mapping[str, Any]] | None = None,
    ready: Ready | None = None,
    live: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(row, work, params) -> result` under its own name, for every door at once.

    `params` is a frozen dataclass; each field's metadata may hold `label`, `help`, `choices`, `check(value) -> value`.
    `authorized` refuses mini-programs whose authorisation is gone. `propose(row, session)` gives a form's defaults.
    `ready(row, look)` is the sentence why the row's state does not allow it now, or None: the same check greys the
    operation out on the pages and refuses it before it is done. It changes nothing and sends nothing.
    `proof` is how it is known what an operation that changes something did; `calls` is False where none is sent.
    `live`: it changes what Douyin's users have before them; for many at once the pages ask who asks to prove it.
    """
    if mutates and proof is None:
        raise TypeError(f"operation {title} changes something and needs proof=")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        OPERATIONS[name] = Operation(
            name, title, on, function, params, proof, confirm, mutates, calls, danger, authorized, propose, ready, live
        )
        return function

    return register


def load() -> None:
    """Import every module of operations, so that the registry is full."""
    for name in MODULES:
        importlib.import_module(f"app.operations.{name}")


def operations_on(model: type[Any]) -> list[Operation]:
    """The operations of one model, in the order of registration."""
    return [item for item in OPERATIONS.values() if item.on is model]


def find(name: str) -> Operation:
    """An operation by name; Refused when there is none."""
    if name not in OPERATIONS:
        raise Refused(f"没有名为「{name}」的操作", field="operation")
    return OPERATIONS[name]


def parse_params(op: Operation, given: Mapping[str, Any]) -> Any:
    """Parameters as the operation's dataclass; text from forms and commands is converted. Refused names the field."""
    hints = get_type_hints(op.params)
    known = {item.name: item for item in dataclasses.fields(op.params)}
    for name in given:
        if name not in known:
            raise Refused(f"操作「{op.title}」没有参数 {name}", field=name)
    values: dict[str, Any] = {}
    for name, item in known.items():
        raw = given.get(name)
        if raw is None or raw == "":
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise Refused(f"请填写{item.metadata.get('label', name)}", field=name)
            continue
        value = _convert(raw, hints[name], item)
        check = item.metadata.get("check")
        values[name] = check(value) if check else value
    return op.params(**values)


def _convert(raw: Any, hint: Any, item: dataclasses.Field[Any]) -> Any:
    label = item.metadata.get("label", item.name)
    if hint in {list[str], tuple[str, ...]}:
        parts = raw.replace("，", ",").split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise Refused(f"{label}应为逗号分隔的列表", field=item.name)
        return type(hint())(texts.checked(part.strip(), label, field=item.name) for part in parts if part.strip())
    if hint is bool:
        return raw if isinstance(raw, bool) else str(raw).lower() in {"1", "true", "on", "yes", "y"}
    if hint is int:
        try:
            return int(raw)
        except (TypeError, ValueError):
            raise Refused(f"{label}应为整数", field=item.name) from None
    if not isinstance(raw, str | int) or isinstance(raw, bool):
        raise Refused(f"{label}应为文字", field=item.name)
    return texts.checked(str(raw).strip(), label, field=item.name, lines=bool(item.metadata.get("multiline")))


def subject(session: Session, op: Operation, key: str) -> Any:
    """The row an operation is asked for: by appid, or by template id. Refused when it is not there, or not ours."""
    columns: dict[type[Any], Any] = {
        MiniProgram: MiniProgram.appid,
        ThirdPartyApp: ThirdPartyApp.appid,
        TemplateApp: TemplateApp.appid,
        Template: Template.template_id,
    }
    row = session.scalars(select(op.on).where(columns[op.on] == key)).first()
    if row is None:
        raise Refused(f"没有找到 {key}", field="appid")
    return row


def lock_key(row: Any) -> str:
    """What is locked while an operation on the row runs: one operation at a time per mini-program."""
    return f"{row.__tablename__}:{row.id}"


def holder(session: Session, row: Any) -> OperationRun | None:
    """The run that holds the row's lock or waits for it, if any."""
    statement = select(OperationRun).where(
        OperationRun.lock_key == lock_key(row),
        OperationRun.state.in_([RunState.QUEUED, RunState.RUNNING, RunState.UNKNOWN]),
    )
    return session.scalars(statement.order_by(OperationRun.id).limit(1)).first()


def operation_title(name: str) -> str:
    """An operation's name for people; old names stay as they are."""
    return OPERATIONS[name].title if name in OPERATIONS else name


def misfit(op: Operation, row: Any) -> str:
    """Why the operation is not for this row: of another kind, or its authorisation is gone; empty when it is."""
    if not isinstance(row, op.on):
        return f"操作「{op.title}」不适用于此对象"
    if op.authorized and isinstance(row, MiniProgram) and row.state != AuthorizationState.AUTHORIZED:
        return f"小程序「{row}」的授权状态为{row.WORDS[row.state]}：请先让商户完成授权"
    return ""


def obstacle(op: Operation, row: Any, look: Look) -> str:
    """Why the row's state does not allow the operation now, as a sentence; empty when it does."""
    return misfit(op, row) or (op.ready(row, look) if op.ready is not None else None) or ""


def check_row(op: Operation, row: Any, session: Session) -> None:
    """Refuse a row whose state does not allow the operation now."""
    if sentence := obstacle(op, row, Look(session, [row])):
        raise Refused(sentence)


def request(
    session: Session, name: str, row: Any, /, *, actor: Actor, door: Door, batch_id: str | None = None, **params: Any
) -> OperationRun:
    """Queue one operation on one row and commit. Refused names what is wrong, or the run that holds the row."""
    op = find(name)
    parsed = parse_params(op, params)
    if sentence := misfit(op, row):
        raise Refused(sentence)
    held = holder(session, row)
    if held is not None and door != Door.BATCH:
        title = operation_title(held.operation)
        raise Refused(f"「{row}」正在进行「{title}」（运行 #{held.id}，{RUN_WORDS[held.state]}）：请等它结束")
    run = OperationRun(**_new_run(op, row, actor, door, batch_id, parsed))
    session.add(run)
    session.commit()
    wake()
    return run


def request_many(
    session: Session, name: str, rows: Iterable[Any], *, actor: Actor, params: Mapping[str, Any]
) -> tuple[str, int]:
    """Queue one operation on many rows in chunks of 500; gives the batch's id and how many were queued."""
    op = find(name)
    parsed = parse_params(op, params)
    batch_id = uuid.uuid4().hex
    count = 0
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(_new_run(op, row, actor, Door.BATCH, batch_id, parsed))
        if len(chunk) == 500:
            session.execute(insert(OperationRun), chunk)
            count, chunk = count + len(chunk), []
    if chunk:
        session.execute(insert(OperationRun), chunk)
    session.commit()
    wake()
    return batch_id, count + len(chunk)


def _new_run(op: Operation, row: Any, actor: Actor, door: Door, batch_id: str | None, params: Any) -> dict[str, Any]:
    return {
        "operation": op.name,
        "merchant_id": getattr(row, "merchant_id", None),
        "subject_type": row.__tablename__,
        "subject_id": row.id,
        "mini_program_id": row.id if isinstance(row, MiniProgram) else None,
        "third_party_app_id": row.id if isinstance(row, ThirdPartyApp) else row.third_party_app_id,
        "appid": getattr(row, "appid", ""),
        "actor_id": actor.id,
        "actor_name": actor.words()[:64],
        "actor_ip": actor.address,
        "door": door,
        "batch_id": batch_id,
        "params": dataclasses.asdict(params),
        "state": RunState.QUEUED,
        "lock_key": lock_key(row),
        "not_before": utcnow(),
        "created_at": utcnow(),
        "attempts": 0,
        "settles": 0,
        "hold": "",
        "result": {},
    }


def wake() -> None:
    """Tell this process's dispatcher, if it has one, that something was queued."""
    for listener in current_app.extensions.get("operation_wakers", ()):
        listener()


def wait_for(app: Flask, run_id: int, seconds: float) -> RunState:
    """Wait until a run is over or its time is up; the state it then has."""
    deadline = time.monotonic() + seconds
    while True:
        with app_scope(app, PLATFORM) as session, reading():
            state: RunState = session.execute(select(OperationRun.state).where(OperationRun.id == run_id)).scalar_one()
        if state in {RunState.SUCCEEDED, RunState.FAILED} or time.monotonic() >= deadline:
            return state
        time.sleep(0.05)


def as_json(run: OperationRun) -> dict[str, Any]:
    """A run as REST and the command line show it."""
    return {
        "id": run.id,
        "operation": run.operation,
        "appid": run.appid,
        "state": str(run.state),
        "err_no": run.err_no,
        "message": run.message,
        "advice": run.advice,
        "log_id": run.log_id,
        "result": run.result,
        "params": run.params,
        "door": str(run.door),
        "actor": run.actor_name,
        "attempts": run.attempts,
        "batch_id": run.batch_id,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }


def grace() -> timedelta:
    """How long an outcome may still change after a call without an answer: longer than a call's total deadline."""
    return timedelta(seconds=current_app.config["DOUYIN_TIMEOUT"] + 5)


__all__ = ["OPERATIONS", "SYSTEM", "Actor", "Door", "Proof", "Work", "db", "operation", "request"]
