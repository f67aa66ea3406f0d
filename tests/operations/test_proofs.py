"""The operations with a read-back, after an earlier round of the same: refused, never arrived, done, done and decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import requests
import responses
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.errors import DouyinError
from app.link import connection, faults
from app.models import (
    AuthorizationState,
    Credential,
    OperationRun,
    RunState,
    Template,
    TemplateApp,
    Version,
    VersionState,
)
from app.operations import template
from app.operations.perform import perform
from app.operations.proof import ALREADY, Kept, Proved, Settlement, Sight, Verdict, Work, event
from app.operations.registry import OPERATIONS
from app.operations.release import stages
from app.operations.release.sync import sync
from tests.conftest import Launch, SandboxServer, change, operate, refresh
from tests.operations import lost
from tests.operations.release.test_release import Loop


@pytest.fixture
def loop(app: Flask, session: Session, sandbox: SandboxServer, launch: Launch) -> Loop:
    return Loop(app, session, sandbox, launch)


def again(loop: Loop, run: OperationRun) -> OperationRun:
    return lost.again(loop.app, loop.session, run)


def submitted_and_withdrawn(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    loop.do("withdraw_audit")
    loop.later(11)


def in_audit_again(loop: Loop) -> None:
    submitted_and_withdrawn(loop)
    assert loop.do("submit_audit").state == RunState.SUCCEEDED


def second_approved(loop: Loop) -> None:
    loop.go_live("1.0.0")
    loop.upload("1.0.1")
    loop.do("submit_audit")
    loop.decide("approve")


def rolled_back_once(loop: Loop) -> None:
    loop.go_live("1.0.0")
    loop.go_live("1.0.1")
    loop.do("rollback")
    loop.later(660)
    sync(loop.app, loop.row.id)
    loop.go_live("1.0.2")


def template_app(loop: Loop) -> TemplateApp:
    return loop.session.scalars(select(TemplateApp).where(TemplateApp.draft_id != "")).first() or pytest.fail(
        "no draft"
    )


def added_once(loop: Loop) -> None:
    assert operate(loop.app, loop.session, "add_template", template_app(loop)).state == RunState.SUCCEEDED


def deleted_one(loop: Loop) -> None:
    added_once(loop)
    newest = loop.session.scalars(select(Template).order_by(Template.id.desc())).first()
    assert operate(loop.app, loop.session, "delete_template", newest).state == RunState.SUCCEEDED


def first_template(loop: Loop) -> Template:
    return loop.session.scalars(select(Template).where(Template.gone.is_(False)).order_by(Template.id)).first()  # type: ignore[return-value]


@dataclass(frozen=True)
class Case:
    """An operation after an earlier round: its row, parameters, the call that counts, a refusal Douyin might give."""

    name: str
    prepare: Callable[[Loop], None]
    path: str
    code: int
    row: Callable[[Loop], Any] = lambda loop: loop.row
    params: Callable[[Loop], dict[str, Any]] = lambda _loop: {}

    def do(self, loop: Loop) -> OperationRun:
        return operate(loop.app, loop.session, self.name, self.row(loop), **self.params(loop))


CASES = [
    Case(
        "upload_code",
        lambda loop: loop.upload() and None,
        "package_version/upload",
        40029,
        params=lambda loop: {"template_id": loop.launch.template_id, "version": "1.0.0", "description": "首版"},
    ),
    Case("submit_audit", submitted_and_withdrawn, "package_version/audit", 11305),
    Case("withdraw_audit", in_audit_again, "package_version/revoke_audit", 11602),
    Case("release", second_approved, "package_version/release", 10105),
    Case("rollback", rolled_back_once, "package_version/rollback", 10003),
    Case("add_template", added_once, "template/add_tpl", 40034, row=template_app),
    Case("delete_template", deleted_one, "template/del_tpl", 40029, row=first_template),
]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def reached(loop: Loop, case: Case) -> int:
    """How many calls of the case's kind had their effect."""
    rows = loop.sandbox.get("journal")["rows"]
    return sum(1 for row in rows if case.path in row["path"] and effected(row))


