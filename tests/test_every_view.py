"""Everybody asks for everything: every rule of the URL map, by every method, for own, foreign and absent rows.

The cases are made from `app.url_map` and `appbuilder.baseviews`, so a new screen is covered as it is registered.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app.api.operators import operations as operations_api
from app.console.base import ConsoleView
from app.console.operate import confirm
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import csrf
from app.jobs import schedule
from app.operations.registry import OPERATIONS
from tests.conftest import SandboxServer
from tests.world import (
    ABSENT,
    ALICE,
    BOB,
    HIDDEN,
    MERCHANTS,
    OUTSIDERS,
    PLATFORMS,
    SECRET,
    TAGS,
    Principal,
    build,
    dump,
    models,
    principal,
    text_keys,
)

# On the servers, one of each kind asks: the statements are those of the rows and pages, whatever the role.
SAME = pytest.mark.any_database("the same statements as of one who asks on the servers, too")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MUTATING = frozenset(METHODS) - {"GET"}
# What a visitor who is not known may have answered with 200; everything else is refused or leads to the log-in.
PUBLIC = frozenset(
    {
        "static",
        "appbuilder.static",
        "LoginView.login",
        "LoginView.link",
        "SecurityApi.login",
        "health.healthz",
        "health.readyz",
        "health.metrics",
        "callbacks.authorization",
        "callbacks.message",
        "callbacks.authorized",
    }
)
GAUGES = frozenset({"/readyz", "/metrics"})
REDIRECTS = frozenset({"UtilView.back", "LocaleView.index"})  # lead back, and know nobody
LAST = ("logout",)  # ends the session that the walk needs


def askers(names: Iterable[str], *again: str) -> list[Any]:
    """Everyone here; on the servers those named `again`."""
    return [pytest.param(name, marks=() if name in again else SAME) for name in names]


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for module in (confirm, operations_api):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0)  # no worker runs here: nobody waits for one
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app


@dataclass(frozen=True)
class Case:
    """One address of a rule, for one owner's row; `absent` is the same address for a row that is not there."""

    rule: Rule
    method: str
    path: str
    owner: int

    @property
    def data(self) -> dict[str, str]:
        return {"ids": str(self.owner), "pk": str(self.owner), "id": str(self.owner), "merchant": str(self.owner)}


def vocabulary() -> dict[str, list[str]]:
    """The words that arguments of rules are made of, where a row's number is none."""
    return {
        "name": [name for name in OPERATIONS if name in {"submit_audit", "release", "sync_templates"}],
        "view": ["MiniProgramView", "MyVersionView"],
        "column": ["merchant"],
        "tab": ["history", "versions", "events", "apps"],
        "job_id": list(schedule.SCHEDULE),
        "locale": ["zh"],
        "version": ["v1"],
        "filename": ["console.css"],
        "component_appid": text_keys(BOB)[1:2],
    }


def addresses(app: Flask, rule: Rule, owner: int) -> Iterator[str]:
    """The addresses of a rule for `owner`'s rows: each argument takes each of its words."""
    words, arguments = vocabulary(), sorted(rule.arguments)
    numeric = {name for name, kind in rule._converters.items() if type(kind).__name__ == "IntegerConverter"}
    options = [
        [str(owner)] if name == "pk" or name in numeric else words.get(name) or text_keys(owner) for name in arguments
    ]
    adapter = app.url_map.bind("127.0.0.1")
    for values in itertools.product(*options):
        yield adapter.build(rule.endpoint, dict(zip(arguments, values, strict=True)), method=min(rule.methods))


def cases(app: Flask, owner: int, *, declared: bool = True) -> Iterator[Case]:
    """Every rule and method for one owner's rows; `declared` False: the methods that a rule does not have."""
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: rule.endpoint.endswith(LAST))
    for rule in rules:
        for method in METHODS:
            if (method in (rule.methods or ())) == declared:
                found = addresses(app, rule, owner)
                for path in found if declared else itertools.islice(found, 1):
                    yield Case(rule, method, path, owner)


def form_values(app: Flask, owner: int) -> dict[str, str]:
    """A value for every field of every form there is: `owner`'s number for rows, a word for the rest."""
    values: dict[str, str] = {}
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        for name in {*getattr(view, "add_columns", ()), *getattr(view, "edit_columns", ())}:
            values[name] = str(owner) if view.datamodel.is_relation(name) else "走"
    for op in OPERATIONS.values():
        values |= dict.fromkeys(op.params.__dataclass_fields__, "走")
    keys = {name for model in models() for name in model.__table__.c.keys() if name.endswith("_id")}
    return values | dict.fromkeys(keys, str(owner)) | {"count": "1", "reason": "走", "roles": "走", "username": "走"}


