"""A new kind of value is one class in each half: everything else follows from the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.dialects import sqlite
from werkzeug.datastructures import MultiDict
from wtforms import Field

from app.console.form.forms import ConsoleForm
from app.console.kinds import controls, field_of
from app.console.kinds.face import FACES, Asked, Face, face_of
from app.console.kinds.fields import TypedField
from app.console.kinds.parts import Part
from app.data.kinds import kind_of
from app.data.kinds.base import NAMED, Kind
from app.errors import Refused

GRAMS = sa.Column("x", sa.Integer, nullable=False, info={"kind": "weight"})
pytestmark = pytest.mark.any_database("asks no database")


@pytest.fixture(autouse=True)
def _weights() -> Iterator[None]:
    kind_of.cache_clear()
    before, faces = dict(NAMED), dict(FACES)

    class Weight(Kind, named="weight"):
        """Grams, read and written as kilograms."""

        operators = ("eq", "gte", "lte")

        def parse(self, text: str, label: str) -> int:
            number = text.removesuffix("公斤").strip()
            if not number.replace(".", "", 1).isdigit():
                raise Refused(f"{label}应为公斤数")
            return round(float(number) * 1000)

        def asked(self, text: str) -> int:
            return self.parse(text, "")

        def plain(self, value: Any) -> str:
            return "" if value is None else f"{value / 1000:g} 公斤"

    class Scales(Face, kind=Weight):
        """At the right, as numbers are."""

        at_right, control = True, controls.Number()

        def cell(self, kind: Weight, value: Any, _name: str) -> str:
            return kind.plain(value)

        def field(self, kind: Weight, asked: Asked) -> Field:
            return TypedField(**asked.common, kind=kind, written=kind.plain, validators=asked.rules)

    yield
    for register, kept in ((NAMED, before), (FACES, faces)):
        register.clear()  # type: ignore[attr-defined]
        register.update(kept)  # type: ignore[arg-type]
    kind_of.cache_clear()
    face_of.cache_clear()


def test_a_form_asks_for_it_as_people_write_it(app: Flask) -> None:
    made = type("OneForm", (ConsoleForm,), {"weight": field_of(GRAMS, "净重", "")})
    with app.test_request_context("/", method="POST"):
        form = made(formdata=MultiDict([("weight", "1.5 公斤")]), meta={"csrf": False})
        assert form.validate() and form.weight.data == 1500
        form = made(formdata=MultiDict([("weight", "半斤")]), meta={"csrf": False})
        assert not form.validate() and form.errors == {"weight": ["净重应为公斤数"]}
        assert 'value="半斤"' in str(form.weight())
        assert 'value="2 公斤"' in str(made(data={"weight": 2000}, meta={"csrf": False}).weight())


def test_a_list_shows_it_and_is_asked_about_it(app: Flask) -> None:
    kind = kind_of(GRAMS)
    face = face_of(kind)
    assert (str(face.look(kind, 500)), face.at_right) == ("0.5 公斤", True)
    assert face.control is not None
    made = face.control.sql(kind, sa.column("x", GRAMS.type), Part("0.5..2"))
    shown = made.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    assert str(shown) == "x >= 500 AND x <= 2000"


def test_a_file_and_a_task_hold_it() -> None:
    kind = kind_of(GRAMS)
    assert kind.exported(500) == "0.5 公斤" and kind.parse(kind.exported(500), "净重") == 500
    assert kind.decode(kind.encode(500)) == 500