def effected(row: dict[str, Any]) -> bool:
    if row["lost"]:
        return bool(row["lost"] == "drop_after")
    answer = row["answer"]
    return isinstance(answer, dict) and answer.get("err_no") == 0


@each
def test_a_refusal_stays_a_refusal_with_its_reason(loop: Loop, case: Case) -> None:
    case.prepare(loop)
    before = reached(loop, case)
    loop.sandbox.post("settings", error_next=1, error_path=case.path, error_code=case.code)
    run = case.do(loop)
    assert (run.state, run.err_no) == (RunState.FAILED, case.code), run.message
    assert reached(loop, case) == before


@each
def test_what_never_arrived_is_sent_again_once(loop: Loop, case: Case) -> None:
    case.prepare(loop)
    before = reached(loop, case)
    loop.sandbox.post("settings", drop_before_next=1, drop_path=case.path)
    run = case.do(loop)
    assert run.state == RunState.UNKNOWN, run.message
    if case.name == "rollback":
        assert again(loop, run).state == RunState.UNKNOWN  # it may still be on its way
        age(loop, run, timedelta(minutes=7))
    assert again(loop, run).state == RunState.QUEUED
    done = again(loop, run)
    assert done.state == RunState.SUCCEEDED, done.message
    assert reached(loop, case) == before + 1


@each
def test_what_was_done_without_an_answer_is_found_done_and_not_sent_again(loop: Loop, case: Case) -> None:
    case.prepare(loop)
    before = reached(loop, case)
    row, params = case.row(loop), case.params(loop)
    done = lost.answer_lost(loop.app, loop.session, loop.sandbox, case.name, row, case.path, **params)
    assert done.state == RunState.SUCCEEDED, done.message
    assert "already" not in done.result
    assert reached(loop, case) == before + 1


def age(loop: Loop, run: OperationRun, by: timedelta) -> None:
    """As if the call had been made that much earlier."""
    refresh(loop.session)
    held = dict(loop.session.get_one(OperationRun, run.id).evidence or {})
    kept = Kept.of(loop.session.get_one(OperationRun, run.id))
    assert kept is not None
    change(loop.session, run, evidence={**held, "at": (kept.at - by).isoformat()})


@pytest.mark.parametrize(("verdict", "state"), [("approve", VersionState.APPROVED), ("reject", VersionState.REJECTED)])
def test_a_submission_that_was_decided_meanwhile_is_done(loop: Loop, verdict: str, state: VersionState) -> None:
    submitted_and_withdrawn(loop)
    loop.sandbox.post("settings", drop_after_next=1, drop_path="package_version/audit")
    run = loop.do("submit_audit")
    loop.sandbox.post("audit", appid=loop.row.appid, verdict=verdict, reason="页面空白")
    assert again(loop, run).state == RunState.SUCCEEDED
    assert loop.state("1.0.0") == state


def test_the_verdict_on_an_earlier_submission_is_not_taken_for_the_lost_one(loop: Loop) -> None:
    loop.upload()
    loop.do("submit_audit")
    loop.decide("reject", "页面空白")
    loop.later(11)
    loop.sandbox.post("settings", drop_before_next=1, drop_path="package_version/audit")
    run = loop.do("submit_audit")
    assert again(loop, run).state == RunState.QUEUED
    assert again(loop, run).state == RunState.SUCCEEDED
    assert loop.effects["audit"] == 2


def test_a_withdrawal_that_came_too_late_says_so(loop: Loop) -> None:
    in_audit_again(loop)
    loop.sandbox.post("settings", drop_before_next=1, drop_path="revoke_audit")
    run = loop.do("withdraw_audit")
    loop.sandbox.post("audit", appid=loop.row.appid, verdict="approve")
    done = again(loop, run)
    assert (done.state, done.message) == (RunState.FAILED, "审核已有结果，不能再撤回")


