"""What makes operations wait without using up an attempt: Douyin away, a third-party app refused, an app in doubt.

A hold has a name, which the runs that met it carry: `host:open` and `host:open:get_versions` (rows of `circuit`),
`app:3` (a third-party app), `mini_program:17`. Whoever ends a hold makes its runs due.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from app.data import process
from app.data.clock import utcnow
from app.data.engine import rows_changed
from app.errors import DouyinError
from app.i18n.sentence import ours, say
from app.link.call_log import title_of
from app.models import Circuit, MiniProgram, OperationRun, RunState, ThirdPartyApp
from app.notices.tell import tell

MAIN_HOST = "open"  # nearly every operation needs it
HOSTS = {"open": "抖音开放平台", "microapp": "抖音小程序平台（旧版接口）", "toutiao": "头条开发者平台"}
APP, TICKET = "app", "ticket"
APP_PROBE = timedelta(seconds=60)
TICKET_LIFE = timedelta(hours=3)
_passing: ContextVar[bool] = ContextVar("passing", default=False)


@contextmanager
def passing() -> Iterator[None]:
    """Calls inside pass every hold: for the probe that finds out whether one is over, and the token it needs."""
    token = _passing.set(True)
    try:
        yield
    finally:
        _passing.reset(token)


def is_passing() -> bool:
    return _passing.get()


def of_app(owner_id: int | None) -> str:
    return f"app:{owner_id}"


def of_mini_program(row_id: int) -> str:
    return f"mini_program:{row_id}"


def of_circuit(name: str) -> str:
    return f"host:{name}"


@dataclass(frozen=True)
class Standing:
    """The holds that stand. `away`: the main host; `apps`: third-party apps; `circuits`: by their runs' hold names."""

    away: bool
    apps: list[int]
    circuits: list[str]


def standing(session: Session) -> Standing:
    """As the database has them now; one that is being lifted stands for every process but the one that lifts it."""
    elsewhere = (Circuit.state == "closing") & (Circuit.owner != process.PROCESS) & (Circuit.lease_until > utcnow())
    circuits = select(Circuit.name).where(or_(Circuit.state == "open", elsewhere))
    names = list(session.scalars(circuits))
    return Standing(MAIN_HOST in names, held_apps(session), [of_circuit(name) for name in names if name != MAIN_HOST])


def held_apps(session: Session) -> list[int]:
    """Third-party apps of which nothing is sent."""
    return list(session.scalars(select(ThirdPartyApp.id).where(app_is_held())))


def app_is_held(oldest: Any = None) -> Any:
    """Refused by Douyin, or met without a living ticket: the latter ends with the next one. `oldest`: when a ticket
    that still lives came at the earliest, for a statement that is made once."""
    oldest = utcnow() - TICKET_LIFE if oldest is None else oldest
    dead = or_(ThirdPartyApp.ticket_at.is_(None), ThirdPartyApp.ticket_at < oldest)
    return or_(ThirdPartyApp.held == APP, (ThirdPartyApp.held == TICKET) & dead)


def hold_app(session: Session, owner_id: int, why: str, text: str, err_no: int = 0) -> None:
    """From the commit that follows at once, nothing of this third-party app is sent; told once."""
    now = utcnow()
    table = ThirdPartyApp.__table__
    values = {"held": why, "held_at": now, "probe_at": now + APP_PROBE, "fault": text, "fault_at": now}
    begun = update(table).where(table.c.id == owner_id, or_(table.c.held == "", table.c.fault != text)).values(**values)
    if rows_changed(session, begun) == 1:
        owner = session.get_one(ThirdPartyApp, owner_id)
        tell(
            session,
            "app_fault",
            subject=owner,
            dedup=f"{owner_id}:{err_no}:{now:%Y%m%d%H}",
            title=say("第三方应用「{name}」故障", name=str(owner)),
            body=say("{fault}。恢复之前，它的所有小程序都不能操作；排队的操作会等待，不会失败。", fault=text),
        )
    session.commit()


