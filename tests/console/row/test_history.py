"""The timeline of a row, and taking back an edit: through the form's own rules, of one's own rows, never a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import AuditEntry, Industry, MerchantState, ThirdPartyApp
from tests.conftest import Actors, change, csrf_token, refresh
from tests.pages import submit, text_of, visible


def newest(session: Session, row: Any, action: str = "update") -> AuditEntry:
    """The last entry of the log about a row."""
    refresh(session)
    about = (AuditEntry.subject_type == row.__tablename__, AuditEntry.subject_id == str(row.id))
    found = select(AuditEntry).where(*about, AuditEntry.action == action).order_by(AuditEntry.id.desc())
    entry = session.scalars(found).first()
    assert entry is not None
    return entry


def stored(session: Session, row: Any) -> Any:
    """A row as the database now holds it."""
    refresh(session)
    session.refresh(row)
    return row


def revert(client: FlaskClient, row: Any, entry: AuditEntry, view: str = "merchantview") -> str:
    """Send the button of an entry; what the page then says."""
    token = csrf_token(client, "/account/")
    answer = client.post(f"/{view}/revert/{row.id}/{entry.id}", data={"csrf_token": token}, follow_redirects=True)
    assert answer.status_code == 200, answer.status
    return visible(answer.get_data(as_text=True))


@pytest.fixture
def page(actors: Actors) -> str:
    return f"/merchantview/edit/{actors.alice.id}"


def test_the_timeline_tells_who_changed_what_and_from_where(actors: Actors, operator: FlaskClient, page: str) -> None:
    submit(operator, page, remarks="周末营业", state="suspended", plan="专业版", expires_on="2026-05-01")
    text = visible(text_of(operator, f"/merchantview/tab/{actors.alice.id}/history"))
    assert re.search(r"修改 operator0 \d{4}-\d\d-\d\d \d\d:\d\d 网页 127\.0\.0\.1", text)
    assert "正常 停用" in re.sub(r"\s+", " ", text)
    assert "专业版" in text
    assert "新建" in text


def test_a_foreign_key_is_shown_by_name(session: Session, actors: Actors, operator: FlaskClient, page: str) -> None:
    other = Industry(name="鲜花")
    session.add(other)
    session.commit()
    submit(operator, page, industry=str(other.id))
    text = visible(text_of(operator, f"/merchantview/tab/{actors.alice.id}/history"))
    assert "行业 餐饮 鲜花" in text


def test_secrets_and_personal_data_are_never_in_the_timeline(
    session: Session, client_for: Callable[..., FlaskClient], actors: Actors
) -> None:
    admin = client_for("platform_admin")
    submit(admin, f"/merchantview/edit/{actors.alice.id}", phone="13800138000", contact="李梅梅")
    app = session.scalars(select(ThirdPartyApp)).one()
    submit(admin, f"/thirdpartyappview/edit/{app.id}", secret="geheim-wort-1", name="改名")
    for where in (f"/merchantview/tab/{actors.alice.id}/history", f"/thirdpartyappview/tab/{app.id}/history"):
        text = text_of(admin, where)
        for word in ("13800138000", "李梅梅", "geheim-wort-1", "k1:"):
            assert word not in text
    assert "已更改" in visible(text_of(admin, f"/thirdpartyappview/tab/{app.id}/history"))


def test_older_entries_come_when_they_are_asked_for(session: Session, actors: Actors, operator: FlaskClient) -> None:
    for number in range(25):
        change(session, actors.alice, remarks=f"第{number}次")
    first = text_of(operator, f"/merchantview/tab/{actors.alice.id}/history")
    assert first.count('<li class="past-item') == 20
    more = re.findall(r'hx-get="(/merchantview/history/[^"]+)"', first)
    older = text_of(operator, more[0].replace("&amp;", "&"))
    assert "第0次" in older
    assert "第0次" not in first
    assert "更早的记录" not in older


# Taking back.


def test_an_edit_is_taken_back_and_that_is_logged(
    session: Session, actors: Actors, operator: FlaskClient, page: str
) -> None:
    submit(operator, page, remarks="第一版", plan="专业版", expires_on="2026-05-01")
    submit(operator, page, remarks="第二版", plan="", expires_on="")
    said = revert(operator, actors.alice, newest(session, actors.alice))
    assert "已恢复为修改前的内容" in said
    row = stored(session, actors.alice)
    assert (row.remarks, row.plan, row.expires_on) == ("第一版", "专业版", date(2026, 5, 1))
    entry = newest(session, actors.alice)
    assert (entry.before["remarks"], entry.after["remarks"], entry.actor_name) == ("第二版", "第一版", "operator0")


def test_a_state_and_a_relation_are_taken_back(
    session: Session, actors: Actors, operator: FlaskClient, page: str
) -> None:
    other, before = Industry(name="鲜花"), actors.alice.industry_id
    session.add(other)
    session.commit()
    submit(operator, page, industry=str(other.id), state="suspended")
    assert "已恢复" in revert(operator, actors.alice, newest(session, actors.alice))
    row = stored(session, actors.alice)
    assert (row.industry_id, row.state) == (before, MerchantState.ACTIVE)


def test_what_was_changed_again_is_not_taken_back(
    session: Session, actors: Actors, operator: FlaskClient, page: str
) -> None:
    submit(operator, page, remarks="第二版", plan="专业版")
    entry = newest(session, actors.alice)
    submit(operator, page, remarks="第三版")
    assert "「备注」在这次修改之后又变过" in revert(operator, actors.alice, entry)
    row = stored(session, actors.alice)
    assert (row.remarks, row.plan) == ("第三版", "专业版")


def test_the_forms_own_checks_hold_when_an_edit_is_taken_back(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    change(session, actors.alice, commission_rate=150)  # from a time when the form did not check it
    change(session, actors.alice, commission_rate=5)
    said = revert(operator, actors.alice, newest(session, actors.alice))
    assert "佣金比例应在 0 到 100 之间" in said
    assert stored(session, actors.alice).commission_rate == 5


def test_a_name_that_another_has_taken_is_not_given_back(
    session: Session, actors: Actors, operator: FlaskClient
) -> None:
    change(session, actors.alice, name="新名字")
    entry = newest(session, actors.alice)
    change(session, actors.bob, name="爱丽丝花店")
    assert "与已有记录重复" in revert(operator, actors.alice, entry)
    assert stored(session, actors.alice).name == "新名字"


def test_a_row_that_is_gone_is_not_given_back(
    session: Session, actors: Actors, operator: FlaskClient, page: str
) -> None:
    other = Industry(name="鲜花")
    session.add(other)
    session.commit()
    change(session, actors.alice, industry_id=other.id)
    change(session, actors.alice, industry_id=actors.bob.industry_id)
    entry = newest(session, actors.alice)
    session.delete(session.get_one(Industry, other.id))
    session.commit()
    assert "原来的「行业」已经不存在" in revert(operator, actors.alice, entry)


def test_personal_data_and_masked_text_are_not_given_back(
    session: Session, actors: Actors, operator: FlaskClient, page: str
) -> None:
    submit(operator, page, contact="李梅", remarks="电话 13900139000")
    submit(operator, page, contact="王芳", remarks="没有电话")
    entry = newest(session, actors.alice)
    assert "13900139000" not in str(entry.before)
    token = csrf_token(operator, "/account/")
    where = f"/merchantview/revert/{actors.alice.id}/{entry.id}"
    assert operator.post(where, data={"csrf_token": token}).status_code == 404
    assert where not in text_of(operator, f"/merchantview/tab/{actors.alice.id}/history")
    assert stored(session, actors.alice).contact == "王芳"


def test_only_an_edit_of_this_very_row_is_taken_back(session: Session, actors: Actors, operator: FlaskClient) -> None:
    change(session, actors.bob, remarks="鲍勃的")
    token = csrf_token(operator, "/account/")
    made, foreign = newest(session, actors.alice, "create"), newest(session, actors.bob)
    for entry in (made.id, foreign.id, 99_999):
        answer = operator.post(f"/merchantview/revert/{actors.alice.id}/{entry}", data={"csrf_token": token})
        assert answer.status_code == 404
    assert operator.post(f"/merchantview/revert/99999/{foreign.id}", data={"csrf_token": token}).status_code == 404


def test_a_stage_of_a_mini_program_is_never_set_back(session: Session, actors: Actors, operator: FlaskClient) -> None:
    change(session, actors.alice_app, uploaded_version="1.0.0", remarks="新的备注")
    entry = newest(session, actors.alice_app)
    said = revert(operator, actors.alice_app, entry, "miniprogramview")
    assert "已恢复为修改前的内容：备注" in said
    row = stored(session, actors.alice_app)
    assert (row.uploaded_version, row.remarks) == ("1.0.0", "")


def test_who_only_looks_has_no_button_and_no_way(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    change(session, actors.alice, remarks="改过")
    entry, auditor = newest(session, actors.alice), client_for("auditor")
    assert "/revert/" not in text_of(auditor, f"/merchantview/tab/{actors.alice.id}/history")
    token = csrf_token(auditor, "/account/")
    answer = auditor.post(f"/merchantview/revert/{actors.alice.id}/{entry.id}", data={"csrf_token": token})
    assert answer.status_code == 403


def test_taking_back_needs_the_forms_token(session: Session, actors: Actors, operator: FlaskClient) -> None:
    change(session, actors.alice, remarks="改过")
    entry = newest(session, actors.alice)
    assert operator.post(f"/merchantview/revert/{actors.alice.id}/{entry.id}").status_code == 400
    assert operator.get(f"/merchantview/revert/{actors.alice.id}/{entry.id}").status_code in {404, 405}


# A merchant's own timeline.


def test_a_merchant_sees_its_own_rows_and_only_what_its_screen_shows(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    app, alice, bob = actors.alice_app, client_for("owner", actors.alice), client_for("owner", actors.bob)
    change(session, app, name="新店名", remarks="平台内部备注", token_fault="内部故障")
    change(session, app, remarks="又一条内部备注")
    text = text_of(alice, f"/myminiprogramview/tab/{app.id}/history")
    assert "新店名" in text
    assert "内部" not in text
    assert "127.0.0.1" not in text
    assert "/revert/" not in text
    for path in (f"tab/{app.id}/history", f"history/{app.id}"):
        text_of(bob, f"/myminiprogramview/{path}", 404)


def test_a_merchant_does_not_see_entries_of_the_time_before_it_had_the_row(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    app, alice = actors.bob_app, client_for("owner", actors.alice)
    change(session, app, name="面馆")
    change(session, app, merchant_id=actors.alice.id)
    change(session, app, name="花店二号")
    text = text_of(alice, f"/myminiprogramview/tab/{app.id}/history")
    assert "花店二号" in text
    assert "新建" not in visible(text)


def test_a_model_without_a_log_has_no_timeline(session: Session, full: Actors, operator: FlaskClient) -> None:
    text_of(operator, "/operationrunview/history/1", 404)
    assert "变更记录" not in visible(text_of(operator, "/operationrunview/show/1")).split("提交审核")[-1]
