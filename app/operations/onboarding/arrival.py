"""A merchant's return from the consent page: its code exchanged once, the mini-program bound once, and what waits.

An exchange that is not over at once is kept (AuthorizationReturn) with its code sealed, and gone on with by the page
that waits and by a job: a code that surely was not spent is exchanged again; for one that may have been, the app is
learnt from the push that carries the same code, or is the one the link was made for. No other app is ever guessed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from flask import Flask, current_app
from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import reading, rows_changed
from app.data.secrets import SealBroken
from app.data.tenancy import PLATFORM, app_scope
from app.errors import DouyinError, DouzhouError, NoAnswer, Refused
from app.i18n.sentence import Foreign, Sentence, ours, say
from app.link.exchange import (
    PATIENCE,
    CodeTaken,
    exchange_code,
    in_one_commit,
    is_uncertain,
    is_unspent,
    mark_code,
    retrieve,
)
from app.link.tokens import code_hash
from app.models import AuthorizationCode, AuthorizationLink, AuthorizationReturn, LinkState, MiniProgram
from app.operations import profile
from app.operations.onboarding.outcome import Ending, Outcome, linked, outcome
from app.operations.onboarding.ownership import give

log = structlog.get_logger(__name__)

LINK_LIFE = timedelta(hours=24)
PAUSE = timedelta(seconds=3)  # between two looks at a return that waits
A_ROUND = 50
ROUND_SECONDS = 10.0
SPENT, ELSEWHERE = 40018, 40019
SUBJECT = frozenset({40005, 40008, 10105, 10106, 11305})


def signer() -> URLSafeTimedSerializer:
    """What signs the state of a link, so that only an address of our own making is answered."""
    return URLSafeTimedSerializer(current_app.config["SECRET_KEY"], salt="authorization-link")


@dataclass(frozen=True)
class _Return:
    """A link of which a code came back. `kept`: it has a row of its own already."""

    link_id: int
    third_party_app_id: int
    expected_appid: str
    kept: bool
    code: str = field(repr=False)


def complete(app: Flask, state: str, code: str) -> Outcome:
    """What the merchant's return comes to, or has come to so far; never raises for anything they did.

    Without a code: goes on with the one that is kept.
    """
    try:
        with app.app_context():
            # The row says when a link ends; a page that waits still hears what became of it.
            link_id = int(signer().loads(state, max_age=2 * int(LINK_LIFE.total_seconds()))[0])
    except SignatureExpired:
        return outcome(Ending.LINK_EXPIRED)
    except (BadSignature, ValueError, TypeError, IndexError, KeyError):
        return outcome(Ending.BAD_LINK)
    return _go_on(app, link_id, code)


def pursue(app: Flask) -> int:
    """Go on with returns whose page may be closed; gives how many are over."""
    due = select(AuthorizationReturn.link_id).where(AuthorizationReturn.at <= utcnow())
    with app_scope(app, PLATFORM) as session, reading():
        ids = list(session.scalars(due.order_by(AuthorizationReturn.at).limit(A_ROUND)))
    until, done = time.monotonic() + ROUND_SECONDS, 0
    for link_id in ids:
        if time.monotonic() < until:
            done += _go_on(app, link_id, "").ending is not Ending.WAITING
    return done


def _go_on(app: Flask, link_id: int, code: str) -> Outcome:
    with app_scope(app, PLATFORM) as session, reading():
        # In this order: the row goes after the link is used, so that a link without its row is never an open one.
        row = session.scalar(select(AuthorizationReturn).where(AuthorizationReturn.link_id == link_id))
        link = session.get(AuthorizationLink, link_id)
        if link is None:
            return outcome(Ending.BAD_LINK)
        over = _over(session, link, row, code)
        back = _Return(link.id, link.third_party_app_id, link.expected_appid, _is_of(row, link, code), _code(row, code))
    if over is not None:
        if row is not None and link.state != LinkState.OPEN or over.ending is Ending.GAVE_UP:
            _end(app, link_id, over.explanation if link.state == LinkState.OPEN else "")
        return over
    if back.kept and not _take_turn(app, link_id, _span(app)):
        return outcome(Ending.WAITING)  # another load of the page, or the job, is at it
    return _finish(app, back)


def _is_of(row: AuthorizationReturn | None, link: AuthorizationLink, code: str) -> bool:
    """Whether the kept return is of this code; the merchant may have consented a second time."""
    return row is not None and (not code or row.code_hash == code_hash(link.third_party_app_id, code))


def _code(row: AuthorizationReturn | None, code: str) -> str:
    if code or row is None:
        return code
    try:
        return row.code or ""
    except SealBroken:  # its key was taken out of the ring
        return ""


def _over(session: Session, link: AuthorizationLink, row: AuthorizationReturn | None, code: str) -> Outcome | None:
    """Links that are over; a reload of a page shows the same ending again."""
    if link.state == LinkState.USED:
        return _used(session, link, code)
    if link.state == LinkState.VOID:
        return outcome(Ending.BAD_LINK)
    if link.expires_at <= utcnow():
        return outcome(Ending.GAVE_UP if row is not None else Ending.LINK_EXPIRED)
    if not _code(row, code):
        return outcome(Ending.CANCELLED if row is None else Ending.GAVE_UP)
    return None


def _used(session: Session, link: AuthorizationLink, code: str) -> Outcome:
    """What a used link came to, for whoever comes with the code that used it, or waited without one."""
    claim = session.get(AuthorizationCode, code_hash(link.third_party_app_id, code)) if code else None
    row = session.scalar(select(MiniProgram).where(MiniProgram.appid == link.appid))
    if row is None or (code and (claim is None or claim.appid != link.appid)):
        return outcome(Ending.LINK_USED)
    if link.expected_appid and link.expected_appid != link.appid:
        return outcome(Ending.OTHER_APP)
    if link.failure or row.merchant_id != link.merchant_id:
        return outcome(Ending.OTHER_MERCHANT)
    return linked(row)


def _finish(app: Flask, back: _Return) -> Outcome:
    try:
        mini_program_id = _exchanged(app, back)
    except DouyinError as error:
        if is_unspent(error) or is_uncertain(error):
            return _wait(app, back, error)
        return _refused(app, back, error.err_no, error.message)
    except CodeTaken as taken:
        if taken.err_no is None:
            return _wait(app, back, taken)
        return _refused(app, back, taken.err_no, taken.message)
    except (Refused, NoAnswer) as error:
        return _wait(app, back, error)
    bind = partial(_bind_once, link_id=back.link_id, mini_program_id=mini_program_id)
    ending = in_one_commit(app, bind, actor="商户授权")
    if ending is not None:
        return outcome(ending)
    sync_quietly(app, mini_program_id)
    with app_scope(app, PLATFORM) as session, reading():
        return linked(session.get_one(MiniProgram, mini_program_id))


def _exchanged(app: Flask, back: _Return) -> int:
    """The mini-program of a return. A code that may be spent is retrieved anew, where it is known for which app."""
    owner_id = back.third_party_app_id
    try:
        patience = 0.0 if back.kept else PATIENCE
        return exchange_code(app, owner_id, back.code, patience=patience).mini_program_id
    except CodeTaken as taken:
        if taken.err_no is not None or taken.under_way or not (back.kept and back.expected_appid):
            raise
    try:
        found = retrieve(app, owner_id, back.expected_appid)
    except DouyinError as error:
        # Not an answer about the merchant's own code: that one may still be told of by its push.
        raise NoAnswer(error.message) from None
    mark_code(app, owner_id, back.code, appid=back.expected_appid)
    return found


def _refused(app: Flask, back: _Return, err_no: int, said: str) -> Outcome:
    _end(app, back.link_id, said)
    return outcome(_ending(err_no), said=said if isinstance(said, Sentence) else Foreign(said))


def _ending(err_no: int) -> Ending:
    if err_no == SPENT:
        return Ending.CODE_SPENT
    if err_no == ELSEWHERE:
        return Ending.OTHER_PROVIDER
    return Ending.SUBJECT if err_no in SUBJECT else Ending.REFUSED


# What is kept meanwhile


def _span(app: Flask) -> timedelta:
    """Longer than one going-on can take: a code asked for and exchanged, each with its token."""
    return timedelta(seconds=4 * float(app.config["DOUYIN_TIMEOUT"]) + 5)


def _take_turn(app: Flask, link_id: int, span: timedelta) -> bool:
    """Only one at a time goes on with a return; whoever dies at it leaves it to the next after `span`."""
    now = utcnow()
    this = update(AuthorizationReturn).where(AuthorizationReturn.link_id == link_id, AuthorizationReturn.at <= now)
    taken = this.values(at=now + span)
    count = in_one_commit(app, lambda session: rows_changed(session, taken))
    return count == 1


def _wait(app: Flask, back: _Return, error: DouyinError | Refused | NoAnswer) -> Outcome:
    in_one_commit(app, partial(_keep, back=back, failure=ours(error.message)))
    return outcome(Ending.WAITING)


def _keep(session: Session, back: _Return, failure: str) -> None:
    # Locked, so that a page that binds at this moment does not leave a code behind.
    link = session.get_one(AuthorizationLink, back.link_id, with_for_update=True)
    if link.state != LinkState.OPEN:
        return
    link.failure = failure
    row = session.scalar(select(AuthorizationReturn).where(AuthorizationReturn.link_id == back.link_id))
    if row is None:
        row = AuthorizationReturn(link_id=back.link_id)
        session.add(row)
    hashed = code_hash(back.third_party_app_id, back.code)
    if row.code_hash != hashed:
        row.code_hash, row.code = hashed, back.code
    row.at = utcnow() + PAUSE


def _end(app: Flask, link_id: int, failure: str) -> None:
    """The return is over without a mini-program: its code goes, the reason stays with the link."""

    def end(session: Session) -> None:
        _forget(session, link_id)
        if failure:
            this = update(AuthorizationLink).where(AuthorizationLink.id == link_id)
            session.execute(this.values(failure=failure).execution_options(synchronize_session=False))

    in_one_commit(app, end)


def _forget(session: Session, link_id: int) -> None:
    gone = delete(AuthorizationReturn).where(AuthorizationReturn.link_id == link_id)
    session.execute(gone.execution_options(synchronize_session=False))


# The mini-program and its merchant


def _bind_once(session: Session, link_id: int, mini_program_id: int) -> Ending | None:
    """Use the link up and give the mini-program to its merchant; None when all is well."""
    row = session.get_one(MiniProgram, mini_program_id)
    table = AuthorizationLink.__table__
    used = {"state": LinkState.USED, "used_at": utcnow(), "appid": row.appid, "failure": ""}
    first = update(table).where(table.c.id == link_id, table.c.state == LinkState.OPEN).values(**used)
    won = rows_changed(session, first) == 1
    _forget(session, link_id)
    link = session.get_one(AuthorizationLink, link_id)
    if not won:
        return None if link.appid == row.appid and not link.failure else Ending.LINK_USED
    ending = None
    if link.expected_appid and link.expected_appid != row.appid:
        ending, link.failure = (
            Ending.OTHER_APP,
            say("授权的是 {appid}，应为 {wanted}", appid=row.appid, wanted=link.expected_appid),
        )
    elif row.merchant_id not in {None, link.merchant_id}:
        ending, link.failure = Ending.OTHER_MERCHANT, say("{appid} 已属于另一个商户", appid=row.appid)
    elif row.merchant_id is None:
        give(session, row, link.merchant_id)
    return ending


def sync_quietly(app: Flask, mini_program_id: int) -> None:
    """Name, icon and subject for the pages that come next; that they are missing stops nobody."""
    try:
        profile.sync(app, mini_program_id)
    except (DouzhouError, OperationalError) as error:
        log.info("profile_not_synced", mini_program=mini_program_id, error=type(error).__name__)
