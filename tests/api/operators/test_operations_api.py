"""Operators' REST: the loop by JWT, what is refused, and who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.cli import setup as setting_up
from app.data.tenancy import PLATFORM, app_scope
from app.jobs.dispatch import Dispatcher
from app.models import Merchant
from tests.conftest import PASSWORD, Actors, Launch, SandboxServer


class Rest:
    """A client that carries a JWT."""

    def __init__(self, app: Flask, role: str, merchant: Merchant | None = None) -> None:
        with app_scope(app, PLATFORM) as session:
            key = merchant.key if merchant else ""
            name, _ = setting_up.add_user(session, f"rest_{role}", role, merchant_key=key, password=PASSWORD)
        self.client: FlaskClient = app.test_client()
        answer = self.client.post(
            "/api/v1/security/login", json={"username": name, "password": PASSWORD, "provider": "db"}
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        self.headers = {"Authorization": f"Bearer {answer.json['access_token']}"}

    def operate(self, operation: str, appid: str, **params: Any) -> Any:
        body = {"operation": operation, "appid": appid, "params": params}
        return self.client.post("/api/v1/operations/", json=body, headers=self.headers)

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)


@pytest.fixture
def worker(app: Flask) -> Iterator[None]:
    dispatcher = Dispatcher(app)
    dispatcher.start()
    yield
    dispatcher.stop()


def test_rest_is_chinese_whatever_the_browser_reads(app: Flask, worker: None, launch: Launch) -> None:
    rest, appid = Rest(app, "operator"), launch.mini_program.appid
    rest.client.set_cookie("locale", "en")
    failed = rest.operate("submit_audit", appid).json
    assert failed["message"] == "还没有可提审的版本：请先上传代码"
    assert rest.get(f"/api/v1/operations/{failed['id']}").json["message"] == failed["message"]
    assert rest.operate("sync_versions", appid).json["answer"][0]["label"] == "变化"
    gone = rest.get("/api/v1/merchants/999999")
    assert (gone.status_code, gone.json) == (404, {"message": "没有找到这条记录"})


def test_the_loop_by_rest(app: Flask, worker: None, sandbox: SandboxServer, launch: Launch) -> None:
    rest, appid = Rest(app, "operator"), launch.mini_program.appid
    answer = rest.operate("upload_code", appid, template_id=launch.template_id, version="1.0.0", description="首版")
    assert answer.status_code == 200 and answer.json["state"] == "succeeded", answer.json
    assert rest.operate("submit_audit", appid).json["state"] == "succeeded"
    sandbox.post("audit", appid=appid, verdict="approve")
    answer = rest.operate("sync_versions", appid)
    assert answer.json["state"] == "succeeded"
    told = answer.json["answer"]
    assert told[0] == {"label": "变化", "value": "1.0.0 审核通过"}
    assert rest.get(f"/api/v1/operations/{answer.json['id']}").json["answer"] == told
    answer = rest.operate("release", appid)
    assert answer.json["state"] == "succeeded"
    assert rest.get(f"/api/v1/operations/{answer.json['id']}").json["operation"] == "release"
    assert sandbox.effects(appid)["release"] == 1


def test_a_refusal_names_the_field(app: Flask, launch: Launch) -> None:
    answer = Rest(app, "operator").operate("upload_code", launch.mini_program.appid, version="1.0")
    assert answer.status_code == 400
    assert answer.json["field"] in {"template_id", "version"}


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {"operation": 1}, {"operation": "release"}, {"operation": "release", "appid": "x", "params": []}],
)
def test_malformed_bodies_are_400(app: Flask, body: Any) -> None:
    rest = Rest(app, "operator")
    answer = rest.client.post("/api/v1/operations/", json=body, headers=rest.headers)
    assert answer.status_code == 400


def test_an_auditor_may_look_and_not_act(app: Flask, launch: Launch) -> None:
    rest = Rest(app, "auditor")
    assert rest.operate("sync_versions", launch.mini_program.appid).status_code == 403
    assert rest.get("/api/v1/mini_programs/").status_code == 200


def test_without_a_token_nothing_is_said(app: Flask) -> None:
    client = app.test_client()
    assert client.post("/api/v1/operations/", json={}).status_code == 401
    assert client.get("/api/v1/merchants/").status_code == 401


def test_lists_show_no_secrets(app: Flask, launch: Launch) -> None:
    text = Rest(app, "platform_admin").get("/api/v1/merchants/").get_data(as_text=True)
    assert "sealed" not in text and "phone" not in text


def test_a_merchants_token_reaches_only_its_own(app: Flask, actors: Actors) -> None:
    rest = Rest(app, "owner", actors.alice)
    for path in ("/api/v1/mini_programs/", f"/api/v1/mini_programs/{actors.bob_app.id}", "/api/v1/merchants/"):
        assert actors.bob_app.appid not in rest.get(path).get_data(as_text=True)
    assert rest.operate("release", actors.bob_app.appid).status_code in {400, 403, 404}
