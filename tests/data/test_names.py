"""The folded twin of a name: what reads the same is one, for searches and for uniqueness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from app.data import names, texts
from app.data.tenancy import MerchantOwned
from app.jobs.run import run_now
from app.models import Industry, Merchant
from app.models.kit.audit import AuditEntry
from tests.conftest import Actors
from tests.pages import submit, text_of
from tests.tasks.importing.imports import begin, work
from tests.tasks.spreadsheets.test_read import csv_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ＡＢＣ花店", "abc花店"),
        ("花店（东门）", "花店(东门)"),
        ("花店【东门】", "花店（东门）"),
        ("花店［东门］", "花店「东门」"),
        ("零宽\u200b店", "零宽店"),
        ("花　店", "花 店"),
        ("Straße", "STRASSE"),
        ("ﬁve", "FIVE"),
        ("caf\u00e9", "CAFE\u0301"),
    ],
)
def test_names_that_read_the_same_fold_to_one(one: str, other: str) -> None:
    assert names.folded(one) == names.folded(other)


def test_names_that_read_otherwise_stay_apart() -> None:
    assert len({names.folded(name) for name in ("花店", "花 店", "花店1", "花店一", "花店-", "花店()")}) == 6


@given(st.text(max_size=80))
def test_to_fold_twice_is_to_fold_once(text: str) -> None:
    once = texts.folded(text)
    assert texts.folded(once) == once
    assert len(names.folded(text)) <= names.LONGEST


def test_the_twin_follows_the_name(session: Session, actors: Actors) -> None:
    actors.alice.name = "爱丽丝【ＡＢ】"
    session.commit()
    assert actors.alice.name_folded == "爱丽丝(ab)"
    entries = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "update")).all()
    assert [sorted(entry.after) for entry in entries] == [["name"]]
    session.add(Merchant(name="爱丽丝（ab）", industry_id=actors.alice.industry_id))
    with pytest.raises(IntegrityError):
        session.flush()


def test_a_name_that_reads_as_anothers_is_refused_by_every_door(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    actors.alice.name = "ABC花店（东门）"
    session.commit()
    operator, odd = client_for("operator"), "ａｂｃ花店【东门】"
    answer = submit(operator, f"/merchantview/edit/{actors.bob.id}", name=odd)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422 and 'id="name-wrong"' in page and "与已有记录重复" in page
    done = app.test_cli_runner().invoke(args=["merchant", "add", odd, "--industry", "餐饮"])
    assert done.exit_code == 2 and "已存在" in done.stderr
    rows = [["商户标识", "商户名称", "联系人"], [actors.bob.key, odd, ""], ["", odd, "王女士"]]
    _message, more = work(app, begin(session, csv_of(*rows[:2])).id)
    assert [error[1] for error in more["params"]["errors"]] == ["商户名称"]
    _message, more = work(app, begin(session, csv_of(*[row[1:] for row in (rows[0], rows[2])])).id)
    session.expire_all()
    assert (actors.alice.name, actors.alice.contact) == ("ABC花店（东门）", "王女士")  # the row that was meant


def test_a_name_is_found_as_it_reads(session: Session, actors: Actors, client_for: Callable[..., FlaskClient]) -> None:
    actors.alice.name = "ABC花店（东门）"
    session.commit()
    operator = client_for("operator")
    for text in ("ａｂｃ", "花店【东门】", "(东门", "花店（", "ABC花店（东门）"):
        for page in (f"/merchantview/list/?q={text}", f"/merchantview/list/?name={text}"):
            found = text_of(operator, page)
            assert "ABC花店（东门）</a>" in found and "鲍勃面馆</a>" not in found, page
        assert operator.get(f"/palette/search?q={text}").get_json()["items"][0]["title"] == "ABC花店（东门）"
        choices = operator.get(f"/choices/AuthorizationView/merchant?q={text}").get_json()["results"]
        assert [item["text"] for item in choices] == ["ABC花店（东门）"]


def test_a_name_is_equal_to_what_reads_as_it(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    actors.alice.name = "ABC花店（东门）"
    session.commit()
    operator = client_for("operator")
    for asked in ("name==ａｂｃ花店【东门】", "_flt_1_name=abc花店(东门)"):
        page = text_of(operator, f"/merchantview/list/?{asked}")
        assert "ABC花店（东门）</a>" in page and "鲍勃面馆</a>" not in page, asked
    others = text_of(operator, "/merchantview/list/?name=!=abc花店(东门)")
    assert "ABC花店（东门）</a>" not in others and "鲍勃面馆</a>" in others


def test_the_command_finds_an_industry_as_it_reads(app: Flask, session: Session) -> None:
    session.add(Industry(name="ABC(美容)"))
    session.commit()
    for number, industry in enumerate(("ＡＢＣ（美容）", "abc【美容】", "ABC(美容)", "新行业", "新行业")):
        done = app.test_cli_runner().invoke(args=["merchant", "add", f"店{number}", "--industry", industry])
        assert done.exit_code == 0, done.output
    assert list(session.scalars(sa.select(Industry.name).order_by(Industry.id))) == ["ABC(美容)", "新行业"]


@pytest.fixture
def of_old(session: Session, actors: Actors) -> list[int]:
    """Merchants as they were stored before names were folded; the last three read the same."""
    table = Merchant.__table__
    for number, name in enumerate(("面馆", "花\u200b店", "花店", "花 店", "ABC【一】", "ABC「一」", "ABC〔一〕")):
        values = {
            "row_uid": f"u{number}",
            "key": f"m_old{number}",
            "name": name,
            "industry_id": actors.alice.industry_id,
        }
        session.connection().execute(sa.insert(table).values(**values))
    session.commit()
    found = list(session.scalars(sa.select(Merchant.id).where(Merchant.name_folded.is_(None)).order_by(Merchant.id)))
    session.rollback()
    return found


def test_what_is_stored_is_folded_and_merchants_that_collide_are_listed_and_none_is_merged(
    app: Flask, session: Session, of_old: list[int]
) -> None:
    changed = dict(session.execute(sa.select(Merchant.id, Merchant.changed_at)).all())
    before = session.scalar(sa.select(sa.func.count(Merchant.id)))
    session.rollback()
    done = app.test_cli_runner().invoke(args=["merchant", "fold"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:2] == ["industry 0", "merchant 7"]
    assert "商户名称相同：m_old1 花\u200b店、m_old2 花店" in done.stdout
    assert "商户名称相同：m_old4 ABC【一】、m_old5 ABC「一」、m_old6 ABC〔一〕" in done.stdout
    assert session.scalar(sa.select(sa.func.count(Merchant.id))) == before
    assert dict(session.execute(sa.select(Merchant.id, Merchant.changed_at)).all()) == changed
    assert not session.scalars(sa.select(Merchant.id).where(Merchant.name_folded.is_(None))).all()
    session.rollback()
    again = app.test_cli_runner().invoke(args=["merchant", "fold"])
    assert again.stdout == done.stdout.replace("merchant 7", "merchant 0")


def test_a_merchant_that_collides_may_be_edited_and_have_a_name_of_its_own(
    app: Flask, session: Session, of_old: list[int]
) -> None:
    app.test_cli_runner().invoke(args=["merchant", "fold"])
    first, second, third = (session.get_one(Merchant, key) for key in of_old[-3:])
    second.contact, second.name = "王女士", "ABC「一」"
    session.commit()
    third.name = "ABC 二店"
    session.commit()
    assert third.name_folded == "abc 二店"
    first.name = "另一家"
    session.commit()
    assert list(names.fold(session, Merchant, "name")) == []
    session.expire_all()
    assert second.name_folded == "abc(一)"  # it has the name now: nobody else can take it
    assert len(names.alike(session, Merchant, "name")) == 1


def test_a_job_folds_what_is_stored_in_every_table_and_tells_what_reads_the_same(
    app: Flask, session: Session, of_old: list[int]
) -> None:
    for number, name in enumerate(("ＫＴＶ", "ktv")):
        session.connection().execute(sa.insert(Industry.__table__).values(name=name, position=number))
    session.commit()
    first, again = (run_now(app, "fold_names", "测试") for _ in range(2))
    assert first is not None and again is not None
    alike = "有 {} 组{}的名称读起来相同：flask merchant fold 列出它们"
    both = alike.format(1, "行业"), alike.format(2, "商户")
    assert first.result == f"行业名称 2 个已可按读法查找；{both[0]}；商户名称 7 个已可按读法查找；{both[1]}"
    assert again.result == "；".join(both)
    assert again.result.in_language("en").startswith("Industry: 1 groups of names read the same")


def test_an_industry_that_reads_as_another_is_refused_and_found_as_it_reads(
    session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    admin = client_for("platform_admin")
    assert submit(admin, "/industryview/add", name="ＫＴＶ（量贩）", position="1").status_code == 302
    answer = submit(admin, "/industryview/add", name="ktv【量贩】", position="2")
    assert answer.status_code == 422 and "与已有记录重复" in answer.get_data(as_text=True)
    assert "ＫＴＶ（量贩）" in text_of(admin, "/industryview/list/?q=KTV(")


def test_a_statement_that_sets_a_name_alone_is_refused(session: Session, actors: Actors) -> None:
    one = sa.update(Merchant).where(Merchant.id == actors.alice.id)
    for statement, rows in (
        (one.values(name="甲"), None),
        (sa.update(Merchant), [{"id": actors.alice.id, "name": "甲"}]),
    ):
        with pytest.raises(TypeError, match="sets Merchant.name and not name_folded"):
            session.execute(statement, rows)
    session.execute(one.values(name="Ａ", name_folded="a"))
    session.execute(one.values(contact="王女士"))
    session.commit()


def test_tables_say_which_column_is_whose_twin() -> None:
    assert [(model, name) for model, name, _noun in names.twins()] == [(Industry, "name"), (Merchant, "name")]
    assert names.twin_of(Merchant, "contact") == "" and names.twin_of(Merchant, "name") == "name_folded"
    assert names.twinned(Merchant, "name_folded") == "name" and names.twinned(Merchant, "contact") == "contact"


class _Tables(DeclarativeBase):
    """Tables of this module's own."""


sa.Table("merchant", _Tables.metadata, sa.Column("id", sa.Integer, primary_key=True))


class Till(MerchantOwned, _Tables):
    """What merchants call by names of their own."""

    __tablename__ = "till"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(64))
    name_folded: Mapped[str | None] = names.twin_column("name", "收银台")


names.keeps_twin(Till, "name")


def test_what_one_merchant_calls_its_own_is_free_to_others() -> None:
    engine = sa.create_engine("sqlite://")
    _Tables.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Till(id=1, merchant_id=1, name="前台（一）"), Till(id=2, merchant_id=2, name="前台(一)")])
        session.commit()
        session.add(Till(id=3, merchant_id=2, name="前台【一】"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        late = Till(id=3, merchant_id=2, name="前台【一】")
        late.name_folded = f"前台(一){names.BEHIND}3"
        session.add(late)
        session.commit()
        assert names.alike(session, Till, "name") == [names.Alike(((2, "前台(一)"), (3, "前台【一】")))]
        session.delete(session.get_one(Till, 2))
        session.commit()
        assert list(names.fold(session, Till, "name")) == []
        assert session.get_one(Till, 3).name_folded == "前台(一)"  # merchant 1's is none of its business
