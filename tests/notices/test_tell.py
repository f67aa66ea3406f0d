"""Who is told what: each kind to the right people and to nobody else, once; and what a fault in telling may break."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.access.roles import ROLES
from app.cli import setup as setting_up
from app.data.clock import SHANGHAI, utcnow
from app.data.engine import writing
from app.data.tenancy import PLATFORM, app_scope, merchant_scope
from app.errors import DouyinError, ErrorKind
from app.link import faults
from app.models import (
    ChannelKind,
    Merchant,
    MerchantState,
    MiniProgram,
    Notification,
    NotificationChannel,
    NotificationDelivery,
    NotificationRule,
    RunState,
    ThirdPartyApp,
    User,
    VersionState,
)
from app.notices import inbox
from app.notices import tell as notices_tell
from app.notices.kinds import KINDS
from app.notices.tell import after_quiet, tell
from app.operations.onboarding import ownership
from app.operations.release.sync import sync
from tests.conftest import PASSWORD, Actors, Launch, SandboxServer, operate, refresh

PLATFORM_PEOPLE = ("platform_admin", "operator", "auditor")
DESK = {"platform_admin", "operator"}


@pytest.fixture
def everyone(session: Session, actors: Actors) -> dict[str, int]:
    """One user of every role, the merchants' once for alice and once for bob: name -> id."""
    with writing():
        for role in PLATFORM_PEOPLE:
            setting_up.add_user(session, role, role, password=PASSWORD)
        for name, merchant in (("alice", actors.alice), ("bob", actors.bob)):
            for role in ("owner", "staff", "clerk"):
                setting_up.add_user(session, f"{name}.{role}", role, merchant_key=merchant.key, password=PASSWORD)
        session.commit()
    return {user.first_name: user.id for user in session.scalars(sa.select(User))}


def names_told(session: Session, kind: str) -> set[str]:
    refresh(session)
    rows = session.execute(sa.select(User.first_name, Notification.kind).where(Notification.user_id == User.id))
    return {name for name, of in rows if of == kind}


def news(session: Session) -> list[Notification]:
    refresh(session)
    return list(session.scalars(sa.select(Notification).order_by(Notification.id)))


def say(session: Session, kind: str, **given: Any) -> int:
    with writing():
        refresh(session)
        count = tell(session, kind, **given)
        session.commit()
    return count


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.personal])
def test_each_kind_reaches_its_roles_of_the_platform_and_of_that_merchant_only(
    session: Session, actors: Actors, everyone: dict[str, int], kind: str
) -> None:
    say(session, kind, subject=actors.alice_app, dedup="x")
    roles = KINDS[kind].roles
    expected = {role for role in PLATFORM_PEOPLE if role in roles}
    expected |= {f"alice.{role}" for role in ("owner", "staff", "clerk") if role in roles}
    assert names_told(session, kind) == expected
    assert expected >= DESK


def test_the_table_of_kinds_says_what_the_product_promises() -> None:
    merchants = {name for name, kind in KINDS.items() if "owner" in kind.roles}
    assert merchants == {
        "audit_passed",
        "audit_rejected",
        "authorization_lapsing",
        "authorization_revoked",
        "permissions_lacking",
        "account_security",
        "transfer_done",
    }
    assert all(len(name) <= 32 and kind.level in {"info", "good", "warn", "bad"} for name, kind in KINDS.items())
    assert all(kind.roles <= set(ROLES) and kind.roles for kind in KINDS.values())


