"""What a screen has by being declared: needed relations, links, labels, words, colours, icons, entries of the search."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console import places, words
from app.console.form.forms import model_form
from app.console.frame.shell import icon_of
from app.console.kinds import kind_in
from app.console.list.listing import ListPages
from app.console.row.changes import label_of
from app.data.kinds import kind_of
from app.data.kinds.apart import Document
from app.data.kinds.choice import Choice, Listed
from app.data.kinds.plain import Relation
from app.data.tenancy import app_scope, merchant_scope
from app.data.types import WORDS, Words, worded, words_in
from app.models import Industry, MiniProgram, ThirdPartyApp, Version
from app.views.merchant import IndustryView, MerchantView
from app.views.mini_program import MiniProgramView, MyMiniProgramView
from app.views.third_party_app import ThirdPartyAppView
from app.views.version import MyVersionView
from tests.conftest import ROOT, Actors, csrf_token, refresh
from tests.console.list.test_list_speed import statements
from tests.pages import submit, text_of, visible


def view_of(app: Flask, kind: type[Any]) -> Any:
    return next(view for view in app.appbuilder.baseviews if type(view) is kind)  # type: ignore[attr-defined]


def owned_form(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The mini-programs' screen with their merchant in its form."""
    view = view_of(app, MiniProgramView)
    monkeypatch.setattr(view, "edit_columns", ["merchant", "remarks"])
    monkeypatch.setattr(view, "edit_form", model_form(view, view.edit_columns, editing=True))
    return view


# Relations in forms.


