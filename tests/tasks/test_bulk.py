"""The same values for many rows: what is changed, counted, refused and said, and how values travel in a task."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from app.errors import Refused
from app.models import Industry, Merchant, MiniProgram, Version, VersionState
from app.models.kit.audit import AuditEntry
from app.models.kit.task import Task
from app.models.merchant import MerchantState, SubjectType
from app.tasks import bulk
from app.tasks.bulk import Outcome
from app.tasks.tables import Hooks
from tests.conftest import Actors, refresh


@pytest.fixture
def shops(session: Session, actors: Actors) -> list[int]:
    """Five merchants' numbers."""
    session.rollback()
    trade = session.scalars(select(Industry)).one()
    rows = [Merchant(name=f"店{place}", industry=trade, plan="基础版") for place in range(5)]
    session.add_all(rows)
    session.commit()
    return [row.id for row in rows]


def values_of(session: Session, ids: list[int], name: str) -> list[Any]:
    refresh(session)
    return [getattr(session.get_one(Merchant, key), name) for key in ids]


def change(session: Session, ids: list[int], values: dict[str, Any], **more: Any) -> Outcome:
    refresh(session)
    return bulk.change(session, Merchant, ids, values, **more)


# The outcome.


def test_outcomes_add_up() -> None:
    total = Outcome(2, 1, Counter({"甲": 1}))
    total.add(Outcome(3, 4, Counter({"甲": 2, "乙": 1})))
    assert (total.changed, total.same, total.done, total.failed) == (5, 5, 10, 4)
    assert total.refused == {"甲": 3, "乙": 1}


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(1234), "已修改 1,234 条"),
        (Outcome(1, 2), "已修改 1 条，2 条本来就是这样"),
        (Outcome(1, 0, Counter({"乙": 1, "甲": 3})), "已修改 1 条，4 条未修改：甲（3 条）；乙（1 条）"),
    ],
)
def test_an_outcome_is_one_sentence(outcome: Outcome, words: str) -> None:
    assert outcome.words() == words


def test_of_many_reasons_the_five_most_frequent_are_said() -> None:
    words = Outcome(0, 0, Counter({f"因{place}": place for place in range(1, 8)})).words()
    assert [f"因{place}（" in words for place in range(1, 8)] == [False, False, *[True] * 5]
    assert "28 条未修改" in words


# The change.


def test_rows_get_the_values_and_those_that_had_them_are_counted_apart(session: Session, shops: list[int]) -> None:
    change(session, shops[:2], {"plan": "年度版"})
    outcome = change(session, shops, {"plan": "年度版"})
    assert (outcome.changed, outcome.same, outcome.failed) == (3, 2, 0)
    assert values_of(session, shops, "plan") == ["年度版"] * 5


def test_each_change_has_its_line_in_the_log_and_no_other(session: Session, shops: list[int]) -> None:
    change(session, shops[:1], {"plan": "年度版"})
    change(session, shops, {"plan": "年度版"})
    lines = session.scalars(select(AuditEntry.subject_id).where(AuditEntry.action == "update")).all()
    assert sorted(lines) == sorted(map(str, shops))


@pytest.mark.parametrize(
    ("name", "encoded", "kept"),
    [
        ("state", "suspended", MerchantState.SUSPENDED),
        ("subject_type", "individual", SubjectType("individual")),
        ("expires_on", "2031-05-04", date(2031, 5, 4)),
        ("expires_on", None, None),
        ("commission_rate", "12.5", 12.5),
        ("remarks", "两\n行", "两\n行"),
    ],
)
def test_values_come_out_of_a_task_as_their_columns_keep_them(
    session: Session, shops: list[int], name: str, encoded: Any, kept: Any
) -> None:
    change(session, shops[:1], {name: encoded})
    assert values_of(session, shops[:1], name) == [kept]
    assert change(session, shops[:1], {name: encoded}).same == 1  # it is known again


def test_a_related_row_goes_by_its_number(session: Session, shops: list[int]) -> None:
    other = Industry(name="鲜花")
    session.add(other)
    session.commit()
    key = other.id
    assert change(session, shops, {"industry": key}).changed == 5
    assert values_of(session, shops, "industry_id") == [key] * 5
    with pytest.raises(Refused) as refused:
        change(session, shops, {"industry": 99_999})
    assert refused.value.field == "industry"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("expires_on", date(2031, 5, 4), "2031-05-04"),
        ("expires_on", None, None),
        ("remarks", "字", "字"),
        ("state", MerchantState.ACTIVE, "active"),
        ("commission_rate", Decimal("1.50"), "1.50"),
    ],
)
def test_values_go_into_a_task_as_json_keeps_them(name: str, given: Any, kept: Any) -> None:
    made = bulk.encoded(Merchant, name, given)
    assert made == kept and type(made) is type(kept)


