"""A merchant's return whose exchange is not over at once: kept, gone on with, bound once, given up in the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app.data.clock import utcnow
from app.jobs import housekeeping, sync
from app.models import AuthorizationCode, AuthorizationLink, AuthorizationReturn, LinkState, ThirdPartyApp
from app.operations.inbound import process
from app.operations.inbound.receive import receive
from app.operations.onboarding import arrival, authorizations
from app.operations.onboarding.outcome import Ending, Outcome
from tests.conftest import change, refresh
from tests.operations.shop import Shop
from tests.pushes import about, sealed

EXCHANGE = "get_auth_token"


def waiting(shop: Shop) -> list[AuthorizationReturn]:
    refresh(shop.session)
    return list(shop.session.scalars(select(AuthorizationReturn)))


def later(shop: Shop, state: str) -> Outcome:
    """The waiting page loads once more, after its pause."""
    refresh(shop.session)
    shop.session.execute(update(AuthorizationReturn).values(at=utcnow() - timedelta(seconds=1)))
    shop.session.commit()
    return shop.back(state)


def push(shop: Shop, code: str) -> None:
    told = about(shop.appid, "AUTHORIZED", AuthorizationCode=code)
    assert receive(shop.app, shop.owner.appid, "authorization", sealed(told), "127.0.0.1")
    assert process.process_due(shop.app) == 1


def silent(shop: Shop, **options: str) -> tuple[str, str]:
    """A return whose exchange took effect without an answer."""
    state, code = shop.consent(shop.link(**options), delay=60)
    shop.sandbox.post("settings", drop_after_next=1, drop_path=EXCHANGE)
    assert shop.back(state, code).ending is Ending.WAITING
    return state, code


def test_a_code_that_never_left_is_exchanged_by_the_page_that_waits(shop: Shop) -> None:
    state, code = shop.consent(shop.link(), delay=60)
    shop.sandbox.post("settings", error_rate=1.0, error_code=28001005)
    assert shop.back(state, code).ending is Ending.WAITING
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    assert later(shop, state).ending is Ending.LINKED
    assert shop.row.merchant_id == shop.merchant.id
    assert shop.sandbox.effects(shop.appid)["exchange"] == 1


def test_what_waits_has_its_code_sealed_and_loses_it_when_it_is_over(shop: Shop) -> None:
    state, code = shop.consent(shop.link(), delay=60)
    shop.sandbox.post("settings", error_rate=1.0, error_code=28001005)
    shop.back(state, code)
    (row,) = waiting(shop)
    assert (row.code, code in str(row.code_sealed)) == (code, False)
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    later(shop, state)
    assert waiting(shop) == []


def test_a_ticket_that_has_not_come_yet_is_waited_for(shop: Shop) -> None:
    state, code = shop.consent(shop.link(), delay=60)
    shop.sandbox.post("expire", kind="component")
    ticket = shop.owner.ticket_at
    change(shop.session, shop.owner, ticket_at=utcnow() - timedelta(hours=4))
    shop.session.execute(update(ThirdPartyApp.__table__).values(ticket_at=utcnow() - timedelta(hours=4)))
    shop.session.commit()
    first = shop.back(state, code).ending
    change(shop.session, shop.owner, ticket_at=ticket)
    assert (first, later(shop, state).ending) == (Ending.WAITING, Ending.LINKED)


def test_after_silence_a_code_is_never_sent_again(shop: Shop) -> None:
    state, code = silent(shop)
    for _ in range(3):
        assert later(shop, state).ending is Ending.WAITING
    assert shop.back(state, code).ending is Ending.WAITING
    assert shop.sandbox.effects(shop.appid)["exchange"] == 1
    asked = [str(row["path"]) for row in shop.sandbox.get("journal")["rows"]]
    assert len([path for path in asked if EXCHANGE in path]) == 1
    assert not [path for path in asked if "retrieve" in path]  # for which app, nobody knows


@pytest.mark.parametrize("code", [987654, -3])
def test_an_answer_that_says_nothing_about_the_code_is_like_silence(shop: Shop, code: int) -> None:
    state, authorization_code = shop.consent(shop.link(), delay=60)
    shop.sandbox.post("settings", error_rate=1.0, error_code=code)
    assert shop.back(state, authorization_code).ending is Ending.WAITING
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    assert later(shop, state).ending is Ending.WAITING
    assert shop.sandbox.effects(shop.appid)["exchange"] == 0  # nobody can say that it was not spent
    push(shop, authorization_code)
    assert later(shop, state).ending is Ending.LINKED


def test_after_silence_the_push_of_the_same_code_names_the_app(shop: Shop) -> None:
    state, code = silent(shop)
    push(shop, code)
    assert later(shop, state).ending is Ending.LINKED
    assert shop.row.merchant_id == shop.merchant.id
    assert shop.back(state, code).ending is Ending.LINKED
    assert shop.back(state).ending is Ending.LINKED


def test_after_silence_an_app_that_the_check_took_in_is_still_named_by_the_push(shop: Shop) -> None:
    """The tokens are newer than the push by then: what it is about is told all the same."""
    state, code = silent(shop)
    assert "新增 1" in authorizations.check_authorizations(shop.app)
    assert later(shop, state).ending is Ending.WAITING  # the list alone does not say whose this app is
    push(shop, code)
    assert later(shop, state).ending is Ending.LINKED
    assert shop.row.merchant_id == shop.merchant.id


def test_after_silence_the_app_that_the_link_was_made_for_is_retrieved(shop: Shop) -> None:
    state, _ = silent(shop, expected_appid=shop.appid)
    assert later(shop, state).ending is Ending.LINKED
    assert shop.row.merchant_id == shop.merchant.id
    assert shop.sandbox.effects(shop.appid)["retrieve"] == 1


def test_another_app_of_the_list_is_never_taken_for_the_one_that_is_waited_for(shop: Shop) -> None:
    stranger = shop.sandbox.post("apps", count=1, authorized_to=shop.owner.appid)["apps"][0]["appid"]
    state, _ = silent(shop)
    authorizations.check_authorizations(shop.app)
    assert later(shop, state).ending is Ending.WAITING
    assert shop.row.merchant_id is None
    assert shop.sandbox.effects(stranger)["retrieve"] == 1  # by the check


def test_a_push_that_finds_the_authorisation_gone_ends_the_wait(shop: Shop) -> None:
    state, code = silent(shop)
    shop.sandbox.post("revoke", appid=shop.appid)
    push(shop, code)
    found = later(shop, state)
    assert (found.ending, waiting(shop)) == (Ending.REFUSED, [])
    assert "没有授权" in found.said
    assert shop.back(state, code).ending is Ending.REFUSED


def test_the_job_binds_what_the_push_found_when_the_page_was_closed(shop: Shop) -> None:
    state, code = silent(shop)
    push(shop, code)
    refresh(shop.session)
    shop.session.execute(update(AuthorizationReturn).values(at=utcnow()))
    shop.session.commit()
    assert "完成 1 个授权" in sync.events(shop.app)
    assert shop.row.merchant_id == shop.merchant.id
    assert shop.back(state).ending is Ending.LINKED
    assert sync.events(shop.app) == "处理 0 条"


def test_ten_pages_that_wait_ask_once(shop: Shop) -> None:
    state, _ = silent(shop, expected_appid=shop.appid)
    shop.session.execute(update(AuthorizationReturn).values(at=utcnow() - timedelta(seconds=1)))
    shop.session.commit()
    with ThreadPoolExecutor(10) as pool:
        endings = list(pool.map(lambda _: arrival.complete(shop.app, state, "").ending, range(10)))
    assert set(endings) <= {Ending.LINKED, Ending.WAITING}
    assert endings.count(Ending.LINKED) >= 1
    assert shop.sandbox.effects(shop.appid)["retrieve"] == 1


def test_a_second_code_takes_the_place_of_the_one_that_waits(shop: Shop) -> None:
    state, first = silent(shop)
    _, second = shop.consent(shop.link(), delay=60)
    shop.sandbox.post("settings", error_rate=1.0, error_code=28001005)
    assert shop.back(state, second).ending is Ending.WAITING
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    assert [row.code for row in waiting(shop)] == [second] != [first]
    assert later(shop, state).ending is Ending.LINKED
    assert waiting(shop) == []


def test_an_exchange_that_died_in_its_process_is_taken_for_silence(shop: Shop) -> None:
    state, code = shop.consent(shop.link(expected_appid=shop.appid), delay=60)
    shop.sandbox.post("settings", error_rate=1.0, error_code=28001005)
    shop.back(state, code)
    shop.sandbox.post("settings", error_rate=0.0, error_code=0)
    hashed = waiting(shop)[0].code_hash
    claim = AuthorizationCode(
        code_hash=hashed, third_party_app_id=shop.owner.id, claimed_at=utcnow() - timedelta(hours=1)
    )
    shop.session.add(claim)
    shop.session.commit()
    assert later(shop, state).ending is Ending.LINKED
    assert shop.sandbox.effects(shop.appid)["retrieve"] == 1


def test_a_return_is_given_up_with_its_link(shop: Shop) -> None:
    state, _ = silent(shop)
    shop.session.execute(update(AuthorizationLink).values(expires_at=utcnow() - timedelta(seconds=1)))
    shop.session.commit()
    found = later(shop, state)
    assert (found.ending, found.status, waiting(shop)) == (Ending.GAVE_UP, 410, [])
    assert "没有等到" in shop.session.scalars(select(AuthorizationLink.failure)).one()
    assert shop.back(state).ending is Ending.LINK_EXPIRED


@pytest.mark.parametrize("state", [LinkState.VOID, LinkState.USED])
def test_a_return_of_a_link_that_is_over_is_dropped(shop: Shop, state: LinkState) -> None:
    silent(shop)
    shop.session.execute(update(AuthorizationLink).values(state=state))
    shop.session.execute(update(AuthorizationReturn).values(at=utcnow()))
    shop.session.commit()
    sync.events(shop.app)
    assert waiting(shop) == []


def test_old_returns_are_swept_out(shop: Shop) -> None:
    silent(shop)
    shop.session.execute(update(AuthorizationReturn).values(at=utcnow() - timedelta(days=3)))
    shop.session.commit()
    assert "authorization_return 1" in housekeeping.clean(shop.app)
