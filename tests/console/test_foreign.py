"""What is foreign stays letter by letter on English pages: a name that is a word or a sentence of ours is a name."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import escape

from app.data.tenancy import PLATFORM, app_scope
from app.i18n.sentence import Foreign, say
from app.models import AuditEntry, Industry, Merchant, MiniProgram
from app.models.kit.audit import record
from app.models.kit.base import Model
from app.models.kit.notification import Notification
from app.models.kit.operation import OperationRun
from app.models.version import VersionEvent
from app.operations import runs
from tests.console.test_languages import pages, texts
from tests.i18n.odd import ODD
from tests.pages import submit, text_of
from tests.world import ALICE, build, principal

LONGEST = 32  # letters: of a longer text a condition shows the beginning
PLAIN = "Zqx9"  # a name that is no word of anybody's: what it does on a page, every name must do
NAMES = {
    "api_key": ("name",),
    "industry": ("name",),
    "merchant": ("name", "contact", "remarks"),
    "mini_program": (
        *("name", "subject_name", "remarks", "intro"),
        *("uploaded_version", "audit_version", "live_version"),  # Douyin's, too
    ),
    "notification_channel": ("name",),
    "saved_view": ("name",),
    "template": ("description",),
    "template_app": ("name",),
    "third_party_app": ("name",),
    "version": ("reason", "audit_note", "description"),
    "ab_user": ("first_name",),
}


def rename(app: Flask, name: str) -> None:
    """Give every row of alice's the name, and write it wherever people or Douyin can have written."""
    tables = Model.metadata.tables
    with app_scope(app, PLATFORM) as session:
        for table, columns in NAMES.items():
            held = {column: name for column in columns if column in tables[table].c}
            session.execute(sa.update(tables[table]).where(tables[table].c.id == ALICE).values(**held))
        session.execute(
            sa.update(OperationRun.__table__)
            .where(OperationRun.id == ALICE)
            .values(message=Foreign(name), advice=Foreign(name), params={"note": name})
        )
        told = say("「{name}」等待认领", name=name)
        session.execute(sa.update(Notification.__table__).values(title=told, body=Foreign(name)))
        session.execute(sa.update(VersionEvent.__table__).where(VersionEvent.id == ALICE).values(text=Foreign(name)))
        record(
            session, "update", subject=session.get(Merchant, ALICE), remarks=name, permissions=[name], audit_state=name
        )
        record(session, "update", subject=session.get(MiniProgram, ALICE), remarks=name)
        session.commit()


def also(app: Flask, client: FlaskClient, name: str) -> dict[str, str]:
    """Addresses that are asked by scripts, or with something typed."""
    with app_scope(app, PLATFORM) as session:
        updates = sa.select(AuditEntry.id).where(AuditEntry.action == "update")  # those of `rename`
        entries = list(session.scalars(updates.order_by(AuditEntry.id.desc()).limit(2)))
    asked: list[tuple[str, dict[str, str]]] = [
        ("/palette/search", {"q": name}),
        *((f"/auditentryview/show/{entry}", {}) for entry in entries),
        ("/auditentryview/list/", {"q": name}),
        *((f"/{view}/list/", {"q": name}) for view in ("merchantview", "miniprogramview", "operationrunview")),
        ("/merchantview/list/", {"name": name, "contact": f"!{name}", "created_at": name, "_flt_0_state": name}),
        ("/merchantview/list/", {"name": f"{name},b", "merchant": name, "state": name}),
        *((f"/merchantview/tab/{ALICE}/{tab}", {}) for tab in ("history", "mini_programs", "people")),
        *((f"/miniprogramview/tab/{ALICE}/{tab}", {}) for tab in ("history", "timeline", "versions", "runs")),
        (f"/merchantview/show/{ALICE}", {"drawer": "1"}),
        (f"/operationrunview/progress/{ALICE}", {}),
        ("/operate/submit_audit", {"ids": str(ALICE)}),
        ("/operate/release", {"ids": str(ALICE)}),
    ]
    found = {}
    for place, (path, query) in enumerate(asked):
        answer = client.get(path, query_string=query)
        if answer.status_code == 200:
            found[f"{place} {path.rstrip('0123456789')}"] = answer.get_data(as_text=True)
    return found


def words_of(page: str) -> list[str]:
    """The texts of a page, or of what a script is answered."""
    if not page.startswith("{"):
        return texts(page)
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item)
        elif isinstance(value, str) and not value.startswith("/"):  # an address
            found.append(value)

    walk(json.loads(page))
    return found


def folded(text: str) -> str:
    """As the palette looks for it: full-width signs made narrow."""
    return unicodedata.normalize("NFKC", text)


