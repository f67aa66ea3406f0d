"""Files made to cost much, to slip through, or to change what they say on their way back."""

from __future__ import annotations

import io
import json
import time
import tracemalloc

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from app.data import storage
from app.data.engine import writing
from app.data.written import LONGEST_WORD, halved
from app.errors import Refused
from app.models import Industry, Merchant, Task
from app.tasks.spreadsheets import child, values, write
from app.tasks.spreadsheets.write import for_csv
from app.tasks.spreadsheets.xlsx import Workbook
from tests.conftest import Actors, refresh
from tests.console.transfer.test_import import checked
from tests.pages import text_of, visible
from tests.tasks.spreadsheets.workbooks import archive, book, parts_of, row, sheet, styles, texts

HEADS = ["商户名称", "行业", "佣金比例（%）"]


@pytest.fixture(autouse=True)
def trades(session: Session, actors: Actors) -> None:
    with writing():
        session.add(Industry(name="餐饮美食"))
        session.commit()


def last_task(session: Session) -> Task:
    refresh(session)
    return session.scalars(sa.select(Task).order_by(Task.id.desc()).limit(1)).one()


@pytest.mark.parametrize("head", ["商户标识", "联系人", "手机号", "佣金比例（%）", "套餐到期日", "状态"])
def test_a_long_text_that_many_cells_name_is_no_burden(session: Session, operator: FlaskClient, head: str) -> None:
    """One letter of these becomes eighteen where its forms are made alike."""
    rows = [row(n, [f"店{n}", "餐饮美食", '< t="s"><v>0</v></c>']) for n in range(2, 42)]
    content = book(sheet(row(1, ["商户名称", "行业", head]) + "".join(rows)), shared=texts("\ufdfa" * 32_767))
    tracemalloc.start()
    checked(operator, content, name="a.xlsx")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 60 * 2**20
    params = last_task(session).params
    assert len(params["errors"]) == 40
    assert len(json.dumps(params)) < 50_000


def test_a_long_name_of_another_row_is_none(session: Session, operator: FlaskClient) -> None:
    rows = [row(n, [f"店{n}", '< t="s"><v>0</v></c>']) for n in range(2, 42)]
    content = book(sheet(row(1, ["商户名称", "行业"]) + "".join(rows)), shared=texts("\ufdfa" * 32_767))
    checked(operator, content, name="a.xlsx")
    params = last_task(session).params
    assert len(params["errors"]) == 40
    assert len(json.dumps(params, ensure_ascii=False)) < 15_000


@pytest.mark.parametrize(
    "text",
    ["\u200c" * 32_760 + "x", "'" + " " * 32_700, "' " * 16_000, "\t" * 32_000, "＝" * 32_000, " " * 32_700 + "=1"],
)
def test_no_text_takes_long_to_be_made_harmless_or_restored(text: str) -> None:
    """Beside a text of a sixteenth of the length, in the same moment: a line costs 16 times as much. Were each letter
    looked at again for every other, it would be 256 times; between the two lies all that a busy machine adds."""

    def cost(given: str) -> float:
        started = time.process_time()
        for _ in range(8):
            values.restored(values.neutral(given))
            for_csv(given)
            values.from_cell(given)
        return time.process_time() - started

    part = text[: len(text) // 16 - 2] + text[-2:]
    assert min(cost(text) for _ in range(4)) < 64 * min(cost(part) for _ in range(4))


@pytest.mark.parametrize("head", ["行业", "商户标识", "商户名称", "备注"])
def test_a_nought_character_is_refused_by_its_column(session: Session, operator: FlaskClient, head: str) -> None:
    heads, cells = {"商户名称": "花店甲", "行业": "餐饮美食"}, {head: "_x0000_餐饮"}
    content = book(sheet(row(1, list(heads | cells)) + row(2, list((heads | cells).values()))))
    page = visible(text_of(operator, checked(operator, content, name="a.xlsx")))
    assert "1 有错误" in page or "有错误 1" in page
    assert head in str(last_task(session).params["errors"])


def test_what_was_refused_is_refused_again_when_it_comes_back(session: Session, operator: FlaskClient) -> None:
    refused = sheet(
        row(1, HEADS)
        + '<row r="2"><c r="A2" t="inlineStr"><is><t>甲店</t></is></c><c r="B2" t="inlineStr"><is><t>餐饮美食</t></is></c>'
        '<c r="C2"><f>X()</f></c></row>'
        + row(3, [123456789012345678, "餐饮美食", 5])
        + row(4, ["丙店", "餐饮美食", 8], [0, 0, 1])
    )
    content = book(refused, style=styles("[>=1]0;0%"))
    for _ in range(3):
        checked(operator, content, name="a.xlsx")
        task = last_task(session)
        assert task.params["counts"].get("created", 0) == 0
        assert len(task.params["errors"]) == 3
        assert task.output_key is not None
        with operator.application.app_context():
            content = storage.read_sealed(task.output_key)
    assert session.scalar(sa.select(sa.func.count()).where(Merchant.name == "甲店")) == 0


def test_what_is_kept_to_be_shown_is_little_whatever_the_sheets_name() -> None:
    rows = "".join(row(n, []).replace("></row>", ">" + '<c t="s"><v>0</v></c>' * 60 + "</row>") for n in range(1, 21))
    content = archive(parts_of({f"表{n}": sheet(rows) for n in range(50)}, shared=texts("𠀀" * 200)))
    found = child.look(Workbook(content))
    assert sum(len(str(cell)) for one in found["sheets"] for _, cells in one["rows"] for cell in cells) < 1_600_000
    assert len(found["sheets"][49]["rows"]) == 20


@pytest.mark.parametrize(
    ("text", "narrow"), [("１３８", "138"), ("Ａｂ－１", "Ab-1"), ("5²", "5²"), ("①", "①"), ("　甲 ", "甲")]
)
def test_what_has_another_meaning_is_not_made_narrow(text: str, narrow: str) -> None:
    assert halved(text) == narrow


def test_what_is_longer_than_any_name_is_not_looked_through() -> None:
    assert halved("１" * LONGEST_WORD) == "1" * LONGEST_WORD
    with pytest.raises(Refused, match="内容太长"):
        halved("１" * (LONGEST_WORD + 1))


def test_what_looks_like_an_escape_comes_back_as_it_was() -> None:
    target = io.BytesIO()
    names = ["店_x0041_甲", "_x005F_", "_x", "_x000A_乙"]
    out = write.writer("xlsx", target, ["商户名称"])
    for name in names:
        out.row([name])
    out.close()
    assert [cells for _, cells in Workbook(target.getvalue()).rows(0)][1:] == [[name] for name in names]
