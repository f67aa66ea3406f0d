"""What every answer carries, whom it answers, and what errors look like."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient

from app.data.tenancy import ScopeError
from app.errors import Refused
from app.web.headers import trusted_hosts

PATHS = [
    "/",
    "/login/",
    "/no-such-page",
    "/healthz",
    "/api/v1/merchants/",
    "/static/console.css",
    "/static/vendor/htmx.js",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_headers(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in re.findall(r"script-src[^;]*", policy)[0]
    assert "Strict-Transport-Security" not in headers


def test_every_script_of_a_page_has_the_requests_nonce(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("platform_admin")
    seen: set[str] = set()
    for path in ("/", "/account/", "/account/password", "/users/list/", "/users/add", "/swagger/v1"):
        answer = client.get(path)
        page, policy = answer.get_data(as_text=True), answer.headers["Content-Security-Policy"]
        inline = [tag for tag in re.findall(r"<script[^>]*>", page) if "src=" not in tag]
        nonces = {match[1] for tag in inline if (match := re.search(r'nonce="([^"]+)"', tag))}
        assert len(nonces) <= 1
        assert all("nonce=" in tag for tag in inline), path
        assert all(f"'nonce-{nonce}'" in policy for nonce in nonces), path
        assert not re.search(r"<[^>]+\son\w+\s*=", page), f"{path} has an inline handler"
        assert not nonces & seen
        seen |= nonces


def test_a_logged_in_page_is_not_kept(client_for: Callable[..., FlaskClient]) -> None:
    assert client_for("operator").get("/account/").headers["Cache-Control"] == "no-store"


def test_https_adds_hsts_and_a_secure_cookie(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "PUBLIC_URL", "https://console.example")
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SECURE", True)
    headers = app.test_client().get("/login/").headers
    assert headers["Strict-Transport-Security"].startswith("max-age=31536000")
    assert "Secure" in headers["Set-Cookie"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost@evil.example", "a b"]
)
def test_other_hosts_are_refused(app: Flask, host: str) -> None:
    answer = app.test_client().get("/login/", headers={"Host": host})
    assert answer.status_code == 400
    assert host not in answer.get_data(as_text=True)


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:1"])
def test_this_machine_is_answered_on_any_port(app: Flask, host: str) -> None:
    assert app.test_client().get("/login/", headers={"Host": host}).status_code == 200


def test_the_configured_hosts_replace_the_defaults(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "TRUSTED_HOSTS", ["console.example"])
    assert trusted_hosts(app) == ["console.example"]
    monkeypatch.setitem(app.config, "TRUSTED_HOSTS", [])
    monkeypatch.setitem(app.config, "PUBLIC_URL", "https://c.example:8443")
    assert trusted_hosts(app)[0] == "c.example"


@pytest.fixture
def faulty(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | int], FlaskClient]:
    """A client for whom /readyz raises what is given; unhandled errors are answered as in production."""

    def make(fault: Exception | int) -> FlaskClient:
        def view(**_arguments: object) -> str:
            if isinstance(fault, int):
                abort(fault)
            raise fault

        endpoint = next(rule.endpoint for rule in app.url_map.iter_rules() if str(rule) == "/readyz")
        monkeypatch.setitem(app.view_functions, endpoint, view)
        monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
        return app.test_client()

    return make


def test_an_unhandled_error_shows_a_number_and_nothing_else(faulty: Callable[..., FlaskClient]) -> None:
    answer = faulty(RuntimeError("secret detail")).get("/readyz")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 500
    assert re.search(r"编号：<code>[0-9a-f]{8}</code>", page)
    assert "secret detail" not in page
    assert "Traceback" not in page


def test_out_of_scope_looks_like_absent(app: Flask, faulty: Callable[..., FlaskClient]) -> None:
    client = faulty(ScopeError("belongs to another merchant"))
    foreign, absent = client.get("/readyz"), client.get("/no-such-page")
    assert (foreign.status_code, foreign.data) == (404, absent.data)


def test_a_refusal_is_shown_in_its_own_words(faulty: Callable[..., FlaskClient]) -> None:
    answer = faulty(Refused("请先<b>授权</b>")).get("/readyz")
    assert answer.status_code == 400
    assert "请先&lt;b&gt;授权" in answer.get_data(as_text=True)


@pytest.mark.parametrize("code", [400, 403, 404, 405, 413, 429])
def test_error_pages_are_chinese(faulty: Callable[..., FlaskClient], code: int) -> None:
    answer = faulty(code).get("/readyz")
    assert answer.status_code == code
    assert "返回工作台" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("referrer", "path"),
    [
        ("http://localhost/merchantview/list/?q=%E8%8A%B1", "/merchantview/list/?q=%E8%8A%B1"),
        ("http://localhost//evil.example/", "/evil.example/"),
        ("http://localhost/\\evil.example/", "/evil.example/"),
        ("http://evil.example/merchantview/list/", None),
        ("http://localhost/readyz", None),
        ("http://[broken", None),
        ("", None),
    ],
)
def test_an_error_page_leads_back_to_a_page_of_this_site_only(
    faulty: Callable[..., FlaskClient], referrer: str, path: str | None
) -> None:
    page = faulty(404).get("/readyz", headers={"Referer": referrer}).get_data(as_text=True)
    assert re.findall(r'<a href="([^"]*)">返回上一页', page) == ([path] if path else [])
    assert "evil.example" not in page.replace('"/evil.example/"', "")


def test_an_english_visitor_reads_an_english_error_page(faulty: Callable[..., FlaskClient]) -> None:
    client = faulty(404)
    client.set_cookie("locale", "en")
    page = client.get("/readyz").get_data(as_text=True)
    assert '<html lang="en">' in page
    assert "Not found" in page
    assert not re.search(r"[\u4e00-\u9fff]", page)


def test_a_part_of_a_page_is_told_the_number_of_the_fault(faulty: Callable[..., FlaskClient]) -> None:
    said = faulty(RuntimeError("secret detail")).get("/readyz", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert re.fullmatch(r"系统出错：.+编号：[0-9a-f]{8}", said)


def test_machines_get_json(app: Flask) -> None:
    answer = app.test_client().get("/api/v1/no-such-thing")
    assert answer.status_code == 404
    assert answer.get_json()["code"] == "not_found"


def test_a_wrong_method_says_which_are_right(app: Flask) -> None:
    answer = app.test_client().put("/login/")
    assert answer.status_code in {400, 405}
