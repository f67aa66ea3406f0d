"""Saved views: kept, shared with colleagues only, opened by default; a foreign one does not exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import SavedView, User
from tests.conftest import Actors, csrf_token, refresh
from tests.pages import text_of, visible

LIST, MENU = "/merchantview/list/", "/savedviews/of/MerchantView"
MINE = "/myversionview/list/"


def keep(client: FlaskClient, name: str, query: str = "state=suspended", view: str = "MerchantView", **more: str):
    token = csrf_token(client, f"/savedviews/of/{view}")
    values = {"csrf_token": token, "name": name, "query": query, "view": view} | more
    return client.post("/savedviews/save", data=values)


def post(client: FlaskClient, path: str, view: str = "MerchantView", **values: str):
    return client.post(path, data=values | {"csrf_token": csrf_token(client, f"/savedviews/of/{view}")})


def views(session: Session) -> list[SavedView]:
    refresh(session)
    return list(session.scalars(select(SavedView).order_by(SavedView.id)))


def test_a_view_keeps_conditions_order_and_columns_but_no_page(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    query = "state=suspended&q=花&order=-name&cols=name,state&size=50&page=3&nonsense=1&all=1"
    query += "&_oc_MerchantView=nonsense&_od_MerchantView=up&_oc_Other=name"  # an order that no list has is none
    answer = keep(operator, "停用的花店", query)
    (row,) = views(session)
    assert row.query == "state=suspended&q=%E8%8A%B1&order=-name&cols=name,state&size=50"
    assert answer.headers["Location"] == f"{LIST}?{row.query}&saved={row.id}"
    assert (row.merchant_id, row.shared, row.is_default) == (None, False, False)
    menu = text_of(operator, f"{MENU}?saved={row.id}")
    assert 'data-view-chosen="停用的花店"' in menu
    assert f'href="{LIST}?{row.query.replace("&", "&amp;")}&amp;saved={row.id}"' in menu


def test_a_view_is_seen_by_its_owner_and_when_shared_by_colleagues(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    owner, colleague = client_for("operator"), client_for("auditor")
    keep(owner, "只给自己")
    keep(owner, "给大家", shared="1")
    seen = visible(text_of(colleague, MENU))
    assert "给大家" in seen
    assert "只给自己" not in seen
    assert "删除" not in seen  # another's view is opened, not managed


def test_merchants_views_stay_with_their_merchant(
    session: Session, full: Actors, client_for: Callable[..., FlaskClient], operator: FlaskClient
) -> None:
    alice, bob = client_for("owner", full.alice), client_for("owner", full.bob)
    staff = client_for("staff", full.alice)
    keep(alice, "爱丽丝的", "state=rejected", "MyVersionView", shared="1")
    keep(operator, "平台的", "state=rejected", "VersionView", shared="1")
    (row, _platforms) = views(session)
    assert row.merchant_id == full.alice.id
    assert "爱丽丝的" in visible(text_of(staff, "/savedviews/of/MyVersionView"))
    assert "爱丽丝的" not in visible(text_of(bob, "/savedviews/of/MyVersionView"))
    for client in (bob, staff, operator):
        view = "VersionView" if client is operator else "MyVersionView"
        for path in ("change", "update", "default", "delete"):
            assert post(client, f"/savedviews/{path}/{row.id}", view, name="抢").status_code == 404
    text_of(bob, "/savedviews/of/VersionView", 404)
    assert views(session)[0].name == "爱丽丝的"


def test_a_list_without_arguments_opens_with_the_default_view(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    keep(operator, "停用", "state=suspended")
    (row,) = views(session)
    post(operator, f"/savedviews/default/{row.id}")
    answer = operator.get(LIST)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{LIST}?state=suspended&saved={row.id}"
    page = text_of(operator, answer.headers["Location"])
    assert "爱丽丝花店" not in page
    assert f'href="{LIST}?saved=0"' in page  # the way to all rows does not lead back to the default
    assert "爱丽丝花店" in text_of(operator, f"{LIST}?saved=0")


def test_a_default_follows_its_view_and_ends_with_it(session: Session, actors: Actors, operator: FlaskClient) -> None:
    keep(operator, "停用", "state=suspended")
    keep(operator, "正常", "state=active")
    first, second = views(session)
    post(operator, f"/savedviews/default/{first.id}")
    post(operator, f"/savedviews/default/{second.id}")
    assert [row.is_default for row in views(session)] == [False, True]
    post(operator, f"/savedviews/update/{second.id}", query="plan=专业版")
    assert "plan=" in operator.get(LIST).headers["Location"]
    post(operator, f"/savedviews/default/{second.id}")
    assert operator.get(LIST).status_code == 200
    post(operator, f"/savedviews/default/{first.id}")
    post(operator, f"/savedviews/delete/{first.id}")
    assert operator.get(LIST).status_code == 200
    refresh(session)
    assert session.scalars(select(User).where(User.username == "operator0")).one().preferences == {"views": {}}


def test_a_view_is_renamed_shared_and_deleted(session: Session, actors: Actors, operator: FlaskClient) -> None:
    keep(operator, "旧名")
    (row,) = views(session)
    post(operator, f"/savedviews/change/{row.id}", name="新名", shared="1")
    assert [(row.name, row.shared) for row in views(session)] == [("新名", True)]
    post(operator, f"/savedviews/change/{row.id}", name="新名")
    assert [row.shared for row in views(session)] == [False]
    post(operator, f"/savedviews/delete/{row.id}")
    assert views(session) == []


@pytest.mark.parametrize("name", ["", "  ", "长" * 65, "已有"])
def test_a_name_that_is_none_or_taken_is_refused_and_nothing_is_lost(
    session: Session, actors: Actors, operator: FlaskClient, name: str
) -> None:
    keep(operator, "已有")
    answer = keep(operator, name, "plan=专业版")
    assert len(views(session)) == 1
    assert "plan=" in answer.headers["Location"]  # the conditions are still there to be saved again
    assert "视图" in visible(text_of(operator, answer.headers["Location"]).split("<main", 1)[1])


@pytest.mark.parametrize("view", ["Nothing", "OperateView", "UserView", "MyVersionView"])
def test_a_list_that_one_may_not_open_has_no_views(operator: FlaskClient, actors: Actors, view: str) -> None:
    text_of(operator, f"/savedviews/of/{view}", 404)
    values = {"csrf_token": csrf_token(operator, MENU), "name": "名", "view": view, "query": ""}
    assert operator.post("/savedviews/save", data=values).status_code == 404


def test_without_a_token_nothing_is_kept(session: Session, actors: Actors, operator: FlaskClient) -> None:
    assert operator.post("/savedviews/save", data={"name": "x", "view": "MerchantView", "query": ""}).status_code == 400
    assert views(session) == []


def test_who_is_logged_in_as_a_merchant_shares_nothing_with_its_people(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator, owner = client_for("operator"), client_for("owner", actors.alice)
    act_as(operator, actors)
    page = text_of(operator, "/savedviews/of/MyVersionView")
    assert "与同事共享" not in page
    keep(operator, "给大家", "state=approved", "MyVersionView", shared="1")
    assert views(session) == []
    keep(operator, "只给自己", "state=approved", "MyVersionView")
    (row,) = views(session)
    post(operator, f"/savedviews/change/{row.id}", "MyVersionView", name="给大家", shared="1")
    assert [(row.name, row.shared) for row in views(session)] == [("只给自己", False)]
    assert "只给自己" not in text_of(owner, "/savedviews/of/MyVersionView")


def act_as(client: FlaskClient, actors: Actors) -> None:
    path = f"/loginas/{actors.alice.id}"
    client.post(path, data={"reason": "工单 1：查看", "csrf_token": csrf_token(client, path)})


def test_an_administrator_deletes_what_a_colleague_left_behind_and_nobody_else_does(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    leaver, staff, owner = (client_for(role, actors.alice) for role in ("owner", "staff", "owner"))
    stranger, operator = client_for("owner", actors.bob), client_for("operator")
    keep(leaver, "给大家", "state=approved", "MyVersionView", shared="1")
    keep(leaver, "只给自己", "state=approved", "MyVersionView")
    shared, private = views(session)
    act_as(operator, actors)
    for client, row in ((staff, shared), (stranger, shared), (operator, shared), (owner, private)):
        assert post(client, f"/savedviews/delete/{row.id}", "MyVersionView").status_code == 404
    post(owner, f"/savedviews/delete/{shared.id}", "MyVersionView")
    assert [row.name for row in views(session)] == ["只给自己"]
