"""No text that people type holds what cannot be seen: every text field of every form, of REST and of imports."""

from __future__ import annotations

import dataclasses
import gc
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from wtforms import HiddenField, StringField, TextAreaField

from app.access import accounts
from app.api.operators import operations as operations_api
from app.console.form.forms import AS_TYPED, ConsoleForm, params_form
from app.console.operate import confirm
from app.data import texts
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.extensions import db
from app.models import Merchant, MiniProgram, SavedView
from app.models.kit.notification import ChannelKind
from app.models.kit.user import MERCHANT_ROLES
from app.operations import params as core
from app.operations.registry import OPERATIONS
from app.views.account import api_key, log_in_as, login, profile, two_factor
from app.views.notification import channel_form
from app.views.user import account_form
from tests.conftest import Actors, csrf_token
from tests.pages import submit
from tests.people import bearer
from tests.tasks.importing.imports import SPECS
from tests.test_every_view import ask, cases, form_values
from tests.world import ALICE, build, principal

UNSEEN = ["\x00", "\x01", "\x07", "\x08", "\x0b", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]
TURNING = ["\u202e", "\u2066"]  # what turns the direction is left out of what is cleaned, and refused in all else
BREAKS = ["\n", "\r", "\r\n", "\t", "\u2028", "\u2029"]
SEEN = ["\u00a0", "\u200d", "\u200e", "\ufe0f", "é", "ب", "𠮷", "👩\u200d👧", "\u3000"]


def form_classes(app: Flask) -> Iterator[type[ConsoleForm]]:
    """Every form there is: those that are classes, and those that are made of columns and parameters."""
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        yield from (form for name in ("add_form", "edit_form") if (form := getattr(view, name, None)) is not None)
    for op in OPERATIONS.values():
        yield params_form(op.params, {})
    for kind in ChannelKind:
        yield from (channel_form(kind, editing=True),)
    yield from (
        account_form(MERCHANT_ROLES, editing=editing, merchant=Merchant(key="m_abcdefghijkl"))
        for editing in (True, False)
    )
    for module in (login, profile, log_in_as, api_key, two_factor):
        yield from (item for item in vars(module).values() if isinstance(item, type) and issubclass(item, ConsoleForm))


def text_fields(form: Any) -> list[Any]:
    return [field for field in form if isinstance(field, StringField) and not isinstance(field, HiddenField)]


def given_to(app: Flask, made: type[ConsoleForm], name: str, text: str) -> Any:
    """The field of a form to which a text was sent."""
    with app.test_request_context("/", method="POST"):
        form = made(formdata=MultiDict({name: text}), meta={"csrf": False})
        if "days" in form:  # what it offers depends on who asks
            form.days.choices = [("30", "30 天")]
        form.validate()
        return form[name]


def test_every_text_field_of_every_form_refuses_what_cannot_be_seen(app: Flask) -> None:
    checked = 0
    for made in dict.fromkeys(form_classes(app)):
        with app.test_request_context("/"):
            fields = [
                (item.name, isinstance(item, TextAreaField), isinstance(item, AS_TYPED))
                for item in text_fields(made(formdata=None))
            ]
        for name, lines, as_typed in fields:
            for odd in TURNING:
                field = given_to(app, made, name, f"走{odd}查")
                assert (texts.fault(f"走{odd}查", lines=lines) in field.errors) == as_typed, (made, name, odd)
                assert (odd in field.data) == as_typed, (made, name, odd)
            for odd in UNSEEN if lines else [*UNSEEN, *BREAKS]:
                said = list(given_to(app, made, name, f"走{odd}查").errors)
                assert said, (made, name, odd)
                assert texts.fault(f"走{odd}查", lines=lines) in said, (made, name, odd, said)
            checked += 1
            if lines:
                assert texts.BROKEN not in given_to(app, made, name, "一\n二\r\n\t三").errors, (made, name)
    assert checked > 40


def test_every_form_of_the_console_is_among_those_that_are_walked(app: Flask) -> None:
    """Forms made without text fields aside: a new factory has to be named above."""
    known = {form.__name__ for form in form_classes(app)} | {"ConsoleForm", "RowForm"}
    alive = [item for item in gc.get_objects() if isinstance(item, type) and issubclass(item, ConsoleForm)]
    with app.test_request_context("/"):
        ours = {
            item for item in alive if item.__module__.startswith(("app.", "wtforms")) and item.__name__ not in known
        }
        assert not [item for item in ours if text_fields(item(formdata=None))]


@pytest.mark.parametrize("text", SEEN)
def test_what_is_seen_is_taken(text: str) -> None:
    assert not texts.fault(f"走{text}查")
    assert not texts.fault(f"走{text}查", lines=True)