def test_an_owned_row_needs_its_merchant(
    app: Flask, session: Session, actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned_form(app, monkeypatch)
    page = f"/miniprogramview/edit/{actors.alice_app.id}"
    assert re.search(r'for="merchant">商户<b class="must"', text_of(operator, page))
    answer = submit(operator, page, merchant="", remarks="没有商户")
    assert answer.status_code == 422
    assert "请选择商户" in answer.get_data(as_text=True).split('name="merchant"')[1].split('name="remarks"')[0]
    refresh(session)
    assert session.get_one(MiniProgram, actors.alice_app.id).merchant_id == actors.alice.id


def test_a_screen_may_leave_the_merchant_open(
    app: Flask, session: Session, actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MiniProgramView, "optional_columns", ("merchant",))
    owned_form(app, monkeypatch)
    page = f"/miniprogramview/edit/{actors.alice_app.id}"
    assert 'class="must"' not in text_of(operator, page)
    assert submit(operator, page, merchant="").status_code == 302
    refresh(session)
    assert session.get_one(MiniProgram, actors.alice_app.id).merchant_id is None


def chosen(page: str, name: str) -> str:
    """The value that a remote select of a page has chosen."""
    field = page.split(f'name="{name}"')[1].split("</select>")[0]
    found = re.search(r'value="(\d+)" selected', field)
    return found[1] if found else ""


def test_a_tabs_new_row_belongs_to_the_page_it_was_begun_on(actors: Actors, operator: FlaskClient) -> None:
    trade = actors.alice.industry_id
    tab = text_of(operator, f"/industryview/tab/{trade}/merchants")
    assert f'href="/merchantview/add?industry={trade}"' in tab
    assert chosen(text_of(operator, f"/merchantview/add?industry={trade}"), "industry") == str(trade)
    assert chosen(text_of(operator, f"/authorizationview/add?merchant={actors.bob.id}"), "merchant") == str(
        actors.bob.id
    )


@pytest.mark.parametrize("text", ["", "0", "999999", "-1", "abc", "99999999999999999999", "1 or 1=1"])
def test_an_absent_row_in_the_address_is_ignored(actors: Actors, operator: FlaskClient, text: str) -> None:
    answer = operator.get("/merchantview/add", query_string={"industry": text, "name": "某商户"})
    assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    assert chosen(page, "industry") == ""
    assert "某商户" not in page


def test_a_foreign_row_in_the_address_is_ignored(app: Flask, actors: Actors, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(app, MyVersionView)
    names = ["mini_program"]
    form_class = model_form(view, names, editing=False)
    monkeypatch.setattr(view, "add_columns", names)
    own, foreign = actors.alice_app.id, actors.bob_app.id
    with app_scope(app, merchant_scope(actors.alice.id)):
        for key, wanted in ((own, own), (foreign, None)):
            with app.test_request_context(f"/?mini_program={key}"):
                form = form_class(meta={"csrf": False})
                view.prefill_related(form)
                assert getattr(form.mini_program.data, "id", None) == wanted


def test_a_platforms_table_is_not_asked_for_in_a_merchants_scope(
    app: Flask, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(app, MyMiniProgramView)
    names = ["third_party_app"]
    form_class = model_form(view, names, editing=False)
    monkeypatch.setattr(view, "add_columns", names)
    key = actors.alice_app.third_party_app_id
    with (
        app_scope(app, merchant_scope(actors.alice.id)),
        app.test_request_context(f"/?third_party_app={key}"),
    ):
        form = form_class(meta={"csrf": False})
        view.prefill_related(form)
        assert form.third_party_app.data is None


# Words and colours.


def test_the_log_calls_a_column_as_its_screen_does(app: Flask) -> None:
    with app.app_context():
        assert label_of("industry", "name") == IndustryView.label_columns["name"] == "行业名称"
        assert label_of("merchant", "industry_id") == "行业"
        assert label_of("merchant", "phone_sealed") == "手机号"
        assert label_of("merchant", "no_such_column") == "no_such_column"


def test_a_column_says_what_it_is_called() -> None:
    labels = words.labels_of(Version)
    assert (labels["id"], labels["reason"], labels["mini_program"]) == ("编号", "驳回原因", "小程序")
    assert "row_version" not in labels  # the system's own
    assert "reason" not in words.labels_of(Industry)
    assert words.common_labels()["reason"] == "驳回原因"
    assert words.common_labels()["rows"] == "行数"  # in no table: an export says so in the log


def test_every_column_that_a_screen_shows_is_called_something(app: Flask) -> None:
    for view in places_of(app):
        if isinstance(view, ListPages):
            shown = {
                *view.list_columns,
                *view.show_columns,
                *view.add_columns,
                *view.edit_columns,
                *view.search_columns,
            }
            assert not shown - set(view.label_columns), view.endpoint


def test_a_column_that_only_its_screen_names_is_named_in_the_timeline(
    app: Flask, session: Session, actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(app, MerchantView)
    monkeypatch.setitem(view.label_columns, "plan", "所购服务")
    submit(operator, f"/merchantview/edit/{actors.alice.id}", plan="专业版", expires_on="2026-05-01")
    assert "所购服务" in visible(text_of(operator, f"/merchantview/tab/{actors.alice.id}/history"))


def test_a_row_is_called_by_its_screen(app: Flask) -> None:
    with app.app_context():
        assert places.subject_words("task") == "后台任务"  # its screen is no list of rows
        assert places.subject_words("ab_user") == "用户"  # has two screens, and the first says otherwise
        assert places.subject_words("industry") == IndustryView.noun
        assert places.subject_words("mini_program") == "小程序"
        assert places.subject_words("no_such_table") == "no_such_table"


class Door(StrEnum):
    """States that other enums have too."""

    OPEN = "open"
    SHUT = "shut"


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(WORDS, Door, Words({}))
    return worded({"open": "营业", "shut": "停业"}, tones={"open": "good"})(Door)


def test_an_enum_says_its_own_words_and_colours(door: Any) -> None:
    from app.models.mini_program import LinkState

    assert [words.word(state) for state in door] == ["营业", "停业"]
    assert [words.tone(state) for state in door] == ["good", "mute"]
    assert words.tone(LinkState.OPEN) == "busy"


@pytest.mark.parametrize(
    ("said", "tones"),
    [({"open": "营业"}, {}), ({"open": "营业", "shut": "停业", "new": "新"}, {})]
    + [({"open": "营业", "shut": "停业"}, {"opne": "good"})],
)
def test_words_that_are_not_the_enums_are_refused(said: dict[str, str], tones: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="Door"):
        worded(said, tones=tones)(Door)
    assert Door not in WORDS


def test_the_chips_have_the_enums_colours(
    actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.models import MerchantState

    monkeypatch.setattr(WORDS[MerchantState], "tones", {"active": "warn"})
    chips = text_of(operator, "/merchantview/counts/")
    assert '<i class="tone-warn"></i>正常' in chips
    assert '<i class="tone-mute"></i>停用' in chips


def test_every_state_that_a_screen_shows_says_its_words(app: Flask) -> None:
    for view in places_of(app):
        for column in view.datamodel.obj.__mapper__.columns:
            if type(kind_of(column)) is Choice and column.key in {*view.list_columns, *view.show_columns}:
                assert set(words_in(column) or ()) == set(column.type.enum), (view.endpoint, column.key)


def test_a_text_column_says_what_its_values_are_called(app: Flask) -> None:
    from app.models.version import EVENT_WORDS
    from app.views.version import VersionEventView

    view = view_of(app, VersionEventView)
    kind = kind_in(view, "kind")
    assert isinstance(kind, Listed) and kind.words == EVENT_WORDS
    assert [words.tone(item, kind.words) for item in ("auditing", "revoked", "note")] == ["busy", "bad", "mute"]
    screen = view_of(app, MiniProgramView)
    state = kind_in(screen, "audit_state")
    assert state.plain("released") == "已发布"  # the screen's own word goes before the column's
    assert state.plain("auditing") == "审核中"
    assert isinstance(kind_in(screen, "permissions"), Document)  # a list: each of its items is called something


# Options and yes or no.


def test_options_are_english_on_an_english_page(
    session: Session, actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MerchantView, "inline_columns", ["state", "subject_type"])
    operator.set_cookie("locale", "en")
    key = actors.alice.id
    for page in ("add", f"edit/{key}", f"bulk/?ids={key}", f"cell/{key}/state", f"cell/{key}/subject_type"):
        found = re.findall(r"<option[^>]*>([^<]+)</option>", text_of(operator, f"/merchantview/{page}"))
        assert len(found) >= 2, page
        assert not [text for text in found if re.search(r"[\u4e00-\u9fff]", text) and text != "餐饮"], page


@pytest.fixture
def yes_no(session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch) -> ThirdPartyApp:
    monkeypatch.setattr(ThirdPartyAppView, "inline_columns", ["active"])
    monkeypatch.setattr(ThirdPartyAppView, "bulk_columns", ["active"])
    return session.get_one(ThirdPartyApp, actors.alice_app.third_party_app_id)


def test_yes_and_no_are_words_where_a_box_would_stand_alone(
    session: Session, yes_no: ThirdPartyApp, client_for: Callable[..., FlaskClient]
) -> None:
    admin, key = client_for("platform_admin"), yes_no.id
    cell = f"/thirdpartyappview/cell/{key}/active"
    for page in (cell, f"/thirdpartyappview/bulk/?ids={key}"):
        assert re.search(
            r'<option selected value="1">是</option>\s*<option value="0">否</option>', text_of(admin, page)
        )
    fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', text_of(admin, cell)))
    token = {"csrf_token": csrf_token(admin, "/account/")}
    assert admin.post(cell, data=fields | token | {"active": "走"}).status_code == 422
    assert admin.post(cell, data=fields | token | {"active": "0"}).status_code == 200
    refresh(session)
    assert session.get_one(ThirdPartyApp, key).active is False
    bulk = {"ids": str(key), "columns": "active", "active": "1", "count": "1"}
    assert admin.post("/thirdpartyappview/bulk/", data=token | bulk).status_code == 302
    refresh(session)
    assert session.get_one(ThirdPartyApp, key).active is True


# Where rows have their pages.


def test_every_screen_of_all_rows_is_where_its_rows_are_found(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.test_request_context():
        shown = [view for view in places.screens() if "show" in view.include_route_methods and view.whole]
        assert len(shown) >= 12
        for view in shown:
            monkeypatch.setattr(type(view), "may", lambda _self, _method: True)
        for view in shown:
            page = places.page_for(view.datamodel.obj.__tablename__, 7)
            assert page is not None
            assert page.endswith("/show/7"), view.endpoint
        assert places.page_for("ab_user", 7) is None  # two screens, each of some users
        assert places.page_for("no_such_table", 7) is None


def test_a_related_row_is_a_link_where_its_page_may_be_opened(
    session: Session, full: Actors, operator: FlaskClient, client_for: Callable[..., FlaskClient]
) -> None:
    merchant, app = full.alice, full.alice_app
    trade = f'<a href="/industryview/show/{merchant.industry_id}">'
    assert trade in text_of(operator, "/merchantview/list/")
    assert trade in text_of(operator, f"/merchantview/show/{merchant.id}")
    owner = client_for("owner", merchant)
    assert f'<a href="/myminiprogramview/show/{app.id}">' in text_of(owner, "/myversionview/list/")
    assert "/miniprogramview/show/" not in text_of(owner, "/myversionview/list/")


def test_a_related_row_is_text_where_it_may_not_be_opened(
    actors: Actors, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndustryView, "may", lambda _self, method: method != "show")
    page = text_of(operator, "/merchantview/list/")
    assert "餐饮" in page
    assert "/industryview/show/" not in page


def test_the_first_column_leads_to_the_rows_own_page(actors: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, "/merchantview/list/?cols=industry,name").split("<tbody")[1]
    assert re.search(rf'<a href="/merchantview/show/{actors.alice.id}">餐饮</a>', page)
    assert "/industryview/show/" not in page


def test_links_of_related_rows_cost_no_statement(
    app: Flask, session: Session, full: Actors, operator: FlaskClient
) -> None:
    text_of(operator, "/merchantview/list/")
    counts = []
    for number in (1, 20):
        session.add_all(Industry(name=f"行业{number}-{n}") for n in range(number))
        session.commit()
        with app.app_context(), statements() as made:
            text_of(operator, "/merchantview/list/")
        counts.append(len(made))
    assert counts[0] == counts[1]


# The menu and the search over everything.


def test_an_icon_is_the_screens_own(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_of(app, IndustryView)
    assert icon_of(view) == "category"
    monkeypatch.setattr(IndustryView, "icon", "map-pin")
    assert icon_of(view) == "map-pin"
    monkeypatch.setattr(IndustryView, "icon", "")
    assert icon_of(view) == "point"


def test_every_icon_of_the_menu_is_drawn(app: Flask) -> None:
    drawn = set(re.findall(r"\.i-([\w-]+)\{", (ROOT / "app/static/vendor/icons.css").read_text()))
    assert {icon_of(view) for view in places_of(app)} <= drawn


def places_of(app: Flask) -> list[Any]:
    with app.app_context():
        return places.screens()


def found(client: FlaskClient, text: str) -> list[dict[str, Any]]:
    return list(client.get("/palette/search", query_string={"q": text}).get_json()["items"])


@pytest.mark.parametrize("role", ["platform_admin", "operator", "auditor", "owner"])
def test_every_list_with_a_search_box_can_be_searched_from_anywhere(
    app: Flask, actors: Actors, client_for: Callable[..., FlaskClient], role: str
) -> None:
    client = client_for(role, actors.alice if role == "owner" else None)
    lines = [item for item in found(client, "虹桥") if item["icon"] == "search"]
    assert len(lines) <= 3
    entries = [entry for line in lines for entry in line.get("actions") or [line]]
    with app.test_request_context():
        boxes = {f"{view.route_base}/list/" for view in places.screens() if view.quick_columns}
    opened = {box for box in boxes if client.get(box).status_code == 200}
    assert {item["url"].split("?")[0] for item in entries} == opened
    assert all(item["url"].endswith("?q=%E8%99%B9%E6%A1%A5") for item in entries)
    assert "在商户列表中搜索「虹桥」" in {item["title"] for item in entries} or role == "owner"


def test_a_declared_screen_is_looked_into_with_one_statement(
    app: Flask,
    session: Session,
    actors: Actors,
    client_for: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session.add_all(Industry(name=f"虹桥{number}") for number in range(9))
    session.commit()
    operator = client_for("operator")
    counts = []
    for declared in (False, True):
        monkeypatch.setattr(IndustryView, "in_palette", declared)
        found(operator, "虹桥")
        with app.app_context(), statements() as made:
            hits = [item for item in found(operator, "虹桥") if item["group"] == "行业"]
        counts.append(len(made))
        assert len(hits) == (5 if declared else 0)
        assert all(item["url"].startswith("/industryview/show/") for item in hits)
    assert counts[1] == counts[0] + 1


def test_a_declared_screen_is_searched_within_the_scope(
    session: Session, full: Actors, client_for: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    session.add_all(
        Version(merchant_id=app.merchant_id, mini_program_id=app.id, number="8.8.8", description="虹桥")
        for app in (full.alice_app, full.bob_app)
    )
    session.commit()
    monkeypatch.delattr(MyVersionView, "palette_rows")
    monkeypatch.setattr(MyVersionView, "in_palette", True)
    hits = [item for item in found(client_for("owner", full.alice), "虹桥") if item["icon"] != "search"]
    assert len(hits) == 1
    assert session.get_one(Version, int(hits[0]["url"].rpartition("/")[2])).merchant_id == full.alice.id


def test_no_screen_keeps_a_cell_of_its_own_for_a_plain_relation(app: Flask) -> None:
    """The base links them; a screen with a cell of its own says more than the name."""
    with app.app_context():
        named = {
            (view.endpoint, name)
            for view in places_of(app)
            if isinstance(view, ListPages)
            for name in view.cells
            if isinstance(kind_in(view, name), Relation)
        }
    assert named <= {("MiniProgramView", "merchant"), ("MyMiniProgramView", "merchant"), ("VersionView", "merchant")}