def test_a_goal_that_stood_before_is_nobodys_doing(loop: Loop) -> None:
    """Somebody withdrew it in Douyin's own console: our rows did not know."""
    in_audit_again(loop)
    loop.sandbox.post("settings", push_loss_rate=1.0)
    token = connection.keeper(loop.app).get(faults.authorizer_slot(loop.session, loop.row))
    other(loop, "/api/apps/v1/package_version/revoke_audit/", token)
    before = loop.effects["revoke"]
    run = loop.do("withdraw_audit")
    assert (run.state, run.message, run.result["already"]) == (RunState.SUCCEEDED, ALREADY, True)
    assert loop.effects["revoke"] == before
    assert loop.state("1.0.0") == VersionState.WITHDRAWN


def other(loop: Loop, path: str, token: str) -> None:
    """A call that somebody else makes."""
    answer = requests.post(f"{loop.sandbox.url}{path}", json={}, headers={"access-token": token}, timeout=5)
    assert answer.json()["err_no"] == 0, answer.text


def test_a_rollback_waits_from_its_sending_not_from_its_queueing(loop: Loop) -> None:
    rolled_back_once(loop)
    loop.sandbox.post("settings", drop_before_next=1, drop_path="package_version/rollback")
    run = loop.do("rollback")
    long_ago = utcnow() - timedelta(minutes=20)
    change(loop.session, run, created_at=long_ago, started_at=long_ago)
    before = loop.effects["rollback"]
    assert again(loop, run).state == RunState.UNKNOWN
    assert loop.effects["rollback"] == before


@pytest.mark.parametrize("known", [False, True], ids=["", "and a poll was quicker"])
def test_a_late_effect_of_a_lost_call_is_found(loop: Loop, known: bool) -> None:
    """A late effect: the read-back saw nothing, the second sending is refused because the first one did it."""
    submitted_and_withdrawn(loop)
    loop.sandbox.post("settings", drop_before_next=1, drop_path="package_version/audit")
    run = loop.do("submit_audit")
    assert again(loop, run).state == RunState.QUEUED
    token = connection.keeper(loop.app).get(faults.authorizer_slot(loop.session, loop.row))
    body = {"host_names": ["douyin"]}
    url = f"{loop.sandbox.url}/api/apps/v2/package_version/audit/"
    assert requests.post(url, json=body, headers={"access-token": token}, timeout=5).json()["err_no"] == 0
    before = loop.effects["audit"]
    if known:
        sync(loop.app, loop.row.id)
    assert again(loop, run).state == RunState.SUCCEEDED
    assert loop.effects["audit"] == before


# Verbs of our own tokens: the worker died after the intent


@pytest.mark.parametrize("name", ["refresh_token", "recover_authorization"])
@pytest.mark.parametrize("arrived", [True, False])
def test_tokens_are_newer_than_before_or_it_is_done_again(loop: Loop, name: str, arrived: bool) -> None:
    loop.do(name)
    run = loop.do(name)
    held = loop.session.scalars(select(Credential.generation).where(Credential.appid == loop.row.appid)).first()
    generation = (held or 0) - (1 if arrived else 0)
    evidence = {
        "before": {"state": "authorized", "generation": generation, "token": True},
        "wanted": {"generation": generation},
        "at": utcnow().isoformat(),
        "calls": 1,
    }
    past = utcnow() - timedelta(seconds=1)
    change(loop.session, run, state=RunState.RUNNING, lock=run.lock_key, lease_until=past, evidence=evidence)
    perform(loop.app, run.id)
    refresh(loop.session)
    assert loop.session.get_one(OperationRun, run.id).state == (RunState.SUCCEEDED if arrived else RunState.QUEUED)


def test_clearing_is_done_with_its_state(loop: Loop) -> None:
    run = loop.do("clear_authorization")
    assert (run.state, loop.row.state) == (RunState.SUCCEEDED, AuthorizationState.CLEARED)
    past = utcnow() - timedelta(seconds=1)
    change(loop.session, run, state=RunState.RUNNING, lock=run.lock_key, lease_until=past)
    perform(loop.app, run.id)
    refresh(loop.session)
    assert loop.session.get_one(OperationRun, run.id).state == RunState.SUCCEEDED


