"""Forms: fields that others call for, sections, money, errors that lead to their fields."""

from __future__ import annotations

from datetime import date
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, SelectField, StringField
from wtforms.validators import InputRequired

from app.console.form.forms import RowForm, options
from app.models import Merchant
from tests.conftest import Actors, refresh
from tests.pages import submit, text_of


class Rules(RowForm):
    """A gift needs a note; a note needs an author."""

    rules = {"note": ("kind", ("gift", "prize")), "author": ("note", "*"), "extra": ("flag", "*")}
    kind = SelectField(choices=options([("gift", "礼物"), ("prize", "奖品"), ("cash", "现金")]))
    note = StringField(validators=[InputRequired("请填写说明")])
    author = StringField(validators=[InputRequired("请填写作者")])
    flag = BooleanField()
    extra = StringField(default="无")


def checked(app: Flask, **values: str) -> tuple[bool, Any]:
    with app.test_request_context(method="POST"):
        form = Rules(formdata=MultiDict(values), meta={"csrf": False})
        return form.validate(), form


def test_a_field_that_is_called_for_is_checked(app: Flask) -> None:
    ok, form = checked(app, kind="gift", author="甲")
    assert not ok
    assert form.errors == {"note": ["请填写说明"]}


def test_a_field_that_is_not_called_for_is_emptied_and_asks_for_nothing(app: Flask) -> None:
    ok, form = checked(app, kind="cash", note="带进来的", author="带进来的")
    assert ok, form.errors
    assert not form.note.data
    assert not form.author.data


def test_a_switch_calls_for_its_field(app: Flask) -> None:
    assert checked(app, kind="cash", flag="y", extra="有")[1].extra.data == "有"
    assert checked(app, kind="cash", extra="有")[1].extra.data == "无"


def test_an_expiry_without_a_plan_is_not_kept(session: Session, actors: Actors, operator: FlaskClient) -> None:
    page = f"/merchantview/edit/{actors.alice.id}"
    for plan, wanted in (("专业版", date(2026, 5, 1)), ("", None)):
        assert submit(operator, page, plan=plan, expires_on="2026-05-01").status_code == 302
        refresh(session)
        assert session.get_one(Merchant, actors.alice.id, populate_existing=True).expires_on == wanted


def test_even_a_wrong_value_in_a_field_that_is_not_called_for_does_not_matter(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    assert submit(operator, f"/merchantview/edit/{actors.alice.id}", plan="", expires_on="morgen").status_code == 302
    assert submit(operator, f"/merchantview/edit/{actors.alice.id}", plan="x", expires_on="morgen").status_code == 422


def test_the_page_says_which_field_calls_for_which(actors: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, "/merchantview/add")
    assert 'data-when="plan" data-when-is="*"' in page
    assert "套餐与佣金" in page
    assert "data-guard" in page


def test_every_rule_and_section_names_fields_of_its_form(app: Flask) -> None:
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        for name, (other, _values) in getattr(view, "field_rules", {}).items():
            assert {name, other} <= {*view.add_columns, *view.edit_columns}, view.endpoint
        for _title, names in getattr(view, "form_sections", []):
            assert set(names) <= {*view.add_columns, *view.edit_columns}, view.endpoint


def test_errors_stand_at_the_top_and_lead_to_their_fields(session: Session, operator: FlaskClient) -> None:
    answer = submit(operator, "/merchantview/add", name="")
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "有 2 处需要修改" in page
    assert '<a href="#name">商户名称</a>' in page
    assert 'aria-invalid="true"' in page
    assert 'aria-describedby="name-help name-wrong"' in page
    assert session.scalars(select(Merchant)).all() == []
