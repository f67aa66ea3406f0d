"""The release loop against the real sandbox: allowed, refused by state, and what the platform then has."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, event, insert, select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.data.engine import writing
from app.douyin.development import VersionsReply
from app.errors import Refused
from app.extensions import db
from app.models import MiniProgram, OperationRun, RunState, Template, Version, VersionEvent, VersionState
from app.models.version import next_number, parse_number
from app.operations.release.reconcile import Reconciler
from app.operations.release.sync import sync
from app.operations.release.versions import follow, poll_interval
from tests.conftest import Launch, SandboxServer, change, operate, pass_time, refresh


class Loop:
    """One mini-program with short words for what is done to it."""

    def __init__(self, app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> None:
        self.app, self.session, self.sandbox, self.launch = app, session, sandbox, launch
        self.row = launch.mini_program

    def do(self, name: str, **params: Any) -> OperationRun:
        return operate(self.app, self.session, name, self.row, **params)

    def upload(self, version: str = "1.0.0") -> OperationRun:
        return self.do("upload_code", template_id=self.launch.template_id, version=version, description="首版")

    def decide(self, verdict: str, reason: str = "") -> None:
        self.sandbox.post("audit", appid=self.row.appid, verdict=verdict, reason=reason)
        sync(self.app, self.row.id)
        refresh(self.session)

    def go_live(self, version: str) -> None:
        assert self.upload(version).state == RunState.SUCCEEDED
        assert self.do("submit_audit").state == RunState.SUCCEEDED
        self.decide("approve")
        assert self.do("release").state == RunState.SUCCEEDED
        self.later(11)  # the platform wants ten seconds between submissions

    def later(self, seconds: int) -> None:
        pass_time(self.app, self.sandbox, seconds)
        refresh(self.session)

    def state(self, number: str) -> VersionState:
        refresh(self.session)
        return self.session.scalars(select(Version.state).where(Version.number == number)).one()

    @property
    def effects(self) -> dict[str, Any]:
        return self.sandbox.effects(self.row.appid)


@pytest.fixture
def loop(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> Loop:
    return Loop(app, session, sandbox, launch)


def test_a_version_goes_from_upload_to_live(loop: Loop) -> None:
    loop.go_live("1.0.0")
    assert loop.state("1.0.0") == VersionState.RELEASED
    assert loop.row.live_version == "1.0.0"
    assert {name: loop.effects[name] for name in ("upload", "audit", "release")} == {
        "upload": 1,
        "audit": 1,
        "release": 1,
    }


def test_the_timeline_tells_the_whole_way(loop: Loop) -> None:
    loop.go_live("1.0.0")
    kinds = list(loop.session.scalars(select(VersionEvent.kind).order_by(VersionEvent.id)))
    assert [kind for kind in kinds if kind in set(VersionState)] == ["uploaded", "auditing", "approved", "released"]


def test_a_rejection_keeps_its_reasons_and_attachments(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit", note="测试账号 demo")
    loop.decide("reject", "页面空白")
    row = loop.session.scalars(select(Version)).one()
    assert row.state == VersionState.REJECTED
    assert "页面空白" in row.reason
    assert row.reason_detail and row.attachments


def test_a_rejected_version_can_be_submitted_again(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    loop.decide("reject", "页面空白")
    loop.later(11)
    run = loop.do("submit_audit")
    assert run.state == RunState.SUCCEEDED, run.message
    assert loop.state("1.0.0") == VersionState.AUDITING
    assert loop.effects["audit"] == 2


def test_an_audit_can_be_withdrawn(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    assert loop.do("withdraw_audit").state == RunState.SUCCEEDED
    assert loop.state("1.0.0") == VersionState.WITHDRAWN


def test_release_is_refused_before_the_approval_and_sends_nothing(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    run = loop.do("release")
    assert run.state == RunState.FAILED
    assert "没有审核通过" in run.message
    assert loop.effects["release"] == 0


def test_a_rollback_restores_the_version_before(loop: Loop) -> None:
    loop.go_live("1.0.0")
    loop.go_live("1.0.1")
    run = loop.do("rollback")
    assert run.state == RunState.SUCCEEDED, run.message
    assert run.result["to"] == "1.0.0"
    loop.later(400)
    sync(loop.app, loop.row.id)
    assert loop.state("1.0.1") == VersionState.ROLLED_BACK
    assert loop.state("1.0.0") == VersionState.RELEASED


def test_a_rollback_of_the_first_version_is_refused(loop: Loop) -> None:
    loop.go_live("1.0.0")
    run = loop.do("rollback")
    assert run.state == RunState.FAILED
    assert loop.effects["rollback"] == 0


def test_a_version_that_another_reading_stored_meanwhile_is_left_to_the_next(loop: Loop) -> None:
    """Stored after our rows were loaded and before Douyin's answer came: the answer may be the older of the two."""
    loop.upload()
    refresh(loop.session)
    loop.session.execute(delete(VersionEvent))
    loop.session.execute(delete(Version))
    loop.session.commit()
    other = insert(Version).values(mini_program_id=loop.row.id, number="1.0.0", merchant_id=loop.launch.merchant.id)
    event.listen(db.engine, "savepoint", lambda connection, _name: connection.execute(other), once=True)
    assert sync(loop.app, loop.row.id) == "记录同时被更新，稍后再同步"
    assert "没有变化" in sync(loop.app, loop.row.id) or loop.state("1.0.0") == VersionState.UPLOADED


