"""Links, the merchant's return with each of its endings, claims, the end of an authorisation, healing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.data.clock import utcnow
from app.douyin.authorization import GenAuthLink, LinkType
from app.errors import DouyinError, NoAnswer, Refused
from app.link import connection, exchange
from app.models import (
    AuthorizationLink,
    AuthorizationState,
    Credential,
    Door,
    Industry,
    LinkState,
    Merchant,
    MerchantState,
    MiniProgram,
    OperationRun,
    RunState,
    ThirdPartyApp,
    VersionEvent,
)
from app.models.kit import audit
from app.operations import runs
from app.operations.onboarding import arrival, authorizations, links, ownership
from app.operations.onboarding.outcome import Ending
from tests.conftest import Launch, SandboxServer, operate, refresh
from tests.operations.shop import Shop

SYSTEM = audit.SYSTEM


def other_merchant(session: Session) -> Merchant:
    found = Merchant(name="鲍勃面馆", industry=session.scalars(select(Industry)).first())
    session.add(found)
    session.commit()
    return found


def test_a_link_leads_back_to_our_own_address(shop: Shop) -> None:
    link = shop.link()
    assert link.state == LinkState.OPEN
    assert link.url.startswith(shop.sandbox.url)
    assert link.expires_at > utcnow() + timedelta(hours=23)
    state, _ = shop.consent(link)
    assert len(state) < 200


GEN_LINK = "gen_link"


def asked_for_links(shop: Shop) -> int:
    return len([row for row in shop.sandbox.get("journal")["rows"] if GEN_LINK in str(row)])


class CountingPace:
    """Lets everything pass at once, and counts it."""

    taken = 0

    def take(self) -> None:
        self.taken += 1


def test_a_link_whose_answer_is_lost_is_asked_for_again_within_the_pace(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.link()  # the token is there: what follows are the link's own calls
    pace = CountingPace()
    monkeypatch.setattr(connection.client(shop.app), "pace", pace)
    before = asked_for_links(shop)
    shop.sandbox.post("settings", drop_after_next=1, drop_path=GEN_LINK)
    assert shop.link().state == LinkState.OPEN
    assert (asked_for_links(shop) - before, pace.taken) == (2, 2)


def test_a_link_that_makes_an_app_is_never_asked_for_twice(shop: Shop) -> None:
    """Of these there are fifty a day."""
    shop.sandbox.post("settings", drop_after_next=1, drop_path=GEN_LINK)
    with pytest.raises(NoAnswer):
        connection.bind_app(shop.app, shop.owner.id).send(GenAuthLink(link_type=LinkType.CREATE, app_name="新店"))
    assert asked_for_links(shop) == 1


def test_coming_back_binds_the_app_to_the_merchant(shop: Shop) -> None:
    link = shop.link()
    found = shop.back(*shop.consent(link))
    assert (found.ending, found.status) == (Ending.LINKED, 200)
    assert found.granted == ["开发管理", "基本信息设置", "运营管理"]
    assert shop.row.merchant_id == shop.merchant.id
    assert shop.row.state == AuthorizationState.AUTHORIZED
    assert shop.row.name == found.name != ""
    assert shop.session.get_one(AuthorizationLink, link.id).state == LinkState.USED
    event = shop.session.scalars(select(VersionEvent)).one()
    assert (event.kind, event.merchant_id) == ("authorized", shop.merchant.id)


def test_a_reload_shows_the_success_again_and_exchanges_nothing(shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    shop.back(state, code)
    assert shop.back(state, code).ending is Ending.LINKED
    assert shop.sandbox.effects(shop.appid)["exchange"] == 1


def test_ten_returns_at_once_are_one_authorization(shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    with ThreadPoolExecutor(10) as pool:
        endings = list(pool.map(lambda _: arrival.complete(shop.app, state, code).ending, range(10)))
    assert set(endings) == {Ending.LINKED}
    assert shop.sandbox.effects(shop.appid)["exchange"] == 1


def test_a_used_link_is_not_used_again(shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    shop.back(state, code)
    assert shop.back(state, "another-code").ending is Ending.LINK_USED


def test_an_old_link_is_expired(shop: Shop) -> None:
    link = shop.link()
    state, code = shop.consent(link)
    shop.session.execute(update(AuthorizationLink).values(expires_at=utcnow() - timedelta(seconds=1)))
    shop.session.commit()
    assert shop.back(state, code).ending is Ending.LINK_EXPIRED


@pytest.mark.parametrize("state", ["", "x", "a.b.c", "WzFd.aaaa.bbbb", "%00", "é" * 300])
def test_a_forged_link_is_invalid(app: Flask, state: str) -> None:
    assert arrival.complete(app, state, "code").ending is Ending.BAD_LINK


def test_no_code_means_the_merchant_cancelled_and_the_link_stays_good(shop: Shop) -> None:
    link = shop.link()
    state, code = shop.consent(link)
    assert shop.back(state, "").ending is Ending.CANCELLED
    assert shop.back(state, code).ending is Ending.LINKED


def test_a_code_that_is_no_good_is_said_so(shop: Shop) -> None:
    state, _ = shop.consent(shop.link())
    found = shop.back(state, "code-from-nowhere")
    assert (found.ending, found.status) == (Ending.CODE_SPENT, 409)


def test_an_app_of_another_merchant_stays_with_it(shop: Shop) -> None:
    shop.back(*shop.consent(shop.link()))
    bob = other_merchant(shop.session)
    link = links.make_link(shop.session, bob, shop.owner, actor=SYSTEM)
    assert shop.back(*shop.consent(link)).ending is Ending.OTHER_MERCHANT
    assert shop.row.merchant_id == shop.merchant.id


def test_another_app_than_the_expected_one_is_not_bound(shop: Shop) -> None:
    state, code = shop.consent(shop.link(expected_appid="tt0000000000000000"))
    assert shop.back(state, code).ending is Ending.OTHER_APP
    assert shop.row.merchant_id is None
    assert shop.back(state, code).ending is Ending.OTHER_APP  # a reload says the same


def test_the_expected_app_is_bound(shop: Shop) -> None:
    assert shop.back(*shop.consent(shop.link(expected_appid=shop.appid))).ok


def test_missing_permissions_are_named(shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    shop.sandbox.post(f"apps/{shop.appid}", permissions=[3])
    found = shop.back(state, code)
    assert found.missing == ["开发管理", "基本信息设置"]
    assert shop.row.lacking
    assert "重新授权" in found.hints[0]


def test_an_unverified_subject_is_pointed_out(shop: Shop) -> None:
    state, code = shop.consent(shop.link())
    shop.sandbox.post(f"apps/{shop.appid}", subject_verified=False)
    found = shop.back(state, code)
    assert found.ok
    assert shop.row.subject_verified is False
    assert any("主体认证" in hint for hint in found.hints)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        (40019, Ending.OTHER_PROVIDER),
        (11305, Ending.SUBJECT),
        (40008, Ending.SUBJECT),
        (40002, Ending.REFUSED),
    ],
)
def test_douyins_refusals_have_their_endings(shop: Shop, code: int, ending: Ending) -> None:
    state, authorization_code = shop.consent(shop.link())
    shop.sandbox.post("settings", error_rate=1.0, error_code=code)
    found = shop.back(state, authorization_code)
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    assert found.ending is ending
    assert found.said
    again = shop.back(state, authorization_code)
    assert (again.ending, again.said) == (ending, found.said)


def test_a_suspended_merchant_gets_no_link(shop: Shop) -> None:
    shop.merchant.state = MerchantState.SUSPENDED
    shop.session.commit()
    with pytest.raises(Refused, match="已停用"):
        shop.link()


def test_a_link_that_douyin_refuses_is_void_and_the_fault_is_noted(shop: Shop) -> None:
    shop.sandbox.post("settings", ip_blocked=True)
    with pytest.raises(DouyinError):
        shop.link()
    shop.sandbox.post("settings", ip_blocked=False)
    refresh(shop.session)
    link = shop.session.scalars(select(AuthorizationLink)).one()
    assert link.state == LinkState.VOID
    assert shop.session.get_one(ThirdPartyApp, shop.owner.id).fault


def test_a_waiting_app_is_claimed_with_its_history(shop: Shop) -> None:
    _, code = shop.consent(shop.link())
    exchange.exchange_code(shop.app, shop.owner.id, code)
    ownership.claim(shop.session, shop.row, shop.merchant)
    assert shop.row.merchant_id == shop.merchant.id
    assert set(shop.session.scalars(select(VersionEvent.merchant_id))) == {shop.merchant.id}
    with pytest.raises(Refused, match="另一个商户"):
        ownership.claim(shop.session, shop.row, other_merchant(shop.session))


def test_an_app_authorizes_again_after_its_end(shop: Shop) -> None:
    shop.back(*shop.consent(shop.link()))
    shop.sandbox.post("revoke", appid=shop.appid)
    assert ownership.revoke(shop.app, shop.appid, "商户取消了授权")
    assert shop.back(*shop.consent(shop.link())).ok
    assert shop.row.state == AuthorizationState.AUTHORIZED


def test_the_end_drops_tokens_and_fails_what_was_queued(app: Flask, session: Session, launch: Launch) -> None:
    run = runs.request(session, "sync_versions", launch.mini_program, actor=SYSTEM, door=Door.JOB)
    assert ownership.revoke(app, launch.mini_program.appid, "商户在抖音取消了授权")
    assert not ownership.revoke(app, launch.mini_program.appid, "再来一次")
    refresh(session)
    assert session.get_one(OperationRun, run.id).state == RunState.FAILED
    assert "取消了授权" in session.get_one(OperationRun, run.id).message
    tokens = session.scalars(select(Credential).where(Credential.appid == launch.mini_program.appid)).all()
    assert all(row.access_token is None and row.refresh_token is None for row in tokens)


# The list at Douyin against ours


def test_the_check_takes_in_an_app_we_never_heard_of(shop: Shop) -> None:
    shop.consent(shop.link())
    assert "新增 1" in authorizations.check_authorizations(shop.app)
    assert shop.row.state == AuthorizationState.AUTHORIZED
    assert shop.row.merchant_id is None


def test_the_check_ends_what_is_gone(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer) -> None:
    sandbox.post("revoke", appid=launch.mini_program.appid)
    assert "取消 1" in authorizations.check_authorizations(app)
    refresh(session)
    assert session.get_one(MiniProgram, launch.mini_program.id).state == AuthorizationState.REVOKED
    assert "取消 0" in authorizations.check_authorizations(app)


def test_the_check_goes_through_all_pages_and_ends_nothing_by_mistake(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    sandbox.post("apps", count=120, authorized_to=launch.third_party_app.appid)
    found = authorizations.check_authorizations(app)
    assert "新增 100" in found
    assert "取消 0" in found
    assert "新增 20" in authorizations.check_authorizations(app)


def test_the_check_restores_what_a_missed_push_brought_back(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    ownership.revoke(app, launch.mini_program.appid, "误报")
    past = utcnow() - timedelta(days=1)
    refresh(session)
    session.execute(update(MiniProgram).values(unauthorized_at=past))
    session.commit()
    assert "恢复 1" in authorizations.check_authorizations(app)


def test_the_check_leaves_a_cleared_app_alone(app: Flask, session: Session, launch: Launch) -> None:
    operate(app, session, "clear_authorization", launch.mini_program)
    assert "恢复 0" in authorizations.check_authorizations(app)
    refresh(session)
    assert session.get_one(MiniProgram, launch.mini_program.id).state == AuthorizationState.CLEARED


# Operations


def test_refresh_token_by_the_operation(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer) -> None:
    run = operate(app, session, "refresh_token", launch.mini_program)
    assert run.state == RunState.SUCCEEDED
    assert sandbox.effects(launch.mini_program.appid)["refresh"] == 1


def test_recovery_brings_back_an_app_that_douyin_still_lists(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    ownership.revoke(app, launch.mini_program.appid, "误报")
    run = operate(app, session, "recover_authorization", launch.mini_program)
    assert run.state == RunState.SUCCEEDED
    assert run.result["permissions"][:2] == ["开发管理", "基本信息设置"]
    assert session.get_one(MiniProgram, launch.mini_program.id).state == AuthorizationState.AUTHORIZED


def test_recovery_of_an_app_that_is_gone_is_refused(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    sandbox.post("revoke", appid=launch.mini_program.appid)
    ownership.revoke(app, launch.mini_program.appid, "商户取消了授权")
    run = operate(app, session, "recover_authorization", launch.mini_program)
    assert run.state == RunState.FAILED
    assert "重新授权" in run.message


def test_clearing_forgets_the_tokens_and_sends_nothing(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    before = len(sandbox.get("journal")["rows"])
    run = operate(app, session, "clear_authorization", launch.mini_program)
    assert run.state == RunState.SUCCEEDED
    assert len(sandbox.get("journal")["rows"]) == before
    row = session.get_one(MiniProgram, launch.mini_program.id)
    assert (row.state, row.refresh_expires_at) == (AuthorizationState.CLEARED, None)
