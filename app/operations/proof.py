"""How it is known whether a change was made: a look at Douyin before its call, kept with the intent, and one after.

Douyin is compared with Douyin, never with our clock. A goal verb (撤回, 发布, 删除) is done when its goal stands now
and did not before; where it stood before, it is 已是该状态 and nobody's doing. An event verb (上传, 提审) is done when
what it changes looks different from before. What cannot be told apart is asked of a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.models.kit.operation import OperationRun

ALREADY = "已是该状态，不是本次操作完成的"


class Verb(StrEnum):
    """What kind of change an operation makes, and so what proves it."""

    GOAL = "goal"
    EVENT = "event"


class Verdict(Enum):
    """What a look after the call found out."""

    DONE = "done"
    ALREADY = "already"  # the goal stands, but it stood before: not this run's doing
    NOT_DONE = "not_done"
    OVER = "over"  # not done, and no longer possible: to send it again would be refused, or be another's
    WAIT = "wait"
    ASK = "ask"


@dataclass(frozen=True)
class Settlement:
    """A verdict, with the result if done, a sentence, and the seconds to wait if it is too early to tell."""

    verdict: Verdict
    message: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    wait: float = 30.0


DONE, NOT_DONE = Settlement(Verdict.DONE), Settlement(Verdict.NOT_DONE)


class Proved(Exception):
    """Before a call: an earlier one of the same run did it, or the goal stands already. Nothing more is sent."""

    def __init__(self, settlement: Settlement) -> None:
        super().__init__(settlement.verdict.value)
        self.settlement = settlement


@dataclass(frozen=True)
class Sight:
    """What one look found: `facts`, plain JSON of what the verb changes, and the whole `found` for taking it over."""

    facts: dict[str, Any]
    found: Any = None


@dataclass(frozen=True)
class Kept:
    """What was kept with the intent: what stood before, what the run wants, since when, calls that may be out."""

    before: Mapping[str, Any]
    wanted: Mapping[str, Any]
    at: datetime
    calls: int

    @classmethod
    def of(cls, run: OperationRun) -> Kept | None:
        """What the run's row holds; None = no call of it was ever about to be made."""
        held = run.evidence
        if not held:
            return None
        return cls(held["before"], held["wanted"], datetime.fromisoformat(held["at"]), int(held["calls"]))

    @property
    def age(self) -> timedelta:
        """How long ago the call was about to be made: for waiting only, it proves nothing."""
        return utcnow() - self.at


@dataclass(frozen=True)
class Proof:
    """How an operation's outcome is proved.

    `look(row, work, params)` reads what the verb changes; it writes nothing. `judge(kept, facts)` compares. `take(row,
    work, params, kept, sight)` writes what was found done into our rows and gives the result. `stands(facts, wanted)`
    is a goal verb's goal.
    """

    verb: Verb
    look: Callable[[Any, Work, Any], Sight]
    judge: Callable[[Kept, Mapping[str, Any]], Settlement]
    take: Callable[[Any, Work, Any, Kept, Sight], Mapping[str, Any]]
    stands: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None


Judge = Callable[[Kept, Mapping[str, Any]], Settlement]


def goal(
    look: Callable[[Any, Work, Any], Sight],
    *,
    stands: Callable[[Mapping[str, Any], Mapping[str, Any]], bool],
    take: Callable[[Any, Work, Any, Kept, Sight], Mapping[str, Any]],
    otherwise: Judge | None = None,
) -> Proof:
    """The proof of a goal verb; `otherwise` judges when the goal does not stand (left out: it was not done)."""

    def judge(kept: Kept, facts: Mapping[str, Any]) -> Settlement:
        if stands(facts, kept.wanted):
            return Settlement(Verdict.ALREADY, ALREADY) if stands(kept.before, kept.wanted) else DONE
        return otherwise(kept, facts) if otherwise is not None else NOT_DONE

    return Proof(Verb.GOAL, look, judge, take, stands)


def event(
    look: Callable[[Any, Work, Any], Sight],
    *,
    happened: Judge,
    take: Callable[[Any, Work, Any, Kept, Sight], Mapping[str, Any]],
) -> Proof:
    """The proof of an event verb: `happened` compares what stood before with what stands now."""
    return Proof(Verb.EVENT, look, happened, take)


@dataclass
class Work:
    """What an operation's function gets besides its row: the session, its run, Douyin bound to the row's app.

    The run belongs to no session. `keep(evidence)` commits what stood before a call, or raises. `rows` is what the
    checks before the operation looked at besides the row, a `Look`: asked again it is not read again.
    """

    session: Session
    run: OperationRun
    douyin: Any
    proof: Proof | None
    keep: Callable[[dict[str, Any]], None]
    rows: Any = None
    intended: bool = False  # a change of this attempt was about to be sent
    _row: Any = None
    _params: Any = None

    def bind(self, row: Any, params: Any) -> Work:
        """The row and parameters that `look` is for."""
        self._row, self._params = row, params
        return self

    def look(self) -> Sight:
        """What stands at Douyin before this attempt's call. Raises Proved where an earlier call turns out to be done,
        or cannot be told."""
        proof = self._proof()
        kept = Kept.of(self.run)
        sight = proof.look(self._row, self, self._params)
        if kept is not None:
            found = concluded(proof, self._row, self, self._params, kept, sight)
            if found.verdict not in {Verdict.NOT_DONE, Verdict.OVER}:
                raise Proved(found)
        return sight

    def intend(self, sight: Sight, **wanted: Any) -> None:
        """Commit what stood before and what is wanted: the very next thing is the call. Raises Proved where the goal
        stands already, so that there is nothing to send."""
        self.stop_if_so(sight, **wanted)
        earlier = Kept.of(self.run)
        self.keep(
            {
                "before": earlier.before if earlier else sight.facts,
                "wanted": wanted,
                "at": utcnow().isoformat(),
                "calls": (earlier.calls if earlier else 0) + 1,
            }
        )
        self.intended = True

    def stop_if_so(self, sight: Sight, **wanted: Any) -> None:
        """Raise Proved where a goal stands already: there is nothing to send."""
        proof = self._proof()
        if proof.stands is not None and proof.stands(sight.facts, wanted):
            kept = Kept(sight.facts, wanted, utcnow(), 0)
            raise Proved(concluded(proof, self._row, self, self._params, kept, sight))

    def _proof(self) -> Proof:
        if self.proof is None:
            raise TypeError("an operation that only reads looks by its own calls")
        return self.proof


def concluded(proof: Proof, row: Any, work: Work, params: Any, kept: Kept, sight: Sight) -> Settlement:
    """The verdict of a look; what it found done is written into our rows (the caller commits)."""
    found = proof.judge(kept, sight.facts)
    if found.verdict not in {Verdict.DONE, Verdict.ALREADY}:
        return found
    result = dict(proof.take(row, work, params, kept, sight))
    if found.verdict is Verdict.ALREADY:
        result["already"] = True
    return Settlement(found.verdict, found.message, result)


def settle(proof: Proof, row: Any, work: Work, params: Any) -> Settlement:
    """Read back what became of a call; NOT_DONE without a look where none was about to be made."""
    kept = Kept.of(work.run)
    if kept is None:
        return NOT_DONE
    return concluded(proof, row, work, params, kept, proof.look(row, work, params))


def without_call(run: OperationRun) -> dict[str, Any] | None:
    """The evidence of a run whose latest call surely had no effect: none is left where it was the only one."""
    kept = Kept.of(run)
    if kept is None or kept.calls <= 1:
        return None
    return {**(run.evidence or {}), "calls": kept.calls - 1}
