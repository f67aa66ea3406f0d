"""Types of columns, on every database: what is written comes back, and is found."""

from __future__ import annotations

from enum import StrEnum

import pytest
from flask import Flask
from sqlalchemy import select

from app.data.tenancy import PLATFORM, app_scope
from app.data.types import worded
from app.i18n.sentence import Foreign, Sentence, say
from app.models.records import JobRun

SAVED = say("已保存{noun}「{name}」", noun=say("商户"), name="停用")


def test_a_column_keeps_a_sentence_and_is_searched_by_its_words(app: Flask) -> None:
    with app_scope(app, PLATFORM) as session:
        for slot, result in enumerate((SAVED, Foreign("停用"), "停用")):
            session.add(JobRun(job="test", slot=str(slot), result=result))
        session.commit()
        session.expire_all()
        rows = list(session.scalars(select(JobRun).order_by(JobRun.slot)))
        assert [(type(row.result), str(row.result)) for row in rows] == [
            (Sentence, str(SAVED)),
            (Foreign, "停用"),
            (str, "停用"),
        ]
        assert rows[0].result.in_language("en") == "Saved Merchant “停用”"
        for condition, count in (
            (JobRun.result == str(SAVED), 1),
            (JobRun.result == SAVED, 1),
            (JobRun.result == "停用", 2),
            (JobRun.result.contains("商户「停用」", autoescape=True), 1),
        ):
            assert len(list(session.scalars(select(JobRun.id).where(condition)))) == count


def test_a_colour_that_is_none_is_refused() -> None:
    class Odd(StrEnum):
        ONE = "one"

    with pytest.raises(TypeError, match="Odd: purple is no colour, but one of bad, busy, good, mute, warn"):
        worded({"one": "一"}, tones={"one": "purple"})(Odd)