def test_a_run_that_died_before_its_intent_is_done_again_without_a_look(loop: Loop) -> None:
    loop.upload()
    run = loop.do("submit_audit")
    past = utcnow() - timedelta(seconds=1)
    change(loop.session, run, state=RunState.RUNNING, lock=run.lock_key, lease_until=past, evidence=None)
    before = len(loop.sandbox.get("journal")["rows"])
    perform(loop.app, run.id)
    refresh(loop.session)
    assert loop.session.get_one(OperationRun, run.id).state == RunState.QUEUED
    assert len(loop.sandbox.get("journal")["rows"]) == before


def test_every_operation_that_changes_something_has_a_proof() -> None:
    assert {name for name, op in OPERATIONS.items() if op.mutates and op.proof is None} == set()
    assert OPERATIONS["release"].proof is not None


# What looks prove, without a platform


def kept(**before: Any) -> Kept:
    stages_before = {"latest": None, "audit": None, "current": None} | before
    wanted = {"version": "1.0.0", "mark": "[抖舟#7]", "live": "1.0.1", "target": "1.0.0", "ctime": 5}
    return Kept(stages_before, wanted, utcnow(), 1)


def stage(**values: Any) -> dict[str, Any]:
    return {"version": "1.0.0", "summary": "", "ctime": 5, "status": 3, "published": False} | values


def now(**stages_now: Any) -> dict[str, Any]:
    return {"latest": None, "audit": None, "current": None} | stages_now


@pytest.mark.parametrize(
    ("latest", "verdict"),
    [
        (stage(summary="首版 [抖舟#7]"), Verdict.DONE),
        (stage(summary="首版 [抖舟#6]"), Verdict.NOT_DONE),
        (stage(summary="别人的", ctime=9), Verdict.ASK),
        (stage(version="9.0.0", summary="首版 [抖舟#7]"), Verdict.ASK),
        (None, Verdict.ASK),
    ],
)
def test_an_upload_is_known_by_our_mark(latest: Any, verdict: Verdict) -> None:
    assert stages.uploaded(kept(latest=stage(summary="首版 [抖舟#6]")), now(latest=latest)).verdict is verdict


@pytest.mark.parametrize(
    ("audit", "verdict"),
    [
        (stage(), Verdict.NOT_DONE),
        (stage(status=0), Verdict.DONE),
        (stage(ctime=9), Verdict.DONE),
        (stage(ctime=4), Verdict.ASK),
        (stage(ctime=4, status=0), Verdict.DONE),
        (stage(version="2.0.0", status=0), Verdict.ASK),
        (None, Verdict.ASK),
    ],
)
def test_a_submission_is_another_audit_than_before(audit: Any, verdict: Verdict) -> None:
    assert stages.submitted(kept(audit=stage()), now(audit=audit)).verdict is verdict


def test_a_release_on_its_way_is_waited_for_and_then_asked() -> None:
    held = kept(audit=stage(status=1), current=stage(version="0.9.0"))
    facts = now(audit=stage(status=1, published=True), current=stage(version="0.9.0"))
    assert stages.not_live(held, facts).verdict is Verdict.WAIT
    old = Kept(held.before, held.wanted, utcnow() - timedelta(minutes=11), 1)
    assert stages.not_live(old, facts).verdict is Verdict.ASK
    assert stages.not_live(held, now(audit=stage(status=1), current=stage(version="0.9.0"))).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize(
    ("minutes", "live", "can", "verdict"),
    [
        (1, "1.0.1", False, Verdict.WAIT),
        (7, "1.0.1", True, Verdict.NOT_DONE),
        (7, "1.0.1", False, Verdict.ASK),
        (1, "3.0.0", True, Verdict.ASK),
    ],
)
def test_a_rollback_that_has_not_taken_effect(minutes: int, live: str, can: bool, verdict: Verdict) -> None:
    held = kept(current={"version": "1.0.1", "can_rollback": True})
    old = Kept(held.before, held.wanted, utcnow() - timedelta(minutes=minutes), 1)
    facts = now(current={"version": live, "can_rollback": can})
    assert stages.not_rolled_back(old, facts).verdict is verdict


