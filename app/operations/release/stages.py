"""What the verbs of the release loop look at: Douyin's three stages as plain facts, and what their change proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.douyin.development import GetVersions, VersionsReply
from app.models import MiniProgram
from app.operations.proof import DONE, NOT_DONE, Kept, Settlement, Sight, Verdict, Work
from app.operations.release.reconcile import Reconciler
from app.operations.release.versions import versions_of_many

Facts = Mapping[str, Any]
AUDITING, PASSED, REJECTED, WITHDRAWN = range(4)  # `audit.status`
ROLLBACK_EFFECT = timedelta(minutes=6)  # documented: 3 to 5 minutes
RELEASE_EFFECT = timedelta(minutes=10)
OTHERS_HAND = "抖音侧在此期间有其他人的操作，无法判断本次是否生效"


@dataclass(frozen=True)
class Found:
    """One reading: the reply, and our rows as they were loaded before it was asked for."""

    reconciler: Reconciler
    reply: VersionsReply


def look(app: MiniProgram, work: Work, _params: Any) -> Sight:
    """获取小程序版本列表信息, as facts and as found."""
    reconciler = Reconciler(work.session, app, work.run, work.rows.at(versions_of_many, app))
    reply = reconciler.believe(work.douyin.send(GetVersions()))
    return Sight(facts_of(reply), Found(reconciler, reply))


def facts_of(reply: VersionsReply) -> dict[str, Any]:
    """The three stages, None where there is none. Times are Douyin's own."""
    latest, audit, current = reply.latest, reply.audit, reply.current
    return {
        "latest": latest and {"version": latest.version, "summary": latest.summary, "ctime": latest.ctime},
        "audit": audit
        and {
            "version": audit.version,
            "summary": audit.summary,
            "ctime": audit.ctime,
            "status": int(audit.status),
            "published": bool(audit.has_publish),
        },
        "current": current
        and {
            "version": current.version,
            "summary": current.summary,
            "can_rollback": bool(current.rollback and current.rollback.can_rollback),
        },
    }


def _of(facts: Facts, stage: str, name: str) -> Any:
    return (facts.get(stage) or {}).get(name)


def uploaded(kept: Kept, facts: Facts) -> Settlement:
    """Ours carries our mark; the same as before is not ours; another's in its place cannot be told from a lost one."""
    for stage in ("latest", "audit", "current"):
        ours = kept.wanted["mark"] in (_of(facts, stage, "summary") or "")
        if ours and _of(facts, stage, "version") == kept.wanted["version"]:
            return DONE
    if facts["latest"] == kept.before["latest"]:
        return NOT_DONE
    return Settlement(Verdict.ASK, OTHERS_HAND)


def submitted(kept: Kept, facts: Facts) -> Settlement:
    """The audit stage is another than before: its version, its state, or a later time. An equal or earlier time alone
    proves nothing."""
    before, now = kept.before["audit"], facts["audit"]
    if now is None:
        return NOT_DONE if before is None else Settlement(Verdict.ASK, OTHERS_HAND)
    if before is not None and _round(before) == _round(now):
        return NOT_DONE
    if now["version"] != kept.wanted["version"]:
        return Settlement(Verdict.ASK, OTHERS_HAND)
    told = before is None or before["version"] != now["version"] or before["status"] != now["status"]
    if told or now["ctime"] > before["ctime"]:
        return DONE
    return Settlement(Verdict.ASK, "抖音给出的审核时间早于提交之前的，无法判断本次是否生效")


def _round(audit: Facts) -> tuple[Any, Any, Any]:
    return audit["version"], audit["status"], audit["ctime"]


def is_withdrawn(facts: Facts, wanted: Facts) -> bool:
    """The audit that was meant is withdrawn."""
    audit = facts["audit"]
    return audit is not None and _round(audit) == (wanted["version"], WITHDRAWN, wanted["ctime"])


def not_withdrawn(kept: Kept, facts: Facts) -> Settlement:
    """Still in audit: not done. Decided: too late. Another audit in its place: nobody's to withdraw."""
    audit = facts["audit"]
    if audit is None or (audit["version"], audit["ctime"]) != (kept.wanted["version"], kept.wanted["ctime"]):
        return Settlement(Verdict.ASK, OTHERS_HAND)
    if audit["status"] == AUDITING:
        return NOT_DONE
    return Settlement(Verdict.OVER, "审核已有结果，不能再撤回")


def is_live(facts: Facts, wanted: Facts) -> bool:
    return bool(_of(facts, "current", "version") == wanted["version"])


def not_live(kept: Kept, facts: Facts) -> Settlement:
    """Published but not live: it may be on its way, or was rolled back since; never sent again."""
    ours = _of(facts, "audit", "version") == kept.wanted["version"]
    if ours and _of(facts, "audit", "published") and not _of(kept.before, "audit", "published"):
        if kept.age < RELEASE_EFFECT:
            return Settlement(Verdict.WAIT, "抖音已发布该版本，等待它成为线上版本", wait=15)
        return Settlement(Verdict.ASK, "抖音显示该版本已发布，但线上不是它")
    return NOT_DONE


def is_rolled_back(facts: Facts, wanted: Facts) -> bool:
    return bool(_of(facts, "current", "version") == wanted["target"])


def not_rolled_back(kept: Kept, facts: Facts) -> Settlement:
    """It takes minutes, counted from the sending. A third version live is somebody else's doing."""
    if _of(facts, "current", "version") != kept.wanted["live"]:
        return Settlement(Verdict.ASK, OTHERS_HAND)
    if kept.age < ROLLBACK_EFFECT:
        return Settlement(Verdict.WAIT, "回滚需要 3 至 5 分钟生效，稍后再核实", wait=30)
    if _of(kept.before, "current", "can_rollback") and not _of(facts, "current", "can_rollback"):
        return Settlement(Verdict.ASK, "抖音不再允许回滚，但线上版本没有变：回滚可能仍在进行")
    return NOT_DONE
