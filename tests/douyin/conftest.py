"""What the tests of the vendor contract share: a keeper of made-up tokens and a client bound to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import responses

from app.douyin.client import CallRecord, Douyin, DouyinClient
from app.douyin.contract import Token

HOSTS = {
    "open_url": "https://open.douyin.com",
    "microapp_url": "https://open.microapp.bytedance.com",
    "toutiao_url": "https://developer.toutiao.com",
}


class Keeper:
    """Gives `component-1`, and after a refusal `component-2`, and so on for each kind."""

    component_appid = "tt0000000000000001"
    appid: str | None = "tt1111111111111111"
    granted: frozenset[int] | None = None

    pattern = "{}-{}"

    def __init__(self) -> None:
        self.refusals: list[tuple[Token, str]] = []

    def get(self, token: Token) -> str:
        turn = 1 + sum(kind is token for kind, _ in self.refusals)
        return self.pattern.format(token.value, turn)

    def refused(self, token: Token, value: str) -> None:
        self.refusals.append((token, value))


class Bench:
    """A bound client with what it recorded."""

    def __init__(self, **options: Any) -> None:
        self.records: list[CallRecord] = []
        self.keeper = Keeper()
        settings: dict[str, Any] = {**HOSTS, "timeout": 3.0, "on_call": self.records.append, **options}
        self.client = DouyinClient(**settings)
        self.douyin: Douyin = self.client.bind(self.keeper)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.client.close()


@pytest.fixture
def http() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The jitter before a resend, made short: the resending is under test, not the waiting."""
    monkeypatch.setattr("app.douyin.client.random.random", lambda: -0.49)