def test_it_is_said_beside_the_field_and_nothing_is_saved(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    operator = client_for("operator")
    answer = submit(operator, f"/merchantview/edit/{actors.alice.id}", contact="王\r\n女士", remarks="一\n二")
    assert answer.status_code == 422
    page = answer.get_data(as_text=True)
    assert 'id="contact-wrong"' in page and 'id="remarks-wrong"' not in page and texts.BROKEN in page
    cell = operator.get(f"/merchantview/cell/{actors.alice.id}/contact").get_data(as_text=True)
    mark = re.search(r'name="seen_mark"[^>]*value="([^"]*)"', cell)
    assert mark is not None
    data = {"contact": "王\x07女士", "seen_mark": mark[1], "csrf_token": csrf_token(operator, "/account/password")}
    answer = operator.post(f"/merchantview/cell/{actors.alice.id}/contact", data=data)
    assert answer.status_code == 422 and texts.BROKEN in answer.get_data(as_text=True)
    session.expire_all()
    assert session.get_one(Merchant, actors.alice.id).contact == ""


def test_letters_without_width_are_left_out(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """They come along when something is copied; a joiner is a part of what is seen."""
    answer = submit(
        client_for("operator"),
        f"/merchantview/edit/{actors.alice.id}",
        name="\ufeff零\u200b宽\u2060店",
        contact="👩\u200d👧",
    )
    assert answer.status_code == 302
    session.expire_all()
    row = session.get_one(Merchant, actors.alice.id)
    assert (row.name, row.contact) == ("零宽店", "👩\u200d👧")
    empty = submit(client_for("operator"), f"/merchantview/edit/{actors.alice.id}", name="\u200b")
    assert empty.status_code == 422


WIDE = "\u3000\u200b\u00a0"  # nothing but blanks and what has no width


def test_a_name_of_wide_blanks_is_no_name(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    """It is cleaned first and required then, by every door."""
    operator = client_for("operator")
    answer = submit(operator, f"/merchantview/edit/{actors.alice.id}", name=WIDE)
    assert answer.status_code == 422 and "请填写商户名称" in answer.get_data(as_text=True)
    done = app.test_cli_runner().invoke(args=["merchant", "add", WIDE, "--industry", "餐饮"])
    assert done.exit_code == 2
    upload = OPERATIONS["upload_code"]
    with pytest.raises(Refused, match="请填写版本说明"):
        core.parse_params(upload, {"template_id": "1", "version": "1.0.0", "description": WIDE})


def test_what_is_typed_into_a_search_is_cleaned_like_what_it_is_compared_with(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    session.get_one(Merchant, actors.alice.id).name = "花 店"
    session.get_one(Merchant, actors.alice.id).contact = "王 女士"
    session.commit()
    operator = client_for("operator")
    for query in ("q=花\u200b\u3000店", "name=花\u200b\u00a0店", "name==花\u3000 店", "_flt_1_name=\ufeff花 店"):
        assert "花 店</a>" in operator.get(f"/merchantview/list/?{query}").get_data(as_text=True), query
    found = operator.get("/merchantview/list/?q=王\u200b\u3000女士").get_data(as_text=True)  # a column without a twin
    assert "花 店</a>" in found
    assert operator.get("/palette/search?q=\u200b花\u3000店").get_json()["items"][0]["title"] == "花 店"


@pytest.mark.parametrize(("typed", "value"), [("是", True), ("off", False), ("TRUE", True), (True, True), ("0", False)])
def test_a_parameter_is_read_as_its_kind(typed: Any, value: bool) -> None:
    assert core.parse_params(OPERATIONS["submit_audit"], {"allow_drop": typed}).allow_drop is value


def test_a_parameter_that_cannot_be_meant_is_refused_at_its_field() -> None:
    with pytest.raises(Refused, match="应为 是 或 否") as refused:
        core.parse_params(OPERATIONS["submit_audit"], {"allow_drop": "maybe"})
    assert refused.value.field == "allow_drop"


def test_codes_and_json_are_kept_letter_for_letter() -> None:
    ext = '{"extEnable": true, "extAppid": "tt0", "ext": {"a": "x\u200b\u3000\u3000y"}}'
    given = {"template_id": "1", "version": "1.0.0", "description": "花\u200b店", "ext": ext}
    params = core.parse_params(OPERATIONS["upload_code"], given)
    assert (params.ext, params.description) == (ext, "花店")


def test_the_name_of_a_saved_view_is_refused(client_for: Callable[..., FlaskClient]) -> None:
    client = client_for("operator")
    data = {
        "view": "MerchantView",
        "name": "我的\x07视图",
        "query": "",
        "csrf_token": csrf_token(client, "/account/password"),
    }
    assert client.post("/savedviews/save", data=data).status_code == 302
    assert texts.BROKEN in client.get("/merchantview/list/").get_data(as_text=True)


def test_letters_without_width_are_left_out_of_a_saved_views_name(
    session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    client = client_for("operator")
    data = {
        "view": "MerchantView",
        "name": "\u200b我的\u2060视图",
        "query": "",
        "csrf_token": csrf_token(client, "/account/"),
    }
    assert client.post("/savedviews/save", data=data).status_code == 302
    assert session.scalars(sa.select(SavedView.name)).all() == ["我的视图"]


WIDTHLESS = "\ufeff王\u200b女\u3164\u061c士\u2060"


def test_letters_without_width_are_left_out_by_every_door(app: Flask, session: Session) -> None:
    assert accounts.checked_full_name(WIDTHLESS) == "王女士"
    assert SPECS["MerchantView"].column("contact").parse(WIDTHLESS) == "王女士"
    assert SPECS["MerchantView"].column("remarks").parse("两\u3164行\n") == "两行"
    items = [item for op in OPERATIONS.values() for item in dataclasses.fields(op.params)]
    name = next(item for item in items if not item.metadata.get("multiline"))
    assert core._convert(f"\u200b {WIDTHLESS}", str, name) == "王女士"
    assert core._convert([WIDTHLESS, "\u200b"], list[str], name) == ["王女士"]
    done = app.test_cli_runner().invoke(args=["merchant", "add", WIDTHLESS, "--industry", "花\u200b店"])
    assert done.exit_code == 0
    [found] = session.scalars(sa.select(Merchant))
    assert (found.name, found.industry.name) == ("王女士", "花店")
    blank = app.test_cli_runner().invoke(args=["merchant", "add", "\u200b", "--industry", "花店"])
    assert blank.exit_code == 2


def test_every_text_parameter_of_every_operation_refuses_it() -> None:
    checked = 0
    for op in OPERATIONS.values():
        hints = get_type_hints(op.params)
        for item in dataclasses.fields(op.params):
            if hints[item.name] not in {str, list[str], tuple[str, ...]}:
                continue
            lines, odds = bool(item.metadata.get("multiline")), TURNING if item.metadata.get("as_typed") else []
            for odd in [*UNSEEN, *odds] if lines else [*UNSEEN, *odds, *BREAKS]:
                with pytest.raises(Refused) as refused:
                    core._convert(f"走{odd}查", hints[item.name], item)
                assert refused.value.field == item.name
            checked += 1
    assert checked >= 10


def test_rest_refuses_it(app: Flask, session: Session, actors: Actors, user: Callable[..., str]) -> None:
    client = app.test_client()
    header, appid = bearer(client, user("bob", "operator")), session.get_one(MiniProgram, actors.alice_app.id).appid
    upload = {"template_id": "1", "version": "1.0.0", "description": "花\u0007店"}
    for operation, params in (("upload_code", upload), ("submit_audit", {"note": "a\nb"})):
        body = {"operation": operation, "appid": appid, "params": params}
        answer = client.post("/api/v1/operations/", json=body, headers=header)
        assert (answer.status_code, answer.get_json()["field"]) == (400, list(params)[-1])


@pytest.mark.parametrize("name", SPECS)
def test_every_text_column_of_an_import_refuses_it(name: str) -> None:
    checked = 0
    for column in SPECS[name].columns:
        if not column.rule.endswith("个字"):
            continue
        lines = column.rule.startswith("最多 5000")
        for odd in [item for item in UNSEEN if item != "\x85"] if lines else UNSEEN:
            with pytest.raises(Refused):
                column.parse(f"走{odd}查")
        if not lines:
            with pytest.raises(Refused):
                column.parse("走\n查")
        assert column.parse("走查\t ") == "走查"
        checked += 1
    assert checked


@pytest.fixture
def world(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for module in (confirm, operations_api):
        monkeypatch.setattr(module, "WAIT_SECONDS", 0)  # no worker runs here: nobody waits for one
    with app_scope(app, PLATFORM) as session:
        build(session)
    return app


@pytest.mark.parametrize("name", ["platform_admin", "owner"])
def test_whatever_is_sent_to_whatever_address_no_row_holds_it(world: Flask, name: str) -> None:
    """Every field of every form, with and without a row's own other values."""
    asker, odd = principal(world, name), "\u202e\x07"
    for case in cases(world, ALICE):
        if case.method == "POST" and not case.path.startswith(("/login", "/logout", "/loginas", "/account/password")):
            values = {key: text if text.isdigit() else text + odd for key, text in form_values(world, ALICE).items()}
            assert ask(asker, case, values | {"view": "MerchantView", "email": f"a@b.cn{odd}"}).status_code < 500
    with world.app_context(), db.engine.connect() as rows:
        for table in Model.metadata.sorted_tables:
            for row in rows.execute(sa.select(table)):
                held = json.dumps([item for item in row if isinstance(item, str | dict | list)], ensure_ascii=False)
                assert "\\u0007" not in held and "\u202e" not in held, (table.name, held)