def ask(asker: Principal, case: Case, values: dict[str, str]) -> TestResponse:
    """One request, with the row's number wherever a parameter could stand, and the form's token."""
    if case.method == "GET":
        return asker.open(case.path, query_string=case.data | {"view": "MiniProgramView", "q": ""})
    if case.rule.rule.startswith("/api/"):
        body = {"operation": "submit_audit", "appid": text_keys(case.owner)[1], "params": {}} | case.data
        return asker.open(case.path, case.method, json=body)
    return asker.open(case.path, case.method, data=values | case.data | {"csrf_token": asker.token})


def shown(answer: TestResponse, path: str = "") -> str:
    """All that an answer says, without what it was told."""
    text = answer.get_data(as_text=True) + json.dumps(list(answer.headers), ensure_ascii=False)
    if path in GAUGES:  # for monitoring: they name the platform's own apps, and nothing of a merchant
        text = re.sub(r"\w+-third_party_app-appid", "", text)
    for told in {path, quote(path, safe=""), *text_keys(BOB)[1:], *(quote(key) for key in text_keys(BOB)[1:])}:
        text = text.replace(told, "") if told.strip("/") else text
    return text


def masked(answer: TestResponse) -> tuple[int, str]:
    """Status and content, without what differs between two answers to the same question."""
    text = answer.get_data(as_text=True) + str(answer.headers.get("Location", ""))
    text = re.sub(
        r'(nonce=|name="csrf-token" content=|"csrf_token" type="hidden" value=|name="csrf_token"[^>]*value=|name="csrf-token" content=)"[^"]*"',
        "",
        text,
    )
    for owner in (BOB, ABSENT):
        text = text.replace(str(owner), "#").replace(TAGS[owner], "#")
    text = re.sub(r"\bdz_[0-9A-Za-z]{6,}", "", text)  # a key of one's own that this very request made
    return answer.status_code, re.sub(r"\d\d:\d\d(:\d\d)?|-\d+(\.\d+)?", "", text)


def leaks(text: str, *tags: str) -> list[str]:
    return [text[max(0, match.start() - 60) : match.end() + 60] for tag in tags for match in re.finditer(tag, text)][:1]


@pytest.mark.parametrize("name", askers([*MERCHANTS, *OUTSIDERS], "owner", "acting", "owner_token", "anonymous"))
def test_nobody_learns_of_or_touches_what_is_not_theirs(world: Flask, sandbox: SandboxServer, name: str) -> None:
    asker, wrong = principal(world, name), []
    before, journal = dump(world), len(sandbox.get("journal", limit=1000)["rows"])
    values = {owner: form_values(world, owner) for owner in (ALICE, BOB, ABSENT)}
    for own, foreign, absent in zip(*(cases(world, owner) for owner in (ALICE, BOB, ABSENT)), strict=True):
        assert (own.rule, own.method) == (absent.rule, absent.method)
        answers = {own.owner: ask(asker, own, values[own.owner])}
        if own.method == "POST" and answers[own.owner].status_code == 302:
            asker.open("/account/", "GET")  # the page after it tells what was done; else the next answer would
        answers |= {case.owner: ask(asker, case, values[case.owner]) for case in (foreign, absent)}
        where = f"{foreign.method} {foreign.path}"
        wrong += [(where, answer.status) for answer in answers.values() if answer.status_code >= 500]
        for case in (own, foreign):
            wrong += [(where, leak) for leak in leaks(shown(answers[case.owner], case.path), TAGS[BOB], SECRET)]
        if masked(answers[BOB]) != masked(answers[ABSENT]):
            wrong.append((where, answers[BOB].status, answers[ABSENT].status))
    assert not wrong, f"{len(wrong)} of {asker.count}: {wrong[:5]}"
    assert asker.count > 300
    after = dump(world)
    assert {table for table in before if before[table] != after[table] and table != "audit_entry"} == set()
    assert set(before["audit_entry"]) == set(after["audit_entry"])
    assert len(sandbox.get("journal", limit=1000)["rows"]) == journal


