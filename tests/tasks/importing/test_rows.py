"""An import's rows: which row of ours each means, what its texts are taken for, what becomes of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.data.engine import writing
from app.data.phones import Phone
from app.errors import Refused
from app.i18n.sentence import restated
from app.models import Industry, Merchant, MerchantState, SubjectType
from app.views.merchant import INDUSTRIES, MERCHANTS
from tests.conftest import Actors, refresh
from tests.tasks.importing.imports import begin, count_of, work
from tests.tasks.spreadsheets.test_read import csv_of


def test_a_row_is_known_by_its_mark_whatever_it_is_called(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称", "状态"], [actors.alice.key.upper(), "爱丽丝花艺", "停用"])
    message, _more = work(app, begin(session, content).id)
    assert message.startswith("新增 0，更新 1")
    refresh(session)
    assert (actors.alice.name, actors.alice.state) == ("爱丽丝花艺", MerchantState.SUSPENDED)


def test_a_file_with_the_mark_needs_no_name(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "备注"], [actors.alice.key, "老客户"], [actors.bob.key, ""], ["", "谁"])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 1，无变化 1，跳过 0，失败 1 行"
    assert restated(more["params"]["errors"][0][2]) == "请填写商户名称；新增时请填写行业"


def test_a_mark_of_no_row_is_refused_and_no_row_is_made(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称", "行业"], ["m_nobodynobody", "爱丽丝花店", "餐饮"])
    message, more = work(app, begin(session, content).id)
    assert message.endswith("失败 1 行") and "不存在" in restated(more["params"]["errors"][0][2])
    assert count_of(app) == 2


@pytest.mark.parametrize("dry", [True, False])
def test_a_name_that_another_row_has_is_refused_in_the_check_too(
    app: Flask, session: Session, actors: Actors, dry: bool
) -> None:
    content = csv_of(["商户标识", "商户名称"], [actors.alice.key, actors.bob.name])
    _message, more = work(app, begin(session, content, dry=dry).id)
    told = [[label, restated(why)] for _line, label, why in more["params"]["errors"]]
    assert told == [["商户名称", "商户名称「鲍勃面馆」已被另一行使用"]]


def test_a_name_may_be_taken_that_its_row_gave_up(app: Flask, session: Session, actors: Actors) -> None:
    content = csv_of(["商户标识", "商户名称"], [actors.bob.key, "鲍勃饺子"], [actors.alice.key, "鲍勃面馆"])
    message, _more = work(app, begin(session, content).id)
    assert message.startswith("新增 0，更新 2")
    refresh(session)
    assert (actors.alice.name, actors.bob.name) == ("鲍勃面馆", "鲍勃饺子")


@pytest.mark.parametrize("second", ["崔妮蒂", ""])
def test_a_row_that_two_lines_mean_is_changed_by_the_first_alone(
    app: Flask, session: Session, actors: Actors, second: str
) -> None:
    heads, rate = ["商户标识", "商户名称", "联系人", "佣金比例（%）"], "" if second else "-1"
    content = csv_of(heads, [actors.alice.key, "", "墨菲斯", ""], ["", "爱丽丝花店", second, rate])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 1，无变化 0，跳过 0，失败 1 行"
    assert more["params"]["errors"][0][0] == 3 and "与第 2 行是同一条记录" in restated(more["params"]["errors"][0][2])
    refresh(session)
    assert actors.alice.contact == "墨菲斯"


def test_a_masked_phone_is_no_change_and_another_mask_is_none_either(
    app: Flask, session: Session, actors: Actors
) -> None:
    with writing(), app.app_context():
        actors.alice.phone = "13800138000"
        session.commit()
    content = csv_of(["商户名称", "手机号"], ["爱丽丝花店", "138****8000"], ["鲍勃面馆", "139****0000"])
    message, more = work(app, begin(session, content).id)
    assert message == "新增 0，更新 0，无变化 1，跳过 0，失败 1 行"
    assert "带有星号" in restated(more["params"]["errors"][0][2])


def test_a_second_number_goes_to_the_remarks_and_is_marked(app: Flask, session: Session, actors: Actors) -> None:
    actors.bob.remarks = "老客户\n老客户"
    session.commit()
    heads = ["商户名称", "行业", "手机号", "备注"]
    rows = (
        ["新店", "餐饮", "13812345678/0571-88880003转801", "靠近地铁"],
        ["鲍勃面馆", "", "13812345678，13912345678", ""],
    )
    message, more = work(app, begin(session, csv_of(heads, *rows), dry=True).id)
    changes = {row[2]: row[3] for row in more["params"]["rows"]}
    assert changes["新店"] == [["备注", "", "靠近地铁\n【其他号码】0571-88880003-801"]]
    assert changes["鲍勃面馆"][1] == ["备注", "老客户\n老客户", "老客户\n老客户\n【其他号码】139****5678"]
    work(app, begin(session, csv_of(heads, *rows)).id)
    refresh(session)
    made = session.scalars(select(Merchant).where(Merchant.name == "新店")).one()
    assert (made.phone, made.remarks) == ("13812345678", "靠近地铁\n【其他号码】0571-88880003-801")
    assert actors.bob.remarks == "老客户\n老客户\n【其他号码】13912345678"
    message, more = work(app, begin(session, csv_of(heads, *rows)).id)
    assert message == "新增 0，更新 0，无变化 2，跳过 0，失败 0 行"


def test_an_extension_is_a_change_of_the_number(app: Flask, session: Session, actors: Actors) -> None:
    for typed in ("0571-88880003", "0571-88880003转801"):
        message, _more = work(app, begin(session, csv_of(["商户名称", "手机号"], ["爱丽丝花店", typed])).id)
        assert message == "新增 0，更新 1，无变化 0，跳过 0，失败 0 行"
    refresh(session)
    assert (actors.alice.phone, actors.alice.phone_masked) == ("0571-88880003-801", "0571-****0003-801")


def test_the_check_says_of_each_row_what_will_change(app: Flask, session: Session, actors: Actors) -> None:
    heads = ["商户名称", "行业", "手机号", "佣金比例", "主体类型"]
    content = csv_of(heads, ["爱丽丝花店", "餐饮", "13812345678", "7.5", "个人"], ["新店", "餐饮", "", "", ""])
    _message, more = work(app, begin(session, content, dry=True).id)
    updated, created = more["params"]["rows"]
    assert created == ["created", 3, "新店", []]
    assert updated[:3] == ["updated", 2, "爱丽丝花店"]
    changes = {label: (before, after) for label, before, after in updated[3]}
    assert changes["佣金比例（%）"] == ("0", "7.5")
    assert changes["主体类型"] == ("企业", "个人")
    assert changes["手机号"][1] == "138****5678"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("expires_on", "2027/1/5", date(2027, 1, 5)),
        ("expires_on", "２０２７－０１－０５", date(2027, 1, 5)),
        ("expires_on", "2027年1月5日", date(2027, 1, 5)),
        ("expires_on", "2027-01-05 00:00:00", date(2027, 1, 5)),
        ("expires_on", "46392", date(2027, 1, 5)),
        ("expires_on", "20270105", date(2027, 1, 5)),
        ("commission_rate", "５．５", 5.5),
        ("commission_rate", "5.50%", 5.5),
        ("phone", "１３８００１３８０００", [Phone("13800138000")]),
        ("phone", "138 0013 8000", [Phone("13800138000")]),
        ("phone", "0571-88880003转801/+86 138 0013 8000", [Phone("0571-88880003", "801"), Phone("13800138000")]),
        ("subject_type", " 企业 ".strip(), SubjectType.COMPANY),
        ("state", "ACTIVE", MerchantState.ACTIVE),
        ("remarks", "甲\r\n乙", "甲\n乙"),
    ],
)
def test_what_a_spreadsheet_makes_of_a_value_is_understood(name: str, text: str, value: Any) -> None:
    assert MERCHANTS.column(name).parse(text) == value


@pytest.mark.parametrize("text", ["1_0", "NaN", "Infinity", "1e308", "1e-400", "١٢٣٤", "--1", "5.5.5"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        MERCHANTS.column("commission_rate").parse(text)


@pytest.mark.parametrize(("text", "value"), [("１，０００", 1000), ("10.0", 10), ("-3", -3)])
def test_a_whole_number_is_one_however_it_is_written(text: str, value: int) -> None:
    assert INDUSTRIES.column("position").parse(text) == value


def test_industries_are_renamed_by_their_number(app: Flask, session: Session, trade: Industry) -> None:
    message, _more = work(app, begin(session, csv_of(["编号", "行业名称"], [trade.id, "美食"]), view="IndustryView").id)
    assert message.startswith("新增 0，更新 1")
    refresh(session)
    assert trade.name == "美食"


def test_industries_come_in_by_name(app: Flask, session: Session) -> None:
    content = csv_of(["名称", "排序"], ["餐饮", "10"], ["零售", "x"])
    message, _more = work(app, begin(session, content, view="IndustryView").id)
    assert message.startswith("新增 1") and message.endswith("失败 1 行")
    assert INDUSTRIES.key == "name"
