"""Malformed addresses and bodies are answered with a 4xx sentence, never with a 500."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import Actors, csrf_token
from tests.people import bearer

VIEW = "MerchantView"
LIST = "/merchantview/list/"


@pytest.fixture
def admin(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("platform_admin")


@pytest.mark.parametrize(
    "query",
    [
        f"page_{VIEW}=abc",
        f"page_{VIEW}=-1",
        f"page_{VIEW}=99999999999999999999",
        f"page_{VIEW}=",
        f"page_{VIEW}=1.5",
        f"psize_{VIEW}=x",
        f"psize_{VIEW}=-5",
        f"_oc_{VIEW}=created_by.password&_od_{VIEW}=asc",
        f"_oc_{VIEW}=phone_sealed&_od_{VIEW}=asc",
        f"_oc_{VIEW}=name&_od_{VIEW}=sideways",
        "_flt_0_phone_sealed=x",
        "_flt_0_row_uid=x",
        "_flt_9_no_such_column=1",
        "q=%00",
        "_flt_0_state=%00",
        "page_x=%D9%A1",
    ],
)
def test_lists_refuse_what_they_do_not_offer(admin: FlaskClient, query: str) -> None:
    assert admin.get(f"{LIST}?{query}").status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", f"{LIST}?page_{VIEW}=abc", 400),
        ("GET", "/merchantview/show/x", 404),
        ("POST", "/merchantview/add", 413),
        ("POST", "/merchantview/add", 400),
    ],
)
def test_whoever_is_refused_before_it_is_asked_who_they_are_keeps_the_menu(
    admin: FlaskClient, method: str, path: str, code: int
) -> None:
    body = b"name=" + b"x" * (2**20 if code == 413 else 1)
    answer = admin.open(path, method=method, data=body, content_type="application/x-www-form-urlencoded")
    page = answer.get_data(as_text=True)
    assert answer.status_code == code
    assert f'href="{LIST}"' in page and re.search(r'aria-label="账号菜单：\w', page)


@pytest.mark.parametrize(
    "query",
    [
        f"page_{VIEW}=0",
        f"page_{VIEW}=9999999",
        f"psize_{VIEW}=100000",
        f"_oc_{VIEW}=name&_od_{VIEW}=asc",
        "_flt_0_state=zzz",
        "_flt_0_industry=abc",
        "_flt_0_industry=99999999999999999999",
        "q=%F0%9F%98%80",
        "q=%25_%27%22",
        "_flt_0_expires_on=2026-13-45",
    ],
)
def test_lists_answer_what_is_only_odd(admin: FlaskClient, actors: Actors, query: str) -> None:
    assert admin.get(f"{LIST}?{query}").status_code == 200


@pytest.mark.parametrize("key", ["abc", "-1", "1.0", "99999999999999999999", "١", quote("' OR 1=1"), "%00", "0"])
@pytest.mark.parametrize("method", ["show", "edit"])
def test_a_key_that_is_none_is_not_found(admin: FlaskClient, method: str, key: str) -> None:
    assert admin.get(f"/merchantview/{method}/{key}").status_code in {400, 404}


def test_an_endless_address_is_refused(admin: FlaskClient) -> None:
    assert admin.get(f"{LIST}?x={'a' * 9000}").status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/merchantview/action/nope/1",
        "/merchantview/action_post",
        "/merchantview/download/x",
        "/merchantview/nope",
    ],
)
def test_stock_routes_that_are_not_offered_do_not_exist(admin: FlaskClient, path: str) -> None:
    token = csrf_token(admin, "/account/password")
    assert admin.post(path, data={"action": "nope", "rowid": "x", "csrf_token": token}).status_code in {
        404,
        405,
    }


@pytest.mark.parametrize(
    "text",
    [
        "zzz",
        "(",
        "!(",
        "(page:x)",
        "(page:-2)",
        "(page:!t)",
        "(page:99999999999)",
        "(page_size:'a')",
        "(order_column:1)",
        "(order_column:phone_sealed,order_direction:asc)",
        "(order_column:name,order_direction:up)",
        "(filters:x)",
        "(filters:!(x))",
        "(filters:!((col:state,opr:eq)))",
        "(filters:!((col:state,opr:eq,value:zzz)))",
        "(filters:!((col:phone_sealed,opr:eq,value:x)))",
        "(filters:!((col:name,opr:nope,value:x)))",
        "(columns:x)",
        "(keys:1)",
        "[" * 3000,
        "(" * 3000,
        '{"page": "x"}',
        "\ud7ff",
        "%",
    ],
)
def test_rest_queries_that_are_malformed_are_refused(app: Flask, user: Callable[..., str], text: str) -> None:
    client = app.test_client()
    answer = client.get("/api/v1/merchants/", query_string={"q": text}, headers=bearer(client, user("bob", "operator")))
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("key", ["abc", "99999999999999999999", "-1"])
def test_rest_keys_that_are_none_are_not_found(app: Flask, user: Callable[..., str], key: str) -> None:
    client = app.test_client()
    answer = client.get(f"/api/v1/merchants/{key}", headers=bearer(client, user("bob", "operator")))
    assert answer.status_code == 404


def test_nul_in_a_form_is_refused(admin: FlaskClient) -> None:
    data = {"old_password": "a\0b", "csrf_token": csrf_token(admin, "/account/password")}
    assert admin.post("/account/password", data=data).status_code == 400


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "text/plain",
        "x/y; charset=nope",
    ],
)
def test_odd_bodies_are_refused_politely(app: Flask, content_type: str) -> None:
    answer = app.test_client().post("/login/", data=b"\xff\x00--x\r\n", content_type=content_type)
    assert answer.status_code == 400