def test_a_version_number_must_grow(loop: Loop) -> None:
    loop.go_live("1.0.1")
    run = loop.upload("1.0.0")
    assert run.state == RunState.FAILED
    assert "1.0.1" in run.message


def test_a_number_that_was_never_submitted_binds_nobody(loop: Loop) -> None:
    assert loop.upload("99999.0.0").state == RunState.SUCCEEDED
    assert loop.upload("1.0.0").state == RunState.SUCCEEDED
    assert loop.state("99999.0.0") == VersionState.SUPERSEDED
    run = loop.upload("1.0.1")
    assert run.state == RunState.SUCCEEDED, run.message


def test_a_number_that_was_submitted_once_binds_though_its_round_is_over(loop: Loop) -> None:
    assert loop.upload("2.0.0").state == RunState.SUCCEEDED
    assert loop.upload("2.0.1").state == RunState.SUCCEEDED
    row = loop.session.scalars(select(Version).where(Version.number == "2.0.0")).one()
    change(loop.session, row, ever_submitted=True)
    assert row.state == VersionState.SUPERSEDED
    run = loop.upload("1.0.0")
    assert (run.state, "2.0.0" in run.message) == (RunState.FAILED, True)


def test_a_template_that_was_made_a_moment_ago_is_looked_for_once(loop: Loop) -> None:
    refresh(loop.session)
    loop.session.execute(delete(Template))
    loop.session.commit()
    assert loop.upload().state == RunState.SUCCEEDED
    refresh(loop.session)
    assert loop.launch.template_id in loop.session.scalars(select(Template.template_id)).all()


def test_a_template_that_douyin_does_not_know_is_refused_and_nothing_sent(loop: Loop) -> None:
    run = loop.do("upload_code", template_id="1234567", version="1.0.0", description="x")
    assert (run.state, "模板不存在" in run.message) == (RunState.FAILED, True)
    asked = [row for row in loop.sandbox.get("journal")["rows"] if "tpl_list" in str(row)]
    assert loop.effects["upload"] == 0
    assert len(asked) == 2  # the launch's sync, and the look


def test_a_look_for_a_template_that_goes_unanswered_is_no_unknown_outcome(loop: Loop) -> None:
    loop.sandbox.post("settings", drop_after_rate=1.0, drop_paths=["tpl_list"])
    run = loop.do("upload_code", template_id="1234567", version="1.0.0", description="x")
    assert run.state == RunState.QUEUED, run.message


