"""A push within its request: whose keys open it, and what is acknowledged."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.models import ThirdPartyApp
from app.operations.inbound import receive as taking_in
from tests.conftest import COMPONENT, change
from tests.pushes import about, sealed


def test_a_push_that_another_rule_keeps_out_is_not_acknowledged(
    app: Flask, third_party_app: ThirdPartyApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its third-party app is gone by the time it is written: nothing of it stands anywhere."""
    gone = taking_in.Owner(third_party_app.id + 1000, COMPONENT["token"], COMPONENT["aes_key"])
    monkeypatch.setattr(taking_in, "_settings_of", lambda *_asked: gone)
    body = sealed(about("ttnobody", "MODIFY_APP_NAME"))
    with pytest.raises(taking_in.NotStored):
        taking_in.receive(app, COMPONENT["appid"], "message", body, "127.0.0.1")


def test_new_keys_count_at_once_and_the_old_ones_no_more(
    app: Flask, session: Session, third_party_app: ThirdPartyApp
) -> None:
    """A process keeps what it opened, for as long as the row holds the same: another process may have changed it."""
    body = sealed(about("ttother", "MODIFY_APP_NAME"))
    assert taking_in.receive(app, COMPONENT["appid"], "message", body, "127.0.0.1") is True
    change(session, third_party_app, token="another-token-0001")
    body = sealed(about("ttother", "MODIFY_APP_INTRO"))
    assert taking_in.receive(app, COMPONENT["appid"], "message", body, "127.0.0.1") is False
    body = sealed(about("ttother", "MODIFY_APP_INTRO"), token="another-token-0001")
    assert taking_in.receive(app, COMPONENT["appid"], "message", body, "127.0.0.1") is True
