"""One sandbox for the session; every test gets it empty, with a merchant who just authorised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .examples import Bench
from .harness import AUTH_DOMAIN, COMPONENT, Provider, Sandbox
from .receiver import Receiver
from .validator import Validator


@pytest.fixture(scope="session")
def validator() -> Validator:
    return Validator()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    console = Receiver()
    yield console
    console.close()


@pytest.fixture(scope="session")
def running(receiver: Receiver) -> Iterator[Sandbox]:
    sandbox = Sandbox("--console", receiver.url, "--audit-seconds", "20")
    yield sandbox
    sandbox.stop()


@pytest.fixture
def bench(running: Sandbox, receiver: Receiver, validator: Validator) -> Bench:
    """Reset, then ticket, tokens, consent, code: all through the platform's own calls."""
    running.reset()
    running.control("thirdparty", appid=COMPONENT, auth_domain=AUTH_DOMAIN)
    receiver.echo_challenge = True
    ticket = running.control("ticket")["tickets"][COMPONENT]
    merchant = Provider(running, ticket=ticket).merchant(permissions=(1, 2, 3, 4, 5, 6, 7, 8))
    return Bench(validator, merchant, receiver)
