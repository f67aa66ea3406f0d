"""Values that are taken: which columns' rule a statement broke, on whichever database; said beside the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.console.base import ConsoleView
from app.data.clock import utcnow
from app.data.engine import taken
from app.data.kinds import kind_of
from app.extensions import db
from app.models import Industry, Merchant, Template, ThirdPartyApp, Version
from app.tasks.importing.layout import Layout
from app.tasks.importing.rows import Importer
from app.views.merchant import MERCHANTS
from tests.conftest import COMPONENT, Actors, csrf_token
from tests.console.made import fill
from tests.pages import submit
from tests.world import ALICE, BOB, build, models


def unique_rules(table: sa.Table) -> list[tuple[str, ...]]:
    """The columns of each rule by which a table's rows differ."""
    constraints = [rule for rule in table.constraints if isinstance(rule, sa.UniqueConstraint)]
    indexes = [index for index in table.indexes if index.unique]
    return [tuple(column.name for column in rule.columns) for rule in (*constraints, *indexes)]


def rules() -> Iterator[tuple[str, tuple[str, ...]]]:
    for model in models():
        for columns in unique_rules(model.__table__):
            yield model.__tablename__, columns


def fault(session: Session, statement: Any) -> IntegrityError:
    with pytest.raises(IntegrityError) as found, session.begin_nested():
        session.execute(statement)
    return found.value


def test_every_unique_rule_of_every_table_is_told_from_its_fault(app: Flask, session: Session) -> None:
    build(session)
    checked = 0
    for name, columns in rules():
        table = Model.metadata.tables[name]
        if "id" not in table.c:
            continue
        plain = {column: "taken" for column in columns if not table.c[column].foreign_keys}
        same = plain or {columns[0]: ALICE}
        texts = {key: value if kind_of(table.c[key]).holds_text else 7 for key, value in same.items()}
        others = {column: ALICE for column in columns if table.c[column].foreign_keys}
        session.execute(sa.update(table).where(table.c.id == ALICE).values(texts | others))
        error = fault(session, sa.update(table).where(table.c.id == BOB).values(texts | others))
        assert (name, taken(error, table)) == (name, columns)
        assert taken(error, Model.metadata.tables["industry" if name != "industry" else "merchant"]) == ()
        session.rollback()
        checked += 1
    assert checked > 20


def test_a_fault_of_another_kind_is_no_taken_value(app: Flask, session: Session) -> None:
    table = Merchant.__table__
    for values in ({"industry_id": 4711, "name": "x"}, {"industry_id": None}):
        trade = Industry(name="餐饮")
        session.add(trade)
        session.flush()
        row = {"key": "m_x", "name": "花店", "industry_id": trade.id, "row_uid": "u"} | values
        session.add(Merchant(name="面馆", industry=trade))
        session.flush()
        try:
            with session.begin_nested():
                session.execute(sa.update(table).values(row))
        except IntegrityError as error:
            assert taken(error, table) == ()
        session.rollback()


@pytest.mark.parametrize("value", ["row_uid", "key", "x' for key 'row_uid", "for key 'key'", "merchant.key"])
def test_a_value_that_looks_like_a_column_does_not_mislead(app: Flask, session: Session, value: str) -> None:
    trade = Industry(name="餐饮")
    session.add_all([Merchant(name=value, industry=trade), Merchant(name="面馆", industry=trade)])
    session.flush()
    table = Merchant.__table__
    error = fault(session, sa.update(table).where(table.c.name == "面馆").values(name=value))
    assert taken(error, table) == ("name",)


class PsycopgError(Exception):
    """What psycopg gives with a fault of PostgreSQL's: this much of it."""

    def __init__(self, table: str, rule: str, sqlstate: str = "23505") -> None:
        super().__init__("duplicate key value violates unique constraint")
        self.sqlstate = sqlstate
        self.diag = type("Diagnostic", (), {"table_name": table, "constraint_name": rule})()


class SqliteError(Exception):
    sqlite_errorcode = 2067


SHAPES: list[tuple[Exception, Any, tuple[str, ...]]] = [
    (PsycopgError("merchant", "merchant_name_key"), Merchant, ("name",)),
    (
        PsycopgError("template", "template_third_party_app_id_template_id_key"),
        Template,
        ("third_party_app_id", "template_id"),
    ),
    (PsycopgError("version", "uq_version_number"), Version, ("mini_program_id", "number")),
    (PsycopgError("merchant", "merchant_industry_id_fkey", "23503"), Merchant, ()),
    (PsycopgError("industry", "merchant_name_key"), Merchant, ()),
    (pymysql.err.IntegrityError(1062, "Duplicate entry 'a' for key 'name'"), Merchant, ("name",)),
    (pymysql.err.IntegrityError(1062, "Duplicate entry 'a' for key 'merchant.name'"), Merchant, ("name",)),
    (
        pymysql.err.IntegrityError(1062, "Duplicate entry '1-2' for key 'third_party_app_id'"),
        Template,
        ("third_party_app_id", "template_id"),
    ),
    (
        pymysql.err.IntegrityError(1062, "Duplicate entry '1-2' for key 'uq_version_number'"),
        Version,
        ("mini_program_id", "number"),
    ),
    (pymysql.err.IntegrityError(1062, "Duplicate entry 'a' for key 'no_such'"), Merchant, ()),
    (pymysql.err.IntegrityError(1062, "Duplicate entry 'x' for key 'key' for key 'name'"), Merchant, ("name",)),
    (pymysql.err.IntegrityError(1452, "a foreign key constraint fails (`name`)"), Merchant, ()),
    (SqliteError("UNIQUE constraint failed: third_party_app.appid"), ThirdPartyApp, ("appid",)),
    (
        SqliteError("UNIQUE constraint failed: version.mini_program_id, version.number"),
        Version,
        ("mini_program_id", "number"),
    ),
    (SqliteError("UNIQUE constraint failed: industry.name"), Merchant, ()),
]


