"""The pages of rows: every screen's page and tabs render, cheaply; what is to be done next; the drawer; the log's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.base import ConsoleView, MerchantFace
from app.console.places import subjects
from app.console.row.changes import _models, label_of, marked
from app.console.row.tabs import Panel, Related, Timeline
from app.extensions import db
from app.models import AuditEntry, AuthorizationState, MerchantState, OperationRun, RunState, Version, VersionState
from app.models.kit.audit import ACTION_WORDS, is_quiet
from app.views.audit import audited_cell
from tests.conftest import ROOT, Actors, change
from tests.pages import text_of, visible

MOST_STATEMENTS = 12


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """What the application asks the database meanwhile."""
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "INSERT", "DELETE")):
            asked.append(statement)

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def shown_views(app: Flask, face: type[Any]) -> list[Any]:
    views = [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]
    return [
        view
        for view in views
        if "show" in view.include_route_methods and isinstance(view, MerchantFace) == (face is MerchantFace)
    ]


def some_key(app: Flask, session: Session, view: Any) -> int | None:
    """The number of a row that the view shows."""
    session.rollback()
    with app.test_request_context():
        filters = view.datamodel.get_filters([]).add_filter_list(view.base_filters)
        statement = view.datamodel.apply_filters(sa.select(view.datamodel.obj.id), filters)
    return session.scalars(statement.limit(1)).first()


@pytest.fixture
def admin(client_for: Callable[..., FlaskClient]) -> FlaskClient:
    return client_for("platform_admin")


def test_every_page_and_tab_of_the_platform_renders_with_few_questions(
    app: Flask, session: Session, full: Actors, admin: FlaskClient, client_for: Callable[..., FlaskClient]
) -> None:
    client_for("owner", full.alice)
    without = []
    for view in shown_views(app, ConsoleView):
        key = some_key(app, session, view)
        if key is None:
            without.append(view.endpoint)
            continue
        page = f"{view.route_base}/show/{key}"
        text_of(admin, page)
        with statements(app) as asked:
            text_of(admin, page)
        assert len(asked) <= MOST_STATEMENTS, (page, asked)
        for item in (*view.tabs, "history"):
            name = getattr(item, "key", item)
            audited = getattr(view.datamodel.obj, "__audited__", False)
            text_of(admin, f"{view.route_base}/tab/{key}/{name}", 200 if name != "history" or audited else 404)
            text_of(admin, f"{page}?tab={name}")
    assert not without


def test_every_page_of_a_merchant_renders(app: Flask, session: Session, full: Actors, client_for: Any) -> None:
    owner, views = client_for("owner", full.alice), shown_views(app, MerchantFace)
    assert len(views) >= 2
    for view in views:
        model = view.datamodel.obj
        key = session.scalar(sa.select(model.id).where(model.merchant_id == full.alice.id))
        for tail in ("", "?drawer=1", *(f"?tab={item.key}" for item in (*view.tabs, Timeline()))):
            text_of(owner, f"{view.route_base}/show/{key}{tail}")


def test_related_rows_are_not_read_before_their_tab_is_opened(full: Actors, admin: FlaskClient) -> None:
    page = text_of(admin, f"/merchantview/show/{full.alice.id}")
    assert full.alice_app.appid not in page
    assert f'hx-get="/merchantview/tab/{full.alice.id}/apps"' in page
    assert full.alice_app.appid in text_of(admin, f"/merchantview/tab/{full.alice.id}/apps")
    assert full.alice_app.appid in text_of(admin, f"/merchantview/show/{full.alice.id}?tab=apps")


def test_a_tab_holds_the_rows_own_lists_only_and_leads_to_all_of_them(full: Actors, admin: FlaskClient) -> None:
    tab = text_of(admin, f"/merchantview/tab/{full.bob.id}/apps")
    assert full.bob_app.appid in tab
    assert full.alice_app.appid not in tab
    assert f'href="/miniprogramview/list/?merchant={full.bob.id}"' in tab
    listed = text_of(admin, f"/miniprogramview/list/?merchant={full.bob.id}")
    assert full.bob_app.appid in listed
    assert full.alice_app.appid not in listed


def test_every_related_list_can_be_narrowed_by_its_relation(app: Flask) -> None:
    views = {view.endpoint: view for view in app.appbuilder.baseviews}  # type: ignore[attr-defined]
    for view in shown_views(app, ConsoleView) + shown_views(app, MerchantFace):
        for item in view.tabs:
            assert isinstance(item, Related | Panel)
            if isinstance(item, Related):
                other = views[item.view]
                assert other.datamodel.get_related_model(item.column) is view.datamodel.obj, (view.endpoint, item.key)
                assert item.column in other.search_columns, (view.endpoint, item.key)


def test_a_tab_that_the_reader_may_not_list_does_not_exist(
    full: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    owner = client_for("owner", full.alice)
    page = f"/myminiprogramview/show/{full.alice_app.id}"
    assert "操作记录" not in visible(text_of(owner, page))
    text_of(owner, f"/myminiprogramview/tab/{full.alice_app.id}/runs", 404)
    text_of(owner, f"/myminiprogramview/tab/{full.bob_app.id}/versions", 404)


def test_a_tab_shows_twenty_rows_and_says_how_many_there_are(
    session: Session, full: Actors, admin: FlaskClient
) -> None:
    app = full.alice_app
    session.add_all(
        Version(merchant_id=app.merchant_id, mini_program_id=app.id, number=f"2.0.{number}") for number in range(30)
    )
    session.commit()
    tab = text_of(admin, f"/miniprogramview/tab/{app.id}/versions")
    assert tab.count("<tr>") == 21
    assert "共 31 条，这里是最新的 20 条" in tab
    assert "2.0.29" in tab
    assert "2.0.5<" not in tab


def test_the_drawer_is_the_page_without_its_frame(full: Actors, operator: FlaskClient) -> None:
    page = text_of(operator, f"/miniprogramview/show/{full.alice_app.id}?drawer=1")
    assert "<html" not in page
    assert '<nav class="side' not in page
    assert f'href="/miniprogramview/show/{full.alice_app.id}"' in page
    assert "审核驳回" in page


def test_the_page_says_what_to_do_next(session: Session, full: Actors, operator: FlaskClient) -> None:
    app = full.alice_app
    change(session, app, permissions=[1, 2], uploaded_version="1.0.2", audit_version="", audit_state="")
    page = text_of(operator, f"/miniprogramview/show/{app.id}")
    assert "测试版本 1.0.2 已上传，可以提交审核" in page
    assert f'class="btn btn-primary" href="/operate/submit_audit?ids={app.id}"' in page
    change(session, app, state=AuthorizationState.REVOKED)
    page = text_of(operator, f"/miniprogramview/show/{app.id}")
    assert f'class="btn btn-primary" href="/authorizationview/add?merchant={full.alice.id}"' in page


def test_a_merchants_next_step_follows_its_launch(session: Session, full: Actors, operator: FlaskClient) -> None:
    page = f"/merchantview/show/{full.bob.id}"
    assert "在小程序页选择模板并上传" in visible(text_of(operator, page))
    assert f'btn-primary" href="/miniprogramview/show/{full.bob_app.id}"' in text_of(operator, page)
    change(session, full.bob_app, merchant_id=full.alice.id)
    assert f'btn-primary" href="/authorizationview/add?merchant={full.bob.id}"' in text_of(operator, page)
    change(session, full.bob, state=MerchantState.SUSPENDED)
    assert "下一步" not in visible(text_of(operator, page))


def test_a_merchants_launch_says_what_the_audit_said(session: Session, full: Actors, operator: FlaskClient) -> None:
    page, app = f"/merchantview/show/{full.bob.id}", full.bob_app
    change(session, app, uploaded_version="1.0.0", audit_version="1.0.0", audit_state=VersionState.REJECTED)
    shown = text_of(operator, page)
    assert 'class="stepper-bad"' in shown
    assert "下一步 审核被驳回，请修改后重提" in visible(shown)
    change(session, app, audit_state=VersionState.APPROVED)
    assert "下一步 审核已通过，可以发布" in visible(text_of(operator, page))


def test_a_lapsed_authorization_is_not_a_step_that_is_done(
    session: Session, full: Actors, operator: FlaskClient
) -> None:
    change(session, full.bob_app, state=AuthorizationState.REVOKED)
    page = text_of(operator, f"/merchantview/show/{full.bob.id}")
    assert "授权已失效，请商户重新授权" in visible(page)
    assert f'btn-primary" href="/authorizationview/add?merchant={full.bob.id}"' in page


def test_what_is_to_be_done_next_is_offered_once(session: Session, full: Actors, operator: FlaskClient) -> None:
    change(session, full.bob_app, merchant_id=full.alice.id)
    page = text_of(operator, f"/merchantview/show/{full.bob.id}")
    assert page.count(f'href="/authorizationview/add?merchant={full.bob.id}"') == 1


def test_an_auditor_sees_the_step_without_its_button(full: Actors, client_for: Callable[..., FlaskClient]) -> None:
    page = text_of(client_for("auditor"), f"/miniprogramview/show/{full.alice_app.id}")
    assert "下一步" in visible(page)
    assert "btn-primary" not in page.split("<main")[1]


def test_a_delete_page_counts_what_belongs_to_the_row(full: Actors, operator: FlaskClient) -> None:
    page = visible(text_of(operator, f"/industryview/delete/{full.alice.industry_id}"))
    assert re.search(r"商户 2 条", page)


def test_a_runs_page_names_the_template_by_its_version(
    app: Flask, session: Session, full: Actors, operator: FlaskClient
) -> None:
    run = session.scalars(sa.select(OperationRun).order_by(OperationRun.id)).first()
    change(session, run, params={"template_id": "7301234567890123456"})
    assert "1.0.1（7301234567890123456）" in text_of(operator, f"/operationrunview/show/{run.id}")
    change(session, run, params={"template_id": "42"})
    assert "42" in visible(text_of(operator, f"/operationrunview/show/{run.id}"))


def test_a_finished_run_says_its_outcome_once_and_when_it_ended(
    session: Session, full: Actors, operator: FlaskClient
) -> None:
    run = session.scalars(sa.select(OperationRun).where(OperationRun.mini_program_id == full.alice_app.id)).first()
    change(session, run, state=RunState.SUCCEEDED, message="", finished_at=datetime(2026, 11, 21, 2, 0, tzinfo=UTC))
    page = text_of(operator, f"/operationrunview/show/{run.id}?drawer=1")
    assert len(re.findall(r'class="state[^>]*>成功', page)) == 1
    assert "2026-11-21 10:00 结束" in visible(page)


# The audit log's own screen.


def test_the_log_says_what_changed_and_leads_to_it(session: Session, full: Actors, admin: FlaskClient) -> None:
    change(session, full.alice, remarks="周末营业", state=MerchantState.SUSPENDED)
    newest = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert newest is not None
    page = text_of(admin, f"/auditentryview/show/{newest.id}")
    assert f'href="/merchantview/show/{full.alice.id}?tab=history"' in page
    assert "周末营业" in page
    assert re.search(r"正常.*停用", visible(page))
    assert "active" not in visible(page)


def test_a_state_changes_as_a_whole_in_the_log(session: Session, full: Actors, admin: FlaskClient) -> None:
    change(session, full.alice_app, audit_version="1.0.2", audit_state="auditing")
    change(session, full.alice_app, audit_state="approved")
    page = text_of(admin, f"/miniprogramview/tab/{full.alice_app.id}/history")
    assert "<del>审核中</del>" in page
    assert "<ins>审核通过</ins>" in page


def test_the_log_is_found_by_its_object(session: Session, full: Actors, admin: FlaskClient) -> None:
    change(session, full.alice, remarks="甲乙丙")
    own = text_of(admin, f"/auditentryview/list/?subject_type=merchant&subject_id=={full.alice.id}&action=update")
    other = text_of(admin, f"/auditentryview/list/?subject_type=merchant&subject_id=={full.bob.id}&action=update")
    assert "爱丽丝花店" in own
    assert "爱丽丝花店" not in other


def test_a_deleted_object_has_no_link(session: Session, full: Actors, admin: FlaskClient) -> None:
    from app.models import Industry

    gone = Industry(name="一时")
    session.add(gone)
    session.commit()
    session.delete(gone)
    session.commit()
    newest = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert newest is not None
    page = text_of(admin, f"/auditentryview/show/{newest.id}")
    assert "打开对象" not in page
    assert "一时" in page


def recorded_actions() -> set[str]:
    """The actions that the code writes into the log, wherever it calls `record` with their name."""
    found = set()
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(Path(path).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "record" and len(node.args) > 1:
                found |= {item.value for item in ast.walk(node.args[1]) if isinstance(item, ast.Constant)}
    return found


def test_every_action_and_kind_of_object_of_the_log_has_words(app: Flask) -> None:
    actions = recorded_actions()
    assert {"login", "log_in_as"} <= actions
    assert actions | {"create", "update", "delete"} <= set(ACTION_WORDS)
    audited = {name for name, model in _models().items() if getattr(model, "__audited__", False)}
    with app.app_context():
        assert audited <= set(subjects()), audited - set(subjects())


def test_every_logged_column_has_a_label(app: Flask) -> None:
    with app.app_context():
        nameless = [
            f"{table}.{name}"
            for table, model in _models().items()
            if getattr(model, "__audited__", False)
            for name, column in sa.inspect(model).columns.items()
            if not is_quiet(column) and name != "id" and label_of(table, name) == name
        ]
    assert not nameless


def test_what_differs_between_two_texts_is_marked() -> None:
    before, after = marked("周末不营业", "周末营业")
    assert before == "周末<del>不</del>营业"
    assert after == "周末营业"
    assert marked("<b>", "<b>!")[1] == "&lt;b&gt;<ins>!</ins>"
    assert marked("甲", "乙") == ("<del>甲</del>", "<ins>乙</ins>")
    assert marked("—", "乙") == ("—", "乙")


def test_the_audit_log_names_a_link_once(app: Flask) -> None:
    entry = AuditEntry(subject_type="authorization_link", subject_id="10", subject_name="授权链接 #10")
    with app.test_request_context():
        assert audited_cell(entry) == "授权链接 #10"
