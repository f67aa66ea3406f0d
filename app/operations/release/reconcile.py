"""Reconciling our versions with Douyin's three stages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.data.clock import utcnow
from app.data.engine import insert_missing
from app.data.types import words_of
from app.douyin.development import AuditStatus, AuditVersion, CurrentVersion, LatestVersion, VersionsReply
from app.douyin.errors import misfit
from app.i18n.sentence import Foreign, chained, ours, say
from app.models import MiniProgram, OperationRun, Version, VersionState
from app.notices.tell import tell
from app.operations.release.versions import follow, next_poll, note, versions_of

AUDIT_STATES = {
    AuditStatus(0): VersionState.AUDITING,
    AuditStatus(1): VersionState.APPROVED,
    AuditStatus(2): VersionState.REJECTED,
    AuditStatus(3): VersionState.WITHDRAWN,
}
NEWS = timedelta(days=7)
VERDICTS = {  # kind of news, words, what to do
    VersionState.APPROVED: ("audit_passed", "审核通过", "可以发布上线。"),
    VersionState.REJECTED: ("audit_rejected", "审核被驳回", "请按驳回原因修改后重新提交。"),
}
ONLINE = frozenset({VersionState.RELEASED, VersionState.SUPERSEDED, VersionState.ROLLED_BACK})


def changes_words(moved: Sequence[Sequence[str]]) -> str:
    """What became of versions, (number, state) each, in a sentence."""
    words = words_of(VersionState)
    told = [say("{version} {what}", version=number, what=ours(words[VersionState(kind)])) for number, kind in moved]
    return chained(told) if told else say("没有变化")


class Reconciler:
    """One reading of Douyin's version list against the rows loaded before it was asked for.

    The rows are loaded first so that a change made meanwhile makes the commit fail (row_version) instead of
    being undone by an old answer.
    """

    def __init__(
        self,
        session: Session,
        app: MiniProgram,
        run: OperationRun | None = None,
        rows: dict[str, Version] | None = None,
    ) -> None:
        self.session = session
        self.app = app
        self.run = run
        self.rows = versions_of(session, app) if rows is None else rows
        self.moved: list[tuple[str, str]] = []  # versions, and what became of each

    def believe(self, reply: VersionsReply) -> VersionsReply:
        """The reply, unless it is empty for an app that has versions: an answer of nothing is no news of their end.

        Raises DouyinError of kind ANSWER.
        """
        known = self.app.live_version or self.app.audit_version or self.app.uploaded_version
        if known and reply.latest is None and reply.audit is None and reply.current is None:
            raise misfit("版本列表为空", "")
        return reply

    def apply(self, reply: VersionsReply) -> str:
        """Bring rows and the mini-program's stage columns in line; a sentence saying what changed."""
        if reply.current is not None:
            self._current(reply.current)
        if reply.audit is not None:
            self._audit(reply.audit)
        if reply.latest is not None:
            self._latest(reply.latest)
        self._retire(reply)
        self._stages(reply)
        return changes_words(self.moved)

    def _row(self, number: str, summary: str, ctime: int) -> Version:
        known = self.rows.get(number)
        if known is not None:
            return known
        row, made = insert_missing(
            self.session,
            Version,
            {"mini_program_id": self.app.id, "number": number[:32]},
            merchant_id=self.app.merchant_id,
            description=summary[:500],
            state=VersionState.UPLOADED,
            uploaded_at=_time(ctime),
        )
        if not made:  # stored after our rows were loaded: this answer may be older than what is known there
            raise StaleDataError(f"version {number} was stored meanwhile")
        self.rows[number] = row
        self._say(row, "uploaded", "在抖音侧发现的版本")
        return row

    def _move(self, row: Version, target: VersionState, text: str = "", **detail: Any) -> None:
        if follow(row, target):
            self._say(row, str(target), text, **detail)

    def _say(self, row: Version, kind: str, text: str, **detail: Any) -> None:
        self.moved.append((row.number, kind))
        note(self.session, self.app, kind, text, version=row, run=self.run, detail=detail)

    def _latest(self, stage: LatestVersion) -> None:
        row = self._row(stage.version, stage.summary, stage.ctime)
        shots = list(stage.screenshots)
        if shots != (row.screenshots or []):
            row.screenshots = shots
        fresh = row.uploaded_at is None or (stage.ctime and _time(stage.ctime) > row.uploaded_at + timedelta(minutes=1))
        again = row.state in {VersionState.REJECTED, VersionState.WITHDRAWN} and not stage.has_audit
        if fresh and again:
            row.uploaded_at = _time(stage.ctime)
            self._move(row, VersionState.UPLOADED, "在抖音侧重新上传")

    def _audit(self, stage: AuditVersion) -> None:
        row = self._row(stage.version, stage.summary, stage.ctime)
        target = AUDIT_STATES.get(stage.status)
        row.audit_ctime, row.ever_submitted = stage.ctime, True
        row.taken_down = bool(stage.is_illegal_version)
        if target is None or (row.state in ONLINE and stage.status == 1):
            return
        if target in {VersionState.APPROVED, VersionState.REJECTED} and row.state != target:
            row.decided_at = utcnow()
        row.reason = stage.reason if target == VersionState.REJECTED else ""
        row.reason_detail = dict(stage.reason_detail or {}) if target == VersionState.REJECTED else {}
        row.attachments = dict(stage.attach_info or {})
        # An old verdict that is only now found, at an app's first reading, is no news.
        fresh = row.submitted_at is not None or utcnow() - _time(stage.ctime) < NEWS
        decided = fresh and target in VERDICTS and row.state != target
        self._move(row, target, Foreign(row.reason), reasons=row.reason_detail, attachments=row.attachments)
        if decided:
            self._tell(row)

    def _tell(self, row: Version) -> None:
        """The verdict is news; another one on the same number has another time of submission."""
        kind, words, advice = VERDICTS[row.state]
        tell(
            self.session,
            kind,
            subject=self.app,
            dedup=f"{row.mini_program_id}:{row.number}:{row.audit_ctime}",
            title=say("「{name}」的版本 {version} {what}", name=str(self.app), version=row.number, what=ours(words)),
            body=Foreign(row.reason) if row.reason else advice,
        )

    def _current(self, stage: CurrentVersion) -> None:
        row = self._row(stage.version, stage.summary, stage.ctime)
        row.taken_down, row.ever_submitted = bool(stage.has_down), True
        if row.state == VersionState.RELEASED:
            return
        went_back = self.app.rollback_requested_at is not None and self.app.live_version != stage.version
        for other in self.rows.values():
            if other is not row and other.state == VersionState.RELEASED:
                self._move(other, VersionState.ROLLED_BACK if went_back else VersionState.SUPERSEDED)
        if went_back:
            self.app.rollback_requested_at = None
        row.released_at = row.released_at or utcnow()
        self._move(row, VersionState.RELEASED, "回滚后恢复为线上版本" if went_back else "")

    def _retire(self, reply: VersionsReply) -> None:
        kept = {stage.version for stage in (reply.latest, reply.audit, reply.current) if stage is not None}
        for row in self.rows.values():
            if row.number not in kept and row.state not in ONLINE | {VersionState.AUDITING}:
                self._move(row, VersionState.SUPERSEDED)

    def _stages(self, reply: VersionsReply) -> None:
        app, now = self.app, utcnow()
        app.uploaded_version = reply.latest.version if reply.latest else ""
        app.audit_version = reply.audit.version if reply.audit else ""
        state = str(self.rows[app.audit_version].state) if app.audit_version in self.rows else ""
        if state == VersionState.AUDITING and (app.audit_state != state or app.audit_since is None):
            app.audit_since = self.rows[app.audit_version].submitted_at or now
        app.audit_state = state
        app.live_version = reply.current.version if reply.current else ""
        live = self.rows.get(app.live_version)
        app.live_template_id = live.template_id if live is not None else ""
        app.synced_at = now
        app.poll_at = next_poll(app, now)


def _time(ctime: int) -> datetime:
    return datetime.fromtimestamp(ctime, UTC) if ctime else utcnow()
