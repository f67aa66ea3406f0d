"""Pages with data on them, and how a form is sent the way a browser sends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import (
    ApiCall,
    AuthorizationLink,
    AuthorizationState,
    Door,
    InboundEvent,
    InboundState,
    JobRun,
    MiniProgram,
    OperationRun,
    RefusedPush,
    RefusedPushCount,
    RunState,
    Template,
    TemplateApp,
    Version,
    VersionEvent,
    VersionState,
)
from app.models.base import utcnow
from app.views.base import ConsoleView
from tests.conftest import Actors
from tests.views.made import fill

BATCH = "b" * 32


class _Inputs(HTMLParser):
    """The values of the inputs of the page's first POST form, as a browser would send them untouched."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Any] = {}
        self.begun = False  # the bar above the page has forms, too
        self.inside = False
        self.select = ""
        self.area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.begun = self.begun or tag == "main"
        if tag == "form":
            self.inside = self.begun and (found.get("method") or "").lower() == "post" and not self.values
        elif self.inside and tag == "input" and found.get("name"):
            if found.get("type") not in {"checkbox", "submit"} or "checked" in found:
                self.values.setdefault(found["name"] or "", found.get("value") or "")
        elif self.inside and tag == "select":
            self.select = found.get("name") or ""
        elif self.inside and tag == "option" and self.select and "selected" in found:
            self.values[self.select] = found.get("value") or ""
        elif self.inside and tag == "textarea":
            self.area = found.get("name") or ""
            self.values[self.area] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        if tag == "select":
            self.select = ""
        if tag == "textarea":
            self.values[self.area] = re.sub(r"^\r?\n", "", self.values[self.area])  # a browser drops the first one
            self.area = ""

    def handle_data(self, data: str) -> None:
        if self.area:
            self.values[self.area] += data


def text_of(client: FlaskClient, url: str, status: int = 200) -> str:
    answer = client.get(url)
    assert answer.status_code == status, f"{url}: {answer.status_code}"
    return answer.get_data(as_text=True)


def submit(client: FlaskClient, page: str, *, to: str = "", **changes: Any) -> Any:
    """Open a page and send its form with some fields changed; None leaves a field out."""
    parser = _Inputs()
    parser.feed(text_of(client, page))
    values = parser.values | changes
    return client.post(to or page, data={name: value for name, value in values.items() if value is not None})


def visible(html: str) -> str:
    """What a reader sees of a page."""
    html = re.sub(r"(?s)<(script|style|svg|code|kbd|pre|textarea)\b.*?</\1>", " ", html)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture
def full(app: Flask, session: Session, actors: Actors) -> Actors:
    """At least one row of everything that a screen shows, for alice; of a screen that is new, rows made of its columns."""
    known = _with_data(session, actors)
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        if isinstance(view, ConsoleView) and session.scalar(select(view.datamodel.obj.id).limit(1)) is None:
            fill(session, view.datamodel.obj.__table__, 2, actors.alice.id)
    session.commit()
    return known


def _with_data(session: Session, actors: Actors) -> Actors:
    app, now = actors.alice_app, utcnow()
    app.state, app.permissions, app.authorized_at = AuthorizationState.AUTHORIZED, [2], now
    app.refresh_expires_at = now + timedelta(days=3)
    app.uploaded_version = app.audit_version = "1.0.1"
    app.audit_state, app.live_version, app.live_template_id = "rejected", "1.0.0", "7301234567890123456"
    owner = app.third_party_app_id
    rejected = Version(
        merchant_id=app.merchant_id, mini_program_id=app.id, number="1.0.1", state=VersionState.REJECTED,
        uploaded_at=now, submitted_at=now, reason="页面空白", reason_detail={"抖音": ["页面空白"]},
        attachments={"抖音": "https://example.com/shot.png"}, screenshots=["https://example.com/one.png"],
        ext_json="{}", hosts=["douyin"],
    )  # fmt: skip
    session.add(rejected)
    session.flush()
    session.add_all(_rows(app, rejected, owner))
    session.add(MiniProgram(third_party_app_id=owner, appid="ttunclaimed00000001", name="无主小程序"))
    session.commit()
    return actors


def _rows(app: MiniProgram, version: Version, owner: int) -> list[Any]:
    now = utcnow()
    run: dict[str, Any] = {
        "merchant_id": app.merchant_id, "subject_type": "mini_program", "subject_id": app.id, "appid": app.appid,
        "mini_program_id": app.id, "lock_key": f"mini_program:{app.id}", "actor_name": "运营",
    }  # fmt: skip
    pushed = {"third_party_app_id": owner, "receiver": "message", "appid": app.appid}
    return [
        VersionEvent(
            merchant_id=app.merchant_id, mini_program_id=app.id, version_id=version.id, number="1.0.1", kind="rejected",
            text="页面空白", detail={"reasons": {"抖音": ["页面空白"]}}, actor_name="抖音", log_id="202503010001",
        ),
        OperationRun(
            operation="submit_audit", door=Door.ROW, state=RunState.FAILED, message="次数已用完", advice="明天再试",
            err_no=11305, log_id="L1", params={"note": "测试"}, **run,
        ),
        OperationRun(operation="release", door=Door.BATCH, state=RunState.UNKNOWN, batch_id=BATCH, **run),
        Template(third_party_app_id=owner, template_id="7301234567890123456", version="1.0.1", added_at=now),
        TemplateApp(third_party_app_id=owner, appid="tttemplate00000001", name="母版", draft_id="1", draft_at=now),
        InboundEvent(unique_key="k", event="package_audit", summary={"Event": "x"}, state=InboundState.DONE, **pushed),
        RefusedPush(
            id=1, number=1, component_appid="tt", receiver="message", reason="signature", remote="203.0.113.9", size=5,
        ),
        RefusedPushCount(reason="signature", count=1),
        ApiCall(at=now, name="SubmitAudit", method="POST", path="/api", outcome="error", err_no=11305),
        JobRun(job="sync_audits", slot="1", finished_at=now, outcome="failed", result="联系不上抖音"),
        AuthorizationLink(
            merchant_id=app.merchant_id, third_party_app_id=owner, url="https://open.douyin.com/x",
            expires_at=now + timedelta(hours=1),
        ),
    ]  # fmt: skip


@pytest.fixture
def operator(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("operator")