def test_each_persons_row_belongs_to_their_own_face(
    app: Flask, session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    say(session, "audit_passed", subject=actors.alice_app)
    assert {row.merchant_id for row in news(session)} == {None, actors.alice.id}
    with app_scope(app, merchant_scope(actors.alice.id)) as hers:
        seen = set(hers.scalars(sa.select(Notification.user_id)))
    assert seen == {everyone["alice.owner"], everyone["alice.staff"]}
    with app_scope(app, merchant_scope(actors.bob.id)) as his:
        assert his.scalars(sa.select(Notification)).all() == []


def test_the_same_news_comes_once_and_a_new_occurrence_comes_again(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    assert say(session, "audit_stuck", subject=actors.alice_app, dedup="first") == 2
    assert say(session, "audit_stuck", subject=actors.alice_app, dedup="first") == 0
    assert say(session, "audit_stuck", subject=actors.alice_app, dedup="second") == 2
    assert len(news(session)) == 4


def test_many_who_tell_the_same_at_the_same_moment_tell_it_once(
    app: Flask, session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    shared = channel(session, None, None, kinds=["audit_passed"])
    key, gate, failed = actors.alice_app.id, threading.Barrier(6), list[BaseException]()
    session.rollback()

    def work() -> None:
        try:
            with app_scope(app, PLATFORM) as own:
                row = own.get_one(MiniProgram, key)
                own.rollback()
                gate.wait()
                tell(own, "audit_passed", subject=row, dedup="race")
                own.commit()
        except BaseException as problem:
            failed.append(problem)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(news(session)) == 4
    assert queued(session) == [(shared, None, None)]


def test_somebody_who_comes_later_is_told_what_the_others_know(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    say(session, "audit_stuck", subject=actors.alice_app, dedup="first")
    with writing():
        setting_up.add_user(session, "newcomer", "operator", password=PASSWORD)
        session.commit()
    assert say(session, "audit_stuck", subject=actors.alice_app, dedup="first") == 1
    assert "newcomer" in names_told(session, "audit_stuck")


def test_a_long_name_of_an_occurrence_is_kept_apart_from_others(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    assert say(session, "job_failed", subject=("job", None), title="x", dedup="a" * 300 + "1") == 2
    assert say(session, "job_failed", subject=("job", None), title="x", dedup="a" * 300 + "2") == 2


def test_the_disabled_and_the_people_of_a_suspended_merchant_hear_nothing(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    with writing():
        refresh(session)
        session.get_one(User, everyone["operator"]).active = False
        session.get_one(Merchant, actors.alice.id).state = MerchantState.SUSPENDED
        session.commit()
    say(session, "audit_rejected", subject=actors.alice_app)
    assert names_told(session, "audit_rejected") == {"platform_admin"}


def test_news_for_one_person_reaches_that_person_only(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    say(session, "transfer_done", title="导出完成", users=[everyone["alice.clerk"]], dedup="task:1")
    assert names_told(session, "transfer_done") == {"alice.clerk"}


def test_a_merchants_own_session_may_tell_its_own_people_only(
    app: Flask, session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    with app_scope(app, merchant_scope(actors.alice.id)) as hers:
        tell(hers, "transfer_done", title="导出完成", users=[everyone["alice.owner"], everyone["bob.owner"]], dedup="t")
        hers.commit()
    assert names_told(session, "transfer_done") == {"alice.owner"}


def test_titles_and_bodies_hold_no_secret_and_no_phone(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    say(
        session,
        "audit_rejected",
        subject=actors.alice_app,
        title="联系 13800138000 处理",
        body="access_token=abcdefgh12345678 \x00",
    )
    row = news(session)[0]
    assert row.title == "联系 138****8000 处理"
    assert "abcdefgh" not in row.body and "\x00" not in row.body


def test_what_is_too_long_is_cut(session: Session, actors: Actors, everyone: dict[str, int]) -> None:
    say(session, "audit_rejected", subject=actors.alice_app, title="长" * 400, body="长" * 9000)
    row = news(session)[0]
    assert (len(row.title), len(row.body)) == (160, 2000) and row.title.endswith("…")


# Rules and channels


def channel(session: Session, user_id: int | None, merchant_id: int | None = None, **given: Any) -> int:
    with writing():
        refresh(session)
        row = NotificationChannel(
            user_id=user_id, merchant_id=merchant_id, kind=ChannelKind.WEBHOOK, name="渠道", **given
        )
        row.address = '{"to": "https://example.com/x"}'
        session.add(row)
        session.commit()
        return row.id


def rule(session: Session, user_id: int, kind: str, channels: list[int], *, in_console: bool = True) -> None:
    with writing():
        refresh(session)
        merchant_id = session.get_one(User, user_id).merchant_id
        session.add(
            NotificationRule(
                user_id=user_id, merchant_id=merchant_id, kind=kind, channels=channels, in_console=in_console
            )
        )
        session.commit()


def queued(session: Session) -> list[tuple[int, int | None, int | None]]:
    refresh(session)
    rows = session.scalars(sa.select(NotificationDelivery).order_by(NotificationDelivery.channel_id))
    return [(row.channel_id, row.user_id, row.merchant_id) for row in rows]


def test_news_goes_through_the_channels_that_a_person_chose_for_its_kind(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    owner = everyone["alice.owner"]
    wanted, other = channel(session, owner, actors.alice.id), channel(session, owner, actors.alice.id)
    off = channel(session, owner, actors.alice.id, active=False)
    rule(session, owner, "audit_passed", [wanted, off])
    rule(session, owner, "audit_rejected", [other])
    say(session, "audit_passed", subject=actors.alice_app)
    assert queued(session) == [(wanted, owner, actors.alice.id)]


def test_a_rule_that_names_somebody_elses_channel_sends_nothing(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    foreign = channel(session, everyone["bob.owner"], actors.bob.id)
    rule(session, everyone["alice.owner"], "audit_passed", [foreign])
    say(session, "audit_passed", subject=actors.alice_app)
    assert queued(session) == []


def test_shared_channels_carry_their_kinds_once_and_only_their_own_merchants_news(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    ours = channel(session, None, None, kinds=["audit_passed"])
    hers = channel(session, None, actors.alice.id, kinds=["audit_passed", "audit_stuck"])
    channel(session, None, actors.bob.id, kinds=["audit_passed", "audit_stuck"])
    say(session, "audit_passed", subject=actors.alice_app, dedup="one")
    say(session, "audit_passed", subject=actors.alice_app, dedup="one")
    say(session, "audit_stuck", subject=actors.alice_app, dedup="one")  # is none of a merchant's business
    assert queued(session) == [(ours, None, None), (hers, None, actors.alice.id)]


def test_a_private_matter_goes_through_no_shared_channel(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    channel(session, None, None, kinds=["transfer_done"])
    say(session, "transfer_done", title="导出完成", users=[everyone["operator"]], dedup="t")
    assert queued(session) == []


def test_who_does_not_want_the_bell_finds_the_news_as_read(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    rule(session, everyone["operator"], "audit_stuck", [], in_console=False)
    say(session, "audit_stuck", subject=actors.alice_app)
    assert inbox.unread(session, everyone["operator"]) == 0
    assert inbox.unread(session, everyone["platform_admin"]) == 1
    assert len(inbox.latest(session, everyone["operator"])) == 1


# Quiet hours


NIGHT = {"from": "22:00", "to": "08:00", "urgent": True}


def at(text: str) -> datetime:
    """A time in Shanghai, as UTC."""
    return datetime.fromisoformat(f"{text}+08:00").astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "sent"),
    [
        ("2026-03-01 21:59", "2026-03-01 21:59"),
        ("2026-03-01 22:00", "2026-03-02 08:00"),
        ("2026-03-01 23:59", "2026-03-02 08:00"),
        ("2026-03-02 00:00", "2026-03-02 08:00"),
        ("2026-03-02 07:59", "2026-03-02 08:00"),
        ("2026-03-02 08:00", "2026-03-02 08:00"),
        ("2026-12-31 22:30", "2027-01-01 08:00"),
    ],
)
def test_quiet_hours_hold_across_midnight_in_shanghai(moment: str, sent: str) -> None:
    assert after_quiet(NIGHT, "warn", at(moment)) == at(sent)


def test_quiet_hours_within_a_day() -> None:
    noon = {"from": "12:00", "to": "14:00"}
    assert after_quiet(noon, "info", at("2026-03-01 13:00")) == at("2026-03-01 14:00")
    assert after_quiet(noon, "info", at("2026-03-01 14:00")) == at("2026-03-01 14:00")


def test_bad_news_passes_quiet_hours_where_the_person_allows_it() -> None:
    night = at("2026-03-01 23:00")
    assert after_quiet(NIGHT, "bad", night) == night
    assert after_quiet({**NIGHT, "urgent": False}, "bad", night) == at("2026-03-02 08:00")


@pytest.mark.parametrize("quiet", [{}, {"from": "22:00"}, {"from": "x", "to": "y"}, {"from": "08:00", "to": "08:00"}])
def test_no_or_broken_quiet_hours_hold_nothing_back(quiet: dict[str, Any]) -> None:
    night = at("2026-03-01 23:00")
    assert after_quiet(quiet, "info", night) == night


def test_a_persons_quiet_hours_postpone_what_is_sent_to_them_but_not_the_bell(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    person = everyone["operator"]
    rule(session, person, "audit_stuck", [channel(session, person)])
    local = utcnow().astimezone(SHANGHAI)
    quiet = {"from": f"{local - timedelta(hours=1):%H:%M}", "to": f"{local + timedelta(hours=2):%H:%M}"}
    with writing():
        refresh(session)
        session.get_one(User, person).preferences = {"quiet": quiet, "theme": "dark"}
        session.commit()
    say(session, "audit_stuck", subject=actors.alice_app)
    (waiting,) = session.scalars(sa.select(NotificationDelivery))
    assert utcnow() + timedelta(minutes=90) < waiting.not_before < utcnow() + timedelta(minutes=121)
    assert inbox.unread(session, person) == 1


# A fault in telling


def test_a_fault_in_telling_leaves_the_event_as_it_is(
    session: Session, actors: Actors, everyone: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_tell, "_ways", lambda *_: 1 / 0)
    with writing():
        refresh(session)
        session.get_one(MiniProgram, actors.alice_app.id).remarks = "本身的变化"
        assert tell(session, "audit_passed", subject=actors.alice_app) == 0
        session.commit()
    refresh(session)
    assert session.get_one(MiniProgram, actors.alice_app.id).remarks == "本身的变化"
    assert news(session) == []


def test_a_fault_of_the_database_itself_is_not_hidden(
    session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OperationalError("", {}, Exception("deadlock"))

    monkeypatch.setattr(notices_tell, "people", broken)
    with writing(), pytest.raises(OperationalError):
        tell(session, "audit_passed", subject=actors.alice_app)


def test_news_and_event_are_committed_together_or_not_at_all(
    session: Session, actors: Actors, everyone: dict[str, int]
) -> None:
    with writing():
        refresh(session)
        tell(session, "audit_passed", subject=actors.alice_app)
        session.rollback()
    assert news(session) == []


# At the source


@pytest.fixture
def desk(session: Session, launch: Launch) -> None:
    with writing():
        setting_up.add_user(session, "desk", "operator", password=PASSWORD)
        setting_up.add_user(session, "hers", "owner", merchant_key=launch.merchant.key, password=PASSWORD)
        session.commit()


def submit(app: Flask, session: Session, launch: Launch, version: str) -> None:
    for name, given in (
        ("upload_code", {"template_id": launch.template_id, "version": version, "description": "新版"}),
        ("submit_audit", {}),
    ):
        run = operate(app, session, name, launch.mini_program, **given)
        assert run.state == RunState.SUCCEEDED, run.message


def test_a_rejection_is_told_once_with_its_reason(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, desk: None
) -> None:
    submit(app, session, launch, "1.0.0")
    appid, key = launch.mini_program.appid, launch.mini_program.id
    sandbox.post("audit", appid=appid, verdict="reject", reason="首页有空白区域")
    for _ in range(3):
        sync(app, key)
    assert names_told(session, "audit_rejected") == {"desk", "hers"}
    first = news(session)
    assert len(first) == 2 and "首页有空白区域" in first[0].body and "1.0.0" in first[0].title
    assert (first[0].subject_type, first[0].subject_id) == ("mini_program", key)


def test_an_approval_is_told_once(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, desk: None
) -> None:
    submit(app, session, launch, "1.0.0")
    assert news(session) == []
    sandbox.post("audit", appid=launch.mini_program.appid, verdict="approve")
    sync(app, launch.mini_program.id)
    sync(app, launch.mini_program.id)
    assert names_told(session, "audit_passed") == {"desk", "hers"}
    assert len(news(session)) == 2


def test_a_revocation_is_told_when_it_is_written(app: Flask, session: Session, launch: Launch, desk: None) -> None:
    assert ownership.revoke(app, launch.mini_program.appid, "商户在抖音取消了授权")
    assert not ownership.revoke(app, launch.mini_program.appid, "商户在抖音取消了授权")
    assert names_told(session, "authorization_revoked") == {"desk", "hers"}
    assert len(news(session)) == 2


def test_a_fault_of_the_third_party_app_is_told_once_until_it_is_over(
    session: Session, launch: Launch, desk: None
) -> None:
    error = DouyinError("IP 不在白名单", err_no=28001016, kind=ErrorKind.PLATFORM, advice="请添加服务器 IP")
    for _ in range(3):
        with writing():
            refresh(session)
            faults.report_fault(session, launch.third_party_app, error)
    (row,) = news(session)
    assert row.kind == "app_fault" and "IP 不在白名单" in row.body and row.user_id is not None
    assert session.get_one(ThirdPartyApp, launch.third_party_app.id).fault


def test_an_operation_succeeds_although_telling_fails(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer, desk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(app, session, launch, "1.0.0")
    monkeypatch.setattr(notices_tell, "people", lambda *_: 1 / 0)
    sandbox.post("audit", appid=launch.mini_program.appid, verdict="approve")
    sync(app, launch.mini_program.id)
    refresh(session)
    assert session.get_one(MiniProgram, launch.mini_program.id).audit_state == VersionState.APPROVED
    assert news(session) == []
