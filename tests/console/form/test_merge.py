"""An edit of a row that changed meanwhile: nothing typed is lost, nothing of the other's is overwritten unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from itsdangerous import URLSafeSerializer
from sqlalchemy.orm import Session

from app.models import Merchant, ThirdPartyApp
from tests.conftest import Actors, change, refresh
from tests.pages import _Inputs, text_of, visible


class Visit:
    """One browser with one form open."""

    def __init__(self, client: FlaskClient, page: str) -> None:
        self.client, self.page = client, page
        self.read(text_of(client, page))

    def read(self, html: str) -> None:
        parser = _Inputs()
        parser.feed(html)
        self.html, self.values = html, parser.values

    def send(self, **changes: Any) -> Any:
        """Send the form as it stands with these fields typed; a page that comes back is read."""
        values = self.values | {name.replace("merge_", "merge-"): value for name, value in changes.items()}
        answer = self.client.post(self.page, data=values)
        if answer.status_code == 422:
            self.read(answer.get_data(as_text=True))
        return answer.status_code


@pytest.fixture
def visit(actors: Actors, operator: FlaskClient) -> Visit:
    return Visit(operator, f"/merchantview/edit/{actors.alice.id}")


def stored(session: Session, actors: Actors) -> Merchant:
    refresh(session)
    return session.get_one(Merchant, actors.alice.id, populate_existing=True)


def test_both_sides_are_shown_with_who_and_when(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, remarks="他人写的", plan="专业版")
    assert visit.send(remarks="我写的") == 422
    text = visible(visit.html)
    assert "刚被他人或系统更新" in text
    assert "他人写的" in text
    assert "系统，20" in text
    assert "没有改动，将用现在的" in text
    assert visit.values["remarks"] == "我写的"
    assert visit.values["plan"] == "专业版"


def test_untouched_fields_take_what_stands_there_now(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, plan="专业版")
    assert visit.send(remarks="我写的") == 422
    assert visit.send() == 302
    row = stored(session, actors)
    assert (row.plan, row.remarks) == ("专业版", "我写的")


def test_mine_is_kept_where_both_changed_the_same(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, remarks="他人写的")
    assert visit.send(remarks="我写的") == 422
    assert visit.send(merge_remarks="mine") == 302
    assert stored(session, actors).remarks == "我写的"


def test_theirs_is_kept_when_it_is_chosen(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, remarks="他人写的")
    assert visit.send(remarks="我写的", contact="张三") == 422
    assert visit.send(merge_remarks="theirs") == 302
    row = stored(session, actors)
    assert (row.remarks, row.contact) == ("他人写的", "张三")


def test_a_third_change_is_told_again_and_a_choice_of_theirs_follows_it(
    session: Session, actors: Actors, visit: Visit
) -> None:
    change(session, actors.alice, remarks="第二版")
    assert visit.send(remarks="我写的", contact="张三") == 422
    change(session, actors.alice, remarks="第三版")
    assert visit.send(merge_remarks="theirs") == 422
    assert "第三版" in visible(visit.html)
    assert visit.values["remarks"] == "第三版"
    assert visit.values["contact"] == "张三"
    assert visit.send() == 302
    assert stored(session, actors).remarks == "第三版"


def test_a_form_without_its_memory_asks_about_every_difference(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, remarks="他人写的", plan="专业版")
    assert visit.send(opened="", remarks="我写的") == 422
    assert 'name="merge-remarks"' in visit.html
    assert 'name="merge-plan"' in visit.html
    assert stored(session, actors).remarks == "他人写的"


def test_a_memory_of_another_row_or_signed_by_another_is_not_believed(
    session: Session, actors: Actors, operator: FlaskClient, visit: Visit
) -> None:
    other = Visit(operator, f"/merchantview/edit/{actors.bob.id}").values["opened"]
    forged = URLSafeSerializer("other key", salt=f"opened:MerchantView:{actors.alice.id}").dumps({"remarks": "我写的"})
    change(session, actors.alice, remarks="他人写的")
    for memory in (other, forged, "x" * 50):
        fresh = dict(visit.values)
        assert visit.send(opened=memory, remarks="我写的") == 422
        assert 'name="merge-remarks"' in visit.html
        visit.values = fresh


def test_no_secret_and_no_phone_is_in_the_forms_memory(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    change(session, actors.alice, phone="13800138000", phone_masked="138****8000")
    admin = client_for("platform_admin")
    app = session.query(ThirdPartyApp).one()
    for page in (f"/merchantview/edit/{actors.alice.id}", f"/thirdpartyappview/edit/{app.id}"):
        memory = Visit(admin, page).values["opened"]
        held = str(URLSafeSerializer("", salt="").loads_unsafe(memory)[1])
        assert "13800138000" not in held
        assert "k1:" not in held
        assert app.secret not in held


def test_a_phone_that_both_changed_is_asked_for_without_being_shown(
    session: Session, actors: Actors, visit: Visit
) -> None:
    change(session, actors.alice, phone="13900139000", phone_masked="139****9000")
    assert visit.send(phone="13800138000") == 422
    assert 'name="merge-phone"' in visit.html
    assert "13900139000" not in visit.html
    assert visit.send(merge_phone="theirs") == 302
    assert stored(session, actors).phone == "13900139000"


def test_a_secret_is_not_sent_back_and_has_to_be_typed_again(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    app = session.query(ThirdPartyApp).one()
    before = app.secret
    visit = Visit(client_for("platform_admin"), f"/thirdpartyappview/edit/{app.id}")
    change(session, app, name="他人改名")
    assert visit.send(secret="neues-geheimnis") == 422
    assert "neues-geheimnis" not in visit.html
    assert "密钥不会回填" in visible(visit.html)
    assert visit.send() == 302
    session.refresh(app)
    assert app.secret == before


def test_a_wrong_value_is_told_before_the_change_of_the_others(session: Session, actors: Actors, visit: Visit) -> None:
    change(session, actors.alice, remarks="他人写的")
    assert visit.send(name="", remarks="我写的") == 422
    assert "请填写商户名称" in visible(visit.html)
    assert visit.send(name="新名字") == 422
    assert 'name="merge-remarks"' in visit.html
    assert visit.send(merge_remarks="mine") == 302
    assert stored(session, actors).name == "新名字"


def test_a_row_that_was_deleted_meanwhile_is_not_found(session: Session, operator: FlaskClient, actors: Actors) -> None:
    from app.models import Industry

    made = Industry(name="一时")
    session.add(made)
    session.commit()
    visit = Visit(operator, f"/industryview/edit/{made.id}")
    session.delete(made)
    session.commit()
    assert visit.send(name="晚了") == 404
