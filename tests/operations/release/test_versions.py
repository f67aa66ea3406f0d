"""Our versions beside Douyin's three stages: what one answer changes, what it leaves, what is told and written down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.engine import writing
from app.douyin.development import AuditStatus, AuditVersion, CurrentVersion, LatestVersion, VersionsReply
from app.errors import DouyinError
from app.models import MiniProgram, Notification, Version, VersionEvent, VersionState
from app.operations.release.reconcile import Reconciler
from app.operations.release.versions import follow, next_poll, note, poll_interval, versions_of, versions_of_many
from tests.conftest import PASSWORD, Actors, refresh

V = VersionState
NOW = int(datetime(2031, 5, 4, tzinfo=UTC).timestamp())


class Bench:
    """One mini-program whose versions are put there, and answers that are applied to it."""

    def __init__(self, session: Session, row: MiniProgram) -> None:
        self.session, self.row = session, row

    def have(self, number: str, state: VersionState, **given: Any) -> Version:
        with writing():
            refresh(self.session)
            values = {"merchant_id": self.row.merchant_id, "mini_program_id": self.row.id}
            version = Version(**values, number=number, state=state, **given)
            self.session.add(version)
            self.session.commit()
        return version

    def set(self, **given: Any) -> None:
        with writing():
            refresh(self.session)
            for name, value in given.items():
                setattr(self.row, name, value)
            self.session.commit()

    def hear(self, **stages: Any) -> str:
        with writing():
            refresh(self.session)
            sentence = Reconciler(self.session, self.row).apply(VersionsReply(**stages))
            self.session.commit()
        refresh(self.session)
        return sentence

    def states(self) -> dict[str, VersionState]:
        return {number: row.state for number, row in versions_of(self.session, self.row).items()}

    def version(self, number: str) -> Version:
        return versions_of(self.session, self.row)[number]

    def lines(self) -> list[tuple[str, str]]:
        """The timeline: (number, kind)."""
        found = self.session.scalars(select(VersionEvent).order_by(VersionEvent.id))
        return [(line.number, line.kind) for line in found]

    def told(self) -> list[str]:
        return list(self.session.scalars(select(Notification.kind).order_by(Notification.id)))


@pytest.fixture
def bench(session: Session, actors: Actors) -> Bench:
    return Bench(session, actors.alice_app)


@pytest.fixture
def desk(session: Session) -> None:
    with writing():
        setting_up.add_user(session, "operator", "operator", password=PASSWORD)


def latest(number: str = "1.0.0", **given: Any) -> LatestVersion:
    return LatestVersion(version=number, **given)


def audit(status: int, number: str = "1.0.0", **given: Any) -> AuditVersion:
    return AuditVersion(version=number, status=AuditStatus(status), **given)


def current(number: str = "1.0.0", **given: Any) -> CurrentVersion:
    return CurrentVersion(version=number, **given)


# How long until one looks again.


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (0, 10),
        (119, 10),
        (120, 60),
        (899, 60),
        (900, 300),
        (7199, 300),
        (7200, 1800),
        (86_399, 1800),
        (86_400, 7200),
        (10**7, 7200),
    ],
)
def test_a_young_audit_is_looked_at_often_and_an_old_one_seldom(age: int, wait: int) -> None:
    assert poll_interval(timedelta(seconds=age)) == timedelta(seconds=wait)


def test_only_what_douyin_may_change_is_looked_at_again() -> None:
    now = utcnow()
    app = MiniProgram(audit_state="", audit_since=None, rollback_requested_at=None)
    assert next_poll(app, now) is None
    app.audit_state, app.audit_since = V.AUDITING, now - timedelta(seconds=600)
    assert next_poll(app, now) == now + timedelta(seconds=60)
    app.audit_state = V.APPROVED
    assert next_poll(app, now) is None
    app.rollback_requested_at = now
    assert next_poll(app, now) == now + timedelta(seconds=60)


# The way through the states.


@pytest.mark.parametrize(
    ("begin", "target", "way"),
    [
        (V.UPLOADED, V.UPLOADED, []),
        (V.UPLOADED, V.AUDITING, [V.AUDITING]),
        (V.UPLOADED, V.RELEASED, [V.SUPERSEDED, V.RELEASED]),
        (V.AUDITING, V.RELEASED, [V.APPROVED, V.RELEASED]),
        (V.ROLLED_BACK, V.RELEASED, [V.RELEASED]),  # the table knows no way: Douyin's word is taken
    ],
)
def test_a_version_takes_the_shortest_way_to_what_douyin_says(begin: V, target: V, way: list[V]) -> None:
    row = Version(state=begin)
    assert follow(row, target) == way
    assert row.state == target


# Rows.


def test_versions_are_found_by_number_each_with_its_own_mini_program(
    session: Session, actors: Actors, bench: Bench
) -> None:
    other = Bench(session, actors.bob_app)
    other.set(merchant_id=actors.alice.id)  # two mini-programs of one merchant
    bench.have("1.0.0", V.RELEASED, ext_json="{}")
    bench.have("1.0.1", V.UPLOADED)
    other.have("1.0.0", V.AUDITING)
    assert bench.states() == {"1.0.0": V.RELEASED, "1.0.1": V.UPLOADED}
    found = versions_of_many(session, [actors.alice_app, actors.bob_app])
    assert {key: [(row.number, row.state) for row in rows.values()] for key, rows in found.items()} == {
        actors.alice_app.id: [("1.0.0", V.RELEASED), ("1.0.1", V.UPLOADED)],
        actors.bob_app.id: [("1.0.0", V.AUDITING)],
    }


@contextmanager
def statements(session: Session) -> Iterator[list[str]]:
    made: list[str] = []
    engine, listen = session.get_bind(), lambda _c, _cursor, statement, *_rest: made.append(statement)
    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield made
    finally:
        event.remove(engine, "before_cursor_execute", listen)


def test_versions_of_many_are_one_statement_without_the_long_columns(
    session: Session, actors: Actors, bench: Bench
) -> None:
    bench.have("1.0.0", V.RELEASED, ext_json="{}")
    apps = [actors.alice_app, actors.bob_app]
    refresh(session)
    assert [app.id for app in apps]  # read before
    with statements(session) as made:
        found = versions_of_many(session, apps)
    assert found[actors.bob_app.id] == {}
    (asked,) = [statement for statement in made if "FROM version" in statement]
    assert not any(name in asked for name in ("ext_json", "reason_detail", "screenshots", "attachments"))


def test_a_line_of_the_timeline_says_whose_it_is_and_who_did_it(session: Session, actors: Actors, bench: Bench) -> None:
    version = bench.have("1.0.0", V.UPLOADED)
    with writing():
        refresh(session)
        note(session, actors.alice_app, "note", "看过", version=version, detail={"a": 1}, actor="甲", log_id="L1")
        note(session, actors.alice_app, "revoked")
        session.commit()
    first, second = session.scalars(select(VersionEvent).order_by(VersionEvent.id))
    assert (first.merchant_id, first.mini_program_id, first.version_id) == (
        actors.alice.id,
        actors.alice_app.id,
        version.id,
    )
    assert (first.kind, first.number, first.text, first.detail) == ("note", "1.0.0", "看过", {"a": 1})
    assert (first.actor_name, first.log_id, first.run_id) == ("甲", "L1", None)
    assert (second.version_id, second.number, second.actor_name, second.detail) == (None, "", "抖音", {})


# An answer of Douyin's.


def test_an_empty_answer_is_no_news_of_an_apps_end(session: Session, bench: Bench) -> None:
    empty = VersionsReply()
    assert Reconciler(session, bench.row).believe(empty) is empty  # a new app has none
    for name in ("live_version", "audit_version", "uploaded_version"):
        bench.set(live_version="", audit_version="", uploaded_version="")
        bench.set(**{name: "1.0.0"})
        with pytest.raises(DouyinError):
            Reconciler(session, bench.row).believe(empty)
        some = VersionsReply(latest=latest())
        assert Reconciler(session, bench.row).believe(some) is some


def test_what_is_found_at_douyin_becomes_a_row_with_its_line(bench: Bench) -> None:
    sentence = bench.hear(latest=latest(summary="首版", ctime=NOW, screenshot="a.png;b.png"))
    row = bench.version("1.0.0")
    assert (row.state, row.description, row.screenshots) == (V.UPLOADED, "首版", ["a.png", "b.png"])
    assert row.uploaded_at == datetime.fromtimestamp(NOW, UTC)
    assert row.merchant_id == bench.row.merchant_id
    assert bench.lines() == [("1.0.0", "uploaded")]
    assert sentence == "1.0.0 已上传"
    assert (bench.row.uploaded_version, bench.row.audit_version, bench.row.live_version) == ("1.0.0", "", "")


def test_the_same_answer_again_changes_nothing(bench: Bench) -> None:
    stages = {"latest": latest(ctime=NOW), "audit": audit(0, ctime=NOW)}
    bench.hear(**stages)
    lines = bench.lines()
    assert bench.hear(**stages) == "没有变化"
    assert bench.lines() == lines


def test_a_row_that_was_stored_meanwhile_makes_the_answer_old(session: Session, actors: Actors, bench: Bench) -> None:
    with writing():
        refresh(session)
        reconciler = Reconciler(session, actors.alice_app)
        session.add(
            Version(merchant_id=actors.alice.id, mini_program_id=actors.alice_app.id, number="1.0.0", state=V.AUDITING)
        )
        session.flush()
        with pytest.raises(StaleDataError):
            reconciler.apply(VersionsReply(latest=latest()))
        session.rollback()


@pytest.mark.parametrize("state", [V.REJECTED, V.WITHDRAWN])
def test_a_version_uploaded_again_after_its_audit_is_a_new_one(bench: Bench, state: V) -> None:
    before = datetime.fromtimestamp(NOW, UTC)
    bench.have("1.0.0", state, uploaded_at=before)
    bench.hear(latest=latest(ctime=NOW + 30))
    assert bench.states() == {"1.0.0": state}  # the clocks of two machines
    bench.hear(latest=latest(ctime=NOW + 120, has_audit=True))
    assert bench.states() == {"1.0.0": state}  # that upload is what was in audit
    bench.hear(latest=latest(ctime=NOW + 120))
    assert bench.states() == {"1.0.0": V.UPLOADED}
    assert bench.version("1.0.0").uploaded_at == before + timedelta(seconds=120)


@pytest.mark.parametrize(("status", "state"), [(0, V.AUDITING), (1, V.APPROVED), (2, V.REJECTED), (3, V.WITHDRAWN)])
def test_the_state_of_an_audit_is_the_versions(bench: Bench, status: int, state: V) -> None:
    bench.have("1.0.0", V.AUDITING, submitted_at=utcnow())
    bench.hear(audit=audit(status, ctime=NOW, reason="不清楚", is_illegal_version=True))
    row = bench.version("1.0.0")
    assert (row.state, row.audit_ctime, row.ever_submitted, row.taken_down) == (state, NOW, True, True)
    assert row.reason == ("不清楚" if state == V.REJECTED else "")
    assert (row.decided_at is not None) == (state in {V.APPROVED, V.REJECTED})
    assert (bench.row.audit_version, bench.row.audit_state) == ("1.0.0", str(state))


def test_an_unknown_state_of_an_audit_leaves_the_version(bench: Bench) -> None:
    bench.have("1.0.0", V.AUDITING)
    bench.hear(audit=audit(9, ctime=NOW))
    assert bench.states() == {"1.0.0": V.AUDITING}
    assert bench.version("1.0.0").audit_ctime == NOW


@pytest.mark.parametrize("state", [V.RELEASED, V.SUPERSEDED, V.ROLLED_BACK])
def test_a_passed_audit_does_not_take_back_what_was_released(bench: Bench, state: V) -> None:
    bench.have("1.0.0", state)
    bench.hear(audit=audit(1))
    assert bench.states() == {"1.0.0": state}


@pytest.mark.parametrize(("status", "kind"), [(1, "audit_passed"), (2, "audit_rejected")])
def test_a_verdict_is_told_once_for_each_submission(bench: Bench, desk: None, status: int, kind: str) -> None:
    bench.have("1.0.0", V.AUDITING, submitted_at=utcnow())
    bench.hear(audit=audit(status, ctime=NOW, reason="不清楚"))
    bench.hear(audit=audit(status, ctime=NOW, reason="不清楚"))
    assert bench.told() == [kind]
    found = bench.session.scalars(select(Notification)).one()
    assert "1.0.0" in found.title
    assert found.body == ("不清楚" if status == 2 else "可以发布上线。")


def test_the_verdict_of_what_was_submitted_here_is_news_whatever_douyins_clock_says(bench: Bench, desk: None) -> None:
    bench.have("1.0.0", V.AUDITING, submitted_at=utcnow())
    bench.hear(audit=audit(1, ctime=1))
    assert bench.told() == ["audit_passed"]


@pytest.mark.parametrize(("age", "told"), [(timedelta(days=6), 1), (timedelta(days=8), 0)])
def test_an_old_verdict_that_is_only_now_found_is_no_news(bench: Bench, desk: None, age: timedelta, told: int) -> None:
    bench.hear(audit=audit(1, ctime=int((utcnow() - age).timestamp())))
    assert bench.states() == {"1.0.0": V.APPROVED}
    assert len(bench.told()) == told


def test_a_release_supersedes_the_one_before(bench: Bench) -> None:
    bench.have("1.0.0", V.RELEASED, released_at=utcnow())
    bench.have("1.0.1", V.APPROVED, template_id="77")
    bench.set(live_version="1.0.0")
    bench.hear(current=current("1.0.1"))
    assert bench.states() == {"1.0.0": V.SUPERSEDED, "1.0.1": V.RELEASED}
    row = bench.version("1.0.1")
    assert row.released_at is not None and row.ever_submitted
    assert (bench.row.live_version, bench.row.live_template_id) == ("1.0.1", "77")


def test_a_rollback_that_was_asked_for_brings_the_former_version_back(bench: Bench) -> None:
    bench.have("1.0.0", V.SUPERSEDED)
    bench.have("1.0.1", V.RELEASED)
    bench.set(live_version="1.0.1", rollback_requested_at=utcnow())
    bench.hear(current=current("1.0.1"))
    assert bench.row.rollback_requested_at is not None  # not yet
    assert bench.row.poll_at is not None
    bench.hear(current=current("1.0.0"))
    assert bench.states() == {"1.0.0": V.RELEASED, "1.0.1": V.ROLLED_BACK}
    assert (bench.row.rollback_requested_at, bench.row.poll_at) == (None, None)


def test_a_version_that_was_taken_down_says_so(bench: Bench) -> None:
    bench.have("1.0.0", V.RELEASED)
    bench.hear(current=current(has_down=True))
    assert bench.version("1.0.0").taken_down


def test_what_is_in_no_stage_any_more_is_superseded_but_for_what_was_live_or_is_in_audit(bench: Bench) -> None:
    states = (V.UPLOADED, V.APPROVED, V.REJECTED, V.WITHDRAWN, V.AUDITING, V.RELEASED, V.ROLLED_BACK)
    for place, state in enumerate(states):
        bench.have(f"1.0.{place}", state)
    bench.hear(latest=latest("2.0.0", ctime=NOW))
    kept = {V.AUDITING, V.RELEASED, V.ROLLED_BACK}
    found = bench.states()
    assert found.pop("2.0.0") == V.UPLOADED
    assert list(found.values()) == [state if state in kept else V.SUPERSEDED for state in states]


def test_the_time_of_an_audit_begins_with_its_submission_and_ends_with_it(bench: Bench) -> None:
    submitted = utcnow() - timedelta(hours=1)
    bench.have("1.0.0", V.AUDITING, submitted_at=submitted)
    bench.hear(audit=audit(0))
    assert bench.row.audit_since == submitted
    assert bench.row.poll_at is not None and bench.row.synced_at is not None
    assert timedelta(0) < bench.row.poll_at - bench.row.synced_at <= timedelta(seconds=300)
    bench.hear(audit=audit(1))
    assert bench.row.poll_at is None
    bench.hear(current=current())
    assert (bench.row.audit_version, bench.row.audit_state, bench.row.live_version) == ("", "", "1.0.0")
