"""Every value that a condition cannot mean, in every kind of condition of every list: never a 5xx, never all rows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict

from app.console.base import ConsoleView
from app.console.filter.unread import unread
from app.data.tenancy import PLATFORM, set_scope
from app.extensions import db
from tests.world import principal

VALUES = [
    " ",
    "\t",
    "\n",
    "\u3000",
    "a\0b",
    "x" * 5000,
    "9" * 19,
    "9" * 30,
    "-" + "9" * 5000,
    "١٢",
    "１２",
    "½",
    "1_000",
    "1e999",
    "-1e400",
    "inf",
    "-inf",
    "nan",
    "sNaN",
    "0x10",
    "2026-02-30",
    "2026-13-45",
    "0000-00-00",
    "0001-01-01",
    "9999-12-31",
    "10000-01-01",
    "-9999d",
    "99999d",
    "2026-W01-1",
    "..",
    "1..",
    "..x",
    "a..b",
    "nan..inf",
    "now..now",
    "!",
    "=",
    "!=",
    ",",
    "!,=",
    "\\",
    "a\\",
    "true",
    "null",
    "%",
    "_",
    "'",
    '"',
    "\ufffe",
    "😀",
    "\U0010ffff",
    "()",
    "[]",
    "\u202e",
    "\ufeff",
    "\x7f",
]


def consoles(app: Flask) -> list[Any]:
    found = [view for view in app.appbuilder.baseviews if isinstance(view, ConsoleView)]  # type: ignore[attr-defined]
    return [view for view in found if "list" in (view.include_route_methods or ())]


def conditions_of(view: Any) -> list[str]:
    """The arguments that put a condition on a list, of both forms."""
    offered = view.datamodel.get_filters(view.search_columns).get_search_filters()
    old = [f"_flt_{number}_{name}" for name in view.search_columns for number in range(len(offered.get(name, ())))]
    return [*view.search_columns, *old]


def odd(view: Any) -> Iterator[MultiDict[str, str]]:
    """Every condition of a list with every value."""
    for argument, value in itertools.product(conditions_of(view), VALUES):
        yield MultiDict([(argument, value)])


def test_what_cannot_be_read_finds_nothing_on_any_database(world: Flask) -> None:
    asked = 0
    with world.test_request_context("/"):
        set_scope(db.session(), PLATFORM)
        for view in consoles(world):
            for args in odd(view):
                keys = view.datamodel.keys(view.active_filters(args), most=9)
                dropped = any(item.whole for item in unread(view, args))
                assert not (dropped and keys), (view.endpoint, args)
                view.datamodel.query(view.active_filters(args), page=0, page_size=5)
                asked += 1
    assert asked > 3000


@pytest.mark.parametrize("name", ["platform_admin", "owner"])
def test_no_value_of_any_condition_breaks_a_list(world: Flask, name: str) -> None:
    asker = principal(world, name)
    found = [view for view in consoles(world) if asker.open(f"{view.route_base}/list/").status_code == 200]
    assert len(found) > 1
    for view, (number, value) in itertools.product(found, enumerate(VALUES)):
        names = [argument for argument in conditions_of(view) if not argument.startswith("_flt_")]
        old = [argument for argument in conditions_of(view) if argument.startswith("_flt_")]
        parts = ("list", "counts", "panel") if number % 4 == 0 else ("list",)
        for path, conditions in itertools.product(parts, (names, old)):
            answer = asker.open(f"{view.route_base}/{path}/?{urlencode(dict.fromkeys(conditions, value))}")
            assert answer.status_code < 500, (answer.status, view.endpoint, path, value)


@pytest.mark.parametrize(
    "condition",
    [
        "_flt_0_name=%20",
        "name=%20",
        "expires_on=x",
        "_flt_7_name=x",
        "expires_on=2099..x",
        "created_at=2026-13",
        "name=,",
        "_flt_0_name=%01",
    ],
)
def test_a_person_is_told_of_what_cannot_be_read_and_nothing_is_done_with_all_rows(
    world: Flask, condition: str
) -> None:
    asker = principal(world, "platform_admin")
    page = asker.open(f"/merchantview/list/?{condition}").get_data(as_text=True)
    assert "有条件无法识别" in page and "data-id" not in page
    assert "有条件无法识别" not in asker.open("/merchantview/list/?name=CAN").get_data(as_text=True)
    form = {"csrf_token": asker.token, "format": "csv"}
    acts = [
        asker.open(f"/merchantview/bulk/?all=1&{condition}"),
        asker.open("/merchantview/bulk/", "POST", data=form | {"all": "1", "query": condition, "columns": "plan"}),
        asker.open(f"/merchantview/export?{condition}", "POST", data=form),
    ]
    assert [answer.status_code for answer in acts] == [400, 400, 400]
    assert all("无法识别" in answer.get_data(as_text=True) for answer in acts)


@pytest.mark.parametrize(
    "condition",
    [
        "stuck=maybe",
        "_flt_0_state=%20",
        "state=nonsense,authorized",
        "q=" + "x" * 200,
        "created_at=!x",
        "name=" + ",".join("!x" for _ in range(60)),
    ],
)
def test_no_operation_is_done_on_all_rows_of_conditions_that_are_half_understood(world: Flask, condition: str) -> None:
    asker = principal(world, "platform_admin")
    path = f"/operate/sync_app_info?all=1&view=MiniProgramView&{condition}"
    answer = asker.open(path)
    assert (answer.status_code, "无法识别" in answer.get_data(as_text=True)) == (400, True)


def test_what_cannot_be_read_is_not_kept_in_a_view_that_others_open(world: Flask) -> None:
    asker = principal(world, "operator")
    for query in ("_flt_0_name=%20", "expires_on=nonsense", "name=a%00b"):
        form = {"csrf_token": asker.token, "view": "MerchantView", "query": query, "name": "坏的", "shared": "1"}
        asker.open("/savedviews/save", "POST", data=form)
    assert "坏的" not in asker.open("/savedviews/of/MerchantView").get_data(as_text=True)
    assert asker.open("/merchantview/list/?_flt_0_name=%20&saved=1").status_code == 200


@pytest.mark.parametrize("path", ["merchants", "mini_programs", "versions"])
def test_no_value_breaks_a_question_of_the_api(world: Flask, path: str) -> None:
    asker = principal(world, "operator_token")
    view = next(view for view in world.appbuilder.baseviews if getattr(view, "resource_name", "") == path)  # type: ignore[attr-defined]
    offered = view.datamodel.get_filters(view.search_columns).get_search_filters()
    values: list[Any] = [
        *VALUES[::5],
        "\ud800",
        "a\udfff",
        0,
        -1,
        10**30,
        1.5,
        True,
        float("inf"),
        float("nan"),
        -1e999,
    ]
    kinds = {kind.arg_name for kinds in offered.values() for kind in kinds}
    for column, operator, value in itertools.product(view.search_columns, sorted(kinds), values):
        asked = json.dumps({"filters": [{"col": column, "opr": operator, "value": value}]})
        answer = asker.open(f"/api/v1/{path}/", query_string={"q": asked})
        assert answer.status_code < 500, (answer.status, asked)
