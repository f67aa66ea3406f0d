"""Imports: the template, the file's first look, the check that writes nothing, the import, the failed rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.console.transfer import pages
from app.data import storage
from app.extensions import db
from app.models import AuditEntry, Merchant, Task, TaskState
from app.tasks import queue
from app.tasks.importing import task as import_
from app.tasks.pool import perform
from app.tasks.spreadsheets import read as sheets
from tests.conftest import Actors, csrf_token, refresh
from tests.pages import text_of, visible
from tests.tasks.spreadsheets.test_read import bomb, book_of, csv_of, rows_of, xlsx_of

PAGE = "/merchantview/import"
HEADS = ["商户名称", "行业", "手机号"]
GOOD = csv_of(HEADS, ["新店一", "餐饮", "13800138001"], ["新店二", "餐饮", ""])


def upload(client: FlaskClient, content: bytes, name: str = "商户.csv", mode: str = "both", page: str = PAGE) -> Any:
    token = csrf_token(client, page)
    data = {"csrf_token": token, "mode": mode, "file": (io.BytesIO(content), name)}
    return client.post(page, data=data, content_type="multipart/form-data")


def checked(client: FlaskClient, content: bytes, **more: str) -> str:
    """Upload a file that can be imported; gives the address of its import."""
    answer = upload(client, content, **more)
    assert answer.status_code == 302, visible(answer.get_data(as_text=True))
    return str(answer.headers["Location"])


def started(client: FlaskClient, address: str) -> str:
    """Press 开始导入; the page after it."""
    answer = client.post(address, data={"csrf_token": csrf_token(client, address)}, follow_redirects=True)
    return visible(answer.get_data(as_text=True))


def names(session: Session) -> set[str]:
    refresh(session)
    return set(session.scalars(sa.select(Merchant.name)))


def test_a_phone_number_in_a_files_name_is_masked(session: Session, operator: FlaskClient, actors: Actors) -> None:
    page = text_of(operator, checked(operator, GOOD, name="王女士13800138009.csv"))
    assert "王女士138****8009.csv" in page and "13800138009" not in page
    refresh(session)
    assert session.scalar(sa.select(Task.input_name)) == "王女士138****8009.csv"


def test_a_file_is_checked_shown_and_then_imported(session: Session, operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    page = visible(text_of(operator, address))
    assert "2 将新增" in page and "开始导入 2 行" in page and "新店一" in page
    assert "新店一" not in names(session)
    assert "2 已新增" in started(operator, address)
    assert {"新店一", "新店二"} <= names(session)
    row = session.scalars(sa.select(Merchant).where(Merchant.name == "新店一")).one()
    assert row.phone == "13800138001" and row.phone_masked == "138****8001"


def test_an_import_and_its_rows_are_in_the_audit_log(session: Session, operator: FlaskClient, actors: Actors) -> None:
    started(operator, checked(operator, GOOD))
    refresh(session)
    entry = session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "import")).one()
    assert entry.after["rows"] == 2 and entry.after["file"] == "商户.csv"
    made = session.scalars(sa.select(AuditEntry).where(AuditEntry.subject_name.startswith("新店"))).all()
    assert len(made) == 2 and {item.actor_name for item in made} == {entry.actor_name}


def test_wrong_rows_are_named_and_come_back_as_a_file(session: Session, operator: FlaskClient, actors: Actors) -> None:
    content = csv_of(HEADS, ["新店", "餐饮", ""], ["坏店", "没有", "12"])
    address = checked(operator, content)
    page = text_of(operator, address)
    assert "行业「没有」不存在" in page and "手机号格式不正确" in page and "跳过有错误的行，" in page
    link = re.findall(r'href="(/tasks/\d+/download)"', page)[0]
    rows = list(csv.reader(io.StringIO(operator.get(link).get_data().decode("utf-8-sig"))))
    assert rows[0] == [*HEADS, "失败原因"] and rows[1][0] == "坏店"
    assert "1 已新增" in started(operator, address)
    assert "坏店" not in names(session)


def test_an_excel_file_gives_its_failed_rows_in_excel(operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, xlsx_of(HEADS, ["坏店", "没有", 13800138000]), name="a.xlsx")
    link = re.findall(r'href="(/tasks/\d+/download)"', text_of(operator, address))[0]
    rows = rows_of(operator.get(link).get_data())
    assert rows[1][:3] == ["坏店", "没有", "13800138000"]


def test_the_same_file_again_says_so_and_changes_nothing(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    started(operator, checked(operator, GOOD))
    refresh(session)
    entries = session.scalar(sa.select(sa.func.count()).select_from(AuditEntry))
    page = visible(text_of(operator, checked(operator, GOOD)))
    assert "导入过" in page and "没有需要写入的变化" in page and "开始导入" not in page
    refresh(session)
    assert session.scalar(sa.select(sa.func.count()).select_from(AuditEntry)) == entries


def test_an_import_is_begun_once(session: Session, operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    started(operator, address)
    assert "已经开始或已结束" in started(operator, address)
    assert len(names(session)) == 4


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "a.csv", "文件是空的"),
        (csv_of(["商户名称"]), "a.csv", "没有数据"),
        (bomb(300 * 1024 * 1024), "a.xlsx", "解压后过大"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.xls", "另存为 .xlsx"),
        (b"\xff\xff\x81", "a.csv", "编码"),
    ],
    ids=["empty", "no rows", "bomb", "xls", "encoding"],
)
def test_a_file_that_cannot_be_imported_is_refused_beside_its_field(
    session: Session, operator: FlaskClient, actors: Actors, content: bytes, name: str, words: str
) -> None:
    answer = upload(operator, content, name)
    assert answer.status_code == 422 and words in visible(answer.get_data(as_text=True))
    refresh(session)
    assert session.scalars(sa.select(Task)).first() is None


def test_a_form_without_a_file_asks_for_one(operator: FlaskClient, actors: Actors) -> None:
    answer = operator.post(PAGE, data={"csrf_token": csrf_token(operator, PAGE), "mode": "both"})
    assert answer.status_code == 422 and "请选择文件" in answer.get_data(as_text=True)


def test_a_file_of_the_largest_size_is_not_taken_whole(operator: FlaskClient, actors: Actors) -> None:
    answer = upload(operator, b"x" * (sheets.LARGEST + 10))
    assert answer.status_code == 422 and "超过 10 MB" in answer.get_data(as_text=True)


def test_gb18030_from_chinese_excel_is_read(session: Session, operator: FlaskClient, actors: Actors) -> None:
    started(operator, checked(operator, csv_of(HEADS[:2], ["𠮷野家", "餐饮"], encoding="gb18030")))
    assert "𠮷野家" in names(session)


def test_columns_nobody_knows_are_named(operator: FlaskClient, actors: Actors) -> None:
    page = visible(text_of(operator, checked(operator, csv_of([*HEADS[:2], "颜色"], ["甲", "餐饮", "红"]))))
    assert "不认识这些列，不导入：颜色" in page


def test_nothing_of_a_file_is_run_on_its_page(operator: FlaskClient, actors: Actors) -> None:
    evil = '"><script>alert(1)</script>'
    page = text_of(
        operator, checked(operator, csv_of(["商户名称", evil], [evil, evil]), name="<script>alert(1)<_script>.csv")
    )
    assert "<script>alert" not in page


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_template_can_be_sent_as_it_is(operator: FlaskClient, actors: Actors, kind: str) -> None:
    answer = operator.get(f"{PAGE}/template/{kind}")
    assert answer.status_code == 200 and "attachment" in answer.headers["Content-Disposition"]
    page = visible(text_of(operator, checked(operator, answer.get_data(), name=f"模板.{kind}")))
    assert "2 无变化" in page and "0 有错误" in page  # the examples are the two merchants that there are
    assert operator.get(f"{PAGE}/template/exe").status_code == 404


def test_a_great_file_is_checked_by_a_worker(
    app: Flask, session: Session, operator: FlaskClient, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "AT_ONCE_ROWS", 0)
    address = checked(operator, GOOD)
    key = int(address.rsplit("/", 1)[-1])
    page = text_of(operator, address)
    assert 'hx-trigger="every 1s"' in page and "正在校验" in page
    assert perform(app, key)
    state = text_of(operator, f"{address}/state")
    assert "hx-trigger" not in state and "将新增" in state
    operator.post(address, data={"csrf_token": csrf_token(operator, address)})
    assert "新店一" not in names(session)
    assert perform(app, key)
    assert "新店一" in names(session)
    assert session.get_one(Task, key).input_key == ""  # what was sent is not kept


def test_an_import_is_its_owners(client_for: Callable[..., FlaskClient], operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    for other in (client_for("operator"), client_for("platform_admin")):
        token = csrf_token(other, "/logout/")
        for answer in (
            other.get(address),
            other.get(f"{address}/state"),
            other.post(address, data={"csrf_token": token}),
        ):
            assert answer.status_code == 404
    assert operator.get("/industryview/import/" + address.rsplit("/", 1)[-1]).status_code == 404


@pytest.mark.parametrize("role", ["auditor", "owner", "staff"])
def test_whoever_may_not_write_may_not_import(
    client_for: Callable[..., FlaskClient], actors: Actors, role: str
) -> None:
    client = client_for(role, actors.alice if role != "auditor" else None)
    token = csrf_token(client, "/logout/")
    assert client.get(PAGE).status_code == 403
    data = {"csrf_token": token, "file": (io.BytesIO(GOOD), "a.csv")}
    assert client.post(PAGE, data=data, content_type="multipart/form-data").status_code == 403
    assert "导入" not in visible(client.get("/merchantview/list/").get_data(as_text=True))


def test_the_list_offers_both(operator: FlaskClient, actors: Actors) -> None:
    page = text_of(operator, "/merchantview/list/?q=花店")
    assert f'href="{PAGE}"' in page and "/merchantview/export?q=" in page


def test_industries_are_imported_too(session: Session, operator: FlaskClient, actors: Actors) -> None:
    content = csv_of(["行业名称", "排序"], ["宠物", "5"])
    address = checked(operator, content, page="/industryview/import")
    assert "1 已新增" in started(operator, address)
    refresh(session)
    assert session.scalars(sa.select(Task)).one().state == TaskState.SUCCEEDED


# Where the table lies: found, or said by a person.

OTHER = {
    "说明": [["本表由总部下发"], ["请勿修改", "谢谢"]],
    "二月": [["门店一览"], ["店铺", "类别", "负责人"], ["云溪花坊", "餐饮", "王女士"], ["山月咖啡", "餐饮", "李先生"]],
}


def choose(client: FlaskClient, address: str, **said: Any) -> str:
    """Say where the table is; the page after it."""
    data = {"csrf_token": csrf_token(client, address), **said}
    answer = client.post(f"{address}/choose", data=data, follow_redirects=True)
    return visible(answer.get_data(as_text=True))


def test_a_file_without_our_heads_names_those_it_has_and_is_read_as_a_person_says(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    address = checked(operator, book_of(OTHER), name="门店.xlsx")
    read = "缺少表头「商户名称」：在工作表「{}」第 {} 行读到的表头是 {}"
    assert read.format("二月", 2, "店铺、类别、负责人") in visible(text_of(operator, address))
    assert read.format("说明", 1, "本表由总部下发") in choose(operator, address, sheet=0, head=2)
    assert read.format("二月", 2, "店铺") in choose(operator, address, sheet=1, head=1)
    said = {"map_0": "name", "map_1": "industry", "map_2": ""}
    assert "2 将新增" in choose(operator, address, sheet=1, head=2, **said)
    assert "2 已新增" in started(operator, address)
    assert {"云溪花坊", "山月咖啡"} <= names(session)
    row = session.scalars(sa.select(Merchant).where(Merchant.name == "云溪花坊")).one()
    assert (row.industry.name, row.contact) == ("餐饮", "")


def test_the_sheet_with_our_heads_is_found_and_no_title_is_taken_for_them(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    content = book_of(
        {"封面": [["商户名称"]], "数据": [["商户登记表"], [], ["行业", "商户名称"], ["餐饮", "云溪花坊"]]}
    )
    page = visible(text_of(operator, checked(operator, content, name="a.xlsx")))
    assert "1 将新增" in page and "第 3 行：行业、商户名称" in page


def test_other_sheets_and_tables_above_that_are_not_read_are_named(operator: FlaskClient, actors: Actors) -> None:
    rows: list[list[Any]] = [HEADS[:2], ["云溪花坊", "餐饮"]]
    more = {f"{month}月": rows for month in range(1, 8)}
    two = [*rows, [], [*HEADS, "备注"], ["山月咖啡", "餐饮", "", ""]]
    shown = {
        "主表": two,
        "说明": [["商户名称", "新增时必填"], ["行业", "必填"]],
        "可选值": [["行业", "状态"], ["餐饮", "正常"]],
    }
    address = checked(operator, book_of(shown | more | {"空": [HEADS]}), name="a.xlsx")
    page = visible(text_of(operator, address))
    assert "1 将新增" in page
    assert "第 1 行也像是表头，它与第 4 行之间的内容不导入：请拆成单独的文件" in page
    assert "一次只导入一个工作表，另有 7 个像是数据的没有读取：1月、2月、3月、4月、5月…" in page
    assert "另有 8 个像是数据的没有读取：主表、1月" in choose(operator, address, sheet=1, head=1)


def test_another_sheet_under_heads_of_its_own_is_named_by_the_columns_that_a_person_chose(
    operator: FlaskClient, actors: Actors
) -> None:
    address = checked(operator, book_of(OTHER | {"三月": OTHER["二月"]}), name="门店.xlsx")
    assert "没有读取" not in visible(text_of(operator, address))
    assert "没有读取：三月" in choose(operator, address, sheet=1, head=2, map_0="name", map_1="industry")


def test_a_persons_second_file_waits_for_the_first_and_leaves_room_for_another(
    client_for: Callable[..., FlaskClient], operator: FlaskClient, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "PATIENCE", 0.05)
    other, begun = client_for("operator"), sheets.Book.__init__
    answers: list[Any] = []

    def during(self: sheets.Book, *given: Any) -> None:
        begun(self, *given)
        if not answers:
            answers.append(None)
            answers[:] = [_in_a_thread(lambda: upload(operator, GOOD)), _in_a_thread(lambda: upload(other, GOOD))]

    monkeypatch.setattr(sheets.Book, "__init__", during)
    assert upload(operator, GOOD).status_code == 302
    assert [answer.status_code for answer in answers] == [422, 302]
    assert "您上传的另一个文件正在读取：请稍后再上传" in visible(answers[0].get_data(as_text=True))


def _in_a_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def test_what_is_known_need_not_be_chosen_and_no_number_is_shown(
    session: Session, operator: FlaskClient, actors: Actors
) -> None:
    content = csv_of(["店铺", "13800138009", "电话"], ["云溪花坊", "x", "13800138001"])
    address = checked(operator, content)
    page = text_of(operator, address)
    assert re.findall(r'<option value="(\w+)" selected', page) == ["1", "phone"]  # the row of heads, the known column
    refresh(session)
    assert "13800138009" not in page and "138****8009" in session.scalars(sa.select(Task)).one().message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"sheet": 1, "head": 2, "map_0": "name", "map_1": "name"}, "「店铺」和「类别」都对应了商户名称"),
        ({"sheet": 1, "head": 2, "map_0": "industry"}, "请选择哪一列是商户名称"),
        ({"sheet": 1, "head": 99}, "请选择表头所在的行"),
        ({"sheet": 1, "head": "x"}, "请选择表头所在的行"),
        ({"sheet": 1, "head": 4, "map_0": "name"}, "没有数据"),
        ({"sheet": 7, "head": 2}, "请选择有内容的工作表"),
        ({"sheet": "-1", "head": 2}, "请选择有内容的工作表"),
    ],
)
def test_what_cannot_be_is_refused_and_the_file_stays(
    operator: FlaskClient, actors: Actors, said: dict[str, Any], words: str
) -> None:
    address = checked(operator, book_of(OTHER), name="门店.xlsx")
    assert words in choose(operator, address, **said)
    assert "2 将新增" in choose(operator, address, sheet=1, head=2, map_0="name", map_1="industry")


def test_a_column_that_is_none_of_ours_is_no_choice(operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    data = {"csrf_token": csrf_token(operator, address), "sheet": 0, "head": 1, "map_0": "phone_sealed"}
    assert operator.post(f"{address}/choose", data=data).status_code == 400


def test_nothing_is_chosen_any_more_when_the_import_has_begun(operator: FlaskClient, actors: Actors) -> None:
    address = checked(operator, GOOD)
    started(operator, address)
    assert "已经开始或已结束" in choose(operator, address, sheet=0, head=1)


def test_a_file_is_read_once_however_often_its_page_is_looked_at(
    operator: FlaskClient, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = checked(operator, xlsx_of(HEADS, ["新店", "餐饮", "13800138001"]), name="a.xlsx")
    monkeypatch.setattr(sheets, "_COMMAND", ("/nonexistent",))
    assert "新店" in visible(text_of(operator, address))
    assert "1 将新增" in choose(operator, address, sheet=0, head=1, map_0="name", map_1="industry")
    assert "1 已新增" in started(operator, address)


def test_all_that_is_kept_of_a_file_goes_when_it_is_imported(
    app: Flask, session: Session, operator: FlaskClient, actors: Actors
) -> None:
    address = checked(operator, book_of(OTHER), name="门店.xlsx")
    choose(operator, address, sheet=0, head=2)
    choose(operator, address, sheet=1, head=2)
    choose(operator, address, sheet=1, head=2, map_0="name", map_1="industry")
    refresh(session)
    task = session.scalars(sa.select(Task)).one()
    keys = [task.input_key, task.params["kept"]]
    with app.app_context():
        assert all(storage.read(key) for key in keys)
    started(operator, address)
    with app.app_context():
        for key in keys:
            with pytest.raises(FileNotFoundError):
                storage.read(key)


def test_all_errors_of_a_row_are_said_at_once(operator: FlaskClient, actors: Actors) -> None:
    heads = ["商户名称", "行业", "手机号", "佣金比例（%）", "套餐到期日"]
    content = csv_of(heads, ["新店", "", "12", "101", "明天"], ["爱丽丝花店", "没有", "", "-1", ""])
    page = visible(text_of(operator, checked(operator, content)))
    assert (
        "手机号、套餐到期日、行业、佣金比例（%） 手机号格式不正确，例如 138 0013 8000 或 0571-88880003 转 801；套餐到期日应为日期，例如 2027-12-31；"
        "新增时请填写行业；佣金比例应在 0 到 100 之间"
    ) in page
    assert "行业、佣金比例（%） 行业「没有」不存在：请先新建，或改为已有的名称；佣金比例应在 0 到 100 之间" in page


def test_no_transaction_is_open_while_somebody_waits_for_the_reader(
    operator: FlaskClient, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def noted(*given: Any) -> Any:
        seen.append(db.session().in_transaction())
        return sheets.opened(*given)

    monkeypatch.setattr(import_, "opened", noted)
    address = checked(operator, book_of(OTHER), name="门店.xlsx")
    assert "在工作表「说明」" in choose(operator, address, sheet=0, head=2)
    assert seen == [False, False]


def test_an_upload_for_which_there_is_no_room_leaves_no_file(
    app: Flask, operator: FlaskClient, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    keep = storage.keep

    def noted(key: str, text: str) -> None:
        kept.append(key)
        keep(key, text)

    monkeypatch.setattr(storage, "keep", noted)
    monkeypatch.setattr(queue, "MOST_A_DAY", 0)
    assert upload(operator, GOOD).status_code >= 400
    with app.app_context():
        for key in kept:
            with pytest.raises(FileNotFoundError):
                storage.read(key)
    assert len(kept) == 2
