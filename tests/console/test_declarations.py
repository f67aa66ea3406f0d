"""What a screen declares is looked over when the application starts: each wrong name in a sentence, all at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app import views
from app.console import declarations
from app.console.row.tabs import Related
from app.data.kinds import kind_of
from app.errors import DeclarationError
from app.factory import create_app
from app.models import Merchant
from app.views.merchant import IndustryView, MerchantView
from app.views.mini_program import MiniProgramView, MyMiniProgramView
from app.views.third_party_app import ThirdPartyAppView
from app.views.version import MyVersionView, VersionView
from tests.conftest import ROOT, test_environment


def told() -> str:
    return "; ".join(declarations.faults(views.screens()))


def started(tmp_path: Path) -> Flask:
    return create_app(test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("attribute", "said", "name"),
    [
        *(
            (name, ["name", "nmae"], "nmae")
            for name in (
                "list_columns",
                "more_columns",
                "card_columns",
                "search_columns",
                "quick_columns",
                "order_columns",
                "add_columns",
                "edit_columns",
                "inline_columns",
                "bulk_columns",
                "export_columns",
                "ahead_columns",
                "optional_columns",
                "state_columns",
            )
        ),
        ("chip_column", "sttae", "sttae"),
        ("copied", "kye", "kye"),
        ("number_columns", frozenset({"cuont"}), "cuont"),
        ("order_by_drag", "positoin", "positoin"),
        ("base_order", ("craeted_at", "desc"), "craeted_at"),
        ("show_sections", [("基本信息", ["name", "nmae"])], "nmae"),
        ("form_sections", [("基本信息", ["name", "nmae"])], "nmae"),
        ("description_columns", {"nmae": "在控制台中唯一"}, "nmae"),
        ("cells", {"nmae": str}, "nmae"),
        ("export_cells", {"nmae": str}, "nmae"),
        ("value_checks", {"nmae": str}, "nmae"),
        ("field_rules", {"expires_no": ("plan", "*")}, "expires_no"),
        ("field_rules", {"expires_on": ("paln", "*")}, "paln"),
        ("required_secrets", ("secert",), "secert"),
        ("base_filters", [["nmae", str, True]], "nmae"),
        ("chip_flags", ("lvie",), "lvie"),
        ("include_route_methods", frozenset({"list", "shwo"}), "shwo"),
        ("icon", "building-sotre", "building-sotre"),
        ("palette_add", ("新建商户", "building-sotre"), "building-sotre"),
    ],
)
def test_a_misspelt_name_stops_the_start(monkeypatch: pytest.MonkeyPatch, attribute: str, said: Any, name: str) -> None:
    monkeypatch.setattr(MerchantView, attribute, said)
    assert re.search(rf"MerchantView\.{attribute} names {name}, ", told())


@pytest.mark.parametrize(
    ("attribute", "said", "sentence"),
    [
        ("eager", ("industyr",), "eager names industyr, but Merchant has no relation industyr"),
        ("eager", ("industry.nmae",), "eager names industry.nmae, but Industry has no relation nmae"),
        ("leave", ("remraks",), "leave names remraks, which is no column or relation of its table"),
        ("always", frozenset({"industyr"}), "always names industyr, which is no column or relation of its table"),
    ],
)
def test_what_the_data_model_is_told_is_looked_over(
    monkeypatch: pytest.MonkeyPatch, attribute: str, said: Any, sentence: str
) -> None:
    monkeypatch.setattr(MerchantView.datamodel, attribute, said)
    assert re.search(re.escape(f"MerchantView.{sentence}"), told())


@pytest.mark.parametrize(
    ("view", "attribute", "said", "sentence"),
    [
        (MerchantView, "bulk_columns", ["key"], "names key, which is not in edit_columns"),
        (MerchantView, "inline_columns", ["phone"], "names phone, which is changed in the whole form only"),
        (MerchantView, "inline_columns", ["industry"], "names industry, which is changed in the whole form only"),
        (ThirdPartyAppView, "bulk_columns", ["secret"], "names secret, which is changed in the whole form only"),
        (MerchantView, "edit_columns", ["name_folded"], "names name_folded, which is of a kind that has no"),
        (MerchantView, "list_columns", ["phone"], "names phone, which is no attribute of its rows that is not sealed"),
        (MerchantView, "card_columns", ["phone"], "names phone, which is no attribute of its rows that is not sealed"),
        (MerchantView, "show_sections", [("x", ["phone"])], "names phone, which is no attribute of its rows that is"),
        (ThirdPartyAppView, "export_columns", ["secret"], "names secret, which is no attribute of its rows that is"),
    ],
)
def test_what_cannot_be_changed_there_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, view: Any, attribute: str, said: list[str], sentence: str
) -> None:
    monkeypatch.setattr(view, attribute, said)
    assert re.search(f"{view.__name__}.{attribute} {sentence}", told())


def test_a_tab_of_rows_that_do_not_lead_here_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    tab = Related("apps", "小程序", "MiniProgramView", "merhcant")
    monkeypatch.setattr(MerchantView, "tabs", (tab,))
    assert re.search(r"MerchantView.tabs \(apps\) names merhcant, but MiniProgram has no", told())


def test_a_kind_that_there_is_not_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    kind_of.cache_clear()
    monkeypatch.setitem(Merchant.__table__.c.contact.info, "kind", "colour")
    try:
        assert re.search(r"MerchantView: merchant.contact asks for .* there is not: colour", told())
    finally:
        monkeypatch.undo()
        kind_of.cache_clear()


def test_a_screen_of_no_table_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MerchantView, "datamodel", None)
    assert "MerchantView says no datamodel" in told()


def test_of_a_merchants_face_what_it_takes_over_is_looked_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its base's lists it has what is open; a misspelt name is not, and would be missed by nobody."""
    base = MyVersionView.__mro__[1]
    monkeypatch.setattr(base, "more_columns", ["nubmer"], raising=False)
    monkeypatch.setattr(VersionView, "more_columns", [])
    assert f"MyVersionView.more_columns (in {base.__name__}) names nubmer, which" in told()
    monkeypatch.undo()
    monkeypatch.setattr(MyMiniProgramView, "open_columns", MyMiniProgramView.open_columns | {"nmae"})
    assert re.search("MyMiniProgramView.open_columns names nmae, which", told())


