"""How results read: what came of each operation that only reads, and results of older releases."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.errors import DeclarationError
from app.factory import create_app
from app.i18n.sentence import Foreign, Sentence, listed, ours
from app.models import OperationRun, RunState, VersionState
from app.operations.answer import Line, answer
from app.operations.registry import OPERATIONS
from tests.conftest import Launch, SandboxServer, operate, test_environment


def run_of(name: str, state: RunState = RunState.SUCCEEDED, /, **result: Any) -> OperationRun:
    return OperationRun(operation=name, state=state, result=result)


def said_in(line: Line) -> str:
    """A line's text in English."""
    return line.text.in_language("en") if isinstance(line.text, Sentence) else str(line.text)


def read(run: OperationRun) -> dict[str, str]:
    assert run.state == RunState.SUCCEEDED, run.message
    return {line.label: line.text for line in answer(run)}


def test_basic_information_reads(app: Flask, session: Session, launch: Launch) -> None:
    run = operate(app, session, "sync_app_info", launch.mini_program)
    found = read(run)
    assert found["名称"] == launch.mini_program.name and found["类目"] and found["状态"] == "未发布", (
        found,
        run.result,
    )
    assert run.result["name"] == launch.mini_program.name  # as before


def test_categories_under_review_stand_apart() -> None:
    run = run_of("sync_app_info", name="花店", state=1, categories=["餐饮-快餐", "鲜花"], categories_reviewing=["酒类"])
    assert answer(run) == [
        Line("名称", Foreign("花店")),
        Line("状态", ours("已发布")),
        Line("类目", listed(["餐饮-快餐", "鲜花"])),
        Line("审核中的类目", Foreign("酒类")),
    ]


def test_hosts_have_words_and_one_that_has_none_is_shown_as_it_is() -> None:
    [_, hosts] = answer(run_of("submit_audit", version="1.0.0", hosts=["tt_lite", "pipixia"]))
    assert (hosts.text, said_in(hosts)) == ("今日头条极速版、pipixia", "Toutiao Lite, pipixia")


def test_renewed_tokens_read(app: Flask, session: Session, launch: Launch) -> None:
    for name in ("refresh_token", "recover_authorization"):
        found = read(operate(app, session, name, launch.mini_program))
        assert "开发管理" in found["权限集"] and re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d", found["授权令牌到期"])


def test_versions_read(app: Flask, session: Session, launch: Launch, sandbox: SandboxServer) -> None:
    row, appid = launch.mini_program, launch.mini_program.appid
    told = {"template_id": launch.template_id, "version": "1.0.0", "description": "首版"}
    assert read(operate(app, session, "upload_code", row, **told)) == {"版本号": "1.0.0"}
    audit = read(operate(app, session, "submit_audit", row))
    assert (audit["版本号"], audit["审核宿主端"]) == ("1.0.0", "抖音")
    sandbox.post("audit", appid=appid, verdict="approve")
    found = read(operate(app, session, "sync_versions", row))
    assert found["变化"] == "1.0.0 审核通过"
    assert (found["提审版本"], found["审核状态"]) == ("1.0.0", "审核通过")
    assert "线上版本" not in found
    assert read(operate(app, session, "release", row)) == {"版本号": "1.0.0"}
    found = read(operate(app, session, "sync_versions", row))
    assert found["线上版本"] == "1.0.0" and found["变化"] == "没有变化"


def test_templates_read(app: Flask, session: Session, launch: Launch) -> None:
    run = operate(app, session, "sync_templates", launch.third_party_app)
    found = read(run)
    assert found["模板数"] == str(run.result["templates"]) and found["最新模板"].count(".") == 2
    assert {"模板小程序数", "草稿数"} <= set(found)


@pytest.mark.parametrize(
    ("run", "lines"),
    [
        (run_of("sync_app_info", name="花店"), [Line("名称", Foreign("花店"))]),
        (run_of("sync_app_info", name="花店", state=77), [Line("名称", Foreign("花店"))]),
        (run_of("sync_versions", changes="没有变化"), [Line("变化", ours("没有变化"))]),
        (run_of("sync_versions"), []),
        (
            run_of("sync_templates", template_apps=0, templates=3),
            [Line("模板小程序数", Foreign("0")), Line("模板数", Foreign("3"))],
        ),
        (run_of("clear_authorization", said="x"), []),
        (run_of("gone_long_ago", name="x"), []),
        (run_of("sync_app_info", RunState.FAILED, name="花店"), []),
        (run_of("sync_app_info", RunState.UNKNOWN, name="花店"), []),
    ],
)
def test_results_of_older_releases_and_of_what_is_not_done(run: OperationRun, lines: list[Line]) -> None:
    assert answer(run) == lines


def test_each_kind_of_value(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(_result: Any) -> list[tuple[str, Any]]:
        return [
            ("状态", VersionState.REJECTED),
            ("句", ours("没有变化")),
            ("名", "没有变化"),
            ("是否", False),
            ("数", 0),
            ("几个", ("甲", "乙")),
            ("没有", None),
            ("空", []),
        ]

    monkeypatch.setitem(OPERATIONS, "release", dataclasses.replace(OPERATIONS["release"], reads=reads))
    found = answer(run_of("release"))
    assert found == [
        Line("状态", ours("审核驳回")),
        Line("句", ours("没有变化")),
        Line("名", Foreign("没有变化")),
        Line("是否", ours("否")),
        Line("数", Foreign("0")),
        Line("几个", listed(["甲", "乙"])),
        Line("空", ours("无")),
    ]
    assert [said_in(line) for line in found] == [
        "Review rejected",
        "No changes",
        "没有变化",
        "No",
        "0",
        "甲, 乙",
        "None",
    ]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"reads": None}, r"only reads, .*: say reads="),
        ({"reads": {}}, r"only reads, .*: say reads="),
        ({"params": dict}, "takes its parameters as no dataclass: dict"),
    ],
)
def test_what_an_operation_says_wrongly_stops_the_start(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: dict[str, Any], sentence: str
) -> None:
    monkeypatch.setitem(OPERATIONS, "sync_versions", dataclasses.replace(OPERATIONS["sync_versions"], **said))
    with pytest.raises(DeclarationError, match=rf"operation sync_versions \(同步版本\) {sentence}"):
        create_app(test_environment(f"sqlite:///{tmp_path}/none.db", "http://127.0.0.1:1"))