def lift_app(session: Session, owner_id: int) -> None:
    """The third-party app works again: what waits for it is due. Commits."""
    this = update(ThirdPartyApp).where(ThirdPartyApp.id == owner_id, ThirdPartyApp.held != "")
    values = {"held": "", "held_at": None, "probe_at": None, "fault": "", "fault_at": None}
    session.execute(this.values(**values).execution_options(synchronize_session=False))
    release(session, of_app(owner_id))
    session.commit()


def hold_mini_program(asks: Session | Connection, condition: Any) -> None:
    """No token of these mini-programs is handed out; with the caller's commit."""
    held = update(MiniProgram).where(condition, MiniProgram.held_at.is_(None)).values(held_at=utcnow())
    asks.execute(held.execution_options(synchronize_session=False))


def lift_mini_program(session: Session, row_id: int) -> None:
    """The doubt is over; with the caller's commit."""
    lifted = update(MiniProgram).where(MiniProgram.id == row_id, MiniProgram.held_at.is_not(None))
    session.execute(lifted.values(held_at=None).execution_options(synchronize_session=False))
    release(session, of_mini_program(row_id))


def release(session: Session, hold: str) -> None:
    """Runs that wait for this hold, or for a part of it, are due now; with the caller's commit."""
    waiting = update(OperationRun).where(
        or_(OperationRun.hold == hold, OperationRun.hold.startswith(f"{hold}:", autoescape=True)),
        OperationRun.state.in_([RunState.QUEUED, RunState.UNKNOWN]),
    )
    session.execute(waiting.values(hold="", not_before=utcnow()).execution_options(synchronize_session=False))


def nominate(session: Session) -> None:
    """Of the runs that wait for one endpoint whose trial is due, one is let through to try it; where none waits, it
    counts as well again. Commits."""
    now = utcnow()
    rested = or_(Circuit.probe_at.is_(None), Circuit.probe_at <= now)
    due = select(Circuit.name).where(Circuit.state == "open", Circuit.name != MAIN_HOST, rested)
    for name in list(session.scalars(due)):
        waiting = (
            OperationRun.hold == of_circuit(name),
            OperationRun.state.in_([RunState.QUEUED, RunState.UNKNOWN]),
        )
        waits = select(func.min(OperationRun.not_before)).where(*waiting)
        longest = select(OperationRun.id).where(*waiting, OperationRun.not_before == waits.scalar_subquery())
        first = session.scalar(longest.order_by(OperationRun.id).limit(1))
        if first is None:  # nobody waits to try it: whoever needs it next finds out
            idle = update(Circuit).where(Circuit.name == name, Circuit.state == "open", rested)
            values = {"state": "closed", "owner": None, "lease_until": None, "probe_at": None}
            session.execute(idle.values(**values).execution_options(synchronize_session=False))
            continue
        chosen = update(OperationRun).where(OperationRun.id == first, *waiting)
        session.execute(chosen.values(hold="", not_before=now).execution_options(synchronize_session=False))
    session.commit()


def fault_sentence(error: DouyinError) -> str:
    """A fault of a third-party app as its page and its runs tell it."""
    said = say("{code} {message}", code=error.err_no, message=error.message)
    return say("{said}：{advice}", said=said, advice=ours(error.advice)) if error.advice else said


def circuit_sentence(name: str, state: str = "open") -> str:
    """Why calls to a host, or to one endpoint of it, wait."""
    host, _, endpoint = name.partition(":")
    where = HOSTS.get(host, host)
    if state == "closing":
        return say("{where}已恢复，排队的操作正在逐步继续", where=ours(where))
    if endpoint:
        call = ours(title_of(endpoint))
        return say("{where}的接口「{call}」没有响应：用到它的操作暂停，恢复后自动继续", where=ours(where), call=call)
    return say("{where}没有响应：所有操作暂停，恢复后自动继续，不会丢失或重复", where=ours(where))
