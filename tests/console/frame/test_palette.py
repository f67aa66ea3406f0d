"""The search over everything: within the scope, by role, capped, and safe to show."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.base import MerchantFace
from app.console.frame import palette
from app.data.clock import utcnow
from app.data.secrets import keyring
from app.jobs import schedule
from app.models import (
    ApiCall,
    Door,
    Industry,
    Merchant,
    MiniProgram,
    OperationRun,
    RunState,
    Template,
    ThirdPartyApp,
    Version,
)
from tests.conftest import ROOT, Actors

LOG_ID = "20260101123456ABCDEF"


def search(client: FlaskClient, text: str) -> list[dict[str, Any]]:
    answer = client.get("/palette/search", query_string={"q": text})
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    return list(answer.get_json()["items"])


def titles(client: FlaskClient, text: str, group: str = "") -> list[str]:
    return [item["title"] for item in search(client, text) if item["icon"] != "search" and group in {"", item["group"]}]


def start(client: FlaskClient) -> dict[str, Any]:
    return dict(client.get("/palette/start").get_json())


@pytest.fixture
def world(app: Flask, session: Session, actors: Actors) -> Actors:
    """Both merchants with rows that have a word in common."""
    for merchant, phone in ((actors.alice, "13800138000"), (actors.bob, "13900139000")):
        merchant.contact = "共同联系人"
        with app.app_context():
            merchant.phone_hash = keyring().fingerprint(phone)
    for number, row in enumerate((actors.alice_app, actors.bob_app), 1):
        row.subject_name = "共同科技有限公司"
        session.add(Version(merchant_id=row.merchant_id, mini_program_id=row.id, number=f"7.7.{number}"))
        session.add(
            OperationRun(
                id=100 + number,
                operation="release",
                door=Door.ROW,
                state=RunState.FAILED,
                log_id=f"{LOG_ID}{number}",
                merchant_id=row.merchant_id,
                subject_type="mini_program",
                subject_id=row.id,
                mini_program_id=row.id,
                lock_key=f"mini_program:{row.id}",
                appid=row.appid,
            )
        )
    session.add(
        Template(third_party_app_id=actors.alice_app.third_party_app_id, template_id="7301234", version="7.7.9")
    )
    session.add(ApiCall(at=utcnow(), name="x", method="POST", path="/api/x", outcome="ok", log_id=f"{LOG_ID}1"))
    session.commit()
    return actors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("爱丽丝", {("商户", "爱丽丝花店"), ("小程序", "爱丽丝花店")}),
        ("丝花", {("商户", "爱丽丝花店"), ("小程序", "爱丽丝花店")}),
        ("共同联系", {("商户", "爱丽丝花店"), ("商户", "鲍勃面馆")}),
        ("共同科技", {("小程序", "爱丽丝花店"), ("小程序", "鲍勃面馆")}),
        ("ttb000000000000002", {("小程序", "鲍勃面馆")}),
        ("TTB0000", {("小程序", "鲍勃面馆")}),
        ("7.7.9", {("模板", "7.7.9")}),
        ("7301234", {("模板", "7.7.9")}),
        ("#101", {("操作记录", "#101 发布上线")}),
        (f"{LOG_ID}1", {("操作记录", "#101 发布上线"), ("接口调用", "/api/x")}),
        ("13800138000", {("商户", "爱丽丝花店")}),
        ("１３８ ００１３-8000", {("商户", "爱丽丝花店")}),
        ("1380013800", set()),
        ("＃１０１", {("操作记录", "#101 发布上线")}),
        (LOG_ID.lower() + "1", {("操作记录", "#101 发布上线"), ("接口调用", "/api/x")}),
        ("TTA000000000000001", {("小程序", "爱丽丝花店")}),
        ("13800138001", set()),
        ("#999", set()),
        ("没有这样的", set()),
        ("%", set()),
        ("_", set()),
    ],
)
def test_an_operator_finds_rows_by_what_names_them(
    world: Actors, client_for: Callable[..., FlaskClient], text: str, expected: set[tuple[str, str]]
) -> None:
    found = {
        (item["group"], item["title"]) for item in search(client_for("operator"), text) if item["icon"] != "search"
    }
    if text == "_":  # the merchants' keys hold one
        found = {item for item in found if item[0] != "商户"}
    assert found == expected


def test_the_key_of_a_merchant_finds_it(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    assert titles(client_for("operator"), world.bob.key) == ["鲍勃面馆"]


@pytest.mark.parametrize("typed", ["ABC（杭州）", "abc(杭州)", "ＡＢＣ（杭", "aBc"])
@pytest.mark.parametrize("kept", ["ABC（杭州）", "Abc(杭州)", "ＡＢＣ（杭州）"])
def test_wide_letters_and_capitals_make_no_difference(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient], kept: str, typed: str
) -> None:
    actors.alice.name = kept
    session.commit()
    assert titles(client_for("operator"), typed, "商户") == [kept]


@pytest.mark.parametrize("name", ["失败：停用{0}", "a：b{c}（d)"])
def test_a_name_with_wide_and_narrow_signs_is_found_as_it_is_typed(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient], name: str
) -> None:
    actors.alice_app.name = name
    session.commit()
    assert name in titles(client_for("operator"), name, "小程序")


@pytest.mark.parametrize(("role", "offered"), [("operator", {"生成授权链接", "登录商户", "编辑"}), ("auditor", set())])
def test_a_merchant_offers_what_its_page_offers(
    world: Actors, client_for: Callable[..., FlaskClient], role: str, offered: set[str]
) -> None:
    client = client_for(role)
    (hit,) = [item for item in search(client, "爱丽丝") if item["group"] == "商户"]
    assert {action["title"] for action in hit["actions"]} == offered
    assert {client.get(action["url"]).status_code for action in hit["actions"]} <= {200}


def test_templates_and_third_party_apps_offer_their_operations(
    world: Actors, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    owner = session.get_one(ThirdPartyApp, world.alice_app.third_party_app_id)
    admin = client_for("platform_admin")
    found = {item["url"].split("/show")[0]: item for text in ("7.7.9", owner.appid) for item in search(admin, text)}
    assert "删除模板" in {action["title"] for action in found["/templateview"]["actions"]}
    assert {"同步模板", "编辑"} <= {action["title"] for action in found["/thirdpartyappview"]["actions"]}
    assert not [item for item in search(client_for("auditor"), "7.7.9") if item.get("actions") and item["url"]]


def test_at_most_three_lines_lead_to_lists_the_present_one_first(
    world: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    answer = client_for("platform_admin").get(
        "/palette/search", query_string={"q": "爱丽丝", "at": "/templateview/list/"}
    )
    lines = [item for item in answer.get_json()["items"] if item["icon"] == "search"]
    assert [line["url"].split("/list")[0] for line in lines] == ["/templateview", "/merchantview", ""]
    assert f"其他 {len(lines[2]['actions'])} 个列表" in lines[2]["title"]
    assert len({action["url"] for action in lines[2]["actions"]}) > 5


def test_what_is_meant_exactly_comes_first(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    trade = actors.alice.industry
    session.add_all(Merchant(name=name, industry=trade) for name in ("老花店铺", "花店铺子", "花店"))
    session.commit()
    assert titles(client_for("operator"), "花店", "商户") == ["花店", "花店铺子", "爱丽丝花店", "老花店铺"]


@pytest.mark.parametrize("role", ["owner", "staff"])
@pytest.mark.parametrize(
    "text", ["鲍勃", "共同", "ttb000000000000002", "7.7.2", "#102", f"{LOG_ID}2", "13900139000", "7.7.9"]
)
def test_a_merchants_people_find_nothing_of_others(
    app: Flask, world: Actors, client_for: Callable[..., FlaskClient], role: str, text: str
) -> None:
    hits = search(client_for(role, world.alice), text)
    own = [view.route_base for view in app.appbuilder.baseviews if isinstance(view, MerchantFace)]  # type: ignore[attr-defined]
    urls = [item["url"] or item["actions"][0]["url"] for item in hits]
    assert {"/" + url.split("/")[1] for url in urls} <= set(own)
    found = json.dumps(
        [item for item in hits if item["icon"] != "search"], ensure_ascii=False
    )  # the rest repeats the text
    assert "鲍勃" not in found
    assert "ttb0" not in found
    assert "7.7.2" not in found
    assert "爱丽丝" in found if text == "共同" else found == "[]"


def test_an_owner_finds_its_own_mini_program_and_versions(
    world: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    owner = client_for("owner", world.alice)
    (hit,) = [item for item in search(owner, "爱丽丝") if item["icon"] != "search"]
    assert hit["url"].startswith("/myminiprogramview/show/")
    assert titles(owner, "7.7") == ["7.7.1"]
    assert owner.get(hit["url"]).status_code == 200


def test_a_clerk_finds_nothing_since_it_may_open_nothing(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    assert search(client_for("clerk", world.alice), "爱丽丝") == []


def test_users_are_found_by_those_who_may_see_them(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    admin, operator = client_for("platform_admin"), client_for("operator")
    assert any(name.startswith("operator") for name in titles(admin, "operator", "用户"))
    assert titles(operator, "platform_admin", "用户") == []


def test_a_users_hit_leads_to_the_screen_it_is_on(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    client_for("owner", world.alice)
    for hit in (item for item in search(admin, "o") if item["group"] == "用户"):
        assert admin.get(hit["url"]).status_code == 200, hit


def test_every_hit_and_its_operations_open(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    operator = client_for("operator")
    hits = [item for text in ("爱丽丝", "7.7.9", "#101", f"{LOG_ID}1") for item in search(operator, text)]
    urls = [hit["url"] for hit in hits if hit["url"]] + [
        action["url"] for hit in hits for action in hit.get("actions", [])
    ]
    assert len(urls) > 10
    assert {operator.get(url).status_code for url in urls} == {200}


@pytest.mark.parametrize(
    ("role", "offered"),
    [("operator", {"提交审核", "发布上线"}), ("auditor", set()), ("owner", set()), ("staff", set())],
)
def test_a_mini_program_offers_the_operations_its_reader_may_do(
    world: Actors, client_for: Callable[..., FlaskClient], role: str, offered: set[str]
) -> None:
    client = client_for(role, world.alice if role in {"owner", "staff"} else None)
    (hit,) = [item for item in search(client, "爱丽丝") if item["group"] == "小程序"]
    titles = {action["title"] for action in hit["actions"]}
    assert offered <= titles
    assert bool(titles) == bool(offered)


def test_an_owner_is_offered_what_the_platform_lets_it_do(
    app: Flask, world: Actors, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "OWNERS_MAY_SUBMIT", True)
    (hit,) = [item for item in search(client_for("owner", world.alice), "爱丽丝") if item["group"] == "小程序"]
    assert [action["title"] for action in hit["actions"]] == ["提交审核"]


def test_a_search_gives_at_most_twenty_rows_and_few_of_a_kind(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    trade = Industry(name="很多")
    session.add_all(Merchant(name=f"很多{number:03d}", contact="很多", industry=trade) for number in range(60))
    session.add_all(
        MiniProgram(
            third_party_app_id=actors.alice_app.third_party_app_id,
            appid=f"ttmany{number:06d}",
            name=f"很多{number}",
            merchant_id=actors.alice.id,
        )
        for number in range(60)
    )
    session.commit()
    found = [item for item in search(client_for("platform_admin"), "很多") if item["icon"] != "search"]
    assert len(found) == 2 * palette.EACH <= palette.MOST


def test_what_a_merchant_is_called_cannot_become_script(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    actors.alice.name = name
    session.commit()
    answer = client_for("operator").get("/palette/search", query_string={"q": "</script>"})
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.get_json()["items"][0]["title"] == name
    source = (ROOT / "app/static/palette.js").read_text()
    assert "innerHTML" not in source
    assert "insertAdjacentHTML" not in source


@pytest.mark.parametrize("text", ["", "   ", "#", "#99999999999999999999", "'", '"', "\\", "a" * 5000, "🙂", "%_/"])
def test_any_text_may_be_looked_for(actors: Actors, client_for: Callable[..., FlaskClient], text: str) -> None:
    found = [item for item in search(client_for("platform_admin"), text) if item["icon"] != "search"]
    assert found == []


def test_a_visitor_is_sent_to_the_log_in(app: Flask) -> None:
    client = app.test_client()
    for path in ("/palette/start", "/palette/search?q=x"):
        assert client.get(path).status_code in {302, 401}


# Screens and actions.


@pytest.mark.parametrize("role", ["platform_admin", "operator", "auditor", "owner", "staff", "clerk"])
def test_every_screen_that_is_offered_opens(world: Actors, client_for: Callable[..., FlaskClient], role: str) -> None:
    client = client_for(role, world.alice if role in {"owner", "staff", "clerk"} else None)
    found = start(client)
    assert found["screens"]
    opened = {item["url"]: client.get(item["url"]).status_code for item in found["screens"]}
    assert set(opened.values()) == {200}
    forms = {item["url"]: client.get(item["url"]).status_code for item in found["actions"] if "url" in item}
    assert set(forms.values()) <= {200}


@pytest.mark.parametrize(
    ("role", "wanted"), [("operator", {"新建商户", "生成授权链接"}), ("auditor", set()), ("owner", set())]
)
def test_only_those_who_may_begin_something_are_offered_it(
    world: Actors, client_for: Callable[..., FlaskClient], role: str, wanted: set[str]
) -> None:
    actions = start(client_for(role, world.alice if role == "owner" else None))["actions"]
    assert wanted <= {item["title"] for item in actions}
    assert sum("post" in item for item in actions) == (len(schedule.SCHEDULE) if wanted else 0)


def test_the_pages_of_ones_own_account_are_found(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    own = {item["title"]: item["url"] for item in start(client_for("owner", world.alice))["screens"]}
    assert own["修改密码"] == "/account/password"
    assert own["两步验证"] == "/account/security"
    assert own["通知设置"] == "/notices/settings/"


def test_keys_lead_to_one_screen_each(world: Actors, client_for: Callable[..., FlaskClient]) -> None:
    for role, owner in (("platform_admin", None), ("owner", world.alice)):
        keys = [item["key"] for item in start(client_for(role, owner))["screens"] if item["key"]]
        assert "h" in keys
        assert "p" in keys
        assert len(keys) == len(set(keys))


def test_every_page_has_the_search_and_asks_nothing_for_it(
    world: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    text = client_for("owner", world.alice).get("/").get_data(as_text=True)
    assert 'data-search="/palette/search"' in text
    assert "palette.js" in text
    assert "鲍勃" not in text
