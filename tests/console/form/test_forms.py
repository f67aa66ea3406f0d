"""Forms: refused beside the field with the input kept, nothing forged is saved, secrets are written only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Industry, Merchant, ThirdPartyApp
from tests.conftest import Actors, refresh
from tests.pages import submit, text_of


@pytest.fixture
def trade(session: Session) -> Industry:
    industry = Industry(name="餐饮")
    session.add(industry)
    session.commit()
    return industry


def _count(session: Session) -> int:
    session.rollback()
    return session.scalar(select(func.count(Merchant.id))) or 0


def test_a_merchant_is_made_with_a_sealed_phone(session: Session, operator: FlaskClient, trade: Industry) -> None:
    answer = submit(operator, "/merchantview/add", name="新店", industry=str(trade.id), phone="138 0013 8000")
    assert answer.status_code == 302
    session.rollback()
    made = session.scalars(select(Merchant)).one()
    assert (made.phone, made.phone_masked) == ("13800138000", "138****8000")
    page = text_of(operator, answer.headers["Location"])
    assert "138****8000" in page
    assert "13800138000" not in page


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "请填写商户名称"),
        ("industry", "", "请选择行业"),
        ("industry", "99999", "所选的行业不存在"),
        ("phone", "12", "手机号格式不正确"),
        ("commission_rate", "101", "佣金比例应在 0 到 100 之间"),
        ("commission_rate", " ", "请填写佣金比例（%）"),
        ("state", "forged", "状态应为 正常、停用 之一"),
        ("state", "", "请选择状态"),
    ],
)
def test_a_wrong_value_is_refused_beside_its_field(
    session: Session, operator: FlaskClient, trade: Industry, field: str, value: str, words: str
) -> None:
    values = {"name": "新店", "industry": str(trade.id), "remarks": "请保留这段话"} | {field: value}
    answer = submit(operator, "/merchantview/add", **values)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert words in page
    assert "请保留这段话" in page
    assert _count(session) == 0


@pytest.mark.parametrize(("field", "words"), [("commission_rate", "请填写佣金比例"), ("state", "请选择状态")])
def test_what_must_be_there_cannot_be_taken_away(
    session: Session, operator: FlaskClient, actors: Actors, field: str, words: str
) -> None:
    answer = submit(operator, f"/merchantview/edit/{actors.alice.id}", **{field: ""})
    assert answer.status_code == 422 and words in answer.get_data(as_text=True)


def test_everything_that_is_wrong_is_said_at_once_and_what_was_typed_stays(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    wrong = {"commission_rate": "150", "phone": "12", "contact": "王女士"}
    for page, name in (("/merchantview/add", ""), (f"/merchantview/edit/{actors.alice.id}", "x" * 80)):
        answer = submit(operator, page, **wrong, name=name)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 422
        assert "佣金比例应在 0 到 100 之间" in text and "手机号格式不正确" in text
        assert text.count('role="alert"') >= 3 and "王女士" in text and 'value="150' in text
    refresh(session)
    assert session.get_one(Merchant, actors.alice.id).contact == ""


def test_two_rules_that_refuse_are_both_said(operator: FlaskClient, actors: Actors) -> None:
    page = f"/merchantview/edit/{actors.alice.id}"
    text = submit(operator, page, commission_rate="150", phone="12").get_data(as_text=True)
    assert "佣金比例应在 0 到 100 之间" in text and "手机号格式不正确" in text


def test_a_name_that_is_taken_is_refused_without_the_databases_words(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    trade = str(actors.alice.industry_id)
    page = submit(operator, "/merchantview/add", name="爱丽丝花店", industry=trade, remarks="别丢").get_data(
        as_text=True
    )
    assert "与已有记录重复" in page
    assert "别丢" in page
    assert "UNIQUE" not in page
    assert "INSERT" not in page


def test_an_address_does_not_override_the_form(session: Session, operator: FlaskClient, trade: Industry) -> None:
    other = Industry(name="别的行业")
    session.add(other)
    session.commit()
    submit(operator, f"/merchantview/add?_flt_0_industry={other.id}", name="新店", industry=str(trade.id))
    session.rollback()
    assert session.scalars(select(Merchant)).one().industry_id == trade.id


@pytest.mark.parametrize("forged", ["key", "phone_hash", "row_uid", "id", "phone_masked"])
def test_a_column_that_is_not_in_the_form_cannot_be_set(
    session: Session, operator: FlaskClient, trade: Industry, forged: str
) -> None:
    submit(operator, "/merchantview/add", name="新店", industry=str(trade.id), **{forged: "4242"})
    session.rollback()
    assert str(getattr(session.scalars(select(Merchant)).one(), forged)) != "4242"


def test_the_second_of_two_edits_is_told_and_keeps_its_text(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    page = f"/merchantview/edit/{actors.alice.id}"
    mark = text_of(operator, page).split('name="seen_mark"')[1].split('value="')[1].split('"')[0]
    assert submit(operator, page, remarks="先到").status_code == 302
    late = submit(operator, page, remarks="后到", seen_mark=mark)
    assert late.status_code == 422
    assert "刚被他人或系统更新" in late.get_data(as_text=True)
    assert "后到" in late.get_data(as_text=True)
    session.expire_all()
    session.rollback()
    assert session.get_one(Merchant, actors.alice.id).remarks == "先到"


def test_an_empty_phone_keeps_the_stored_one(session: Session, actors: Actors, operator: FlaskClient) -> None:
    page = f"/merchantview/edit/{actors.alice.id}"
    submit(operator, page, phone="13800138000")
    submit(operator, page, contact="李梅")
    session.rollback()
    session.expire_all()
    assert session.get_one(Merchant, actors.alice.id).phone == "13800138000"


def test_a_merchant_industry_in_use_is_not_deleted(session: Session, actors: Actors, operator: FlaskClient) -> None:
    page = f"/industryview/delete/{actors.alice.industry_id}"
    text_of(operator, page)
    answer = submit(operator, page)
    assert "还有其他数据引用它" in answer.get_data(as_text=True)
    session.rollback()
    assert session.get(Industry, actors.alice.industry_id) is not None


def test_opening_a_delete_page_deletes_nothing(session: Session, trade: Industry, operator: FlaskClient) -> None:
    text_of(operator, f"/industryview/delete/{trade.id}")
    session.rollback()
    assert session.get(Industry, trade.id) is not None


def test_a_post_without_a_token_is_refused(session: Session, operator: FlaskClient, trade: Industry) -> None:
    answer = operator.post("/merchantview/add", data={"name": "新店", "industry": str(trade.id)})
    assert answer.status_code == 400
    assert _count(session) == 0


def test_an_apps_secrets_are_written_and_never_shown(session: Session, client_for: Callable[..., FlaskClient]) -> None:
    admin = client_for("platform_admin")
    secrets = {"secret": "topsecret-one", "token": "topsecret-two", "aes_key": "topsecretthree" + "x" * 29}
    answer = submit(admin, "/thirdpartyappview/add", appid="ttcomponent1", name="应用", **secrets)
    assert answer.status_code == 302
    session.rollback()
    made = session.scalars(select(ThirdPartyApp)).one()
    assert made.secret == "topsecret-one"
    assert submit(admin, f"/thirdpartyappview/edit/{made.id}", name="改名").status_code == 302
    for page in ("list/", f"show/{made.id}", f"edit/{made.id}"):
        text = text_of(admin, f"/thirdpartyappview/{page}")
        assert "topsecret" not in text
        assert "k1:" not in text
    session.rollback()
    session.expire_all()
    assert (session.scalars(select(ThirdPartyApp)).one().secret, made.name) == ("topsecret-one", "改名")


def test_options_are_found_by_typing_at_most_twenty(session: Session, operator: FlaskClient, trade: Industry) -> None:
    session.add_all(Industry(name=f"类{number}") for number in range(30))
    session.commit()
    assert len(operator.get("/choices/MerchantView/industry").get_json()["results"]) == 20
    assert operator.get("/choices/MerchantView/industry?q=餐").get_json()["results"] == [
        {"id": str(trade.id), "text": "餐饮"}
    ]


@pytest.mark.parametrize(
    "path", ["MerchantView/phone", "MerchantView/nothing", "NoView/industry", "MyVersionView/state"]
)
def test_options_of_anything_else_do_not_exist(operator: FlaskClient, path: str) -> None:
    text_of(operator, f"/choices/{path}", 404)