@pytest.mark.parametrize("name", askers(PLATFORMS, "platform_admin", "operator_token"))
def test_the_platforms_people_get_answers_and_no_secret(world: Flask, name: str) -> None:
    asker, wrong = principal(world, name), []
    for owner in (BOB, ABSENT):
        values = form_values(world, owner)
        for case in cases(world, owner):
            answer = ask(asker, case, values)
            wrong += [(case.method, case.path, answer.status)] if answer.status_code >= 500 else []
            wrong += [(case.path, leak) for leak in leaks(shown(answer, case.path), SECRET)]
    assert not wrong, f"{len(wrong)} of {asker.count}: {wrong[:5]}"


@pytest.mark.parametrize("name", askers(["anonymous", "disabled", "disabled_token"], "disabled"))
def test_a_stranger_is_sent_to_the_log_in(world: Flask, name: str) -> None:
    asker = principal(world, name)
    values, found = form_values(world, BOB), {}
    for case in cases(world, BOB):
        answer = ask(asker, case, values)
        to_login = answer.status_code == 302 and answer.headers["Location"].startswith("/login/")
        if not (to_login or answer.status_code in {400, 401, 403, 404, 405, 422}):
            found[case.rule.endpoint] = answer.status
    assert set(found) <= PUBLIC | REDIRECTS, found


@SAME
@pytest.mark.parametrize("name", ["platform_admin", "owner"])
def test_a_change_without_the_forms_token_is_refused(world: Flask, name: str) -> None:
    asker, before = principal(world, name), dump(world)
    exempt = set(csrf._exempt_views)
    for case in (case for case in cases(world, ALICE) if case.method in MUTATING):
        answer = asker.open(case.path, case.method, data=form_values(world, ALICE))
        function = world.view_functions[case.rule.endpoint]
        if case.rule.rule.startswith("/api/v1/") or case.rule.endpoint.startswith("callbacks."):
            assert answer.status_code in {400, 401, 403}, case  # a cookie opens none of them
        else:
            assert f"{function.__module__}.{function.__name__}" not in exempt, case
            assert answer.status_code == 400, (case, answer.status)
            assert "页面已过期" in answer.get_data(as_text=True), case
    assert dump(world) == before


@SAME
@pytest.mark.parametrize("name", ["anonymous", "platform_admin"])  # routing knows no roles
def test_a_method_that_a_rule_lacks_is_refused(world: Flask, name: str) -> None:
    asker, before = principal(world, name), dump(world)
    answered = {(rule.rule, method) for rule in world.url_map.iter_rules() for method in rule.methods or ()}
    for case in cases(world, ALICE, declared=False):
        if (case.rule.rule, case.method) in answered:
            continue  # the same address belongs to another rule too, which has this method
        answer = asker.open(case.path, case.method, data={"csrf_token": asker.token})
        assert 300 <= answer.status_code < 500, (case, answer.status)
    assert dump(world) == before


# Parameters.


def console_views(app: Flask) -> list[ConsoleView]:
    return [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]


def list_queries(view: Any) -> Iterable[dict[str, str]]:
    """Ways to ask a list for bob's rows: by each filter of each column, by the search box, by order, by page."""
    names = [*view.datamodel.get_columns_list(), "merchant_id", "mini_program.merchant_id"]
    for name in names:
        for value in (str(BOB), TAGS[BOB]):
            yield from ({f"_flt_{number}_{name}": value} for number in range(3))
        yield {f"_oc_{view.endpoint}": name, f"_od_{view.endpoint}": "asc"}
        yield {"order": name, "way": "asc"}
    yield from ({"q": text} for text in (TAGS[BOB], str(BOB), "%", "13800138000"))
    yield from ({flag: "1"} for flag in view.flags)
    yield {"psize": "9999", "page": "0", "merchant_id": str(BOB), "all": "1"}


@pytest.mark.parametrize("name", ["owner", "acting"])
def test_no_parameter_of_a_list_reaches_another_merchants_rows(world: Flask, name: str) -> None:
    asker = principal(world, name)
    for view in console_views(world):
        path = f"{view.route_base}/list/"
        if asker.open(path).status_code != 200:
            continue
        for query in list_queries(view):
            answer = asker.open(path, query_string=query)
            assert answer.status_code in {200, 400}, (path, query)
            text = re.sub(
                r'(value|href|hx-get|action)="[^"]*"|<span class="condition">.*?</a></span>|<b data-asked>.*?</b>',
                "",
                answer.get_data(as_text=True),
            )
            assert not leaks(text, TAGS[BOB], SECRET), (path, query)
    assert asker.count > 50