@pytest.mark.parametrize(("orig", "model", "columns"), SHAPES)
def test_what_each_database_says_is_understood(orig: Exception, model: Any, columns: tuple[str, ...]) -> None:
    error = IntegrityError(f"UPDATE {model.__tablename__} SET x=%s", {}, orig)
    assert taken(error, model.__table__) == columns


# Every form whose rows must differ in a value that it asks for.


def forms(app: Flask, names: str) -> Iterator[tuple[Any, str]]:
    """(view, column) of the columns that must differ, among those of a view's `add_columns`, `inline_columns`, ..."""
    for view in app.appbuilder.baseviews:  # type: ignore[attr-defined]
        if isinstance(view, ConsoleView):
            unique = [columns for columns in unique_rules(view.datamodel.obj.__table__) if len(columns) == 1]
            yield from ((view, name) for [name] in unique if name in (getattr(view, names) or ()))


SEALED = {name: COMPONENT[name] for name in ("secret", "token", "aes_key")}


def taken_beside(answer: Any, column: str) -> bool:
    page = answer.get_data(as_text=True)
    wrong = re.search(rf'id="{column}-wrong"[^>]*>([^<]*)<', page)
    return answer.status_code == 422 and wrong is not None and "与已有记录重复" in wrong[1]


def test_a_taken_value_is_said_beside_its_field_of_every_form(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    admin, walked = client_for("platform_admin"), set()
    for view, column in forms(app, "edit_columns"):
        model, base = view.datamodel.obj, view.route_base
        first, second = fill(session, model.__table__, 2, 0)
        for key in (first, second):  # as its form would have it
            setattr(session.get_one(model, key), column, f"tt{key:016}")
        session.commit()
        answer = submit(admin, f"{base}/edit/{first}", **{column: f"tt{second:016}"})
        assert taken_beside(answer, column), (view, column, answer.status_code)
        if column in view.add_columns:
            values = SEALED if "secret" in view.add_columns else {}
            answer = submit(admin, f"{base}/edit/{second}", to=f"{base}/add", **values)
            assert taken_beside(answer, column), (view, column)
        walked.add((model.__tablename__, column))
    assert walked == {("merchant", "name"), ("industry", "name"), ("third_party_app", "appid")}


def test_a_taken_value_is_said_beside_its_cell(
    app: Flask, session: Session, client_for: Callable[..., FlaskClient]
) -> None:
    build(session)
    operator, walked = client_for("operator"), 0
    for view, column in forms(app, "inline_columns"):
        model, path = view.datamodel.obj, f"{view.route_base}/cell/{ALICE}/{column}"
        others = session.scalars(sa.select(getattr(model, column)).where(model.id == BOB)).one()
        mark = re.search(r'name="seen_mark"[^>]*value="([^"]*)"', operator.get(path).get_data(as_text=True))
        assert mark is not None
        data = {column: others, "seen_mark": mark[1], "csrf_token": csrf_token(operator, "/account/password")}
        answer = operator.post(path, data=data)
        assert answer.status_code == 422 and "与已有记录重复" in answer.get_data(as_text=True)
        walked += 1
    assert walked


def test_no_value_that_must_differ_can_be_given_to_many_rows_at_once(app: Flask) -> None:
    assert not list(forms(app, "bulk_columns"))


def test_an_import_names_the_column_of_a_taken_value(app: Flask, session: Session) -> None:
    """Between the look and the writing somebody else takes the name: the flush tells, not the look."""
    trade = Industry(name="餐饮")
    session.add(trade)
    session.commit()
    table, other = Merchant.__table__, {"key": "m_other", "industry_id": trade.id, "row_uid": "other"}

    def hurry(made: Session, _context: Any, _instances: Any) -> None:
        if any(isinstance(row, Merchant) and row.name == "花店" for row in made.new):
            if not made.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.name == "花店")):
                insert = sa.insert(table).values(**other, name="花店", contact="", phone_masked="", remarks="", plan="")
                made.connection().execute(insert.values(created_at=utcnow(), changed_at=utcnow(), commission_rate=0))

    places = {"name": 0, "industry": 1}
    layout = Layout(MERCHANTS, ["商户名称", "行业"], places, {})
    importer = Importer(session, MERCHANTS, places, layout, mode="both", dry=False)
    sa.event.listen(session, "before_flush", hurry)
    try:
        done = importer.take([(2, ["花店", "餐饮"]), (3, ["面馆", "餐饮"])])
    finally:
        sa.event.remove(session, "before_flush", hurry)
    assert done.refused == [(2, "商户名称", "与已有记录重复")]
    assert done.counts["created"] == 1


def test_a_taken_value_that_no_form_expects_is_a_sentence_and_no_500(
    app: Flask,
    session: Session,
    actors: Actors,
    client_for: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_: Any) -> Any:
        db.session.execute(sa.update(Merchant.__table__).values(name="同名"))

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setitem(app.view_functions, "MerchantView.list", fail)
    operator = client_for("operator")
    answer = operator.get("/merchantview/list/")
    assert answer.status_code == 409
    assert "与已有记录重复" in answer.get_data(as_text=True) and "同名" not in answer.get_data(as_text=True)
    answer = operator.get("/merchantview/list/", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")
