"""What a view offers exists, and is for its rows; else the application does not start."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.console.operate.actions import OperationActions, check_offers, way_to
from app.errors import DeclarationError
from app.factory import create_app
from app.models import Merchant, MiniProgram, Template, ThirdPartyApp, Version
from app.operations.registry import OPERATIONS
from app.views.mini_program import MiniProgramView, MyMiniProgramView
from app.views.template import TemplateView
from app.views.version import VersionView
from tests.conftest import test_environment


@pytest.mark.parametrize(
    ("view", "said", "sentence"),
    [
        (TemplateView, {"operations": ["delete_template", "delete_tmplate"]}, "that do not exist: delete_tmplate"),
        (TemplateView, {"operations": ["sync_versions"]}, "on MiniProgram, which its rows are not and lead to none"),
        (VersionView, {"batched": True}, "on MiniProgram, which its rows are not"),
        (VersionView, {"operations": ["release", "sync_templates"]}, "of several kinds: MiniProgram, ThirdPartyApp"),
        (MyMiniProgramView, {"operations": ["nope"]}, "that do not exist: nope"),
    ],
)
def test_a_wrong_offer_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, view: type[Any], said: dict[str, Any], sentence: str
) -> None:
    for name, value in said.items():
        monkeypatch.setattr(view, name, value)
    with pytest.raises(DeclarationError, match=f"{view.__name__} offers operations .*{re.escape(sentence)}"):
        create_app(test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1"))


def test_every_offer_of_ours_is_right(app: Flask) -> None:
    views: list[Any] = app.appbuilder.baseviews  # type: ignore[attr-defined]
    assert len([view for view in views if isinstance(view, OperationActions)]) == 6
    check_offers(views)


def test_rows_lead_to_what_is_operated_on() -> None:
    assert way_to(MiniProgram, MiniProgram) == ""
    assert way_to(Version, MiniProgram) == "mini_program"
    assert way_to(Template, ThirdPartyApp) == "third_party_app"
    assert way_to(Merchant, MiniProgram) is None


def test_what_is_declared_for_its_rows_a_view_offers_by_itself(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[Any] = app.appbuilder.baseviews  # type: ignore[attr-defined]
    (view,) = [view for view in views if type(view) is MiniProgramView]
    declared = [op.name for op in OPERATIONS.values() if op.on is MiniProgram and op.name != "refresh_token"]
    assert view.operations == declared  # which REST and the command line alone have
    monkeypatch.setitem(OPERATIONS, "toy", dataclasses.replace(OPERATIONS["release"], name="toy"))
    assert view.operations == [*declared, "toy"]
