"""Pushes, after the request: processed once, in order per app."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import msgspec
import structlog
from flask import Flask
from sqlalchemy import Update, bindparam, select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.tenancy import PLATFORM, app_scope, platform_connection
from app.douyin.inbound import InboundMessage, MalformedEvent, UnknownEvent, parse
from app.errors import DouyinError, ErrorKind, Held, NoAnswer, NotGranted, Refused
from app.i18n.sentence import ours, say
from app.link import holds
from app.link.exchange import note
from app.models import InboundEvent, InboundState, MiniProgram
from app.operations.inbound import queues
from app.operations.inbound.events import HANDLERS, UNAUTHORIZED, Later, Push, Result
from app.operations.inbound.receive import MESSAGE

log = structlog.get_logger(__name__)
MOST_ATTEMPTS = 12
MALFORMED_ATTEMPTS = 4  # the later events of its app wait for it, and what it lacks seldom comes by waiting
AT_ONCE = 8
EVENTS = InboundEvent.__table__
ROW = select(EVENTS).where(EVENTS.c.id == bindparam("id"))
HELD_SECONDS = 15.0
A_ROUND = 32
A_MOMENT = 0.5  # seconds for which one goes on with the events of one app
_PASSING = frozenset({ErrorKind.SYSTEM, ErrorKind.RATE, ErrorKind.PLATFORM, ErrorKind.TOKEN, ErrorKind.ANSWER})


# Afterwards


def process_due(app: Flask, limit: int = 500) -> int:
    """Process what is due, tickets and revocations first; gives how many, whatever the verdict."""
    done = 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="inbound") as pool:
        while done < limit:
            left = limit - done
            ids = queues.due(app, min(A_ROUND, left))
            if not ids:
                break
            worked = sum(pool.map(partial(_work_off, app, max(1, left // len(ids))), ids))
            if not worked:
                break  # others have them
            done += worked
    return done


def _work_off(app: Flask, most: int, event_id: int | None) -> int:
    """Work on an event, and for a moment on those of its app that wait behind it; how many it were.

    Only for a moment: the next pick takes up the tickets and revocations that have come meanwhile, and other apps.
    """
    done, until = 0, time.monotonic() + A_MOMENT
    while event_id is not None and done < most:
        push = _claim(app, event_id)
        if push is None:
            break
        _one(app, push)
        done += 1
        if time.monotonic() >= until:
            break
        event_id = queues.behind(app, push.third_party_app_id, push.appid, push.id)
    return done


def take_tickets(app: Flask) -> int:
    """Work off the tickets that wait, for whoever needs one now and has no worker running; gives how many.

    Not with a transaction of the caller's open: on SQLite that may hold the only write lock.
    """
    waiting = select(InboundEvent.id).where(InboundEvent.event == "PUSH", queues.claimable(utcnow()))
    with app_scope(app, PLATFORM) as session, reading():
        ids = list(session.scalars(waiting.order_by(InboundEvent.id).limit(A_ROUND)))
    return sum(process(app, event_id) for event_id in ids)


def process(app: Flask, event_id: int) -> bool:
    """Work on one event if it is free; False when another worker has it."""
    push = _claim(app, event_id)
    if push is None:
        return False
    _one(app, push)
    return True


def _one(app: Flask, push: Push) -> None:
    """Handle what was claimed, and write what came of it."""
    try:
        result = _handle(app, push)
    except Later as later:
        _postpone(app, push, str(later), later.seconds, counted=False)
    except (MalformedEvent, msgspec.DecodeError) as problem:
        _postpone(
            app,
            push,
            say("事件内容不合接口约定：{problem}", problem=str(problem)[:400]),
            _pause(push),
            most=MALFORMED_ATTEMPTS,
        )
    except DouyinError as error:
        text = say("{said} {advice}", said=error.message, advice=ours(error.advice)) if error.advice else error.message
        if error.kind in _PASSING:
            _postpone(app, push, text, error.retry_after or _pause(push))
        else:
            _close(app, push, Result(InboundState.FAILED, text))
    except (NoAnswer, Refused) as error:
        _not_now(app, push, error)
    except Exception as fault:
        log.exception("inbound_fault", event=push.id)
        _postpone(app, push, f"内部错误（{type(fault).__name__}）", _pause(push))
    else:
        _close(app, push, result)


def _not_now(app: Flask, push: Push, error: NoAnswer | Refused) -> None:
    """Later; without using up an attempt while what it needs is held; never where it was not granted."""
    if isinstance(error, NotGranted):
        _close(app, push, Result(InboundState.FAILED, error.message))
    elif isinstance(error, Held):
        _postpone(app, push, error.message, HELD_SECONDS, counted=False)
    else:
        _postpone(app, push, error.message, _pause(push))


def _claim(app: Flask, event_id: int) -> Push | None:
    now = utcnow()
    lease = now + timedelta(seconds=8 * float(app.config["DOUYIN_TIMEOUT"]) + 30)
    taken = (
        update(EVENTS)
        .where(EVENTS.c.id == event_id, queues.claimable(now))
        .values(state=InboundState.PROCESSING, lease_until=lease, attempts=EVENTS.c.attempts + 1)
    )
    with platform_connection(app) as asks:
        with asks.begin():
            if asks.execute(taken).rowcount != 1:
                return None
        with reading(), asks.begin():
            row = asks.execute(ROW, {"id": event_id}).one()
        return Push(
            id=row.id,
            third_party_app_id=row.third_party_app_id,
            name=row.event,
            appid=row.appid,
            event_at=row.event_at,
            received_at=row.received_at,
            attempt=row.attempts,
            payload=InboundEvent.payload.opened(EVENTS.name, row.row_uid, row.payload_sealed) or "{}",
        )


def _handle(app: Flask, push: Push) -> Result:
    if push.name.partition(":")[0] == MESSAGE:
        return Result(InboundState.IGNORED, "用户消息，不是事件：已存档，未做处理")
    message: InboundMessage = parse(msgspec.json.decode(push.payload))
    if isinstance(message, UnknownEvent) or push.name not in HANDLERS:
        return Result(InboundState.IGNORED, "未知事件，已存档，未做处理")
    return HANDLERS[push.name](app, push, message)


def _pause(push: Push) -> float:
    return min(600.0, 5.0 * 2.0 ** (push.attempt - 1))


def _postpone(
    app: Flask, push: Push, verdict: str, seconds: float, *, counted: bool = True, most: int = MOST_ATTEMPTS
) -> None:
    if counted and push.attempt >= most:
        return _close(
            app, push, Result(InboundState.FAILED, say("{verdict}；已多次重试，可手动重放", verdict=ours(verdict)))
        )
    values = {
        "state": InboundState.RECEIVED,
        "verdict": say("{verdict}；稍后自动重试", verdict=ours(verdict)),
        "lease_until": None,
    }
    more = {"not_before": utcnow() + timedelta(seconds=seconds), "attempts": push.attempt - (not counted)}
    with platform_connection(app) as asks, asks.begin():
        asks.execute(_held(push).values(**values, **more))
    return None


def _close(app: Flask, push: Push, result: Result) -> None:
    """The verdict and its line on the timeline, in one commit, if the event is still ours."""
    values = {"state": result.state, "verdict": result.verdict, "lease_until": None, "processed_at": utcnow()}
    closed = _held(push).values(**values)
    if push.name != UNAUTHORIZED and not result.note:
        with platform_connection(app) as asks, asks.begin():
            asks.execute(closed)
        return
    with app_scope(app, PLATFORM) as session:
        if rows_changed(session, closed) != 1:
            session.rollback()
            return
        row = session.scalar(select(MiniProgram).where(MiniProgram.appid == push.appid))
        if row is not None and push.name == UNAUTHORIZED and row.third_party_app_id == push.third_party_app_id:
            holds.lift_mini_program(session, row.id)  # confirmed or not, the doubt is over
        if row is not None and result.note:
            session.info["actor"] = {"name": "抖音"}
            note(session, row, "note", result.note, event=push.name, inbound_event_id=push.id)
        session.commit()


def _held(push: Push) -> Update:
    """The event while this attempt holds it: `attempts` is the fence against one that was thought dead."""
    held = (EVENTS.c.state == InboundState.PROCESSING, EVENTS.c.attempts == push.attempt)
    return update(EVENTS).where(EVENTS.c.id == push.id, *held)


def replay(_session: Session, event: InboundEvent) -> None:
    """Have a stored event processed again; the caller commits. Refused while it is being processed."""
    held = event.lease_until is not None and event.lease_until > utcnow()
    if event.state == InboundState.PROCESSING and held:
        raise Refused("该事件正在处理中：请稍后再试")
    event.state, event.verdict = InboundState.RECEIVED, ""
    event.attempts, event.lease_until, event.processed_at = 0, None, None
    event.not_before = utcnow()
