"""Two merchants with a row of every model each, every text column holding its owner's canary; and everyone who asks.

Alice's rows have the number ALICE, bob's have BOB, in every table: an address can name a foreign row without
knowing the table behind it. Secret and hidden columns hold SECRET instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_appbuilder import Model
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.access.accounts import find_roles
from app.cli import setup as setting_up
from app.data.clock import utcnow
from app.data.kinds import kind_of
from app.data.kinds.apart import Document, Folded, Phone
from app.data.kinds.base import Kind
from app.data.kinds.choice import Choice, Listed, Several
from app.data.kinds.plain import Day, Moment, Words, YesNo
from app.data.secrets import Sealed
from app.data.tenancy import PLATFORM, app_scope, tenancy_of
from app.extensions import db
from app.models import Merchant
from app.models.kit.operation import RunState
from app.models.mini_program import AuthorizationState
from tests.conftest import PASSWORD, csrf_token, log_in

ALICE, BOB, ABSENT = 700_000_001, 700_000_002, 700_009_999
TAGS = {ALICE: "ALICAN", BOB: "BOBCAN", ABSENT: "NOSUCH"}
SECRET = "SEALCAN"  # in what no page, list or API may show to anybody
HIDDEN = re.compile(
    r".*_sealed|row_uid|phone_hash|password|id_hash|code_hash|user_hash|key_hash|recovery_hashes|input_hash|unique_key"
)
SKIPPED = frozenset({"web_session", "login_attempt", "pace_bucket", "job_run"})
TOLD: dict[str, dict[str, Any]] = {  # where code demands more of a value than its type
    "mini_program": {"state": AuthorizationState.AUTHORIZED, "audit_state": "approved", "icon_key": ""},
    "operation_run": {
        "state": RunState.FAILED,
        "operation": "submit_audit",
        "subject_type": "mini_program",
        "params": {},
        "lock": None,
    },
    "audit_entry": {"before": {"name": "x"}},
    "inbound_event": {"state": "failed"},
}
TEXT_KEYS = (("mini_program", "appid"), ("merchant", "key"), ("operation_run", "batch_id"), ("ab_user", "username"))


def canary(owner: int, table: str, column: str) -> str:
    return f"{TAGS[owner]}-{table}-{column}"


def text_keys(owner: int) -> list[str]:
    """What names a row of `owner` in addresses whose argument is a text, its number first."""
    return [str(owner), *(canary(owner, *name)[: _lengths()[name]] for name in TEXT_KEYS)]


@cache
def _lengths() -> dict[tuple[str, str], int]:
    return {(t.name, c.name): c.type.length for t in Model.metadata.sorted_tables for c in t.c if is_text(c)}


def is_text(column: Any) -> bool:
    return kind_of(column).holds_text or isinstance(kind_of(column), Folded)


def models() -> list[type[Any]]:
    """Every model with rows of its own, those that others point to first."""
    by_table = {mapper.local_table: mapper.class_ for mapper in Model.registry.mappers if tenancy_of(mapper.class_)}
    tables = [table for table in Model.metadata.sorted_tables if table.name not in SKIPPED]
    return [by_table[table] for table in tables if table in by_table]


def json_of(text: str, *, listed: bool) -> Any:
    return [text] if listed else {"note": text, "deep": {"words": [text]}}


def value_of(column: Any, owner: int) -> Any:
    """What a column holds in `owner`'s row: a canary wherever text fits."""
    told = TOLD.get(column.table.name, {})
    if column.name in told:
        return told[column.name]
    if column.foreign_keys:
        target = next(iter(column.foreign_keys)).column.table
        return None if column.nullable and (target is column.table or target.name == "ab_user") else owner
    text, kind = canary(owner, column.table.name, column.name), kind_of(column)
    if HIDDEN.fullmatch(column.name):
        hidden = f"{SECRET}{owner}{column.name}"
        return [hidden] if kind.is_document else hidden[: column.type.length or 99]
    made = next((SAMPLES[base] for base in type(kind).__mro__ if base in SAMPLES), None)
    if made is not None:
        return made(column, text)
    return owner if column.primary_key or column.name.endswith("_id") else 1


def _choice(column: Any, _text: str) -> Any:
    default = column.default
    return default.arg if default is not None and default.is_scalar else next(iter(column.type.enum))


def _several(column: Any, text: str) -> Any:
    return [str(next(iter(column.info["of"])))] if "of" in column.info else [text]


def _document(column: Any, text: str) -> Any:
    held = column.default.arg(None) if column.default is not None else {}
    return json_of(text, listed=isinstance(held, list))


