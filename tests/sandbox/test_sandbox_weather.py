"""Bad weather: what a caller sees, and what happened in truth."""

from __future__ import annotations

import time

import pytest
import requests
from fidelity.harness import Merchant, Sandbox

RELEASE = "/api/apps/v1/package_version/release/"


def _hosts(merchant: Merchant) -> int:
    answer = merchant.sandbox.get("/api/apps/v1/package_version/get_audit_hosts/", merchant.v2)
    code: int = answer["err_no"]
    return code


def _ready(merchant: Merchant) -> None:
    merchant.upload()
    merchant.submit()
    merchant.decide()


def test_answer_dropped_after_the_effect(merchant: Merchant) -> None:
    _ready(merchant)
    merchant.sandbox.control("settings", drop_after_next=1, drop_path="release")
    assert _hosts(merchant) == 0
    with pytest.raises(requests.ConnectionError):
        merchant.release()
    assert merchant.effects()["release"] == 1
    assert merchant.effects()["released"] == ["1.0.0"]
    assert merchant.release()["err_no"] == 11402
    lost = [row for row in merchant.sandbox.journal() if row["lost"]]
    assert [(row["path"], row["lost"], row["status"]) for row in lost] == [(RELEASE, "drop_after", 0)]


def test_answer_dropped_before_the_effect(merchant: Merchant) -> None:
    _ready(merchant)
    merchant.sandbox.control("settings", drop_before_next=2, drop_path="release")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            merchant.release()
    assert merchant.effects()["release"] == 0
    assert merchant.release()["err_no"] == 0


def test_drop_rate_counts_only_listed_paths(merchant: Merchant) -> None:
    merchant.sandbox.control("settings", drop_after_rate=1, drop_paths=["/upload/"])
    assert _hosts(merchant) == 0
    template = merchant.provider.template()
    body = merchant.upload_body() | {"template_id": template}
    for _ in range(3):
        with pytest.raises(requests.ConnectionError):
            merchant.sandbox.post("/api/apps/v1/package_version/upload/", merchant.v2, body)
    merchant.sandbox.control("settings", drop_after_rate=0)
    assert merchant.effects()["upload"] == 3


@pytest.mark.parametrize(
    ("outage", "seen"),
    [
        ("refuse", requests.ConnectionError),
        ("hang", requests.Timeout),
        ("half", requests.exceptions.ChunkedEncodingError),
    ],
)
def test_outage_without_an_answer(merchant: Merchant, outage: str, seen: type[Exception]) -> None:
    merchant.sandbox.control("settings", outage=outage)
    with pytest.raises(seen):
        requests.get(f"{merchant.sandbox.base}{RELEASE}", timeout=0.3)
    assert merchant.sandbox.read("state")["settings"]["outage"] == outage


@pytest.mark.parametrize(
    ("outage", "status", "text"), [("500", 500, "Internal"), ("html", 200, "<html>"), ("empty", 200, "")]
)
def test_outage_with_a_useless_answer(merchant: Merchant, outage: str, status: int, text: str) -> None:
    merchant.sandbox.control("settings", outage=outage)
    answer = requests.get(f"{merchant.sandbox.base}{RELEASE}", timeout=5)
    assert answer.status_code == status
    assert answer.text.startswith(text)


def test_nothing_happens_during_an_outage(merchant: Merchant) -> None:
    template = merchant.upload_body()
    merchant.sandbox.control("settings", outage="500")
    url = f"{merchant.sandbox.base}/api/apps/v1/package_version/upload/"
    requests.post(url, json=template, headers={"access-token": merchant.v2}, timeout=5)
    assert merchant.effects()["upload"] == 0


def test_latency_delays_platform_calls_only(merchant: Merchant) -> None:
    merchant.sandbox.control("settings", latency_ms=150)
    started = time.monotonic()
    assert _hosts(merchant) == 0
    assert time.monotonic() - started >= 0.15
    merchant.sandbox.control("settings", latency_ms=60_000)  # longer than its client waits
    merchant.sandbox.read("state")


def test_rate_limit_is_per_app(merchant: Merchant) -> None:
    other = merchant.provider.merchant()
    merchant.sandbox.control("settings", rate_limit=3)
    codes = {_hosts(merchant) for _ in range(12)}
    assert codes == {0, 28003018}
    assert _hosts(other) == 0


def test_error_rate_follows_the_seed(sandbox: Sandbox) -> None:
    def run() -> list[int]:
        sandbox.control("reset", seed=77)
        ticket = sandbox.control("ticket")["tickets"]["ttsandbox000000001"]
        sandbox.control("settings", error_rate=0.5, error_code=40045)
        query = {
            "component_appid": "ttsandbox000000001",
            "component_appsecret": "sandbox-component-secret-0001",
        }
        path = "/openapi/v1/auth/tp/token"
        return [sandbox.get(path, **query, component_ticket=ticket).get("errno", 0) for _ in range(20)]

    first = run()
    assert set(first) == {0, 40045}
    assert run() == first


def test_ip_block(merchant: Merchant) -> None:
    merchant.sandbox.control("settings", ip_blocked=True)
    assert _hosts(merchant) == 40006
    info = merchant.sandbox.get("/api/apps/v2/basic_info/get_info/", merchant.v2)
    assert info["err_no"] == 28005079
