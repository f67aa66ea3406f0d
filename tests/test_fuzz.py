# ruff: noqa: E501  (tables of odd input)
"""Odd requests by the thousand, seeded: malformed addresses, parameters, bodies, headers. None is answered with a 5xx.

`DOUZHOU_FUZZ=20000 pytest tests/test_fuzz.py` asks longer; a failing request is printed as it was sent.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from app.api.operators import operations as operations_api
from app.console.operate import confirm
from app.data.tenancy import PLATFORM, app_scope
from app.jobs import schedule
from app.operations.registry import OPERATIONS
from tests.world import ALICE, BOB, Principal, build, principal

REQUESTS = int(os.environ.get("DOUZHOU_FUZZ", "0")) or 900  # for each who asks, and past LEAST no longer than SECONDS
LEAST, SECONDS = 120, 5 if "DOUZHOU_FUZZ" not in os.environ else 3600  # so many however slow the machine is
NASTY = [
    "",
    "0",
    "-1",
    "1",
    "1.5",
    "1e999",
    "-1e999",
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "9" * 18,
    "9" * 19,
    "9" * 30,
    "9" * 5000,
    "١٢",
    "１",
    "½",
    "1_000",
    "0x10",
    "null",
    "None",
    "true",
    "[]",
    "{}",
    "()",
    "!()",
    "!n",
    "'",
    '"',
    "\\",
    "%",
    "%%",
    "%00",
    "\0",
    "a\0b",
    "\r\nX-Evil: 1",
    "\n",
    "\t",
    " ",
    "\u202e",
    "\ufeff",
    "\ufffe",
    "\ud7ff",
    "😀",
    "é",
    "e\u0301",
    "İ",
    "ß",
    "中文",
    "\U0010ffff",
    "a" * 300,
    "字" * 3000,
    "../../etc/passwd",
    "..%2f",
    "//evil.example",
    "http://evil.example",
    "javascript:alert(1)",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "${7*7}",
    "' OR 1=1 --",
    "0001-01-01",
    "9999-12-31",
    "9999-12-31T23:59",
    "2026-02-30",
    "2026-W01-1",
    "-0001-01-01",
    "00:00",
    "asc",
    "desc",
    "id",
    "name",
    "state",
    "password",
    "created_by.password",
    "merchant.name",
    "__class__",
    "metadata",
    "registry",
    "phone_sealed",
    str(ALICE),
    str(BOB),
    f"{ALICE},{BOB}",
    ",",
    ";",
    "on",
    "y",
    "active",
    "authorized",
    "zh",
]
ARGUMENTS = [
    "page",
    "psize",
    "order",
    "way",
    "q",
    "ids",
    "all",
    "view",
    "merchant",
    "next",
    "count",
    "state",
    "failed",
    "stuck",
    "lapsing",
    "lacking",
    "authorization_code",
    "done",
    "roles",
    "username",
    "password",
    "name",
    "old_password",
    "again",
    "_flt_",
    "_flt_0_",
    "_flt_9_name",
    "_flt_99_name",
    "_oc_",
    "_od_x",
    "page_",
    "psize_x",
    "full_name",
    "email",
    "reason",
]
TYPES = [
    "",
    "application/json",
    "application/json; charset=utf-7",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=nope",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "text/plain",
    "application/xml",
    "x",
    ";;;",
    "text/html; charset=\xff",
    "application/merge-patch+json",
]
BODIES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b"1e999",
    b'"x"',
    b'{"operation":1}',
    b"--x\r\n\r\n--x--",
    b"a=%",
    b'--x\r\nContent-Disposition: form-data; name="a"; filename="\xff"\r\n\r\nx\r\n--x--',
    b"a" * 5000,
    b"[" * 5000,
    b'{"username": {"a": 1}, "password": []}',
    b'{"username": "a", "password": "b", "provider": "ldap"}',
]
HEADERS = [
    "Host",
    "Cookie",
    "Authorization",
    "Accept",
    "Accept-Language",
    "Content-Length",
    "Range",
    "If-Modified-Since",
    "If-None-Match",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-HTTP-Method-Override",
    "Origin",
    "Referer",
    "User-Agent",
    "X-CSRFToken",
    "Transfer-Encoding",
    "Expect",
    "Upgrade",
    "X-Requested-With",
]
HEADER_VALUES = [
    "",
    "x",
    "evil.example",
    "127.0.0.1:99999",
    "[::1",
    "a b",
    "*/*;q=x",
    "zh;q=9,,;",
    "bytes=0-99999999999999999999",
    "-1",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Bearer a.b.c",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
    "Basic !!!",
    "Basic Og==",
    "douzhou=x",
    "douzhou=" + "a" * 43,
    "douzhou=" + "a" * 5000,
    "\xff\xfe",
    "99999999999999999999",
    "chunked",
    "application/json",
    'W/"x',
    "Thu, 99 Foo 2026",
    "a" * 4000,
    "DELETE",
    "null",
]


class Fuzzer:
    """Makes one odd request after another from a seed."""

    def __init__(self, app: Flask, seed: int) -> None:
        self.random = random.Random(seed)
        self.rules = [rule for rule in app.url_map.iter_rules() if not rule.endpoint.endswith(".logout")]
        self.columns = sorted(
            {
                name
                for view in app.appbuilder.baseviews
                if hasattr(view, "datamodel")  # type: ignore[attr-defined]
                for name in view.datamodel.get_columns_list()
            }
        )
        views = [view for view in app.appbuilder.baseviews if hasattr(view, "datamodel")]  # type: ignore[attr-defined]
        self.words = [*OPERATIONS, *schedule.SCHEDULE, *(view.endpoint for view in views), *self.columns]
        self.views = {view.endpoint: view for view in views}
        self.fields = sorted({name for op in OPERATIONS.values() for name in op.params.__dataclass_fields__})

    def value(self) -> str:
        pick = self.random
        return pick.choice(pick.choice((NASTY, NASTY, NASTY, self.words))) + pick.choice(("",) * 9 + ("\0", "%", "'"))

    def path(self, rule: Any) -> str:
        parts = rule.rule.replace("<", "\x01<").replace(">", ">\x01").split("\x01")
        made = "".join(quote(self.value()) if part.startswith("<") else part for part in parts)
        return (
            made if self.random.random() < 0.95 else made + self.random.choice(("/", "//", "%", "%ff", "%C0%AE", ";x"))
        )

    def argument(self, endpoint: str) -> str:
        name = self.random.choice([*ARGUMENTS, *self.columns[:3], *self.fields])
        view = self.views.get(endpoint)
        searched = list(getattr(view, "search_columns", None) or self.columns)
        if name.startswith("_flt_") and self.random.random() < 0.9:
            return f"_flt_{self.random.randrange(4)}_{self.random.choice(searched)}"
        return name + endpoint if name.endswith("_") else name

    def rison(self) -> str:
        pick, column = self.random, self.random.choice(self.columns)
        made = {
            "filters": f"!((col:{column},opr:{pick.choice(('eq', 'ct', 'sw', 'gt', 'in', 'neq'))},value:{self.odd()}))",
            "order_column": column,
            "order_direction": pick.choice(("asc", "desc", "x")),
            "page": self.odd(),
            "page_size": self.odd(),
            "columns": f"!({column},{self.odd()})",
            "keys": f"!({pick.choice(('none', self.odd()))})",
        }
        names = pick.sample(sorted(made), pick.randrange(4))
        return f"({','.join(f'{name}:{made[name]}' for name in names)})"

    def odd(self) -> str:
        return self.random.choice(
            ("1", "-1", "1e999", "!t", "!n", "''", "'x'", "!(1)", "(a:1)", "1.5", "9" * 20, "x", "!((a:!()))")
        )

    def request(self, token: str) -> dict[str, Any]:
        pick, rule = self.random, self.random.choice(self.rules)
        endpoint = rule.endpoint.split(".")[0]
        method = (
            pick.choice(sorted(rule.methods - {"OPTIONS"}))
            if pick.random() < 0.9
            else pick.choice(("PUT", "OPTIONS", "X"))
        )
        query = {self.argument(endpoint): self.value() for _ in range(pick.randrange(4))}
        if rule.rule.startswith("/api/") and pick.random() < 0.7:
            query["q"] = self.rison() if pick.random() < 0.8 else self.value()
        made: dict[str, Any] = {"method": method, "path": self.path(rule), "query_string": query, "headers": {}}
        if pick.random() < 0.05:
            made["query_string"] = pick.choice(
                ("%", "%ff=%fe", "a&b&=&&", "=" * 50, "q=%00", "a=1&" * 1500, "_flt_0_name[]=1")
            )
        if method in {"POST", "PUT", "X"}:
            made |= self.body(rule, token)
        if pick.random() < 0.25:
            made["headers"][pick.choice(HEADERS)] = pick.choice(HEADER_VALUES)
        return made

    def body(self, rule: Any, token: str) -> dict[str, Any]:
        pick = self.random
        if pick.random() < 0.15:
            return {"data": pick.choice(BODIES), "content_type": pick.choice(TYPES)}
        if rule.rule.startswith("/api/"):
            names = ["operation", "appid", "params", "username", "password", "provider", "refresh"]
            found: dict[str, Any] = {name: pick.choice((self.value(), [], {}, None, 1.5, True)) for name in names}
            if pick.random() < 0.8:
                found |= {
                    "operation": pick.choice(sorted(OPERATIONS)),
                    "appid": pick.choice(("ALICAN-mini_program-appid", "x")),
                }
                keys = [*self.fields, "actor", "door", "batch_id", "session", "name", "row", "self", "params"]
                odd: list[Any] = [
                    float("inf"),
                    -1,
                    1e308,
                    [],
                    ["a", 1],
                    {"a": {}},
                    None,
                    True,
                    self.value(),
                    self.value(),
                ]
                found["params"] = {pick.choice(keys): pick.choice(odd) for _ in range(pick.randrange(4))}
            return {"json": found}
        columns = list(getattr(self.views.get(rule.endpoint.split(".")[0]), "add_columns", ())) or self.fields
        names = pick.sample([*columns, *ARGUMENTS, *self.fields], 6)
        return {"data": {name: self.value() for name in names} | {"csrf_token": token}}


def attack(app: Flask, asker: Principal, seed: int) -> int:
    """How many requests were answered; AssertionError names the first that got a 5xx."""
    fuzzer, until, sent = Fuzzer(app, seed), time.monotonic() + SECONDS, 0
    while sent < LEAST or (sent < REQUESTS and time.monotonic() < until):
        made = fuzzer.request(asker.token)
        made["headers"] = asker.headers | made["headers"]
        answer = asker.client.open(EnvironBuilder(**made))
        assert answer.status_code < 500 or _douyins(made, answer), (seed, sent, answer.status, str(made)[:3000])
        sent += 1
    return sent


def _douyins(made: dict[str, Any], answer: Any) -> bool:
    """A 502 says that Douyin refused, and a job may say so; never that we stumbled."""
    return answer.status_code == 502 and "抖音" in answer.get_data(as_text=True)


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """Two merchants' rows, owners who may submit, and no worker that anyone would wait for."""
    for module in (confirm, operations_api):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0)
    monkeypatch.setitem(app.config, "OWNERS_MAY_SUBMIT", True)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app