def test_a_row_goes_into_a_task_by_its_number(actors: Actors) -> None:
    assert bulk.encoded(Merchant, "industry", actors.alice.industry) == actors.alice.industry_id
    assert bulk.encoded(MiniProgram, "merchant", None) is None


def test_models_are_found_by_their_tables() -> None:
    assert bulk.model_named("merchant") is Merchant
    with pytest.raises(LookupError):
        bulk.model_named("no_such_table")


def test_what_a_screen_refuses_stays_as_it_was_and_the_others_are_saved(session: Session, shops: list[int]) -> None:
    saved: list[int] = []

    def check(row: Merchant) -> None:
        row.remarks = "看过"
        if row.id == shops[1]:
            raise Refused("这家不行")

    outcome = change(session, shops, {"plan": "新"}, hooks=Hooks(check, lambda row: saved.append(row.id)))
    assert (outcome.changed, dict(outcome.refused)) == (4, {"这家不行": 1})
    assert values_of(session, shops, "plan") == ["新", "基础版", "新", "新", "新"]
    assert values_of(session, shops, "remarks") == ["看过", "", "看过", "看过", "看过"]
    assert sorted(saved) == [key for key in shops if key != shops[1]]


def test_rows_that_are_gone_are_counted_once_however_often_they_are_named(session: Session, shops: list[int]) -> None:
    outcome = change(session, [*shops, 99_998, 99_999, 99_999], {"plan": "新"})
    assert (outcome.changed, dict(outcome.refused)) == (5, {bulk.GONE: 2})


@pytest.mark.parametrize(
    ("values", "sentence"), [({"name": "爱丽丝花店"}, bulk.TAKEN), ({"industry": None}, "与已有数据冲突")]
)
def test_what_the_database_refuses_is_said_row_by_row(
    session: Session, shops: list[int], values: dict[str, Any], sentence: str
) -> None:
    outcome = change(session, shops[:2], values)
    assert (outcome.changed, dict(outcome.refused)) == (0, {sentence: 2})


def test_a_row_that_somebody_changes_meanwhile_is_left_to_them(session: Session, actors: Actors) -> None:
    """As `change` writes, the row has got another version."""
    refresh(session)
    rows = [
        Version(
            merchant_id=actors.alice.id,
            mini_program_id=actors.alice_app.id,
            number=f"1.0.{place}",
            state=VersionState.UPLOADED,
        )
        for place in range(3)
    ]
    session.add_all(rows)
    session.commit()
    ids = [row.id for row in rows]
    taken = ids[1]

    def meddle(*_given: Any) -> None:
        session.connection().exec_driver_sql(f"UPDATE version SET row_version = row_version + 1 WHERE id = {taken}")

    event.listen(session, "before_flush", meddle)
    try:
        outcome = bulk.change(session, Version, ids, {"description": "新"})
    finally:
        event.remove(session, "before_flush", meddle)
    assert (outcome.changed, dict(outcome.refused)) == (2, {"记录刚被他人或系统更新": 1})


def test_a_few_hundred_rows_are_one_transaction_and_progress_is_told_after_each(
    session: Session, shops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    told: list[tuple[int, int]] = []
    commits: list[int] = []
    event.listen(session, "after_commit", lambda _session: commits.append(len(told)))
    change(session, [*shops, 99_999], {"plan": "新"}, progress=lambda done, failed: told.append((done, failed)))
    assert told == [(2, 0), (4, 0), (5, 1)]
    assert commits == [0, 1, 2]


def test_of_one_task_so_many_rows_are_taken(
    session: Session, shops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST", 3)
    monkeypatch.setattr(bulk, "CHUNK", 1)
    assert change(session, shops, {"plan": "新"}).changed == 3


def test_it_ends_when_it_is_told_to_and_only_then(
    session: Session, shops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 1)
    assert change(session, shops, {"plan": "新"}, progress=lambda done, _failed: done < 2).changed == 2
    assert change(session, shops, {"plan": "又新"}, progress=lambda *_: None).changed == 5


def test_a_task_is_done_with_its_screens_hooks(
    app: Flask, session: Session, shops: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    hooks = {"OwnView": Hooks(lambda row: checked.append(row.id), lambda _row: None)}
    monkeypatch.setitem(app.extensions, "tables", replace(app.extensions["tables"], hooks=hooks))
    task = Task(view="OwnView", params={"model": "merchant", "ids": shops, "values": {"plan": "新"}})
    told: list[tuple[int, int]] = []
    outcome = bulk.apply(session, task, lambda done, failed: told.append((done, failed)))
    assert (outcome.changed, told, sorted(checked)) == (5, [(5, 0)], shops)


def test_a_task_of_a_screen_without_hooks_is_done_too(session: Session, shops: list[int]) -> None:
    task = Task(view="NoSuchView", params={"model": "merchant", "ids": shops, "values": {"plan": "新"}})
    assert bulk.apply(session, task).changed == 5