@pytest.mark.parametrize("name", ["owner", "acting"])
def test_selects_offer_own_rows_only(world: Flask, name: str) -> None:
    asker = principal(world, name)
    for view in console_views(world):
        for column in view.datamodel.get_columns_list():
            for text in ("", TAGS[BOB]):
                answer = asker.open(f"/choices/{view.endpoint}/{column}", query_string={"q": text})
                assert answer.status_code in {200, 403, 404}
                assert not leaks(answer.get_data(as_text=True), TAGS[BOB], SECRET), (view.endpoint, column)


@pytest.mark.parametrize("name", ["owner", "acting"])
@pytest.mark.parametrize("may_submit", [True, False])
def test_no_row_list_reaches_another_merchants_rows(
    world: Flask, sandbox: SandboxServer, name: str, may_submit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(world.config, "OWNERS_MAY_SUBMIT", may_submit)
    asker, before = principal(world, name), dump(world)
    foreign: list[Any] = [
        [("ids", str(BOB))],
        [("ids", f"{ALICE},{BOB}")],
        [("ids", str(ALICE)), ("ids", str(BOB))],
        [("all", "1"), ("view", "MiniProgramView")],
        [("all", "1"), ("view", "MyMiniProgramView")],
        [("all", "1"), ("view", "MiniProgramView"), ("_flt_0_merchant", str(BOB))],
    ]
    token = [("csrf_token", asker.token), ("count", "1")]
    for op, target in itertools.product(OPERATIONS, foreign):
        for answer in (
            asker.open(f"/operate/{op}", query_string=target),
            asker.open(f"/operate/{op}", "POST", data=_many([*target, *token])),
        ):
            assert answer.status_code in {403, 404}, (op, target)
    own = asker.open("/operate/submit_audit", query_string={"ids": str(ALICE)})
    assert own.status_code == (200 if may_submit else 403)
    assert dump(world) == before


def _many(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    return {name: [value for key, value in pairs if key == name] for name, _ in pairs}


# Columns that nobody may see, search, sort or set.


def listed(view: Any) -> set[str]:
    """Every column that a screen or API shows, filters, sorts by, searches or, where it has a form, sets."""
    names = [
        "list_columns",
        "show_columns",
        "search_columns",
        "order_columns",
        "quick_columns",
        "list_select_columns",
        "show_select_columns",
    ]
    if isinstance(view, ConsoleView):
        names += ["add_columns", "edit_columns"]
    return {column.rsplit(".", 1)[-1] for name in names for column in getattr(view, name, None) or ()}


def test_no_screen_or_api_names_a_secret_column(app: Flask) -> None:
    views = [view for view in app.appbuilder.baseviews if hasattr(view, "datamodel")]  # type: ignore[attr-defined]
    assert len(views) > 15
    assert not {(view.endpoint, name) for view in views for name in listed(view) if HIDDEN.fullmatch(name)}
    assert not {view.endpoint for view in views if view.datamodel.obj.__name__ in {"Credential", "AuthorizationCode"}}


def test_every_screen_is_ours_and_every_rest_api_is_read_only(app: Flask) -> None:
    from flask_appbuilder import ModelView
    from flask_appbuilder.api import ModelRestApi

    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        assert not isinstance(view, ModelView) or isinstance(view, ConsoleView), view.endpoint
        if isinstance(view, ModelRestApi):
            assert set(view.include_route_methods or ()) <= {"get_list", "get"}, view.endpoint


def test_lists_cannot_be_filtered_or_sorted_by_what_they_do_not_offer(world: Flask) -> None:
    admin, refused = principal(world, "platform_admin"), 0
    for view in console_views(world):
        path, offered = f"{view.route_base}/list/", {*view.search_columns, *view.order_columns}
        columns = {*view.datamodel.get_columns_list(), *view.datamodel.obj.__table__.c.keys(), "created_by.password"}
        for name in columns - offered:
            for query in ({f"_flt_0_{name}": "x"}, {f"_oc_{view.endpoint}": name}):
                assert admin.open(path, query_string=query).status_code == 400, (path, query)
                refused += 1
    assert refused > 200


def rest_queries(api: Any) -> Iterator[tuple[bool, str]]:
    """(whether it is offered, the query) for every column of a REST API's model."""
    for name in {*api.datamodel.get_columns_list(), *api.datamodel.obj.__table__.c.keys()}:
        yield name in api.order_columns, f"(order_column:{name},order_direction:asc)"
        if name not in api.search_columns:
            for operator in ("eq", "ct", "gt", "rel_o_m"):
                yield False, f"(filters:!((col:{name},opr:{operator},value:'x')))"


def test_rest_cannot_be_filtered_or_sorted_by_what_it_does_not_offer(world: Flask) -> None:
    from flask_appbuilder.api import ModelRestApi

    asker = principal(world, "operator_token")
    for api in world.appbuilder.baseviews:  # type: ignore[attr-defined]
        if not isinstance(api, ModelRestApi):
            continue
        for offered, query in rest_queries(api):
            answer = asker.open(f"{api.route_base}/", query_string={"q": query})
            assert answer.status_code == (200 if offered else 400), (api.endpoint, query, answer.get_data(as_text=True))
            assert not leaks(answer.get_data(as_text=True), SECRET)
        for column in {*api.datamodel.obj.__table__.c.keys(), "created_by.password"} - {*api.list_columns}:
            answer = asker.open(f"{api.route_base}/", query_string={"q": f"(columns:!(id,{column}))"})
            assert answer.status_code in {200, 400}
            assert not leaks(answer.get_data(as_text=True), SECRET)
            assert column not in (answer.get_json().get("list_columns") or ()), (api.endpoint, column)


def test_the_walk_would_see_a_leak(world: Flask) -> None:
    """Bob's canaries stand where the platform looks, so their absence elsewhere means something."""
    admin = principal(world, "platform_admin")
    for path in ("/merchantview/list/", "/miniprogramview/list/", f"/miniprogramview/show/{BOB}", "/staff/list/"):
        assert TAGS[BOB] in admin.open(path).get_data(as_text=True)
    owner = principal(world, "owner")
    for path in ("/", "/myminiprogramview/list/", f"/myversionview/show/{ALICE}"):
        assert TAGS[ALICE] in owner.open(path).get_data(as_text=True)


@pytest.mark.parametrize(("name", "seen"), [("owner_token", {ALICE}), ("operator_token", {ALICE, BOB})])
def test_the_list_of_operations_gives_whose_the_asker_may_see(world: Flask, name: str, seen: set[int]) -> None:
    asker = principal(world, name)
    for query in ({}, {"before": str(BOB + 1)}, {"state": "failed"}):
        answer = asker.open("/api/v1/operations/", query_string=query)
        assert {run["id"] for run in answer.get_json()["result"]} == seen, query
        assert bool(leaks(answer.get_data(as_text=True), TAGS[BOB])) == (BOB in seen)
    for owner in (ALICE, BOB):
        answer = asker.open("/api/v1/operations/", query_string={"batch_id": text_keys(owner)[3]})
        assert {run["id"] for run in answer.get_json()["result"]} == {owner} & seen


MARKUP = "\"'><i7>{{7*7}}"


@pytest.fixture
def hostile(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The same rows, with markup in every text and script addresses in every list and mapping."""
    monkeypatch.setattr("tests.world.TAGS", {ALICE: MARKUP + "a", BOB: MARKUP + "b"})
    monkeypatch.setattr(
        "tests.world.json_of",
        lambda text, *, listed: (
            [text, "javascript:alert(7)"]
            if listed
            else {
                "link": "javascript:alert(7)",
                "name": text,
                "x": ["javascript:alert(7)", {text: text}],
                "y": "data:,7",
            }
        ),
    )
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app


@pytest.mark.parametrize("name", askers(["platform_admin", "owner", "acting"], "platform_admin"))
def test_every_page_shows_text_as_text(hostile: Flask, name: str) -> None:
    asker, pages = principal(hostile, name), 0
    for case in cases(hostile, ALICE):
        if case.method != "GET" or case.rule.endpoint.endswith("static"):
            continue
        answer = asker.open(case.path, query_string={"ids": str(ALICE), "q": MARKUP, "next": MARKUP, "state": MARKUP})
        page = answer.get_data(as_text=True)
        if not answer.mimetype.startswith("text/html"):
            assert answer.mimetype in {"application/json", "text/plain", "text/css", "text/html"}, case.path
            continue
        for wrong in ("<i7>", 'href="javascript:', 'src="javascript:', 'href="data:', "{{49"):
            assert wrong not in page, (case.path, page[max(0, page.find(wrong) - 200) : page.find(wrong) + 50])
        pages += "i7" in page
    assert pages > 3
