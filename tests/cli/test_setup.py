"""`flask setup`: from an empty database, repeated, and by two processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import sqlalchemy as sa
from flask_appbuilder.security.sqla.models import Role
from flask_migrate import downgrade, upgrade

from app.data import text_index
from app.data.clock import utcnow
from app.data.kinds import kind_of
from app.data.kinds.plain import Moment
from app.data.tenancy import PLATFORM, app_scope
from app.extensions import db
from app.factory import create_app
from app.i18n.sentence import Foreign, say
from app.models import JobRun, MiniProgram, SavedView, ThirdPartyApp, User
from tests.conftest import ROOT, test_environment


def start(env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "run", "setup"],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
def env(own_database: str) -> dict[str, str]:
    own = test_environment(own_database, "http://127.0.0.1:1")
    return {**os.environ, **own, "DOUZHOU_ENV": "/nonexistent"}


def test_two_at_once_and_once_more(env: dict[str, str]) -> None:
    for running in ([start(env), start(env)], [start(env)]):
        for process in running:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0, output
    engine = sa.create_engine(env["DATABASE_URL"])
    with engine.connect() as connection:
        names = connection.exec_driver_sql("select name from ab_role order by name").scalars().all()
    engine.dispose()
    assert len(names) == len(set(names)) == 8


def test_a_wrong_setting_ends_with_one_sentence(env: dict[str, str]) -> None:
    process = start({**env, "SECRET_KEY": "short"})
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "SECRET_KEY" in output and "Traceback" not in output


def test_an_older_database_learns_who_lacks_a_permission_and_may_go_back(env: dict[str, str]) -> None:
    app = create_app(env)
    held = {1: [1, 2, 3], 2: [1], 3: [], 4: [2, 1]}
    with app.app_context():
        upgrade(revision="0001")
        with db.engine.begin() as connection:
            add(connection, ThirdPartyApp, id=1, appid="tt1")
            for key, sets in held.items():
                add(connection, MiniProgram, id=key, appid=f"tt{key}", third_party_app_id=1, permissions=sets)
        for _ in range(2):
            upgrade()
            with db.engine.connect() as connection:
                lacking = sa.select(MiniProgram.id).where(MiniProgram.lacking).order_by(MiniProgram.id)
                assert connection.execute(lacking).scalars().all() == [2, 3]
            downgrade(revision="0001")
        db.engine.dispose()


def test_icons_of_an_older_database_are_due_and_other_addresses_gone(env: dict[str, str]) -> None:
    app = create_app(env)
    icons = {1: "https://p3.example.com/1.png", 2: "http://p3.example.com/2.png", 3: "javascript:alert(1)", 4: ""}
    with app.app_context():
        upgrade(revision="0004")
        with db.engine.begin() as connection:
            add(connection, ThirdPartyApp, id=1, appid="tt1")
            for key, address in icons.items():
                add(connection, MiniProgram, id=key, appid=f"tt{key}", third_party_app_id=1, icon_url=address)
        for _ in range(2):
            upgrade()
            with db.engine.connect() as connection:
                wanted = sa.select(MiniProgram.icon_url, MiniProgram.icon_key, MiniProgram.icon_due_at <= utcnow())
                found = connection.execute(wanted.order_by(MiniProgram.id)).all()
            assert [tuple(row) for row in found] == [(icons[1], "", True), *[("", "", None)] * 3]
            downgrade(revision="0004")
        db.engine.dispose()


def test_an_older_release_finds_finished_sentences(env: dict[str, str]) -> None:
    app = create_app(env)
    told = say("没有找到 {key}", key="停用")
    with app.app_context():
        upgrade()
        with db.engine.begin() as connection:
            for slot, result in enumerate((told, Foreign("停用"), "停用")):
                add(connection, JobRun, id=slot + 1, job="x", slot=str(slot), result=result)
        downgrade(revision="0008")
        raw = sa.table("job_run", sa.column("id"), sa.column("result"))
        with db.engine.connect() as connection:
            kept = connection.execute(sa.select(raw.c.result).order_by(raw.c.id)).scalars().all()
        assert kept == ["没有找到 停用", "停用", "停用"]
        db.engine.dispose()


def add(connection: sa.Connection, model: type[Any], **values: Any) -> None:
    """A row as an older version wrote it, with something in every column that must have it."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(model.__tablename__)}
    columns = {column.name: column for column in model.__table__.columns if column.name in there}
    for name, column in columns.items():
        if not column.nullable and name not in values:
            values[name] = _some(column)
    table = sa.table(model.__tablename__, *(sa.column(name, column.type) for name, column in columns.items()))
    connection.execute(table.insert().values(**values))


def _some(column: Any) -> Any:
    """A date, a document, the default, or what the column's type reads from a nought."""
    kind = kind_of(column)
    if isinstance(kind, Moment):
        return utcnow()
    if kind.is_document:
        return {}
    return column.default.arg if column.default and column.default.is_scalar else column.type.python_type("0")


def mails(connection: sa.Connection) -> dict[int, str]:
    table = User.__table__
    return {row.id: row.email for row in connection.execute(sa.select(table.c.id, table.c.email))}


def test_an_older_databases_users_keep_all_that_is_theirs_when_mails_are_nobodys_alone(env: dict[str, str]) -> None:
    app = create_app({**env, "TESTING": "1"})
    role, held = Role.__table__, User.__table__.metadata.tables["ab_user_role"]
    with app.app_context():
        upgrade(revision="0004")
        with db.engine.begin() as connection:
            connection.execute(sa.insert(role).values(id=1, name="operator"))
            for key, mail in enumerate(("ann@localhost.invalid", "ben@example.cn"), start=1):
                add(connection, User, id=key, username=f"user{key}", first_name=f"甲乙丙{key}", email=mail)
                connection.execute(sa.insert(held).values(id=key, user_id=key, role_id=1))
                add(connection, SavedView, id=key, user_id=key, view="X", name="x", query="")
        for _ in range(2):
            upgrade()
            with app_scope(app, PLATFORM) as session:
                assert mails(session.connection()) == {1: "", 2: "ben@example.cn"}
                assert [row.role_names for row in session.scalars(sa.select(User))] == [{"operator"}] * 2
                assert session.scalar(sa.select(sa.func.count(SavedView.id))) == 2
                session.get_one(User, 1).email = "ben@example.cn"
                session.get_one(User, 1).first_name = "丁戊己"
                session.commit()
                assert text_index.missing(session, User) == 0
                found = text_index.find(session, User, ["first_name"], "丁戊己")
                assert found is not None and found.keys == [1]
            if db.engine.dialect.name == "sqlite":
                references_hold()
            downgrade(revision="0004")
            with db.engine.connect() as connection:
                assert mails(connection) == {1: "ben@example.cn", 2: "user2@localhost.invalid"}
            with db.engine.begin() as connection:
                for key, mail in ((1, "ann@localhost.invalid"), (2, "ben@example.cn")):
                    connection.execute(sa.update(User.__table__).where(User.__table__.c.id == key).values(email=mail))
        db.engine.dispose()


def references_hold() -> None:
    with db.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        [made] = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'ab_user'").scalars()
        assert "_alembic_tmp" not in made
