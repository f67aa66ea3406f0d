"""Jobs that read Douyin's state back: audits, versions, templates, basic information, and the events it pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from flask import Flask
from sqlalchemy import ColumnElement, or_, select

from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.errors import DouzhouError, failure_words
from app.i18n.sentence import Sentence, ours, say
from app.models import AuthorizationState, MiniProgram, ThirdPartyApp
from app.operations import icons as pictures
from app.operations import profile, template
from app.operations.inbound import process
from app.operations.onboarding import arrival, authorizations
from app.operations.release.sync import sync

AT_ONCE = 8
MOST_A_SLOT = 2000
VERSIONS_AGE = timedelta(hours=24)
INFO_AGE = timedelta(hours=24)


class Partly(Sentence):
    """A job's result that tells of failures among what it did."""

    @classmethod
    def of(cls, sentence: Sentence) -> Partly:
        """A sentence as such a result."""
        return cls(sentence.template, sentence.values)


def _each(app: Flask, ids: Iterable[int], work: Callable[[Flask, int], str]) -> str:
    """Do it for every id, a few at once; a sentence with the counts."""
    counts = {"ok": 0, "failed": 0}
    first = ""

    def one(row_id: int) -> str:
        try:
            work(app, row_id)
        except DouzhouError as error:
            return failure_words(error)
        return ""

    due = list(ids)
    begun = [one(row_id) for row_id in due[:1]]  # alone: a fault that stands is met once
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sync") as pool:
        for failure in [*begun, *pool.map(one, due[1:])]:
            counts["failed" if failure else "ok"] += 1
            first = first or failure
    words = say("成功 {ok}，失败 {failed}", **counts)
    return Partly.of(say("{words}（{first}）", words=words, first=first)) if first else words


def _ids(app: Flask, *conditions: ColumnElement[bool]) -> list[int]:
    statement = select(MiniProgram.id).where(MiniProgram.state == AuthorizationState.AUTHORIZED, *conditions)
    with app_scope(app, PLATFORM) as session, reading():
        return list(session.scalars(statement.order_by(MiniProgram.poll_at).limit(MOST_A_SLOT)))


def audits(app: Flask) -> str:
    """Mini-programs whose next look is due: quick at first, slower later (operations/release/versions.py)."""
    return _each(app, _ids(app, MiniProgram.poll_at <= utcnow()), sync)


def versions(app: Flask) -> str:
    """Every authorised mini-program about once a day: heals what pushes and polls missed."""
    stale = or_(MiniProgram.synced_at.is_(None), MiniProgram.synced_at < utcnow() - VERSIONS_AGE)
    return _each(app, _ids(app, stale), sync)


def info(app: Flask) -> str:
    """Basic information about once a day, and the list of authorised apps against ours."""
    stale = or_(MiniProgram.info_at.is_(None), MiniProgram.info_at < utcnow() - INFO_AGE)
    done = _each(app, _ids(app, stale), profile.sync)
    found = say("{done}；授权：{found}", done=done, found=ours(authorizations.check_authorizations(app)))
    return Partly.of(found) if isinstance(done, Partly) else found


def icons(app: Flask) -> str:
    """Icons whose address is new. That one cannot be had is no fault of ours: the job does not fail by it."""
    return str(_each(app, pictures.due(app), pictures.get))


def templates(app: Flask) -> str:
    """Templates and drafts of every active third-party app."""
    with app_scope(app, PLATFORM) as session, reading():
        ids = list(session.scalars(select(ThirdPartyApp.id).where(ThirdPartyApp.active)))
    return _each(app, ids, template.sync)


def events(app: Flask) -> str:
    """Pushes that wait, and merchants' returns that learn from them."""
    done = f"处理 {process.process_due(app, 500)} 条"
    finished = arrival.pursue(app)
    return f"{done}，完成 {finished} 个授权" if finished else done
