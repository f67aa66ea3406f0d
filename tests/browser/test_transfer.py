"""Exports and imports in a browser: the files are opened and read, the check is looked at, the task followed to its end."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Download, Page, expect
from sqlalchemy.orm import Session

from app.console.transfer import pages
from app.models import Merchant, MerchantState, Task
from tests.browser import steps
from tests.browser.conftest import work_off
from tests.conftest import Actors, change, refresh
from tests.tasks.spreadsheets.test_read import book_of, csv_of, xlsx_of

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
LIST, IMPORT = "/merchantview/list/", "/merchantview/import"
PHONE = "13812345678"
Enter = Callable[..., Page]


@pytest.fixture
def page(enter: Enter, actors: Actors) -> Page:
    return enter()


def rows_of(file: Download) -> list[list[Any]]:
    """A downloaded table's rows, as a person's program reads them."""
    content, name = Path(file.path()).read_bytes(), file.suggested_filename
    if name.endswith(".xlsx"):
        sheet = openpyxl.load_workbook(io.BytesIO(content)).worksheets[0]
        return [["" if value is None else value for value in row] for row in sheet.iter_rows(values_only=True)]
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def export(page: Page, kind: str) -> Download:
    page.click("summary:has-text('导出')")
    with page.expect_download() as caught:
        page.click(f"button[name=format][value={kind}]")
    return caught.value


def upload(page: Page, live: str, name: str, content: bytes) -> None:
    """Choose a file and have it checked; the page then shows the import."""
    page.goto(f"{live}{IMPORT}")
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "text/csv", "buffer": content})
    page.click("button:has-text('上传并校验')")
    page.wait_for_url("**/import/*")


def tiles(page: Page) -> dict[str, int]:
    """将新增, 将更新 … and their numbers."""
    found = page.locator("#import-state .tile").all()
    return {tile.locator("span").inner_text(): int(tile.locator("b").inner_text()) for tile in found}


def many(count: int) -> bytes:
    return csv_of(["商户名称", "行业"], *([f"分店{number:03}", "餐饮"] for number in range(count)))


def count(session: Session) -> int:
    refresh(session)
    return session.scalar(sa.select(sa.func.count(Merchant.id))) or 0


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_the_file_holds_what_the_list_shows_and_no_phone_number(
    page: Page, live: str, session: Session, actors: Actors, kind: str
) -> None:
    actors.alice.phone, actors.alice.phone_masked = PHONE, "138****5678"
    session.commit()
    page.goto(f"{live}{LIST}?name=爱丽丝")
    file = export(page, kind)
    heads, *rows = rows_of(file)
    assert file.suggested_filename.startswith("商户")
    assert heads[0] == "商户名称"
    assert [row[0] for row in rows] == ["爱丽丝花店"]
    assert "138****5678" in rows[0]
    assert PHONE not in str(rows)
    assert page.url.endswith(f"{LIST}?name=%E7%88%B1%E4%B8%BD%E4%B8%9D")


def test_the_template_is_filled_in_checked_and_only_then_written(
    page: Page, live: str, session: Session, actors: Actors
) -> None:
    page.goto(f"{live}{LIST}")
    page.click(".head-actions a:has-text('导入')")
    with page.expect_download() as caught:
        page.click("a:has-text('Excel 模板')")
    heads, example = rows_of(caught.value)[:2]
    filled = {"商户名称": "云溪花坊", "行业": "餐饮", "联系人": "王女士", "手机号": PHONE}
    row = [filled.get(str(head).split("（")[0].strip("* "), "") for head in heads]
    assert set(filled.values()) <= set(row), f"{heads} {example}"
    upload(page, live, "商户.xlsx", xlsx_of(heads, row))
    expect(page.locator(".transfer-preview")).to_contain_text("云溪花坊")
    expect(page.locator(".transfer-preview")).not_to_contain_text(PHONE)
    assert tiles(page)["将新增"] == 1
    assert count(session) == 2
    page.click("button:has-text('开始导入 1 行')")
    expect(page.locator("#import-state")).to_contain_text("已新增")
    page.click("a:has-text('查看列表')")
    expect(page.locator("tbody")).to_contain_text("云溪花坊")
    expect(page.locator("tbody")).to_contain_text("138****5678")


def test_wrong_rows_are_named_come_back_as_a_file_and_are_mended_in_it(
    page: Page, live: str, session: Session, actors: Actors
) -> None:
    content = csv_of(
        ["商户名称", "行业", "佣金比例（%）", "天气"],
        ["好的店", "餐饮", "5.5", "晴"],
        ["坏的店", "没有的行业", "5", "雨"],
        ["贵的店", "餐饮", "很多", "阴"],
    )
    upload(page, live, "商户.csv", content)
    wrong = page.locator("#import-state tbody tr", has=page.locator(".state-bad"))
    expect(wrong).to_have_count(2)
    assert [row.locator("td").all_inner_texts()[:2] for row in wrong.all()] == [["3", "有误"], ["4", "有误"]]
    assert wrong.locator("td b").all_inner_texts() == ["行业", "佣金比例（%）"]
    expect(page.locator("main")).to_contain_text("不认识这些列，不导入：天气")
    assert (tiles(page)["将新增"], tiles(page)["有错误"]) == (1, 2)
    page.click("button:has-text('跳过有错误的行，开始导入 1 行')")
    expect(page.locator("#import-state")).to_contain_text("已新增")
    with page.expect_download() as caught:
        page.click("a:has-text('下载失败的 2 行')")
    heads, *failed = rows_of(caught.value)
    assert [row[0] for row in failed] == ["坏的店", "贵的店"]
    assert "佣金" in failed[1][-1]
    failed[0][1], failed[1][2] = "餐饮", "9"
    upload(page, live, "失败行.csv", csv_of(heads, *failed))
    assert (tiles(page)["将新增"], tiles(page)["有错误"]) == (2, 0)
    page.click("button:has-text('开始导入 2 行')")
    expect(page.locator("#import-state")).to_contain_text("已新增")
    assert count(session) == 5


def test_the_same_file_twice_says_so_and_writes_nothing(
    page: Page, live: str, session: Session, actors: Actors
) -> None:
    content = csv_of(["商户名称", "行业", "联系人"], ["云溪花坊", "餐饮", "王女士"])
    upload(page, live, "商户.csv", content)
    page.click("button:has-text('开始导入')")
    expect(page.locator("#import-state")).to_contain_text("已新增")
    upload(page, live, "商户.csv", content)
    expect(page.locator("#import-state .notice")).to_contain_text("导入过")
    assert (tiles(page)["将新增"], tiles(page)["无变化"]) == (0, 1)
    expect(page.locator("main")).to_contain_text("没有需要写入的变化")
    expect(page.locator("button:has-text('开始导入')")).to_have_count(0)
    assert count(session) == 3


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is a great one: it waits for a worker."""
    monkeypatch.setattr(pages, "AT_ONCE_ROWS", 0)


