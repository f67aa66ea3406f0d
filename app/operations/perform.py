"""Doing one run: claim it, commit the intent, call, commit the outcome; or read back an outcome nobody knows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

import structlog
from flask import Flask
from sqlalchemy import and_, bindparam, exists, func, or_, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.exc import StaleDataError

from app.data.claims import Claims, Taking, pause
from app.data.clock import utcnow
from app.data.engine import alone
from app.data.tenancy import PLATFORM, app_scope, platform_connection
from app.data.types import UtcDateTime
from app.errors import DouyinError, ErrorKind, Held, NoAnswer, NotGranted, Refused, TooSoon
from app.i18n.sentence import ours, say
from app.link import connection, holds
from app.models import OperationRun, RunState
from app.operations.params import parse_params
from app.operations.proof import ALREADY, NOT_DONE, Kept, Proved, Settlement, Verb, Verdict, Work, settle, without_call
from app.operations.ready import check_row
from app.operations.registry import OPERATIONS, Look, Operation, find
from app.operations.runs import grace, row_of

log = structlog.get_logger(__name__)
CLAIMS = Claims(OperationRun)
MAX_ATTEMPTS = 8
HELD_SECONDS = 60.0  # whoever ends a hold makes its runs due; this is for a word that was missed


class LeaseLost(Exception):
    """This worker held its run for longer than its lease: another may have taken it over; nothing more is sent."""


class LeasedDouyin:
    """Douyin as an operation gets it: sends no change without an intent, nor when the lease might end before the
    answer."""

    def __init__(self, session: Session, douyin: Any, seconds: float, timeout: float) -> None:
        self._session = session
        self._douyin = douyin
        self._deadline = time.monotonic() + seconds - timeout
        self.work: Work | None = None
        self.effected = False  # a change was sent and answered: it had its effect

    def send(self, call: Any) -> Any:
        if self._session.new or self._session.dirty or self._session.deleted:
            raise RuntimeError("an operation changed rows before its call was answered")
        self._session.commit()  # no transaction stays open while HTTP is waiting
        if not call.reads:
            if self.work is None or not self.work.intended:
                raise RuntimeError("an operation sends a change without having kept what stood before")
            if time.monotonic() > self._deadline:
                raise LeaseLost
        reply = self._douyin.send(call)
        self.effected = self.effected or not call.reads
        return reply


class Due(NamedTuple):
    """A run that can be worked on, and what it is one of."""

    id: int
    third_party_app_id: int | None
    batch_id: str | None


def due(session: Session, limit: int) -> list[Due]:
    """Runs that can be worked on, oldest first: queued with a free lock, unknown after
    their grace, orphaned; none whose third-party app is held, and while Douyin is away those only that call nobody."""
    now = utcnow()
    other = aliased(OperationRun)
    free = ~exists(select(other.id).where(other.lock == OperationRun.lock_key))
    statement = (
        select(OperationRun.id, OperationRun.third_party_app_id, OperationRun.batch_id)
        .where(
            or_(
                and_(OperationRun.state == RunState.QUEUED, OperationRun.not_before <= now, free),
                and_(OperationRun.state == RunState.UNKNOWN, OperationRun.not_before <= now),
                and_(OperationRun.state == RunState.RUNNING, OperationRun.lease_until < now),
            ),
            *_not_held(session),
        )
        .order_by(OperationRun.id)
        .limit(limit)
    )
    return [Due(*row) for row in session.execute(statement)]


def _not_held(session: Session) -> list[Any]:
    standing = holds.standing(session)
    conditions: list[Any] = []
    if standing.away:
        conditions.append(OperationRun.operation.in_([op.name for op in OPERATIONS.values() if not op.calls]))
    if standing.apps:
        app_id = OperationRun.third_party_app_id
        conditions.append(or_(app_id.is_(None), app_id.not_in(standing.apps)))
    if standing.circuits:
        conditions.append(OperationRun.hold.not_in(standing.circuits))
    return conditions


def perform(app: Flask, run_id: int) -> bool:
    """Work on one run if it is due and free; False when another worker has it."""
    timeout = float(app.config["DOUYIN_TIMEOUT"])
    lease = 4 * timeout + 5
    claimed = _claim(app, run_id, lease)
    if claimed is None:
        return False
    run = claimed.run
    actor = {"id": run.actor_id, "name": run.actor_name, "address": run.actor_ip, "door": str(run.door)}
    with app_scope(app, PLATFORM, actor=actor) as session, alone():
        _Attempt(session, run, claimed.mark, lease, timeout).go(claimed.was)
    return True


class Taken(Enum):
    """What a claimed run was: its state says what to do with it."""

    QUEUED = "queued"
    UNKNOWN = "unknown"  # a call was made, and nobody knows what became of it
    ORPHANED = "orphaned"  # its worker is gone


class Claimed(NamedTuple):
    """A run that is ours, by the mark of this hold. It belongs to no session: what becomes of it is written by mark."""

    was: Taken
    mark: str
    run: OperationRun


def _ways() -> tuple[tuple[Taken, Taking], ...]:
    table, now = CLAIMS.table, bindparam("now", type_=UtcDateTime)
    this = table.c.id == bindparam("run")
    running: dict[str, Any] = {"state": RunState.RUNNING, "hold": ""}
    fresh = running | {"lock": func.nullif(table.c.lock_key, ""), "started_at": now, "attempts": table.c.attempts + 1}
    again = running | {"settles": table.c.settles + 1}
    return (
        (Taken.QUEUED, CLAIMS.taking(this, table.c.state == RunState.QUEUED, table.c.not_before <= now, **fresh)),
        (Taken.UNKNOWN, CLAIMS.taking(this, table.c.state == RunState.UNKNOWN, table.c.not_before <= now, **again)),
        (Taken.ORPHANED, CLAIMS.taking(this, table.c.state == RunState.RUNNING, CLAIMS.until < now, **again)),
    )


_WAYS = _ways()
_THIS = select(CLAIMS.table).where(CLAIMS.table.c.id == bindparam("run"))
_WRITES = CLAIMS.writing(CLAIMS.table.c.state == RunState.RUNNING)


def _claim(app: Flask, run_id: int, lease: float) -> Claimed | None:
    """Take a run; None = not ours. The commit is the intent."""
    asked, span = {"run": run_id, "now": utcnow()}, timedelta(seconds=lease)
    try:
        with platform_connection(app) as asks, asks.begin():
            for was, way in _WAYS:
                mark = way.take(asks, span=span, **asked)
                if mark is not None:
                    return Claimed(was, mark, OperationRun(**asks.execute(_THIS, {"run": run_id}).mappings().one()))
    except IntegrityError:  # the lock is held by another run of the same area
        pass
    return None


class _Attempt:
    """One worker's hold on one run, from the claim to the outcome."""

    def __init__(self, session: Session, run: OperationRun, mark: str, lease: float, timeout: float) -> None:
        self.session = session
        self.run = run
        self.mark = mark
        self.lease = lease
        self.timeout = timeout
        self.run_id = run.id

    def go(self, taken: Taken) -> None:
        try:
            op = find(self.run.operation)
            row = row_of(self.session, self.run)
            if row is None:
                raise Refused("对象已不存在")
            params = parse_params(op, self.run.params)
            work = self._work(op, row, params)
            kept = Kept.of(self.run)
            if taken is Taken.UNKNOWN and kept is None and op.proof is not None:
                # Of an older release, which kept nothing from before the call: only a person can tell.
                self._conclude(op, Settlement(Verdict.ASK, "发送时没有留下调用前的状态，无法自动核实"))
            elif taken is not Taken.QUEUED:
                self._read_back(op, row, params, work)
            elif kept is None or self._not_done_yet(op, row, params, work):
                self._do(op, row, params, work)
        except Refused as refused:
            self._fail(refused.message, kind=_kind_of(refused))
        except LeaseLost:
            self.session.rollback()
            log.warning("lease_lost", run=self.run_id)

    def _work(self, op: Operation, row: Any, params: Any) -> Work:
        douyin = connection.bind(self.session, row)
        leased = LeasedDouyin(self.session, douyin, self.lease, self.timeout)
        leased.work = work = Work(self.session, self.run, leased, op.proof, self._keep, Look(self.session, [row])).bind(
            row, params
        )
        return work

    def _keep(self, evidence: dict[str, Any]) -> None:
        """Commit what stands before a call, with what the operation changed so far, if the run is still ours."""
        self.run.evidence = evidence
        self._put(evidence=evidence)

    def _not_done_yet(self, op: Operation, row: Any, params: Any, work: Work) -> bool:
        """Before a second sending: an earlier call may have had its effect late, and our rows may know of it."""
        try:
            settled = self._settled(op, row, params, work)
        except Held as held:
            self._held(work, held)
            return False
        if settled.verdict is Verdict.NOT_DONE:
            return True
        self._conclude(op, settled)
        return False

    def _do(self, op: Operation, row: Any, params: Any, work: Work) -> None:
        try:
            check_row(op, row, work.rows)
            result = op.run(row, work, params)
            self._finish(dict(result or {}))
        except Proved as proved:
            self._conclude(op, proved.settlement)
        except TooSoon as early:
            self.session.rollback()
            self._again(early.message, early.seconds, counted=False)
        except (DouyinError, NoAnswer, Refused) as problem:
            self.session.rollback()
            self._refused(op, row, params, work, problem)
        except StaleDataError:
            self._row_changed(work)
        except (LeaseLost, OperationalError, NoConnection):
            raise  # nothing can be written now: the lease ends, and the run is looked at again
        except Exception as fault:  # the worker's boundary: a fault of ours must not stop the queue
            log.exception("operation_fault", run=self.run_id, operation=op.name)
            self.session.rollback()
            if work.intended:
                self._open_ended(f"内部错误（{type(fault).__name__}），正在核实结果", seconds=grace().total_seconds())
            else:
                self._fail(f"内部错误（{type(fault).__name__}），未发送：请联系技术支持并提供运行编号 #{self.run_id}")

    def _row_changed(self, work: Work) -> None:
        """The row changed under us: look again at once, at Douyin if the call may have had its effect."""
        self.session.rollback()
        if work.intended:
            self._open_ended("记录在执行期间被更新，正在核实结果", seconds=0)
        else:
            self._again("记录在执行期间被更新，重新执行", 0.0, counted=False)

    def _refused(
        self, op: Operation, row: Any, params: Any, work: Work, problem: DouyinError | NoAnswer | Refused
    ) -> None:
        if work.douyin.effected:
            # The change is made; what failed is a look afterwards. To send it again would make it twice.
            self._open_ended("抖音已接受，正在核实结果", seconds=2, hold=getattr(problem, "hold", ""))
        elif isinstance(problem, DouyinError):
            self._said_no(op, row, params, work, problem)
        elif isinstance(problem, Held):
            self._held(work, problem)
        elif isinstance(problem, NoAnswer):
            self._said_nothing(work, problem)
        else:
            self._fail(problem.message, kind=_kind_of(problem))

    def _said_no(self, op: Operation, row: Any, params: Any, work: Work, error: DouyinError) -> None:
        if error.kind == ErrorKind.PLATFORM:
            hold = holds.of_app(self.run.third_party_app_id)  # the client's gate has held it
            return self._again(error.message, HELD_SECONDS, error=error, counted=False, hold=hold, work=work)
        if work.intended and op.proof is not None and error.kind in _MAY_BE_SO[op.proof.verb]:
            settled = self._after_refusal(op, row, params, work)
            if settled is not None:
                return self._conclude(op, settled)
            self.session.rollback()
        if error.kind == ErrorKind.ANSWER and not work.intended:
            # An answer outside the contract to a look: Douyin is not well, and nothing was sent.
            return self._again(error.message, HELD_SECONDS, error=error, counted=False)
        if error.retry_after is not None and self.run.attempts < MAX_ATTEMPTS:
            seconds = error.retry_after * min(4, 1.5 ** (self.run.attempts - 1))
            return self._again(error.message, seconds, error=error, work=work)
        return self._fail(error.message, error=error)

    def _after_refusal(self, op: Operation, row: Any, params: Any, work: Work) -> Settlement | None:
        """What stands although Douyin said no: an earlier call of this run did it, or the goal stood. None = the
        refusal is the outcome."""
        kept = Kept.of(self.run)
        earlier = kept is not None and kept.calls > 1
        try:
            settled = self._settled(op, row, params, work)
        except Held as held:
            settled = Settlement(Verdict.WAIT, held.message)
        if earlier:
            return settled if settled.verdict not in {Verdict.NOT_DONE, Verdict.OVER} else None
        if settled.verdict not in {Verdict.DONE, Verdict.ALREADY}:
            return None
        if op.proof is not None and op.proof.verb is Verb.GOAL:
            # The only call was refused: that the goal stands is somebody else's doing.
            return Settlement(Verdict.ALREADY, ALREADY, {**settled.result, "already": True})
        self.session.rollback()
        return Settlement(Verdict.ASK, "抖音拒绝了本次请求，但状态在此期间变了：可能是其他人的操作")

    def _said_nothing(self, work: Work, silence: NoAnswer) -> None:
        if work.intended and silence.sent:
            return self._open_ended("抖音没有返回结果，正在自动核实（不会重复提交）", seconds=grace().total_seconds())
        if self.run.attempts >= MAX_ATTEMPTS:
            return self._fail("多次联系不上抖音：请检查网络后重试")
        return self._again("联系不上抖音，稍后自动重试", pause(self.run.attempts, first=4.0, most=256.0), work=work)

    def _held(self, work: Work, held: Held) -> None:
        """What it needs is away: it waits for it, without using up an attempt."""
        self._again(held.message, HELD_SECONDS, counted=False, hold=held.hold, work=work)

    def _settled(self, op: Operation, row: Any, params: Any, work: Work) -> Settlement:
        """What a look now says of the run's calls. A look that fails is WAIT."""
        if op.proof is None:
            return NOT_DONE
        self.session.commit()
        try:
            self.session.refresh(row)
            return settle(op.proof, row, work, params)
        except DouyinError as error:
            self.session.rollback()
            if error.kind == ErrorKind.PLATFORM:
                raise Held(error.message, hold=holds.of_app(self.run.third_party_app_id)) from None
            if error.kind == ErrorKind.AUTHORIZATION:
                raise Refused(
                    say("核实结果时授权已失效：{why}", why=ours(error.advice) if error.advice else error.message)
                ) from None
            if error.retry_after is None and error.kind in _FOR_PEOPLE:
                return Settlement(Verdict.ASK, say("无法核实结果：{why}", why=error.message))
            return Settlement(Verdict.WAIT, error.message, wait=error.retry_after or 60.0)
        except Held:
            self.session.rollback()
            raise
        except NoAnswer as silence:
            self.session.rollback()
            return Settlement(Verdict.WAIT, silence.message, wait=pause(self.run.settles + 1, first=5.0, most=320.0))

    def _read_back(self, op: Operation, row: Any, params: Any, work: Work) -> None:
        try:
            settled = self._settled(op, row, params, work)
            self._conclude(op, settled)
        except Held as held:
            self._open_ended(held.message, seconds=HELD_SECONDS, hold=held.hold, counted=False)
        except StaleDataError:
            self._open_ended("记录在核实期间被更新，稍后再核实", seconds=1.0)
        except (LeaseLost, OperationalError, Refused):
            raise
        except Exception as fault:  # the worker's boundary: it would be read back so for ever
            log.exception("read_back_fault", run=self.run_id, operation=op.name)
            self._open_ended(f"内部错误（{type(fault).__name__}），无法自动核实结果", seconds=3600.0, ask=True)

    def _conclude(self, op: Operation, settled: Settlement) -> None:
        """Write what a look found out."""
        match settled.verdict:
            case Verdict.DONE | Verdict.ALREADY:
                said = settled.message or say("已核实：「{title}」已完成", title=ours(op.title))
                return self._finish(dict(settled.result), message=said)
            case Verdict.WAIT:
                return self._open_ended(settled.message, seconds=settled.wait)
            case Verdict.ASK:
                return self._open_ended(settled.message, seconds=3600.0, ask=True)
            case Verdict.OVER:
                return self._fail(settled.message, kind=str(ErrorKind.STATE))
        self.session.rollback()
        if self.run.attempts >= MAX_ATTEMPTS:
            return self._fail("多次提交都没有生效：请稍后重试或联系抖音客服")
        return self._again("已核实上次提交未生效，重新提交", 0.0)

    # Outcomes: each writes the run and whatever the operation changed in one transaction, if the run is still ours.

    def _finish(self, result: Mapping[str, Any], message: str = "") -> None:
        self._write(
            state=RunState.SUCCEEDED,
            result=result,
            message=message,
            lock=None,
            finished_at=utcnow(),
            err_no=None,
            advice="",
            error_kind="",
            lease_until=None,
        )

    def _fail(self, message: str, *, error: DouyinError | None = None, kind: str = "") -> None:
        self.session.rollback()
        told = _of(error) | ({"error_kind": kind} if kind else {})
        self._write(state=RunState.FAILED, message=message, lock=None, finished_at=utcnow(), lease_until=None, **told)

    def _again(
        self,
        message: str,
        seconds: float,
        *,
        error: DouyinError | None = None,
        counted: bool = True,
        hold: str = "",
        work: Work | None = None,
    ) -> None:
        """Back into the queue. `work`: of an attempt whose call, if there was one, surely had no effect."""
        values: dict[str, Any] = {} if counted else {"attempts": max(0, self.run.attempts - 1)}
        if work is not None and work.intended:
            values["evidence"] = without_call(self.run)
        self._write(
            state=RunState.QUEUED,
            message=message,
            lock=None,
            lease_until=None,
            not_before=_later(seconds),
            hold=hold,
            **_of(error),
            **values,
        )

    def _open_ended(
        self, message: str, *, seconds: float, ask: bool = False, hold: str = "", counted: bool = True
    ) -> None:
        self.session.rollback()
        advice = "系统无法自行判断结果：请在抖音开放平台核对后，在本页标记为已完成或未完成" if ask else ""
        values = {} if counted else {"settles": max(0, self.run.settles - 1)}
        self._write(
            state=RunState.UNKNOWN,
            message=message,
            advice=advice,
            not_before=_later(seconds),
            lease_until=None,
            hold=hold,
            **values,
        )

    def _write(self, **values: Any) -> None:
        self._put(**values)

    def _put(self, **values: Any) -> None:
        self.session.flush()
        if not _WRITES.write(self.session.connection(), self.run_id, self.mark, **values):
            self.session.rollback()
            raise LeaseLost
        self.session.commit()