def test_all_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(MerchantView, "list_columns", ["nmae", "palette", "state"])
    monkeypatch.setattr(IndustryView, "search_columns", ["naem"])
    monkeypatch.setattr(IndustryView, "roles", {"boss": 2})
    base = MiniProgramView.__mro__[1]
    monkeypatch.setattr(base, "quick_columns", ["appdi"])  # the merchants' face has what is open of it
    with pytest.raises(DeclarationError) as stopped:
        started(tmp_path)
    told = [sentence.partition(",")[0] for sentence in str(stopped.value).split("; ")]
    assert told[0] == "IndustryView says roles that are none: boss: 2"
    assert sorted(told[1:]) == [
        "IndustryView.search_columns names naem",
        "MerchantView.list_columns names nmae",
        "MerchantView.list_columns names palette",
        f"MiniProgramView.quick_columns (in {base.__name__}) names appdi",  # once for both faces
    ]


def test_nothing_is_amiss_with_ours() -> None:
    assert told() == ""


_VIEWS = """
from app.views.merchant import IndustryView, MerchantView
MerchantView.list_columns = ["nmae"]
IndustryView.roles = None
import run
"""
_KIND = """
from app.models import Merchant
Merchant.__table__.c.{}.info["kind"] = "colour"
import run
"""


@pytest.mark.parametrize(
    ("broken", "sentences"),
    [
        (_VIEWS, ["IndustryView says no roles", "MerchantView.list_columns names nmae"]),
        (_KIND.format("remarks"), ["merchant.remarks asks for a kind of value that there is not"]),
        (
            _KIND.format("contact"),
            ["merchant.contact asks for a kind of value that there is not"],
        ),  # asked by an import
    ],
)
@pytest.mark.any_database("the process ends before it opens one")
def test_the_process_ends_with_a_sentence(tmp_path: Path, broken: str, sentences: list[str]) -> None:
    env = {**os.environ, **test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1")}
    done = subprocess.run(
        [sys.executable, "-c", broken], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot start" in done.stderr and all(sentence in done.stderr for sentence in sentences)
