"""A running sandbox and a console's callback addresses for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# This folder is no package: as one it would take the name of the package it tests. So its helpers,
# which stand in the folder beside it, are found by path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fidelity.harness import AUTH_DOMAIN, COMPONENT, Merchant, Provider, Sandbox  # noqa: E402
from fidelity.receiver import Receiver  # noqa: E402


@pytest.fixture(scope="session")
def console() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def running(console: Receiver) -> Iterator[Sandbox]:
    sandbox = Sandbox("--console", console.url)
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running: Sandbox, console: Receiver) -> Sandbox:
    """Reset to its first state."""
    running.reset()
    console.reply = b"success"
    return running


@pytest.fixture
def provider(sandbox: Sandbox) -> Provider:
    sandbox.control("thirdparty", appid=COMPONENT, auth_domain=AUTH_DOMAIN)
    return Provider(sandbox, ticket=sandbox.control("ticket")["tickets"][COMPONENT])


@pytest.fixture
def merchant(provider: Provider) -> Merchant:
    return provider.merchant()