@pytest.mark.parametrize("number", ["1.0", "1.0.0.0", "a.b.c", "01.0.0", "1.0.-1", " 1.0.0 x", "1.0.999999"])
def test_a_version_number_is_x_y_z(number: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_number(number)
    assert refusal.value.field == "version"


def test_the_next_number_is_one_patch_above_the_greatest() -> None:
    assert next_number([]) == "1.0.0"
    assert next_number(["1.0.9", "1.0.10", "0.9.99"]) == "1.0.11"


def test_a_host_that_is_live_is_not_dropped_by_accident(loop: Loop) -> None:
    loop.go_live("1.0.0")
    loop.upload("1.0.1")
    run = loop.do("submit_audit", hosts="douyin_lite")
    assert run.state == RunState.FAILED
    assert "下线" in run.message


def test_a_lost_answer_is_read_back_and_never_sent_again(loop: Loop) -> None:
    for name in ("upload_code", "submit_audit", "release"):
        loop.sandbox.post("settings", drop_after_next=1, drop_path="package_version/" + PATHS[name])
        params = (
            {"template_id": loop.launch.template_id, "version": "1.0.0", "description": "x"}
            if name == "upload_code"
            else {}
        )
        run = loop.do(name, **params)
        assert run.state == RunState.UNKNOWN, (name, run.message)
        settle(loop, run)
        assert loop.session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED
        if name == "submit_audit":
            loop.decide("approve")
    assert {name: loop.effects[name] for name in ("upload", "audit", "release")} == {
        "upload": 1,
        "audit": 1,
        "release": 1,
    }


PATHS = {"upload_code": "upload", "submit_audit": "audit", "release": "release"}


def settle(loop: Loop, run: OperationRun) -> None:
    """Let the grace pass, then work the run again."""
    from app.operations.perform import perform

    change(loop.session, run, not_before=utcnow() - timedelta(seconds=1))
    perform(loop.app, run.id)
    refresh(loop.session)


def test_an_answer_lost_before_the_effect_is_sent_again_once(loop: Loop) -> None:
    loop.upload()
    loop.sandbox.post("settings", drop_before_next=1, drop_path="package_version/audit")
    run = loop.do("submit_audit")
    assert run.state == RunState.UNKNOWN
    settle(loop, run)
    again = loop.session.get_one(OperationRun, run.id)
    assert again.state == RunState.QUEUED
    settle(loop, again)
    assert loop.session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED
    assert loop.effects["audit"] == 1


def test_one_operation_at_a_time_per_mini_program(loop: Loop) -> None:
    loop.upload()
    loop.sandbox.post("settings", drop_after_next=1, drop_path="package_version/audit")
    held = loop.do("submit_audit")
    with pytest.raises(Refused, match=f"#{held.id}"):
        loop.do("release")


def test_a_version_in_audit_that_one_reading_lacks_stays_in_audit(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    refresh(loop.session)
    with writing():
        refresh(loop.session)
        reconciler = Reconciler(loop.session, loop.session.get_one(MiniProgram, loop.row.id))
        reconciler.apply(VersionsReply())
        loop.session.commit()
    assert loop.state("1.0.0") == VersionState.AUDITING


def test_a_number_that_was_only_uploaded_binds_nobody(loop: Loop) -> None:
    loop.upload("99999.0.0")
    assert loop.upload("1.0.0").state == RunState.SUCCEEDED
    loop.do("submit_audit")
    loop.do("withdraw_audit")
    assert loop.upload("0.9.0").state == RunState.FAILED


def test_a_number_that_was_replaced_before_it_was_submitted_may_come_again(loop: Loop) -> None:
    for number in ("1.0.1", "1.0.2", "1.0.1"):
        run = loop.upload(number)
        assert run.state == RunState.SUCCEEDED, run.message
    assert loop.state("1.0.1") == VersionState.UPLOADED


def test_a_second_submission_waits_for_its_ten_seconds_instead_of_being_refused(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    loop.do("withdraw_audit")
    loop.upload()
    before = loop.effects["audit"]
    run = loop.do("submit_audit")
    assert (run.state, run.attempts, run.err_no) == (RunState.QUEUED, 0, None)
    assert loop.effects["audit"] == before
    loop.later(11)
    settle(loop, run)
    assert loop.session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED


def test_rollbacks_are_ten_minutes_apart_whatever_was_released_between(loop: Loop) -> None:
    loop.go_live("1.0.0")
    loop.go_live("1.0.1")
    loop.do("rollback")
    sync(loop.app, loop.row.id)
    loop.go_live("1.0.2")
    before = loop.effects["rollback"]
    run = loop.do("rollback")
    assert (run.state, "10 分钟" in run.message) == (RunState.FAILED, True)
    assert loop.effects["rollback"] == before


def test_polling_is_quick_at_first_and_slower_later() -> None:
    steps = [poll_interval(timedelta(seconds=age)).total_seconds() for age in (1, 300, 3600, 50_000, 500_000)]
    assert steps == sorted(steps) and steps[0] == 10 and steps[-1] == 7200


@pytest.mark.parametrize("start", list(VersionState))
@pytest.mark.parametrize("target", list(VersionState))
def test_reconciliation_reaches_whatever_douyin_says(start: VersionState, target: VersionState) -> None:
    row = Version(number="1.0.0", state=start)
    follow(row, target)
    assert row.state == target
