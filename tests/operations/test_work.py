"""What an operation keeps before its call, and how a look is compared with it; without a platform."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.models import OperationRun, TemplateApp
from app.operations import proof
from app.operations.perform import LeasedDouyin, LeaseLost
from app.operations.proof import (
    ALREADY,
    DONE,
    NOT_DONE,
    Kept,
    Proof,
    Proved,
    Settlement,
    Sight,
    Verb,
    Verdict,
    Work,
    concluded,
    event,
    goal,
    settle,
    without_call,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
EVIDENCE = {"before": {"live": "0"}, "wanted": {"live": "1"}, "at": AT.isoformat(), "calls": 1}
KEPT = Kept({"live": "0"}, {"live": "1"}, AT, 1)
SIGHT = Sight({"live": "1"}, "found")


class Asked:
    """A proof that keeps what it was asked, and answers with one verdict."""

    def __init__(self, verdict: Settlement = DONE, *, stands: bool | None = None) -> None:
        self.verdict, self.calls = verdict, list[tuple[Any, ...]]()
        standing = (
            (lambda facts, wanted: self._kept("stands", facts, wanted, answer=stands)) if stands is not None else None
        )
        self.proof = Proof(
            Verb.GOAL,
            lambda row, work, params: self._kept("look", row, work, params, answer=SIGHT),
            lambda kept, facts: self._kept("judge", kept, facts, answer=self.verdict),
            lambda row, work, params, kept, sight: self._kept(
                "take", row, work, params, kept, sight, answer={"taken": 1}
            ),
            standing,
        )

    def _kept(self, *call: Any, answer: Any) -> Any:
        self.calls.append(call)
        return answer

    def work(self, session: Any, evidence: Any = None) -> Work:
        run = OperationRun(evidence=evidence)
        return Work(session, run, None, self.proof, keeping(session, run)).bind("row", "params")


def keeping(session: Any, run: OperationRun) -> Callable[[Any], None]:
    """Keeps an intent as a worker does: on the run, and committed."""

    def keep(evidence: Any) -> None:
        run.evidence = evidence
        session.commit()

    return keep


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> datetime:
    now = AT + timedelta(hours=1)
    monkeypatch.setattr(proof, "utcnow", lambda: now)
    return now


# What is kept


def test_what_was_kept_is_read_from_the_run(moment: datetime) -> None:
    assert Kept.of(OperationRun(evidence=None)) is None
    assert Kept.of(OperationRun(evidence={})) is None
    kept = Kept.of(OperationRun(evidence=EVIDENCE | {"calls": "3"}))
    assert kept == Kept({"live": "0"}, {"live": "1"}, AT, 3)
    assert kept.age == timedelta(hours=1)


@pytest.mark.parametrize(("calls", "left"), [(1, None), (2, 1), (3, 2)])
def test_a_call_that_had_no_effect_is_forgotten(calls: int, left: int | None) -> None:
    held = EVIDENCE | {"calls": calls}
    assert without_call(OperationRun(evidence=held)) == (EVIDENCE | {"calls": left} if left else None)


def test_of_a_run_without_a_call_none_is_forgotten() -> None:
    assert without_call(OperationRun(evidence=None)) is None


def test_an_intent_keeps_what_stands_and_what_is_wanted(session: Session, moment: datetime) -> None:
    work = Asked(stands=False).work(session)
    assert work.intended is False
    work.intend(Sight({"live": "0"}), live="1")
    assert work.run.evidence == EVIDENCE | {"at": moment.isoformat()}
    assert work.intended is True


def test_a_second_intent_keeps_what_stood_before_the_first(session: Session, moment: datetime) -> None:
    work = Asked(stands=False).work(session, EVIDENCE)
    work.intend(Sight({"live": "9"}), live="2")
    kept = {"before": {"live": "0"}, "wanted": {"live": "2"}, "at": moment.isoformat(), "calls": 2}
    assert work.run.evidence == kept


def test_what_stands_already_is_taken_over_and_nothing_is_meant(session: Session, moment: datetime) -> None:
    asked = Asked(Settlement(Verdict.ALREADY, ALREADY), stands=True)
    work = asked.work(session)
    with pytest.raises(Proved, match="already") as caught:
        work.intend(SIGHT, live="1")
    assert caught.value.settlement == Settlement(Verdict.ALREADY, ALREADY, {"taken": 1, "already": True})
    kept = Kept({"live": "1"}, {"live": "1"}, moment, 0)
    assert asked.calls == [
        ("stands", {"live": "1"}, {"live": "1"}),
        ("judge", kept, {"live": "1"}),
        ("take", "row", work, "params", kept, SIGHT),
    ]
    assert (work.intended, work.run.evidence) == (False, None)


def test_an_event_stands_never(session: Session) -> None:
    work = Asked().work(session)
    work.stop_if_so(SIGHT, live="1")
    work.intend(SIGHT, live="1")
    assert work.intended is True


# Looks


def test_the_first_look_of_a_run_judges_nothing(session: Session) -> None:
    asked = Asked()
    work = asked.work(session)
    assert work.look() is SIGHT
    assert asked.calls == [("look", "row", work, "params")]


@pytest.mark.parametrize("verdict", [NOT_DONE, Settlement(Verdict.OVER, "来不及了")])
def test_a_look_before_another_call_goes_on_with_what_was_not_done(session: Session, verdict: Settlement) -> None:
    asked = Asked(verdict)
    work = asked.work(session, EVIDENCE)
    assert work.look() is SIGHT
    assert asked.calls == [("look", "row", work, "params"), ("judge", KEPT, {"live": "1"})]


def test_a_look_before_another_call_takes_over_what_was_done(session: Session) -> None:
    asked = Asked(Settlement(Verdict.DONE, "做好了"))
    work = asked.work(session, EVIDENCE)
    with pytest.raises(Proved, match="done") as caught:
        work.look()
    assert caught.value.settlement == Settlement(Verdict.DONE, "做好了", {"taken": 1})
    assert asked.calls[-1] == ("take", "row", work, "params", KEPT, SIGHT)


def test_an_operation_that_only_reads_has_no_look(session: Session) -> None:
    work = Work(session, OperationRun(), None, None, print)
    with pytest.raises(TypeError, match="only reads looks by its own calls"):
        work.look()
    with pytest.raises(TypeError, match="only reads looks by its own calls"):
        work.intend(SIGHT)


@pytest.mark.parametrize("verdict", Verdict)
def test_only_what_is_done_is_taken_over(session: Session, verdict: Verdict) -> None:
    found = Settlement(verdict, "说", {}, 45.0)
    asked = Asked(found)
    work = asked.work(session)
    settled = concluded(asked.proof, "row", work, "params", KEPT, SIGHT)
    if verdict not in {Verdict.DONE, Verdict.ALREADY}:
        assert settled is found
        assert asked.calls == [("judge", KEPT, {"live": "1"})]
    else:
        already = {"already": True} if verdict is Verdict.ALREADY else {}
        assert settled == Settlement(verdict, "说", {"taken": 1} | already)
        assert asked.calls[1:] == [("take", "row", work, "params", KEPT, SIGHT)]


def test_a_run_without_a_call_is_not_done_without_a_look(session: Session) -> None:
    asked = Asked()
    assert settle(asked.proof, "row", asked.work(session), "params") is NOT_DONE
    assert asked.calls == []


def test_a_call_is_read_back_by_one_look(session: Session) -> None:
    asked = Asked(Settlement(Verdict.DONE, "做好了"))
    work = asked.work(session, EVIDENCE)
    assert settle(asked.proof, "row", work, "params") == Settlement(Verdict.DONE, "做好了", {"taken": 1})
    looked, judged = ("look", "row", work, "params"), ("judge", KEPT, {"live": "1"})
    assert asked.calls == [looked, judged, ("take", "row", work, "params", KEPT, SIGHT)]


# The two kinds of proof


def _look(*_: Any) -> Sight:
    return SIGHT


def _take(*_: Any) -> dict[str, Any]:
    return {}


def _stands(facts: Any, wanted: Any) -> bool:
    return bool(facts["live"] == wanted["live"])


def test_a_goal_is_done_when_it_stands_and_did_not_before() -> None:
    made = goal(_look, stands=_stands, take=_take)
    assert (made.verb, made.look, made.take, made.stands) == (Verb.GOAL, _look, _take, _stands)
    assert made.judge(KEPT, {"live": "1"}) is DONE
    assert made.judge(KEPT, {"live": "0"}) is NOT_DONE
    stood = Kept({"live": "1"}, {"live": "1"}, AT, 1)
    assert made.judge(stood, {"live": "1"}) == Settlement(Verdict.ALREADY, ALREADY)


def test_a_goal_that_does_not_stand_may_be_judged_otherwise() -> None:
    waits = Settlement(Verdict.WAIT)
    asked: list[Any] = []

    def otherwise(*given: Any) -> Settlement:
        asked.append(given)
        return waits

    made = goal(_look, stands=_stands, take=_take, otherwise=otherwise)
    assert made.judge(KEPT, {"live": "0"}) is waits
    assert asked == [(KEPT, {"live": "0"})]


def test_an_event_is_judged_by_what_it_is_given() -> None:
    def happened(*_: Any) -> Settlement:
        return DONE

    made = event(_look, happened=happened, take=_take)
    assert made == Proof(Verb.EVENT, _look, happened, _take, None)


# Douyin as an operation gets it


class Answers:
    """Douyin that answers everything with its call; `call(reads)` makes one."""

    def __init__(self, reads: bool) -> None:
        self.reads = reads

    def send(self, call: Any) -> Any:
        return ("answer", call)


LOOK, CHANGE = Answers(reads=True), Answers(reads=False)


@pytest.fixture
def leased(session: Session, monkeypatch: pytest.MonkeyPatch) -> LeasedDouyin:
    """Of a lease of 10 seconds from the 100th on, for calls that take 3 at most."""
    set_clock(monkeypatch, 100.0)
    made = LeasedDouyin(session, Answers(reads=True), seconds=10.0, timeout=3.0)
    made.work = Work(session, OperationRun(), made, None, print, intended=True)
    return made


def set_clock(monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    monkeypatch.setattr("app.operations.perform.time.monotonic", lambda: at)


@pytest.mark.parametrize(("at", "sent"), [(100.0, True), (107.0, True), (107.5, False), (109.0, False), (114.0, False)])
def test_a_change_is_sent_while_its_answer_comes_within_the_lease(
    leased: LeasedDouyin, monkeypatch: pytest.MonkeyPatch, at: float, sent: bool
) -> None:
    set_clock(monkeypatch, at)
    if sent:
        assert leased.send(CHANGE) == ("answer", CHANGE)
    else:
        with pytest.raises(LeaseLost):
            leased.send(CHANGE)
    assert leased.effected is sent
    assert leased.send(LOOK) == ("answer", LOOK)
    assert leased.effected is sent


def test_only_a_change_that_was_answered_had_its_effect(leased: LeasedDouyin) -> None:
    assert leased.effected is False
    leased.send(LOOK)
    assert leased.effected is False
    leased.send(CHANGE)
    assert leased.effected is True


@pytest.mark.parametrize("intended", [None, False])
def test_a_change_without_what_stood_before_is_not_sent(leased: LeasedDouyin, intended: bool | None) -> None:
    if intended is None:
        leased = LeasedDouyin(leased._session, Answers(reads=True), seconds=10.0, timeout=3.0)
        assert leased.work is None
    else:
        assert leased.work is not None
        leased.work.intended = False
    with pytest.raises(RuntimeError, match="without having kept what stood before"):
        leased.send(CHANGE)
    assert leased.send(LOOK) == ("answer", LOOK)


@pytest.mark.parametrize("how", ["new", "changed", "deleted"])
def test_nothing_is_sent_while_rows_are_changed(
    leased: LeasedDouyin, session: Session, third_party_app: Any, how: str
) -> None:
    session.rollback()
    if how == "new":
        session.add(TemplateApp(third_party_app_id=third_party_app.id, appid="ttt1"))
    elif how == "changed":
        third_party_app.name = "改了"
    else:
        session.delete(third_party_app)
    with session.no_autoflush, pytest.raises(RuntimeError, match="changed rows before its call was answered"):
        leased.send(LOOK)
    session.rollback()
