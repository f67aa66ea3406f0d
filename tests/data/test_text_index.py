"""The text index: it finds what a scan finds, whichever way rows were written, and tells a merchant nothing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.console.base import PlatformView
from app.console.query import interface
from app.console.query.search import holds
from app.data import text_index
from app.data.engine import prepare, reading, writing
from app.data.names import folded
from app.data.tenancy import ScopeError, app_scope, merchant_scope
from app.extensions import db
from app.models import Industry, Merchant, MiniProgram, Template, ThirdPartyApp, Version
from tests.cli.test_cli import run
from tests.conftest import Actors, change, refresh
from tests.console.list.test_list_speed import data, searching, statements
from tests.pages import text_of

INDEXES = importlib.import_module("migrations.versions.0003_text_index").INDEXES
LATER = {"merchant": importlib.import_module("migrations.versions.0010_folded_names").SEARCHED}
NAMES = (
    "爱丽丝花店",
    "花",
    "花店 2 号",
    "Flower SHOP",
    "flower",
    "FLOWER100%",
    "a_b",
    "a/b",
    "墨菲斯托（朝阳）",
    "墨菲(海淀)",
    "１２３号ＡＢ",
    "Café",
    "cafe",
    "Straße",
    "strasse",
    "😀花店",
    "🌸",
    "K线",
    "ÅNGSTRÖM",
    "İstanbul",
    "ΣΟΦΟΣ",
    "ｱｲｳ",
    "花\u200b店",
    "12345",
    "北京·朝阳",
    "“引号”",
    "x" * 64,
)
CONTACTS = ("张经理", "", "Ann Li", "店长")
LETTERS = st.sampled_from("花店墨菲aAbBéÉ１Ａ12 %_/\\'\"·（(😀🌸\u200bKs")


def needle() -> st.SearchStrategy[str]:
    """A piece of what is there, in any case, or letters at random."""
    whole = st.sampled_from((*NAMES, *CONTACTS, "花店 张经理"))
    piece = st.tuples(whole, st.integers(0, 20), st.integers(1, 8)).map(lambda it: it[0][it[1] :][: it[2]])
    cased = st.tuples(piece, st.sampled_from((str, str.lower, str.upper, str.swapcase))).map(lambda it: it[1](it[0]))
    return st.one_of(cased, st.text(LETTERS, min_size=1, max_size=4)).filter(bool)


@pytest.fixture
def texts(session: Session) -> Session:
    trade = Industry(name="鲜花")
    with writing():
        session.rollback()
        for at, name in enumerate(NAMES):
            session.add(Merchant(name=f"{at:02}{name}"[:64], contact=CONTACTS[at % 4], industry=trade))
        session.commit()
    return session


def scanned(session: Session, text: str, *columns: str) -> set[int]:
    wanted = sa.or_(*(holds(getattr(Merchant, name), text) for name in columns))
    return set(session.scalars(sa.select(Merchant.id).where(wanted)))


def read(session: Session, text: str) -> set[int]:
    """What a scan of names, of what they read as, and of contacts finds."""
    alike = scanned(session, folded(text), "name_folded") if folded(text) else set()
    return scanned(session, text, "name", "contact") | alike


def found(session: Session, model: type[Any], text: str) -> list[int]:
    refresh(session)
    answer = text_index.find(session, model, model.__searched__, text)
    assert answer is not None and answer.whole
    return answer.keys


def test_the_list_finds_what_a_scan_finds(app: Flask, texts: Session) -> None:
    model = data(app, "MerchantView")

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(needle())
    def same(text: str) -> None:
        rows = model.query(searching(model, text, "name", "contact"), page_size=100)[1]
        assert {row.id for row in rows} == read(texts, text), text

    same()


@pytest.mark.parametrize("text", ["爱丽丝", "丝花店", "flower", "SHOP", "花店 2", "12345", "张经理", "理"])
def test_what_people_type_is_looked_up(texts: Session, text: str) -> None:
    answer = text_index.find(texts, Merchant, ["name", "contact"], text)
    assert answer is not None and answer.whole
    assert scanned(texts, text, "name", "contact") <= set(answer.keys)
    assert len(answer.keys) < len(NAMES)


@pytest.mark.parametrize("most", [1, 3, 1000])
@pytest.mark.parametrize("text", ["flower", "花店", "2"])
def test_a_list_is_the_same_when_the_index_names_some_rows_only(
    app: Flask, texts: Session, monkeypatch: pytest.MonkeyPatch, text: str, most: int
) -> None:
    monkeypatch.setattr(text_index, "MOST", most)
    model = data(app, "MerchantView")
    rows = model.query(searching(model, text, "name", "contact"), page_size=100)[1]
    assert {row.id for row in rows} == read(texts, text) != set()


@pytest.mark.parametrize("address", ["?q=%s", "?name=%s", "?_flt_0_name=%s", "?name=%s,没有"])
def test_a_rare_text_is_looked_for_among_the_rows_that_the_index_names(
    texts: Session, operator: FlaskClient, address: str
) -> None:
    text_of(operator, "/merchantview/list/")
    with statements() as made:
        page = text_of(operator, "/merchantview/list/" + address % "爱丽丝")
    assert page.count("<tr data-id=") == 1
    asked = [one for one in made if "merchant.id IN (" in one]
    assert asked and len([one for one in made if "FROM search_merchant" in one]) == len(address.split(","))


@pytest.mark.parametrize("text", ["连锁", "连锁店", "没有的"])
def test_a_search_of_a_list_takes_four_statements_at_most(
    texts: Session, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with writing():
        refresh(texts)
        trade = texts.scalars(sa.select(Industry)).one()
        texts.add_all(Merchant(name=f"连锁店{number}", industry=trade) for number in range(60))
        texts.commit()
    for name, value in (("MOST", 30), ("SAMPLE", 20)):
        monkeypatch.setattr(text_index, name, value)
    monkeypatch.setattr(interface, "FOUND", 25)  # fewer than the index names, as at full size
    text_of(operator, "/merchantview/list/")
    with statements() as made:
        page = text_of(operator, f"/merchantview/list/?q={text}")
    assert page.count("<tr data-id=") == (0 if text == "没有的" else 25)
    assert len(made) <= 4, "\n\n".join(made)


# Every way of writing.


def add_merchant(session: Session, name: str) -> int:
    with writing():
        refresh(session)
        row = Merchant(name=name, industry=Industry(name=f"{name}行业"))
        session.add(row)
        session.commit()
    return row.id


def test_a_new_row_and_a_renamed_one_are_found_by_what_they_are_called_now(session: Session) -> None:
    key = add_merchant(session, "墨菲斯托")
    assert found(session, Merchant, "墨菲斯") == [key]
    change(session, session.get_one(Merchant, key), name="崔妮蒂面馆")
    assert found(session, Merchant, "墨菲斯") == []
    assert found(session, Merchant, "妮蒂") == [key]


def test_statements_of_core_and_raw_text_keep_the_index_too(session: Session) -> None:
    key = add_merchant(session, "墨菲斯托")
    table = Merchant.__table__
    with writing():
        refresh(session)
        session.execute(sa.update(table).where(table.c.id == key).values(name="崔妮蒂", name_folded="崔妮蒂"))
        session.execute(sa.insert(table), [_raw(session, table, key, f"尼奥{n}号店") for n in range(3)])
        session.connection().exec_driver_sql("UPDATE merchant SET contact = '史密斯' WHERE name = '尼奥1号店'")
        session.commit()
    assert found(session, Merchant, "墨菲斯") == []
    assert found(session, Merchant, "崔妮蒂") == [key]
    assert len(found(session, Merchant, "号店")) == 3
    assert len(found(session, Merchant, "史密斯")) == 1


def _raw(session: Session, table: Any, key: int, name: str) -> dict[str, Any]:
    """Another row like one that is there."""
    held = dict(session.execute(sa.select(table).where(table.c.id == key)).one()._mapping)
    del held["id"]
    return {**held, "name": name, "name_folded": name, "key": f"m_{name}", "row_uid": name}


def test_a_deleted_row_is_found_no_more_and_its_number_may_be_used_again(
    session: Session, third_party_app: ThirdPartyApp
) -> None:
    for version in ("1.墨菲斯.0", "2.墨菲斯.0"):
        with writing():
            refresh(session)
            row = Template(third_party_app_id=third_party_app.id, template_id="73012345678", version=version)
            session.add(row)
            session.commit()
        assert found(session, Template, "墨菲斯") == [row.id]
        with writing():
            refresh(session)
            session.delete(session.get_one(Template, row.id))
            session.commit()
        assert found(session, Template, "墨菲斯") == []


def test_what_is_rolled_back_leaves_nothing(session: Session) -> None:
    with writing():
        refresh(session)
        session.add(Merchant(name="墨菲斯托", industry=Industry(name="鲜花")))
        session.flush()
        session.rollback()
    assert found(session, Merchant, "墨菲斯") == []


def test_a_long_text_is_always_among_the_rows_to_look_at(session: Session, actors: Actors) -> None:
    app_id, owner = actors.alice_app.id, actors.alice.id
    with writing():
        refresh(session)
        row = Version(mini_program_id=app_id, merchant_id=owner, number="1.0.0", reason="好" * 3000 + "墨菲斯托")
        session.add(row)
        session.commit()
    assert found(session, Version, "墨菲斯托") == [row.id]
    change(session, row, reason="短")
    assert found(session, Version, "墨菲斯托") == []


# Whose rows.


def test_a_merchants_session_is_told_nothing_and_may_not_ask(app: Flask, actors: Actors, session: Session) -> None:
    assert found(session, MiniProgram, "鲍勃") == [actors.bob_app.id]
    with app_scope(app, merchant_scope(actors.alice.id)) as alice:
        assert text_index.find(alice, MiniProgram, ["name"], "爱丽丝") is None
        for table in ("search_mini_program", "SEARCH_MERCHANT"):
            with pytest.raises(ScopeError):
                alice.connection().exec_driver_sql(f"select * from {table}")


def test_what_a_merchant_writes_is_found_by_the_platform(app: Flask, actors: Actors, session: Session) -> None:
    refresh(session)
    with app_scope(app, merchant_scope(actors.alice.id)) as alice:
        alice.get_one(MiniProgram, actors.alice_app.id).name = "墨菲斯托"
        alice.commit()
    assert found(session, MiniProgram, "墨菲斯托") == [actors.alice_app.id]


# As a whole.


def test_every_searched_table_has_its_index_and_no_secret_in_it() -> None:
    models = text_index.indexed(Model)
    assert {(model.__tablename__, model.__searched__) for model in models} == {*(dict(INDEXES) | LATER).items()}
    named = [name for model in models for name in model.__searched__]
    assert not [name for name in named if "sealed" in name or "hash" in name or "phone" in name]


def test_the_search_boxes_of_great_tables_ask_for_columns_of_the_index(app: Flask) -> None:
    views = [view for view in app.appbuilder.baseviews if isinstance(view, PlatformView)]  # type: ignore[attr-defined]
    searched = [view for view in views if hasattr(view.datamodel.obj, "__searched__") and view.quick_columns]
    assert len(searched) >= 5
    beyond = {view.endpoint for view in searched if not {*view.quick_columns} <= {*view.datamodel.obj.__searched__}}
    assert beyond == set()


def test_a_broken_index_is_noticed_and_made_again(app: Flask, session: Session) -> None:
    key = add_merchant(session, "墨菲斯托")
    session.rollback()
    assert run(app, "search", "check").exit_code == 0
    with writing(), db.engine.begin() as connection:
        text_index.clear(connection, ["merchant"])
    broken = run(app, "search", "check")
    assert broken.exit_code == 3 and "merchant 1" in broken.output
    assert run(app, "search", "rebuild").exit_code == 0
    assert run(app, "search", "check").exit_code == 0
    assert found(session, Merchant, "墨菲斯") == [key]
    change(session, session.get_one(Merchant, key), name="崔妮蒂")
    assert found(session, Merchant, "崔妮蒂") == [key]


def test_another_process_may_change_the_schema_before_this_one_deletes(tmp_path: Path) -> None:
    """SQLite, whatever the other tests run on: a row of a table that others refer to, among indexed ones."""
    url = f"sqlite:///{tmp_path / 'two.db'}"
    here, there = sa.create_engine(url), sa.create_engine(url)
    for engine in (here, there):
        prepare(engine)
    kind = text_index.KINDS["sqlite"]
    with there.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE shop (id INTEGER PRIMARY KEY, name TEXT)")
        connection.exec_driver_sql(
            "CREATE TABLE app (id INTEGER PRIMARY KEY, name TEXT, shop REFERENCES shop (id) ON DELETE CASCADE)"
        )
        for table in ("shop", "app"):
            for made in kind.make(table, f"search_{table}", lambda row: kind.whole(row, ["name"]), ["name"]):
                connection.exec_driver_sql(made)
        connection.exec_driver_sql("INSERT INTO shop (name) VALUES ('花店'), ('面馆')")
    with here.begin() as connection:
        connection.exec_driver_sql("SELECT name FROM shop")
    with there.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    with reading(), here.begin() as connection:
        connection.exec_driver_sql("DELETE FROM shop WHERE id = 1")
        assert connection.exec_driver_sql("SELECT name FROM shop").scalars().all() == ["面馆"]
    here.dispose()
    there.dispose()