@pytest.mark.usefixtures("slowly")
def test_a_great_file_is_followed_in_the_background_to_its_end(
    page: Page, app: Flask, live: str, session: Session, actors: Actors
) -> None:
    upload(page, live, "商户.csv", many(60))
    progress = page.locator("#import-state")
    expect(progress).to_contain_text("正在校验：0 / 60")
    expect(page.locator("#jobs-badge .jobs-count")).to_have_text("1")
    task = session.scalars(sa.select(Task)).one()
    change(session, task, done=15)
    expect(progress).to_contain_text("正在校验：15 / 60")  # by itself, without a reload
    expect(progress.locator("[role=progressbar] span")).to_have_attribute("style", "width: 25.0%")
    change(session, task, done=0)
    assert work_off(app) == 1
    expect(progress.locator(".tile").first).to_contain_text("60")
    page.click("button:has-text('开始导入 60 行')")
    expect(progress).to_contain_text("正在导入：0 / 60")
    assert work_off(app) == 1
    expect(progress).to_contain_text("已新增")
    assert tiles(page)["已新增"] == 60
    assert count(session) == 62
    page.click("[data-jobs]")
    expect(page.locator("#jobs .job").first).to_contain_text("导入商户")
    page.keyboard.press("Escape")
    expect(page.locator("#jobs-badge .jobs-count")).to_have_count(0)


@pytest.mark.usefixtures("slowly")
def test_a_task_that_waits_is_cancelled_in_the_drawer(
    page: Page, app: Flask, live: str, session: Session, actors: Actors
) -> None:
    upload(page, live, "商户.csv", many(60))
    page.goto(f"{live}{LIST}")
    page.click("[data-jobs]")
    job = page.locator("#jobs .job", has_text="导入商户（校验）")
    expect(job.locator("[role=progressbar]")).to_be_visible()
    job.get_by_role("button", name="取消").click()
    expect(page.locator("#confirm")).to_contain_text("要取消「导入商户（校验）」吗")
    page.click("#confirm button[value=yes]")
    expect(page.locator(".notice-info")).to_contain_text("已取消「导入商户」")
    assert work_off(app) == 0
    expect(page.locator("#import-state")).to_contain_text("已取消")
    assert count(session) == 2


