"""Exports from the lists: what is filtered is what comes, in words, without what nobody may see, own rows only."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.base import ConsoleView
from app.console.transfer import pages
from app.data.engine import writing
from app.data.kinds import kind_of
from app.errors import Refused
from app.models import AuditEntry, Merchant, Task, TaskState, Version
from app.tasks import pool
from app.tasks.spreadsheets import write
from app.tasks.spreadsheets import write as files
from tests.conftest import Actors, change, csrf_token, refresh
from tests.tasks.spreadsheets.test_read import rows_of, xlsx_of
from tests.world import ALICE, BOB, HIDDEN, SECRET, TAGS, build, principal


def exported(client: FlaskClient, path: str, kind: str = "csv", ids: str = "", **query: str) -> list[list[str]]:
    """The rows of an export, its heads first; of the ticked rows where there are `ids`."""
    token = csrf_token(client, "/logout/")
    answer = client.post(path, query_string=query, data={"format": kind, "csrf_token": token, "ids": ids})
    assert answer.status_code == 200, answer.get_data(as_text=True)[:300]
    assert answer.headers["Content-Disposition"].startswith("attachment")
    data = answer.get_data()
    if kind == "csv":
        return list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    sheet = openpyxl.load_workbook(io.BytesIO(data)).active
    return [[str(value or "") for value in row] for row in sheet.iter_rows(values_only=True)]


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_export_holds_the_rows_of_the_list_in_words(operator: FlaskClient, full: Actors, kind: str) -> None:
    rows = exported(operator, "/miniprogramview/export", kind)
    assert rows[0][:3] == ["小程序", "小程序编号（AppID）", "授权"]
    found = {row[1]: row for row in rows[1:]}
    assert set(found) == {full.alice_app.appid, full.bob_app.appid}
    assert "已授权" in found[full.alice_app.appid] and "爱丽丝花店" in found[full.alice_app.appid]


def test_the_filters_and_the_order_of_the_list_are_the_exports(operator: FlaskClient, full: Actors) -> None:
    assert [row[0] for row in exported(operator, "/merchantview/export", q="花店")[1:]] == ["爱丽丝花店"]
    for way, first in (("name", 0), ("-name", -1)):
        rows = exported(operator, "/merchantview/export", order=way)
        assert rows[1][0] == sorted([full.alice.name, full.bob.name])[first]
    assert len(exported(operator, "/merchantview/export", state="suspended")) == 1
    assert len(exported(operator, "/merchantview/export", _flt_0_state="suspended")) == 1


def test_an_export_is_written_into_the_audit_log(session: Session, operator: FlaskClient, full: Actors) -> None:
    exported(operator, "/merchantview/export", q="13800138000", page="3")
    refresh(session)
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "export")).one()
    assert entry.after["view"] == "MerchantView" and entry.after["format"] == "csv" and entry.after["rows"] == 0
    assert entry.after["filters"] == {"q": "138****8000"}
    assert entry.actor_name.startswith("operator")


def test_ticked_rows_are_exported_in_the_lists_order_whatever_it_is_filtered_by(
    session: Session, operator: FlaskClient, full: Actors
) -> None:
    ids = f"{full.bob.id},{full.alice.id}"
    rows = exported(operator, "/merchantview/export", ids=ids, order="name", q="花店")
    assert [row[0] for row in rows[1:]] == sorted([full.alice.name, full.bob.name])
    assert [row[0] for row in exported(operator, "/merchantview/export", "xlsx", ids=ids)[1:]] != []
    refresh(session)
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "export").order_by(AuditEntry.id)).first()
    assert entry is not None and entry.after["rows"] == 2 and entry.after["filters"] == {"ids": ids}


def test_a_ticked_row_of_somebody_else_is_in_no_export(client_for: Callable[..., FlaskClient], full: Actors) -> None:
    owner = client_for("owner", full.alice)
    rows = exported(owner, "/myminiprogramview/export", ids=f"{full.alice_app.id},{full.bob_app.id}")
    assert [row[1] for row in rows[1:]] == [full.alice_app.appid]


def test_phones_are_masked_and_numbers_keep_their_digits(
    app: Flask, session: Session, operator: FlaskClient, full: Actors
) -> None:
    with app.app_context(), writing():
        full.alice.phone, full.alice.phone_masked = "13800138000", "138****8000"
        full.alice.remarks = "=1+1"
        session.commit()
    text = str(exported(operator, "/merchantview/export"))
    assert "138****8000" in text and "13800138000" not in text and "'=1+1" in text


def test_whoever_may_only_look_may_export_and_a_visitor_may_not(
    client_for: Callable[..., FlaskClient], full: Actors
) -> None:
    assert len(exported(client_for("auditor"), "/merchantview/export")) == 3


def test_a_format_that_is_none_is_refused(operator: FlaskClient, full: Actors) -> None:
    token = csrf_token(operator, "/logout/")
    answer = operator.post("/merchantview/export", data={"format": "exe", "csrf_token": token})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (True, sa.Boolean(), "是"),
        (False, sa.Boolean(), "否"),
        (date(2027, 12, 31), sa.Date(), "2027-12-31"),
        (Decimal("5.50"), sa.Numeric(5, 2), "5.50"),
        (1234567, sa.Integer(), "1234567"),
    ],
)
def test_what_an_export_writes_the_import_reads_back(value: Any, kind: Any, shown: str) -> None:
    asked = kind_of(sa.Column(kind))
    for name in ("csv", "xlsx"):
        made = io.BytesIO()
        out = files.writer(name, made, ["项目"])
        out.row([pages.text_of(value)])
        out.close()
        assert asked.parse(rows_of(made.getvalue())[1][0], "项目") == value
    assert asked.parse(rows_of(xlsx_of(["项目"], [value]))[1][0], "项目") == value  # a person's own file
    assert write.for_csv(pages.text_of(value)) == shown


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_export_that_is_opened_runs_nothing_and_keeps_every_digit(
    app: Flask, session: Session, operator: FlaskClient, full: Actors, kind: str
) -> None:
    """As the bytes are: what Excel and WPS make of a file depends on nothing else."""
    with writing():
        full.alice.name, full.alice.contact, full.alice.remarks = "=cmd|'/c calc'!A1", "0012", "7301234567890123456"
        full.bob.contact = "@SUM(A1)"
        session.commit()
    token = csrf_token(operator, "/logout/")
    content = operator.post("/merchantview/export", data={"format": kind, "csrf_token": token}).get_data()
    if kind == "csv":
        assert content.startswith(b"\xef\xbb\xbf")
        cells = {cell for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) for cell in row}
        assert {"'=cmd|'/c calc'!A1", "0012\t", "7301234567890123456\t", "'@SUM(A1)"} <= cells
        return
    xml = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml").decode()
    texts = set(re.findall(r'<c [^>]*t="inlineStr"[^>]*><is><t[^>]*>([^<]*)</t></is></c>', xml))
    assert "<f>" not in xml and {"'=cmd|'/c calc'!A1", "0012", "7301234567890123456", "'@SUM(A1)"} <= texts


def test_yes_and_no_may_be_written_as_people_and_programs_do() -> None:
    kind = kind_of(sa.Column(sa.Boolean()))
    assert [kind.parse(text, "项目") for text in ("是", "1", "TRUE", "true")] == [True] * 4
    assert [kind.parse(text, "项目") for text in ("否", "0", "FALSE", "false")] == [False] * 4
    with pytest.raises(Refused, match="项目应为 是 或 否"):
        kind.parse("也许", "项目")


# Everything that exports.


def test_no_export_holds_a_hidden_column(app: Flask) -> None:
    with app.test_request_context():
        views = [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]
        declared = {type(view).__name__: view for view in views if view.exported or view.export_columns}
    assert len(declared) >= 9
    for name, view in declared.items():
        spec = app.extensions["tables"].exports[name]
        sealed = set(getattr(spec.model, "__sealed__", ()))
        names = {column.name for column in spec.columns}
        assert not {column for column in names if HIDDEN.fullmatch(column)} | (names & sealed), name
        assert all(column.label and column.label != column.name for column in spec.columns), name
        assert "can_export" in view.base_permissions


def test_a_hidden_column_cannot_even_be_declared(app: Flask) -> None:
    view = next(view for view in app.appbuilder.baseviews if view.endpoint == "MerchantView")  # type: ignore[attr-defined]
    for name in ("phone", "phone_sealed", "phone_hash", "row_uid"):
        assert not view._plain(name), name
    assert view._plain("name") and view._plain("industry")


def test_hosts_are_exported_in_words(app: Flask) -> None:
    """A column of several values is no document."""
    with app.app_context():
        view = next(view for view in app.appbuilder.baseviews if view.endpoint == "VersionView")  # type: ignore[attr-defined]
        assert view._plain("hosts") and not view._plain("reason_detail")
        assert view._reader("hosts")(Version(hosts=["tt_lite", "douyin", "pipixia"])) == "今日头条极速版、抖音、pipixia"


def test_every_export_works_and_leaks_nothing(app: Flask) -> None:
    from app.data.tenancy import PLATFORM, app_scope

    with app_scope(app, PLATFORM) as session:
        build(session)
    admin = principal(app, "platform_admin")
    seen = 0
    for name in sorted(app.extensions["tables"].exports):
        view = next(view for view in app.appbuilder.baseviews if view.endpoint == name)  # type: ignore[attr-defined]
        for kind in ("csv", "xlsx"):
            answer = admin.open(f"{view.route_base}/export", "POST", data={"format": kind, "csrf_token": admin.token})
            if answer.status_code == 403:
                continue  # a merchant's own screen
            assert answer.status_code == 200, name
            if kind == "csv":
                text = answer.get_data(as_text=True)
                assert SECRET not in text, name
                seen += TAGS[BOB] in text
    assert seen >= 6


@pytest.mark.parametrize("name", ["owner", "acting"])
def test_a_merchant_exports_its_own_rows_only(app: Flask, name: str) -> None:
    from app.data.tenancy import PLATFORM, app_scope

    with app_scope(app, PLATFORM) as session:
        build(session)
    asker, files = principal(app, name), 0
    for spec in sorted(app.extensions["tables"].exports):
        view = next(view for view in app.appbuilder.baseviews if view.endpoint == spec)  # type: ignore[attr-defined]
        for query in ({}, {"merchant": str(BOB)}, {"q": TAGS[BOB]}, {"_flt_0_merchant": str(BOB)}):
            data = {"format": "csv", "csrf_token": asker.token}
            answer = asker.open(f"{view.route_base}/export", "POST", query_string=query, data=data)
            text = answer.get_data(as_text=True)
            assert answer.status_code in {200, 400, 403}, (spec, answer.status)
            assert TAGS[BOB] not in text and SECRET not in text, (spec, query)
            if answer.status_code == 200 and TAGS[ALICE] in text:
                files += 1
    assert files >= 2 if name == "owner" else files == 0  # an operator's files are made on the platform's pages


# The long ones.


@pytest.fixture
def long_export(session: Session, operator: FlaskClient, full: Actors, monkeypatch: pytest.MonkeyPatch) -> Task:
    """An export that was too long to be waited for."""
    monkeypatch.setattr(pages, "DIRECT_ROWS", 1)
    token = csrf_token(operator, "/logout/")
    answer = operator.post("/merchantview/export?order=name", data={"format": "csv", "csrf_token": token})
    assert answer.status_code == 302 and answer.headers["Location"].endswith("/merchantview/list/?order=name")
    refresh(session)
    return session.scalars(sa.select(Task)).one()


def test_a_long_export_is_made_in_the_background(
    app: Flask, session: Session, operator: FlaskClient, long_export: Task
) -> None:
    assert (long_export.state, long_export.total) == (TaskState.QUEUED, 2)
    assert pool.perform(app, long_export.id)
    refresh(session)
    assert (long_export.state, long_export.done) == (TaskState.SUCCEEDED, 2), long_export.message
    answer = operator.get(f"/tasks/{long_export.id}/download")
    rows = list(csv.reader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert [row[0] for row in rows[1:]] == ["爱丽丝花店", "鲍勃面馆"]
    assert "attachment" in answer.headers["Content-Disposition"]


def test_rows_are_those_of_the_moment_of_asking(
    app: Flask, session: Session, operator: FlaskClient, full: Actors, long_export: Task
) -> None:
    with writing():
        session.add(Merchant(name="后来的", industry_id=full.alice.industry_id))
        session.commit()
    pool.perform(app, long_export.id)
    text = operator.get(f"/tasks/{long_export.id}/download").get_data(as_text=True)
    assert "后来的" not in text and "鲍勃面馆" in text


def test_only_who_asked_may_have_the_file(
    app: Flask, client_for: Callable[..., FlaskClient], full: Actors, long_export: Task
) -> None:
    pool.perform(app, long_export.id)
    for role, merchant in (("operator", None), ("platform_admin", None), ("owner", full.alice)):
        other = client_for(role, merchant)
        assert other.get(f"/tasks/{long_export.id}/download").status_code == 404
        assert other.get("/tasks/999999/download").status_code == 404


def test_a_file_whose_time_is_over_is_not_given_and_deleted(
    app: Flask, session: Session, operator: FlaskClient, long_export: Task
) -> None:
    from datetime import timedelta

    from app.data import storage
    from app.data.clock import utcnow

    pool.perform(app, long_export.id)
    refresh(session)
    key = long_export.output_key
    change(session, long_export, expires_at=utcnow() - timedelta(seconds=1))
    assert operator.get(f"/tasks/{long_export.id}/download").status_code == 400
    assert pool.clean(app) == 1
    with app.app_context(), pytest.raises(FileNotFoundError):
        storage.read(key)
    refresh(session)
    assert long_export.output_key == ""


def test_who_lost_the_right_gets_neither_work_nor_file(
    app: Flask, session: Session, operator: FlaskClient, long_export: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.access import roles

    less = app.extensions["roles"].held | {"MerchantView": {"platform_admin": roles.WRITES}}
    monkeypatch.setitem(app.extensions, "roles", roles.ViewRoles(less))
    pool.perform(app, long_export.id)
    refresh(session)
    assert long_export.state == TaskState.FAILED and "不再有此权限" in long_export.message
    change(session, long_export, state=TaskState.SUCCEEDED, output_key="exports/aa/" + "a" * 32 + ".csv")
    assert operator.get(f"/tasks/{long_export.id}/download").status_code == 403