@pytest.mark.parametrize("name", ["anonymous", "operator", "platform_admin", "owner", "operator_token"])
def test_no_request_however_odd_is_answered_with_a_5xx(world: Flask, sandbox: Any, name: str) -> None:
    assert attack(world, principal(world, name), seed=sum(map(ord, name))) >= LEAST


ODD = [
    ("GET", "/authorizationview/list/?_flt_0_created_at=0001-01-01", {}),
    ("GET", "/apicallview/list/?_flt_1_at=9999-12-31", {}),
    ("POST", "/merchantview/add", {"commission_rate": "NaN"}),
    ("POST", "/merchantview/add", {"commission_rate": "sNaN"}),
    ("POST", "/merchantview/add", {"commission_rate": "-Infinity"}),
    ("GET", "/merchantview/show/9999999999", {}),
    ("GET", "/operationrunview/list/?_flt_0_err_no=99999999999999999999", {}),
    ("GET", "/static/%00", {}),
]


@pytest.mark.parametrize(("method", "path", "form"), ODD)
def test_what_once_failed_is_answered(world: Flask, method: str, path: str, form: dict[str, str]) -> None:
    asker = principal(world, "operator")
    whole = {"name": "新店", "industry": str(ALICE), "subject_type": "company", "state": "active"}
    answer = asker.open(path, method, data=whole | form | {"csrf_token": asker.token} if form else None)
    assert answer.status_code in ({422} if form else {200, 404}), answer.status