# What the columns of a kind hold; numbers of all kinds hold the owner's, or one.
SAMPLES: dict[type[Kind], Callable[[Any, str], Any]] = {
    Several: _several,
    Choice: _choice,
    Listed: lambda column, text: text[: column.type.length or 99],
    Words: lambda column, text: text[: column.type.length or 99],
    Phone: lambda column, text: text[: column.type.length or 99],
    Folded: lambda column, text: text[: column.type.length or 99],
    Document: _document,
    Moment: lambda _column, _text: utcnow() + timedelta(days=40),
    Day: lambda _column, _text: date(2031, 1, 1),
    YesNo: lambda column, _text: column.name not in {"must_change_password", "gone"},
}


def _row(session: Session, model: type[Any], owner: int) -> Any:
    row, sealed = model(), getattr(model, "__sealed__", ())
    for prop in sa.inspect(model).column_attrs:
        column = prop.columns[0]
        if column.table is model.__table__ and column.name not in {f"{name}_sealed" for name in sealed}:
            setattr(row, prop.key, value_of(column, owner))
    for name in sealed:
        Sealed.__set__(getattr(model, name), row, f"{SECRET}-{owner}-{name}")  # a phone number, too: no number
    if model.__tablename__ == "ab_user":
        row.roles = find_roles(session, ["owner"])
    return row


def build(session: Session) -> None:
    """A row of every model for alice and one for bob; the audit log's last, since the others write into it."""
    for model in sorted(models(), key=lambda model: model.__tablename__ == "audit_entry"):
        for owner in (ALICE, BOB):
            session.add(_row(session, model, owner))
        session.flush()
    session.commit()


def dump(app: Flask) -> dict[str, list[Any]]:
    """Every row that is not alice's, a record of logging in or of a refused push, by table."""
    found: dict[str, list[Any]] = {}
    with app.app_context(), db.engine.connect() as connection:
        for table in Model.metadata.sorted_tables:
            if table.name in {"web_session", "login_attempt", "refused_push", "refused_push_count"}:
                continue
            statement = sa.select(table)
            if table.name == "ab_user":
                statement = statement.where(table.c.id == BOB)
            elif "merchant_id" in table.c and table.name != "authorization_link":
                owned = table.c.merchant_id.is_(None) & (table.name != "audit_entry")
                statement = statement.where((table.c.merchant_id == BOB) | owned)
            elif table.name == "merchant":
                statement = statement.where(table.c.id != ALICE)
            elif table.name in {"api_key", "two_factor"}:  # whoever walks may make their own
                statement = statement.where(table.c.user_id == BOB)
            found[table.name] = sorted(map(str, connection.execute(statement)))
    return found


@dataclass
class Principal:
    """One who asks: a client, and what it sends besides."""

    name: str
    client: FlaskClient
    headers: dict[str, str] = field(default_factory=dict)
    token: str = ""
    count: int = 0

    def open(self, path: str, method: str = "GET", **more: Any) -> TestResponse:
        self.count += 1
        return self.client.open(path, method=method, headers=self.headers | more.pop("headers", {}), **more)


MERCHANTS = ("owner", "staff", "clerk", "acting", "owner_token")
PLATFORMS = ("platform_admin", "operator", "auditor", "operator_token")
OUTSIDERS = ("anonymous", "disabled", "disabled_token")
PRINCIPALS = (*MERCHANTS, *OUTSIDERS, *PLATFORMS)


def principal(app: Flask, name: str) -> Principal:
    """A principal, logged in through the door it would use."""
    client = app.test_client()
    if name == "anonymous":
        return Principal(name, client, token=csrf_token(client))
    role = {"acting": "operator", "disabled": "owner"}.get(base := name.removesuffix("_token"), base)
    with app_scope(app, PLATFORM) as session:
        merchant = session.get(Merchant, ALICE) if role in {"owner", "staff", "clerk"} else None
        key = merchant.key if merchant else ""
        user_name, _ = setting_up.add_user(session, f"walk.{name}", role, merchant_key=key, password=PASSWORD)
    if name.endswith("_token"):
        answer = client.post("/api/v1/security/login", json={"username": user_name, "password": PASSWORD})
        made = Principal(name, client, {"Authorization": f"Bearer {answer.get_json()['access_token']}"})
    else:
        log_in(client, user_name)
        made = Principal(name, client)
    if name == "acting":
        token = csrf_token(client, f"/loginas/{ALICE}")
        answer = client.post(f"/loginas/{ALICE}", data={"reason": "工单 4711：走查", "csrf_token": token})
        assert answer.status_code == 302
    if base == "disabled":
        with app.app_context(), db.engine.begin() as connection:  # the flag alone: its session and token live on
            connection.execute(
                sa.update(users := Model.metadata.tables["ab_user"])
                .where(users.c.username == user_name)
                .values(active=False)
            )
    if not made.headers:
        made.token = csrf_token(client, "/login/" if base == "disabled" else "/logout/")
    return made