def test_another_audit_in_its_place_is_nobodys_to_withdraw() -> None:
    assert stages.not_withdrawn(kept(), now(audit=stage(status=0, ctime=6))).verdict is Verdict.ASK
    assert not stages.is_withdrawn(now(audit=stage(status=3, ctime=6)), kept().wanted)


def test_an_empty_answer_is_no_news_of_an_end(loop: Loop) -> None:
    """Data of nothing with the code of success: read as it stands it would retire every version and template."""
    second_approved(loop)
    template.sync(loop.app, loop.launch.third_party_app.id)
    refresh(loop.session)
    before = [(row.number, row.state) for row in loop.session.scalars(select(Version).order_by(Version.id))]
    kept = set(loop.session.scalars(select(Template.template_id).where(Template.gone.is_(False))))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
        http.add_passthru(f"{loop.sandbox.url}/_sandbox")
        for path in ("apps/v1/package_version/versions/", "tpapp/v2/template/get_tpl_list/"):
            http.add("GET", f"{loop.sandbox.url}/api/{path}", json={"err_no": 0, "data": {}})
        http.add_passthru(loop.sandbox.url + "/api/tpapp/v2/template/get_tpl_app_list")
        assert loop.do("release").state == RunState.QUEUED
        with pytest.raises(DouyinError, match="接口约定"):
            sync(loop.app, loop.row.id)
        with pytest.raises(DouyinError, match="接口约定"):
            template.sync(loop.app, loop.launch.third_party_app.id)
    refresh(loop.session)
    assert [(row.number, row.state) for row in loop.session.scalars(select(Version).order_by(Version.id))] == before
    assert set(loop.session.scalars(select(Template.template_id).where(Template.gone.is_(False)))) == kept
    assert loop.row.live_version == "1.0.0"


def test_two_new_templates_are_asked_about() -> None:
    held = Kept({"templates": {"1": "1.0.0"}}, {"version": "1.0.0"}, utcnow(), 1)
    assert template._added(held, {"templates": {"1": "1.0.0", "2": "1.0.0", "3": "1.0.0"}}).verdict is Verdict.ASK
    assert template._added(held, {"templates": {"1": "1.0.0", "2": "2.0.0"}}).verdict is Verdict.NOT_DONE


@pytest.mark.parametrize("verdict", Verdict)
def test_a_look_before_another_call_stops_at_all_but_what_was_not_done(session: Session, verdict: Verdict) -> None:
    """What is over is refused by the operation itself, in its own words; what cannot be told stops here."""
    run = OperationRun(evidence={"before": {}, "wanted": {}, "at": "2026-01-01T00:00:00+00:00", "calls": 1})
    proof = event(
        lambda _row, _work, _params: Sight({"seen": True}),
        happened=lambda _kept, _facts: Settlement(verdict),
        take=lambda *_found: {},
    )
    work = Work(session, run, None, proof, print)
    if verdict in {Verdict.NOT_DONE, Verdict.OVER}:
        assert work.look().facts == {"seen": True}
    else:
        with pytest.raises(Proved):
            work.look()


@pytest.mark.parametrize(("others", "verdict"), [(0, Verdict.DONE), (1, Verdict.ASK)])
def test_of_several_new_templates_none_is_claimed(loop: Loop, others: int, verdict: Verdict) -> None:
    """They carry no mark of ours: whoever else added one at the same time cannot be told apart."""
    app = template_app(loop)
    proof = OPERATIONS["add_template"].proof
    assert proof is not None
    kept = Kept({"templates": {"1": "1.0.0"}}, {"version": app.draft_version}, utcnow(), 1)
    made = {str(10 + number): app.draft_version for number in range(1 + others)}
    assert proof.judge(kept, {"templates": {"1": "1.0.0", **made}}).verdict is verdict
