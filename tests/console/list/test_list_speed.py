"""What lists cost: few statements however many rows, capped counts, deep pages and orders that stay right."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.base import ConsoleView, MerchantFace
from app.console.query import interface
from app.console.query.filters import Is, QuickSearch
from app.console.query.interface import Count, ScopedInterface
from app.data.clock import utcnow
from app.data.engine import reading, writing
from app.data.tenancy import app_scope, merchant_scope
from app.extensions import db
from app.models import Industry, Merchant, MiniProgram, Version
from tests.conftest import Actors
from tests.console.made import fill
from tests.pages import text_of

MOST_STATEMENTS = 4
NO_QUERY = ("BEGIN", "SAVEPOINT", "ROLLBACK", "COMMIT")


@contextmanager
def statements() -> Iterator[list[str]]:
    made: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.startswith(NO_QUERY):
            made.append(statement)

    sa.event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield made
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", note)


def lists(app: Flask) -> list[ConsoleView]:
    views = [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]
    found = [view for view in views if "list" in view.include_route_methods]
    assert len(found) >= 15
    return found


def test_every_list_takes_four_statements_at_most_with_one_row_and_with_a_hundred(
    app: Flask, session: Session, actors: Actors, client_for: Callable[..., FlaskClient]
) -> None:
    platform, owner = client_for("platform_admin"), client_for("owner", actors.alice)
    over, empty = {}, []
    for view in lists(app):
        client = owner if isinstance(view, MerchantFace) else platform
        address = f"{view.route_base}/list/?psize=100"
        for count in (2, 200):
            with writing():
                session.rollback()
                fill(session, view.datamodel.obj.__table__, count, actors.alice.id)
                session.commit()
            text_of(client, address)
            with statements() as made:
                page = text_of(client, address)
            if len(made) > MOST_STATEMENTS:
                over[view.endpoint, count] = made
        if page.split("<tbody")[-1].count("<tr") < 50:
            empty.append(view.endpoint)
    assert not over, "\n\n".join(f"{name}: {len(made)}\n" + "\n".join(made) for name, made in over.items())
    assert not empty


def test_a_pages_permission_checks_ask_the_database_nothing(app: Flask, actors: Actors, operator: FlaskClient) -> None:
    manager = app.appbuilder.sm  # type: ignore[attr-defined]
    plain, taken = manager.has_access, []
    with statements() as made:

        def noted(permission: str, view: str) -> bool:
            before = len(made)
            answer = plain(permission, view)
            taken.append(len(made) - before)
            return bool(answer)

        manager.has_access = noted
        try:
            text_of(operator, "/miniprogramview/list/")
        finally:
            del manager.has_access
    assert len(taken) >= 4
    assert sum(taken) == 0


def test_the_session_its_user_and_the_users_roles_are_one_statement(session: Session, operator: FlaskClient) -> None:
    text_of(operator, "/merchantview/list/")  # the first page of a session stores its form token
    with statements() as made:
        text_of(operator, "/merchantview/list/")
    assert [one for one in made if "web_session" in one] == [one for one in made if "ab_user" in one]
    assert len([one for one in made if "web_session" in one]) == 1


@pytest.mark.parametrize("address", ["/merchantview/list/", "/miniprogramview/list/", "/versionview/list/"])
def test_a_page_of_twenty_five_rows_is_thirty_kilobytes_at_most(
    session: Session, operator: FlaskClient, actors: Actors, address: str
) -> None:
    versions_of_many(session, actors, 26)
    page = operator.get(address)
    assert page.get_data(as_text=True).count("<tr data-id=") == 25
    assert len(page.get_data()) <= 30 * 1024


def test_a_page_does_not_grow_with_what_its_reader_may_see_elsewhere(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    versions_of_many(session, actors, 26)
    before = len(operator.get("/merchantview/list/").get_data())
    versions_of_many(session, actors, 300, start=100)
    text_of(operator, "/merchantview/list/")
    assert abs(len(operator.get("/merchantview/list/").get_data()) - before) < 200


def versions_of_many(session: Session, actors: Actors, count: int, start: int = 0) -> None:
    """So many merchants, each with a mini-program and a version that was submitted and released."""
    now, owner = utcnow(), actors.alice_app.third_party_app_id
    for place, merchant in enumerate(merchants(session, count, name=f"朝阳区第{start}美容院"), start):
        program = MiniProgram(
            third_party_app_id=owner,
            merchant=merchant,
            appid=f"tt{place:018x}",
            name=f"朝阳美容院{place:05}号",
            state="authorized",
            uploaded_version="1.0.2",
            audit_version="1.0.2",
            audit_state="auditing",
            live_version="1.0.1",
            refresh_expires_at=now + timedelta(days=20),
            permissions=[1, 2, 3],
        )
        version = Version(
            merchant_id=merchant.id,
            mini_program=program,
            number="1.0.2",
            description="修复已知问题",
            state="released",
            uploaded_at=now - timedelta(days=30),
            submitted_at=now - timedelta(days=30),
        )
        session.add_all([program, version])
    session.commit()


# The query itself.


def merchants(session: Session, count: int, *, name: str = "商户") -> list[Merchant]:
    trades = [Industry(name=f"{name}行业{n}", position=n) for n in range(3)]
    now = utcnow()
    made = [
        Merchant(name=f"{name}{n:04d}", industry=trades[n % 3], created_at=now - timedelta(minutes=n * 37 % 50))
        for n in range(count)
    ]
    session.add_all(made)
    session.commit()
    return made


def data(app: Flask, name: str) -> ScopedInterface:
    return next(view.datamodel for view in lists(app) if view.endpoint == name)  # type: ignore[no-any-return]


def searching(model: ScopedInterface, text: str, *columns: str) -> Any:
    return model.get_filters().add_filter(columns[0], QuickSearch, (columns, text))


def test_a_count_ends_at_its_cap(app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    merchants(session, 40)
    model = data(app, "MerchantView")
    monkeypatch.setattr(interface, "COUNTED", 39)
    count, rows = model.query(None, page=0, page_size=25)
    assert (int(count), count.capped, count.more, len(rows)) == (39, True, True, 25)
    count, rows = model.query(None, page=1, page_size=25)
    assert (int(count), count.capped, count.more, len(rows)) == (40, False, False, 15)  # the last page knows
    monkeypatch.setattr(interface, "COUNTED", 40)
    count, rows = model.query(None, page=0, page_size=25)
    assert (int(count), count.capped, count.more) == (40, False, True)


def test_a_page_beyond_the_last_is_empty_and_still_knows_the_count(app: Flask, session: Session) -> None:
    merchants(session, 40)
    count, rows = data(app, "MerchantView").query(None, page=9, page_size=25)
    assert (int(count), count.capped, count.more, rows) == (40, False, False, [])


def test_a_page_that_holds_all_rows_is_not_counted(app: Flask, session: Session) -> None:
    merchants(session, 25)
    with statements() as made:
        count, rows = data(app, "MerchantView").query(None, page=0, page_size=25)
    assert (int(count), len(rows), len(made)) == (25, 25, 1)


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("column", ["", "created_at", "industry"])
def test_a_deep_page_holds_what_the_same_page_holds_when_read_plainly(
    app: Flask, session: Session, column: str, direction: str
) -> None:
    made = merchants(session, 560)
    keys: dict[str, Callable[[Merchant], Any]] = {
        "": lambda row: row.id,
        "created_at": lambda row: (row.created_at, row.id),
        "industry": lambda row: (row.industry.name, row.id),
    }
    expected = [row.id for row in sorted(made, key=keys[column], reverse=direction == "desc")]
    seen = []
    for page in range(23):
        _count, rows = data(app, "MerchantView").query(None, column, direction, page=page, page_size=25)
        seen += [row.id for row in rows]
    assert seen == expected


def test_an_order_by_a_relation_keeps_rows_that_have_none(app: Flask, session: Session, actors: Actors) -> None:
    session.add(MiniProgram(third_party_app_id=actors.alice_app.third_party_app_id, appid="ttnobody00000001"))
    session.commit()
    plain = ScopedInterface(MiniProgram, eager=("merchant",))
    count, rows = plain.query(None, "merchant", "asc", page=0, page_size=25)
    assert int(count) == len(rows) == 3
    named = [row.merchant.name for row in rows if row.merchant]
    assert named == sorted(["爱丽丝花店", "鲍勃面馆"])


def test_mini_programs_follow_the_names_of_their_merchants(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    owners = merchants(session, 30, name="甲")
    owner = actors.alice_app.third_party_app_id
    session.add_all(
        MiniProgram(third_party_app_id=owner, merchant=merchant, appid=f"ttorder{n:09d}", name=f"程序{n:02d}")
        for n, merchant in enumerate(reversed(owners))
    )
    session.commit()
    page = text_of(operator, "/miniprogramview/list/?order=merchant&way=asc&psize=100")
    shown = re.findall(r"甲\d{4}", page.split("<tbody")[1])
    assert list(dict.fromkeys(shown)) == [merchant.name for merchant in owners]


# Searching.


@pytest.mark.parametrize("cap", [3, 1000])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("花", 8),
        ("花店3", 1),
        ("SHOP", 8),
        ("shop3", 1),
        ("100%", 1),
        ("_", 1),
        ("/", 1),
        ("没有", 0),
        ("é", 1),
        ("'", 0),
    ],
)
def test_a_search_finds_the_same_few_or_many_at_a_time(
    app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch, text: str, found: int, cap: int
) -> None:
    trade = Industry(name="行业")
    names = [f"花店{n} Shop{n}" for n in range(8)] + ["满100%返_利", "a/é", "面馆"]
    session.add_all(Merchant(name=name, industry=trade) for name in names)
    session.commit()
    monkeypatch.setattr(interface, "FOUND", cap)
    model = data(app, "MerchantView")
    count, rows = model.query(searching(model, text, "name", "contact"), "name", "asc", page=0, page_size=25)
    assert len(rows) == found
    assert [row.name for row in rows] == sorted(row.name for row in rows)
    assert (int(count), count.capped) == ((cap, True) if found > cap else (found, False))


def test_the_pages_of_a_search_follow_each_other(app: Flask, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    made = merchants(session, 60)
    model = data(app, "MerchantView")
    for cap in (10, 1000):
        monkeypatch.setattr(interface, "FOUND", cap)
        filters = searching(model, "商户", "name")
        pages = [model.query(filters, "name", "asc", page=page, page_size=25) for page in range(4)]
        assert [row.name for _count, rows in pages for row in rows] == sorted(merchant.name for merchant in made)
        assert [count.more for count, _rows in pages] == [True, True, False, False]


def test_a_search_and_a_condition_both_hold(app: Flask, session: Session) -> None:
    made = merchants(session, 30)
    model = data(app, "MerchantView")
    filters = searching(model, "商户", "name").add_filter("name", Is, "商户0007")
    _count, rows = model.query(filters, page=0, page_size=25)
    assert [row.id for row in rows] == [made[7].id]


# The merchants' side.


def test_a_merchants_pages_searches_and_counts_are_its_own(
    app: Flask, session: Session, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in (actors.alice_app, actors.bob_app):
        session.add_all(
            Version(merchant_id=program.merchant_id, mini_program=program, number=f"1.0.{n}", description="说明")
            for n in range(30)
        )
    session.commit()
    monkeypatch.setattr(interface, "DEEP", 1)
    model = data(app, "MyVersionView")
    with app_scope(app, merchant_scope(actors.alice.id)), reading():
        for filters, order, cap in itertools.product(
            (None, searching(model, "说明", "description")), ("", "mini_program"), (5, 1000)
        ):
            monkeypatch.setattr(interface, "FOUND", cap)
            pages = [model.query(filters, order, "asc", page=page, page_size=20) for page in range(2)]
            assert {row.merchant_id for _count, rows in pages for row in rows} == {actors.alice.id}
            assert sum(len(rows) for _count, rows in pages) == 30
        assert int(pages[0][0]) == 30


def test_a_count_says_more_than_a_number() -> None:
    assert Count(5) == 5
    assert not Count(5).capped
    assert Count(5, capped=True, more=True).more
