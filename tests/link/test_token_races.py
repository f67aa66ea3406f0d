"""Several at one token at once: it is refreshed once, and a pair that another has ended is not believed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.link import connection
from app.link.exchange import retrieve
from app.link.tokens import Slot
from tests.conftest import Launch, SandboxServer
from tests.link.test_credentials import effects, expire, slot_of, stored, works


def test_sixty_four_threads_refresh_an_expired_token_once(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot)
    keeper = connection.keeper(app)
    with ThreadPoolExecutor(64) as pool:
        tokens = list(pool.map(lambda _: keeper.get(slot), range(64)))
    assert len(set(tokens)) == 1
    assert effects(sandbox, launch) == (1, 0, 0)
    assert works(app, launch) == launch.mini_program.appid


def test_two_keepers_as_of_two_processes_refresh_once(app: Flask, launch: Launch, sandbox: SandboxServer) -> None:
    slot = slot_of(launch)
    expire(app, slot)
    keepers = [type(connection.keeper(app))(app, connection.client(app)) for _ in range(4)]
    sandbox.post("settings", latency_ms=150)
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda number: keepers[number % 4].get(slot), range(8)))
    sandbox.post("settings", latency_ms=0)
    assert len(tokens) == 1
    assert effects(sandbox, launch) == (1, 0, 0)


def test_whoever_looked_before_another_refreshed_refreshes_no_second_time(
    app: Flask, launch: Launch, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the old token and the taking of the lease, a whole refresh of another process goes by."""
    slot = slot_of(launch)
    expire(app, slot)
    late, other = (type(connection.keeper(app))(app, connection.client(app)) for _ in range(2))
    take = late._take_lease
    got: list[str] = []

    def slowly(slot: Slot, held: Any) -> Any:
        if not got:
            got.append(other.get(slot))
        return take(slot, held)

    monkeypatch.setattr(late, "_take_lease", slowly)
    assert [late.get(slot)] == got
    assert effects(sandbox, launch) == (1, 0, 0)


def test_a_refresh_that_an_exchange_overtook_is_not_stored(
    app: Flask, launch: Launch, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which pair is the living one nobody knows: neither is believed, and the next use recovers."""
    slot = slot_of(launch)
    expire(app, slot)
    keeper = connection.keeper(app)
    fetch, overtaken = keeper._fetch, []

    def overtaken_fetch(lease: Any) -> Any:
        grant = fetch(lease)
        if not overtaken:
            retrieve(app, slot.third_party_app_id, launch.mini_program.appid)
            overtaken.append(grant.access)
        return grant

    monkeypatch.setattr(keeper, "_fetch", overtaken_fetch)
    assert keeper.get(slot) not in overtaken
    assert stored(app, slot).access_token not in overtaken
    assert effects(sandbox, launch)[1] == 2  # the exchange's own, and the recovery's
    assert works(app, launch) == launch.mini_program.appid


def test_an_exchange_beside_a_refresh_leaves_a_working_pair(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    """Both make a pair and one ends the other; whoever is stored last, the next use finds it out."""
    slot = slot_of(launch)
    sandbox.post("settings", latency_ms=100, latency_jitter_ms=100)
    expire(app, slot)
    with ThreadPoolExecutor(2) as pool:
        refresh = pool.submit(connection.keeper(app).get, slot)
        exchange = pool.submit(retrieve, app, slot.third_party_app_id, launch.mini_program.appid)
        refresh.result()
        exchange.result()
    sandbox.post("settings", latency_ms=0, latency_jitter_ms=0)
    expire(app, slot)
    assert works(app, launch) == launch.mini_program.appid