@pytest.mark.parametrize("name", ["actor", "door", "batch_id", "session", "name", "row"])
def test_rest_parameters_cannot_pose_as_arguments_of_ours(world: Flask, name: str) -> None:
    asker = principal(world, "operator_token")
    body = {"operation": "sync_app_info", "appid": "ALICAN-mini_program-appid", "params": {name: "x"}}
    answer = asker.open("/api/v1/operations/", "POST", json=body)
    assert (answer.status_code, answer.get_json()["field"]) == (400, name)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/api/v1/merchants/", "(filters:!((col:state,opr:in,value:active)))", 400),
        ("/api/v1/operations/99999999999999999999", "", 404),
        (f"/api/v1/merchants/{2**31}", "", 404),
    ],
)
def test_rest_questions_that_once_failed_are_answered(world: Flask, path: str, query: str, status: int) -> None:
    answer = principal(world, "operator_token").open(path, query_string={"q": query} if query else None)
    assert answer.status_code == status


def test_a_visitor_cannot_have_megabytes_of_json_parsed(world: Flask) -> None:
    body = b'{"username": "a", "password": "b", "x": [' + b"1," * 2**20 + b"1]}"
    answer = world.test_client().post("/api/v1/security/login", data=body, content_type="application/json")
    assert answer.status_code == 413
