"""A merchant on its way through a consent, for tests of links and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuthorizationLink, Merchant, MiniProgram, ThirdPartyApp
from app.models.kit import audit as core
from app.operations.onboarding import arrival, links
from app.operations.onboarding.outcome import Outcome
from tests.conftest import SandboxServer, refresh


@dataclass
class Shop:
    """A merchant without a mini-program yet, and the short way through a consent."""

    app: Flask
    session: Session
    sandbox: SandboxServer
    owner: ThirdPartyApp
    merchant: Merchant
    appid: str

    def link(self, **options: Any) -> AuthorizationLink:
        return links.make_link(self.session, self.merchant, self.owner, actor=core.SYSTEM, **options)

    def consent(self, link: AuthorizationLink, **options: Any) -> tuple[str, str]:
        """The merchant agrees at Douyin; gives state and code as the browser brings them."""
        body = {"appid": self.appid, "permissions": [1, 2, 3], **options}
        address = urlsplit(self.sandbox.post("consent", link=link.url, **body)["redirect_url"])
        return address.path.rsplit("/", 1)[-1], dict(parse_qsl(address.query))["authorization_code"]

    def back(self, state: str, code: str = "") -> Outcome:
        found = arrival.complete(self.app, state, code)
        refresh(self.session)
        return found

    @property
    def row(self) -> MiniProgram:
        refresh(self.session)
        return self.session.scalars(select(MiniProgram).where(MiniProgram.appid == self.appid)).one()
