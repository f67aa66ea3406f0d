"""Both faces of a table from one declaration: a merchant sees of it what one list names, and nothing by accident."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask

from app import views
from app.access.roles import OWNER, READS, WATCHED
from app.console.base import ConsoleView, MerchantFace, PlatformView
from app.console.declarations import faults
from app.console.query.interface import ScopedInterface
from app.errors import DeclarationError
from app.models import Merchant, Version
from app.views.mini_program import MiniProgramView, MyMiniProgramView
from app.views.version import MyVersionView, VersionView


class BothPages(ConsoleView):
    noun = "版本"
    list_columns = ["number", "state", "template_id", "mini_program"]
    search_columns = ["state", "template_id"]
    chip_column = "state"
    show_sections = [("版本", ["number", "template_id"]), ("内部", ["ext_json"])]
    edit_columns = ["template_id"]


def my_face(**said: Any) -> Any:
    said = {"roles": {OWNER: READS}, "datamodel": ScopedInterface(Version), **said}
    return type("MyOwnView", (BothPages, MerchantFace), said)


def test_a_merchant_sees_what_is_open() -> None:
    face = my_face(open_columns=frozenset({"number", "state"}))
    assert face.list_columns == ["number", "state"]
    assert face.search_columns == ["state"]
    assert face.edit_columns == []
    assert face.show_sections == [("版本", ["number"])]  # a section of which nothing is open is not there
    assert BothPages.list_columns == ["number", "state", "template_id", "mini_program"]
    platform = type("OwnView", (BothPages, PlatformView), {"roles": WATCHED, "datamodel": ScopedInterface(Version)})
    assert platform.show_sections == BothPages.show_sections


def test_a_list_of_its_own_goes_before() -> None:
    face = my_face(open_columns=frozenset({"number", "state", "reason"}), list_columns=["reason", "number"])
    assert (face.list_columns, face.search_columns) == (["reason", "number"], ["state"])


def test_a_list_of_its_own_names_nothing_else() -> None:
    face = my_face(open_columns=frozenset({"number"}), list_columns=["number", "hosts", "ext_json"])
    told = [
        "MyOwnView.list_columns names what `open_columns` does not: ext_json, hosts",
        "MyOwnView.chip_column is state, which `open_columns` does not name",
    ]
    assert [sentence for sentence in faults([face]) if "open_columns" in sentence] == told
    with pytest.raises(DeclarationError, match=re.escape("; ".join(told))):
        views.view_roles([face])


def test_nothing_is_taken_over_unsaid() -> None:
    face = my_face()
    assert face.list_columns == face.search_columns == face.edit_columns == face.show_sections == []
    sentence = "MyOwnView takes list_columns, .*, show_sections from both faces: say in `open_columns`"
    with pytest.raises(DeclarationError, match=sentence):
        views.view_roles([face])


def test_a_face_that_is_declared_alone_is_as_declared() -> None:
    said = {"roles": {OWNER: READS}, "datamodel": ScopedInterface(Merchant), "list_columns": ["name"]}
    assert type("MyOwnView", (MerchantFace,), said).list_columns == ["name"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("whole", "mine"), [(MiniProgramView, MyMiniProgramView), (VersionView, MyVersionView)])
def test_both_faces_are_of_one_declaration(app: Flask, whole: Any, mine: Any) -> None:
    assert mine.__mro__[1] in whole.__mro__
    assert mine.__mro__[1] is not ConsoleView
    for name in ("noun", "icon", "label_columns", "cells"):
        assert getattr(whole, name) == getattr(mine, name), name
    shown = {name for _title, names in mine.show_sections for name in names}
    assert shown <= mine.open_columns
    assert not shown & {"ext_json", "audit_note", "token_fault", "remarks", "third_party_app", "merchant"}