def seen(app: Flask, client: FlaskClient, name: str, read: Callable[..., dict[str, str]]) -> dict[str, list[str]]:
    rename(app, name)
    told = {key: [folded(text) for text in words_of(page)] for key, page in read(app, client, name).items()}
    return {key: [text for text in texts if folded(name) in text] for key, texts in told.items()}


def damage(control: dict[str, list[str]], found: dict[str, list[str]], name: str) -> list[str]:
    """Where a name was said less often than a plain one: it was turned into something else there."""
    name, told = folded(name), []
    for key, lines in control.items():
        left = list(found.get(key, ()))
        wanted = sum(line.count(PLAIN) for line in lines)
        if sum(line.count(name) for line in left) < wanted:
            lost = Counter(line.replace(PLAIN, name) for line in lines) - Counter(left)
            told.append(f"{name!r} {key}: lost {list(lost.elements())}")
    return told


def every_page(app: Flask, client: FlaskClient, _name: str) -> dict[str, str]:
    return pages(app, client)


@pytest.fixture
def english(app: Flask) -> Callable[[str], FlaskClient]:
    """`english("owner")`: somebody of the role who reads English, with a row of everything."""
    with app_scope(app, PLATFORM) as session:
        build(session)

    def known(role: str) -> FlaskClient:
        client = principal(app, role).client
        client.set_cookie("locale", "en")
        return client

    return known


@pytest.mark.parametrize("role", ["platform_admin", "owner"])
def test_names_that_are_words_of_ours_are_names_on_every_english_page(
    app: Flask, english: Callable[[str], FlaskClient], role: str
) -> None:
    client = english(role)
    control, told = seen(app, client, PLAIN, every_page), []
    for name in ("停用", "已保存商户「停用」", "商户"):
        told += damage(control, seen(app, client, name, every_page), name)
    assert sum(map(len, control.values())) > 30
    assert not told, "\n".join(told)


def test_whatever_a_name_is_it_stays_in_lists_tabs_titles_the_palette_and_the_log(
    app: Flask, english: Callable[[str], FlaskClient]
) -> None:
    client = english("platform_admin")
    control = seen(app, client, PLAIN, also)
    assert len(control) > 15
    assert control["1 /auditentryview/show/"], "the log names what it is about"

    @settings(deadline=None, max_examples=12, database=None)
    @example("失败：停用{0}停用{noun}")  # wide and narrow signs in one name
    @given(st.lists(st.sampled_from(ODD), min_size=1, max_size=2).map(lambda parts: "".join(parts)[:LONGEST]))
    def stays(name: str) -> None:
        assert damage(control, seen(app, client, name, also), name) == []

    stays()


@pytest.mark.parametrize("name", ["停用", "已保存商户「停用」", "{name}"])
def test_what_is_done_to_a_row_says_its_name(operator: FlaskClient, trade: Industry, name: str) -> None:
    operator.set_cookie("locale", "en")
    said = submit(operator, "/industryview/add", name=name)
    page = operator.get(said.location).get_data(as_text=True)
    assert str(escape(f"Created Industry “{name}”")) in page
    key = re.findall(r"/industryview/edit/(\d+)", page)[0]
    for path, words in ((f"edit/{key}", "Edit Industry"), (f"delete/{key}", "Delete Industry")):
        assert str(escape(f"{words} “{name}”")) in text_of(operator, f"/industryview/{path}")
    submit(operator, f"/industryview/edit/{key}", name=f"{name}2")
    assert str(escape(f"Saved Industry “{name}2”")) in text_of(operator, f"/industryview/show/{key}")
    submit(operator, f"/industryview/delete/{key}")
    assert str(escape(f"Deleted Industry “{name}2”")) in text_of(operator, "/industryview/list/")


def test_a_chinese_reader_sees_and_rest_tells_the_finished_chinese(
    app: Flask, english: Callable[[str], FlaskClient]
) -> None:
    client = english("platform_admin")
    with app_scope(app, PLATFORM) as session:
        told = say(
            "「{name}」正在进行「{title}」（运行 #{run}，{state}）：请等它结束",
            name="停用",
            title="甲",
            run=1,
            state="乙",
        )
        this = sa.update(OperationRun.__table__).where(OperationRun.id == ALICE)
        session.execute(this.values(message=told, advice=told))
        session.commit()
        assert runs.as_json(session.get_one(OperationRun, ALICE))["message"] == str(told)
    assert "“停用” is busy with “甲”" in client.get(f"/operationrunview/progress/{ALICE}").get_json()["message"]
    client.set_cookie("locale", "zh")
    assert client.get(f"/operationrunview/progress/{ALICE}").get_json()["message"] == str(told)