# A look that is refused so can only be made again once a person has done something.
_FOR_PEOPLE = frozenset({ErrorKind.CAPABILITY, ErrorKind.BANNED, ErrorKind.RETIRED, ErrorKind.FAULT, ErrorKind.PERSON})
# Refusals after which it may stand nevertheless: an earlier call of the run, or somebody else, was there before. To
# delete what is gone is an error of the parameters.
_MAY_BE_SO = {
    Verb.EVENT: frozenset({ErrorKind.STATE}),
    Verb.GOAL: frozenset({ErrorKind.STATE, ErrorKind.PARAMETER}),
}


def _later(seconds: float) -> datetime:
    return utcnow() + timedelta(seconds=seconds)


def _kind_of(refused: Refused) -> str:
    """What class our own refusal belongs to: of what was typed, or of the row's state."""
    if isinstance(refused, NotGranted):
        return str(ErrorKind.AUTHORIZATION)
    return str(ErrorKind.PARAMETER if refused.field else ErrorKind.STATE)


def _of(error: DouyinError | None) -> dict[str, Any]:
    if error is None:
        return {"err_no": None, "advice": "", "error_kind": ""}
    return {
        "err_no": error.err_no,
        "advice": error.advice,
        "log_id": error.log_id[:64],
        "error_kind": str(error.kind),
    }


def resolve(session: Session, run: OperationRun, *, done: bool, actor_name: str) -> None:
    """A person's word on an outcome that the system cannot find out; commits. Refused unless it is unknown."""
    if run.state != RunState.UNKNOWN:
        raise Refused("只有「结果待核实」的运行可以人工标记")
    run.state = RunState.SUCCEEDED if done else RunState.FAILED
    run.message = say("{who} 人工标记为已完成" if done else "{who} 人工标记为未完成", who=actor_name)
    run.lock, run.finished_at = None, utcnow()
    session.commit()
