"""What several files of these tests ask for."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.models import Industry, Merchant, ThirdPartyApp
from tests.conftest import SandboxServer, fresh_ticket
from tests.operations.shop import Shop


@pytest.fixture
def shop(app: Flask, session: Session, sandbox: SandboxServer, third_party_app: ThirdPartyApp) -> Shop:
    fresh_ticket(session, third_party_app, sandbox)
    merchant = Merchant(name="爱丽丝花店", industry=Industry(name="鲜花"))
    session.add(merchant)
    session.commit()
    appid = sandbox.post("apps", count=1)["apps"][0]["appid"]
    return Shop(app, session, sandbox, third_party_app, merchant, appid)
