"""A hundred merchants come back while one call in twelve fails: every page is an answer, and all end linked."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor, wait
from urllib.parse import urlsplit

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.jobs import sync
from app.models import AuthorizationReturn, Industry, Merchant, MiniProgram, ThirdPartyApp
from app.models.kit import audit as core
from app.operations.onboarding.links import make_link
from tests.conftest import COMPONENT, SandboxServer, fresh_ticket, refresh

FAULTS = 0.08
LANDINGS = 100


@pytest.fixture
def connected(session: Session, third_party_app: ThirdPartyApp, sandbox: SandboxServer, live: str) -> ThirdPartyApp:
    address = f"{live}/douyin/callback/{COMPONENT['appid']}"
    urls = {"authorization_url": f"{address}/authorization", "message_url": f"{address}/message"}
    sandbox.post("thirdparty", appid=COMPONENT["appid"], auth_domain=live.removeprefix("http://"), **urls)
    with writing():
        fresh_ticket(session, third_party_app, sandbox)
    return third_party_app


def landings(session: Session, owner: ThirdPartyApp, sandbox: SandboxServer) -> list[str]:
    """The addresses that the browsers of as many merchants are sent to."""
    trade = Industry(name="鲜花")
    merchants = [Merchant(name=f"花店{number}", industry=trade) for number in range(LANDINGS)]
    with writing():
        refresh(session)
        session.add_all(merchants)
        session.commit()
        links = [make_link(session, one, owner, actor=core.SYSTEM).url for one in merchants]
    apps = [row["appid"] for row in sandbox.post("apps", count=LANDINGS)["apps"]]
    consent = lambda link, appid: sandbox.post("consent", link=link, appid=appid, delay=1.0)["redirect_url"]  # noqa: E731
    return [consent(link, appid) for link, appid in zip(links, apps, strict=True)]


def visit(address: str, until: float) -> tuple[set[int], str]:
    """A browser that follows where it is sent and reloads what asks for it; its statuses and where it ended."""
    seen = set()
    while True:
        page = requests.get(address, timeout=60, allow_redirects=False)
        seen.add(page.status_code)
        if page.status_code == 303:
            address = requests.compat.urljoin(address, page.headers["Location"])  # type: ignore[attr-defined]
        elif page.status_code != 202 or time.monotonic() > until:
            return seen, urlsplit(address).query
        else:
            time.sleep(0.5)


def test_a_hundred_landings_among_faults_all_end_linked(
    app: Flask, session: Session, connected: ThirdPartyApp, sandbox: SandboxServer
) -> None:
    addresses = landings(session, connected, sandbox)
    weather = {"error_rate": FAULTS / 2, "drop_before_rate": FAULTS / 4, "drop_after_rate": FAULTS / 4}
    sandbox.post("settings", **weather)
    until = time.monotonic() + 300
    with ThreadPoolExecutor(8) as pool:
        pages = [pool.submit(visit, address, until) for address in addresses]
        while wait(pages, timeout=0.2).not_done:
            sync.events(app)
    statuses = set().union(*(page.result()[0] for page in pages))
    assert statuses <= {200, 202, 303}
    refresh(session)
    linked = session.scalar(select(func.count()).where(MiniProgram.merchant_id.is_not(None)))
    assert (linked, session.scalar(select(func.count(AuthorizationReturn.id)))) == (LANDINGS, 0)
    assert 303 in statuses  # some had to wait, or nothing was put to the test
    for appid in session.scalars(select(MiniProgram.appid)):
        effects = sandbox.effects(appid)
        assert effects["exchange"] <= 1 + effects["retrieve"]  # each code once
