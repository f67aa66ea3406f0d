"""What the steps of a release have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.data.types import words_of
from app.errors import Refused
from app.i18n.sentence import ours, say
from app.models import MiniProgram, Version, VersionState
from app.operations.proof import Kept, Sight, Work


@dataclass(frozen=True)
class VersionParams:
    """`version`, when given, must be the one that Douyin would act on."""

    version: str = field(default="", metadata={"label": "版本号", "help": "留空为当前可操作的版本"})


def as_douyin_says(work: Work, sight: Sight, check: Callable[[Mapping[str, Version]], Version]) -> Version:
    """Bring our rows in line with what was just seen, then check: what others did at Douyin counts too."""
    found = sight.found
    found.reconciler.apply(found.reply)
    try:
        return check(found.reconciler.rows)
    except Refused:
        work.session.commit()  # what was seen is true, whatever is refused
        raise


def refusal_of(check: Callable[[], object]) -> str | None:
    """The sentence of a check that refuses."""
    try:
        check()
    except Refused as refused:
        return refused.message
    return None


def the_one(rows: Mapping[str, Version], state: VersionState, wanted: str, refusal: str) -> Version:
    found = [row for row in rows.values() if row.state == state]
    if not found:
        raise Refused(refusal)
    if wanted and found[-1].number != wanted:
        raise Refused(
            say(
                "当前{state}的是 {number}，不是 {wanted}",
                state=ours(words_of(VersionState)[state]),
                number=found[-1].number,
                wanted=wanted,
            ),
            field="version",
        )
    return found[-1]


def took_reading(app: MiniProgram, _work: Work, _params: Any, kept: Kept, sight: Sight) -> Mapping[str, Any]:
    """What Douyin shows is all there is to take over."""
    sight.found.reconciler.apply(sight.found.reply)
    return {"version": kept.wanted["version"]}


SEEN_SUBMITTED = frozenset(VersionState) - {VersionState.UPLOADED, VersionState.SUPERSEDED}
RESUBMITTABLE = frozenset({VersionState.UPLOADED, VersionState.REJECTED, VersionState.WITHDRAWN})
