"""Setting up: roles as code into rows, users and third-party apps from the command line, rotation of keys."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask_appbuilder import Model
from flask_appbuilder.security.sqla.models import Role
from sqlalchemy import inspect, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access import accounts, passwords
from app.access.roles import ROLES
from app.data import names, texts
from app.data.engine import insert_missing
from app.data.secrets import SealBroken, keyring
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.extensions import db
from app.i18n.sentence import say
from app.models import Merchant, ThirdPartyApp
from app.operations import merchant as merchants
from app.operations import third_party_app

ROTATE_CHUNK = 500
LOCKS = {
    "postgresql": ("SELECT pg_advisory_lock(7263514)", "SELECT pg_advisory_unlock(7263514)"),
    "mysql": ("SELECT GET_LOCK('douzhou_setup', 600)", "SELECT RELEASE_LOCK('douzhou_setup')"),
}


@contextmanager
def alone(app: Flask) -> Iterator[None]:
    """One process at a time sets a database up: the others wait, then find it done.

    Held outside any migration: a lock file beside an SQLite database, a named lock of the server otherwise.
    """
    engine = db.engine
    if engine.dialect.name == "sqlite":
        path = engine.url.database or ""
        with Path(f"{path}.setup").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield
        return
    take, give = LOCKS["postgresql" if engine.dialect.name == "postgresql" else "mysql"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(take)
        try:
            yield
        finally:
            connection.exec_driver_sql(give)


def finish(app: Flask, session: Session) -> Iterator[str]:
    """After the migrations: roles, then checks. Yields sentences; raises Refused when something does not hold."""
    for _ in range(5):
        if _make_roles(session):
            break
        time.sleep(0.2)  # another process makes them at this moment
    held = set(session.scalars(select(Role.name)))
    if missing := set(ROLES) - held:
        raise Refused(say("角色没有建成：{roles}", roles=sorted(missing)))
    yield f"角色 {len(ROLES)} 个已就绪"
    tables = set(inspect(session.connection()).get_table_names())
    if absent := {table for table in Model.metadata.tables if table not in tables}:
        raise Refused(say("数据库缺少表：{tables}", tables=sorted(absent)))
    _check_keys(session)
    yield "数据库与密钥已核对"
    yield from names.fold_all(session)


def _make_roles(session: Session) -> bool:
    held = set(session.scalars(select(Role.name)))
    session.add_all(Role(name=name) for name in ("Admin", "Public", *ROLES) if name not in held)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()
        return False
    return True


def _check_keys(session: Session) -> None:
    for row in session.scalars(select(ThirdPartyApp)):
        try:
            _ = row.secret
        except SealBroken as broken:
            raise Refused(
                say(
                    "无法解开第三方应用 {appid} 的密钥（{broken}）：请把原来的密钥放回 DATA_KEYS",
                    appid=row.appid,
                    broken=str(broken),
                )
            ) from None


def add_user(
    session: Session, name: str, role: str, *, merchant_key: str = "", password: str | None = None
) -> tuple[str, str]:
    """Make a user with one role; gives the log-in name and the password (made when None). Commits. May be Refused."""
    merchant = None
    if merchant_key:
        merchant = session.scalars(select(Merchant).where(Merchant.key == merchant_key)).first()
        if merchant is None:
            raise Refused(say("没有商户 {merchant_key}", merchant_key=merchant_key))
    chosen = password if password is not None else passwords.new_password()
    must_change = password is None
    user = accounts.create_user(session, name, [role], merchant=merchant, password=chosen, must_change=must_change)
    session.commit()
    return user.username, chosen


def add_third_party_app(session: Session, appid: str, name: str, secrets: Mapping[str, Any]) -> ThirdPartyApp:
    """Add a third-party app, or renew its secrets. Commits. Refused when one is missing or malformed."""
    appid, given = third_party_app.checked("appid", appid), third_party_app.checked_secrets(secrets)
    name = texts.checked(name, "应用名称")
    row, made = insert_missing(session, ThirdPartyApp, {"appid": appid}, name=name or appid, **given)
    if not made:
        row.secret, row.token, row.aes_key = given["secret"], given["token"], given["aes_key"]
        row.name = name or row.name
    session.commit()
    return row


def sealed_models() -> list[type[Any]]:
    """The models that hold secrets."""
    return [m.class_ for m in Model.registry.mappers if getattr(m.class_, "__sealed__", ())]


def rotate_keys(app: Flask) -> Iterator[tuple[str, int]]:
    """Seal again, with the newest key, whatever an older one sealed: chunk by chunk, by key range, resumable."""
    for model in sealed_models():
        total = 0
        while True:
            with app_scope(app, PLATFORM) as session:
                count = _rotate_chunk(session, model)
            total += count
            if count < ROTATE_CHUNK:
                break
        yield model.__tablename__, total


def reread_phones(app: Flask) -> Iterator[merchants.Reread]:
    """Every merchant's number in the form that searches ask for: chunk by chunk, by key range, each committed."""
    after = 0
    while True:
        with app_scope(app, PLATFORM) as session:
            done = merchants.reread_phones(session, after)
        if done is None:
            return
        after = done.last
        yield done


def _rotate_chunk(session: Session, model: type[Any]) -> int:
    newest = keyring().newest
    columns = [getattr(model, f"{name}_sealed") for name in model.__sealed__]
    stale = or_(*(column.is_not(None) & column.not_like(f"{newest}:%") for column in columns))
    rows = session.scalars(select(model).where(stale).limit(ROTATE_CHUNK).with_for_update(skip_locked=False)).all()
    for row in rows:
        for name in model.__sealed__:
            value = getattr(row, name)
            if value is not None:
                setattr(row, name, value)
    session.commit()
    return len(rows)