@pytest.mark.parametrize("width", [375, 1366])
def test_a_great_export_is_taken_from_the_drawer_when_it_is_ready(
    enter: Enter, app: Flask, live: str, actors: Actors, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(pages, "DIRECT_ROWS", 1)
    page = enter(width=width)
    page.goto(f"{live}{LIST}?order=name")
    page.click("summary:has-text('导出')")
    page.click("button[name=format][value=xlsx]")
    expect(page.locator(".notice-info")).to_contain_text("2 行正在后台导出")
    assert page.url.endswith("?order=name")
    page.click("[data-jobs]")
    job = page.locator("#jobs .job").first
    expect(job).to_contain_text("导出商户")
    expect(job.locator("a[href*=download]")).to_have_count(0)
    assert work_off(app) == 1
    assert not steps.too_wide(page)
    with page.expect_download() as caught:
        job.locator("a[href*=download]").click()  # the drawer looks again by itself
    heads, *rows = rows_of(caught.value)
    assert heads[0] == "商户名称"
    assert {row[0] for row in rows} == {"爱丽丝花店", "鲍勃面馆"}


def test_a_file_that_cannot_be_read_is_refused_beside_its_field(page: Page, live: str) -> None:
    page.goto(f"{live}{IMPORT}")
    page.click("button:has-text('上传并校验')")
    expect(page.locator(".field-bad")).to_contain_text("请选择文件")
    page.set_input_files(
        "input[type=file]", {"name": "商户.csv", "mimeType": "text/csv", "buffer": "商户名称".encode()}
    )
    page.click("button:has-text('上传并校验')")
    expect(page.locator(".field-bad")).to_contain_text("没有数据")


@pytest.mark.parametrize("width", [375, 1366])
def test_a_table_under_other_heads_is_found_by_its_reader(
    enter: Enter, live: str, session: Session, actors: Actors, width: int
) -> None:
    page = enter(width=width)
    content = book_of(
        {
            "说明": [["本表由总部下发"], ["请勿修改", "谢谢"]],
            "二月": [
                ["门店一览"],
                ["店铺", "类别", "负责人"],
                ["云溪花坊", "餐饮", "王女士"],
                ["山月咖啡", "餐饮", "李先生"],
            ],
        }
    )
    upload(page, live, "门店.xlsx", content)
    notice = page.locator("#import-state .notice")
    expect(notice).to_contain_text("缺少表头「商户名称」：在工作表「二月」第 2 行读到的表头是 店铺、类别、负责人")
    assert not steps.too_wide(page)
    page.select_option("select[name=sheet]", label="说明")
    page.click("button:has-text('重新读取')")
    expect(notice).to_contain_text("在工作表「说明」第 1 行")
    page.select_option("select[name=sheet]", label="二月")
    page.click("button:has-text('重新读取')")
    expect(notice).to_contain_text("在工作表「二月」第 2 行")
    for place, label in enumerate(["商户名称", "行业", "联系人"]):
        page.select_option(f"select[name=map_{place}]", label=label)
    page.click("button:has-text('按所选的列重新校验')")
    assert (tiles(page)["将新增"], tiles(page)["有错误"]) == (2, 0)
    assert not steps.too_wide(page)
    page.click("button:has-text('开始导入 2 行')")
    expect(page.locator("#import-state")).to_contain_text("已新增")
    assert count(session) == 4


@pytest.mark.parametrize("width", [375, 1366])
def test_an_exported_list_is_edited_and_taken_back_into_the_same_rows(
    enter: Enter, live: str, session: Session, actors: Actors, width: int
) -> None:
    actors.alice.phone, actors.alice.phone_masked = PHONE, "138****5678"
    actors.alice.remarks = "第一行\r\n第二行"
    session.commit()
    page = enter(width=width)
    page.goto(f"{live}{LIST}?order=name")
    heads, *rows = rows_of(export(page, "xlsx"))
    upload(page, live, "商户.xlsx", xlsx_of(heads, *rows))
    assert (tiles(page)["无变化"], tiles(page)["有错误"]) == (2, 0)  # nothing of it came out otherwise
    edited = [dict(zip(heads, row, strict=True)) for row in rows]
    alice, bob = sorted(edited, key=lambda row: str(row["商户名称"]) != "爱丽丝花店")
    alice |= {"商户名称": "爱丽丝花艺　", "套餐到期日": date(2027, 1, 5), "佣金比例（%）": "７．５"}
    bob |= {"状态": "停用"}
    upload(page, live, "商户.xlsx", xlsx_of(heads, list(alice.values()), list(bob.values())))
    state = page.locator("#import-state")
    assert (tiles(page)["将更新"], tiles(page)["将新增"]) == (2, 0)
    expect(state.locator("tbody tr", has_text="爱丽丝花店")).to_contain_text("爱丽丝花店 → 爱丽丝花艺")
    expect(state.locator("tbody tr", has_text="鲍勃面馆")).to_contain_text("正常 → 停用")
    expect(page.locator(".transfer-warning")).to_contain_text("由系统维护，不导入：创建时间")
    assert not steps.too_wide(page)
    page.click("button:has-text('开始导入 2 行')")
    expect(state).to_contain_text("已更新")
    assert count(session) == 2
    assert (actors.alice.name, str(actors.alice.expires_on), actors.alice.commission_rate) == (
        "爱丽丝花艺",
        "2027-01-05",
        7.5,
    )
    assert (actors.bob.state, actors.alice.phone) == (MerchantState.SUSPENDED, PHONE)


def test_a_long_row_of_heads_leaves_the_arrow_of_its_select_free(page: Page, live: str) -> None:
    upload(
        page, live, "a.csv", csv_of(["商户名称", "行业", "联系人", "手机号", "套餐到期日", "备注"], ["花店", "餐饮"])
    )
    room, arrow = page.locator("select[name=head]").evaluate(
        "(it) => { const style = getComputedStyle(it); return [style.paddingRight, style.backgroundSize].map(parseFloat) }"
    )
    assert room >= 2 * arrow > 0
