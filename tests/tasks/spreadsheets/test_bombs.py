"""Small Excel files that would fill the memory of whoever lays them out: refused with a sentence, or read at no cost."""

from __future__ import annotations

import os
import random
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from app.errors import Refused
from app.tasks.spreadsheets import read
from tests.tasks.spreadsheets.test_read import csv_of, rows_of
from tests.tasks.spreadsheets.workbooks import (
    BOMBS,
    DECLARATION,
    MEGABYTE,
    archive,
    bomb,
    book,
    formats,
    parts_of,
    row,
    sheet,
    texts,
)
from tests.waiting import wait_for

pytestmark = pytest.mark.any_database("files are refused before any row is written")

FAR = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'


@contextmanager
def little_memory() -> Iterator[None]:
    """What this process takes for what is done inside: hardly more than the file itself."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 24 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_costs_the_console_nothing(name: str) -> None:
    content = bomb(name)
    assert len(content) < read.LARGEST
    with little_memory(), pytest.raises(Refused):
        rows_of(content)


ODD = {
    "a document type": f'<!DOCTYPE x [<!ENTITY a "1">]>{sheet("<row><c><v>&a;</v></c></row>").removeprefix(DECLARATION)}',
    "a sheet under another name": sheet(FAR),
    "a column of six letters": sheet('<row r="1"><c r="A1"><v>1</v></c><c r="ZZZZZZ1"><v>1</v></c></row>'),
    "a reference in other letters": sheet('<row r="1"><c r="XF&#68;1048576"><v>1</v></c></row>'),
    "a row with a huge number": sheet('<row r="99999999999"><c><v>1</v></c></row>'),
    "a shared text that is none": sheet('<row><c t="s"><v>0</v></c></row>'),
    "cells behind the sixtieth column": sheet(f"<row>{'<c><v>1</v></c>' * 61}</row>"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_sheet_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        rows_of(book(ODD[name]))


CHEAP: dict[str, tuple[Callable[[], bytes], list[list[str]]]] = {
    "cells far apart": (
        lambda: book(sheet('<row><c r="A1"><v>1</v></c></row><row><c r="BH1048576"><v>2</v></c></row>')),
        [["1"], [""] * 59 + ["2"]],
    ),
    "cells without values": (lambda: book(sheet("<row>" + "<c/>" * 3_000_000 + "</row>")), []),
    "formats down to the last row": (formats, [["商户名称", "行业"], ["格式店", "餐饮"]]),
    "rows without anything": (lambda: book(sheet(row(1, ["名称"]) + "<row/>" * 1_000_000)), [["名称"]]),
}


@pytest.mark.parametrize("name", CHEAP)
def test_what_lays_out_much_and_holds_little_is_read(name: str) -> None:
    make, wanted = CHEAP[name]
    assert rows_of(make()) == wanted


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("content.xml", ".ods"),
        ("xl/workbook.bin", ".xlsb"),
        ("Index/Document.iwa", "Numbers"),
        ("word/document.xml", "Word"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(name: str, words: str) -> None:
    with pytest.raises(Refused, match=words):
        rows_of(archive({name: "<a/>"}))


@pytest.mark.parametrize(
    "content", [b"\n" * MEGABYTE * 9, b"," * MEGABYTE * 9, b'"' * MEGABYTE * 9, b"a,\n" * MEGABYTE * 3]
)
def test_no_csv_file_costs_the_console_anything(content: bytes) -> None:
    with little_memory(), suppress(Refused):
        rows_of(content)


def children() -> set[int]:
    """The processes that this one has begun and that read a spreadsheet.

    Threads of tests before, and processes, end while this looks: what is gone between its listing and its reading is
    no child.
    """
    found = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            for key in (task / "children").read_text().split():
                with suppress(FileNotFoundError, ProcessLookupError):
                    if "spreadsheets.child" in Path(f"/proc/{key}/cmdline").read_text():
                        found.add(int(key))
    return found


def test_a_reader_that_dies_is_a_refusal_and_leaves_nothing_behind() -> None:
    def kill() -> None:
        for key in wait_for(children, pause=0.005):
            with suppress(ProcessLookupError):
                os.kill(key, 9)

    content = book(sheet("".join(row(number, ["商户"] * 20) for number in range(1, 40_000))))
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Refused, match="太多时间或内存"):
        rows_of(content)
    killer.join()
    assert children() == set()


def test_a_reader_is_ended_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    content = book(sheet("".join(row(number, ["商户"] * 26) for number in range(1, 60_000))))
    monkeypatch.setattr(read, "SECONDS", 0.3)
    with pytest.raises(Refused, match="太多时间或内存"):
        rows_of(content)
    assert children() == set()


def test_only_so_many_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PATIENCE", 0.05)
    content = csv_of(["x"], ["y"])
    with read.opened(content), read.opened(content), pytest.raises(Refused, match="正在读取其他文件"):
        rows_of(content)
    assert rows_of(content) == [["x"], ["y"]]


def test_one_person_has_one_place_however_many_files_they_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten files of one person at once: another finds a place while the first is read; all ten are read in the end."""
    hog, other, content = 1, 2, csv_of(["x"], ["y"])
    at_once: list[int] = []
    lock, reading = threading.Lock(), Counter[int]()
    first, other_read = threading.Event(), threading.Event()

    def send(person: int) -> None:
        with read.opened(content, person) as opened:
            with lock:
                reading[person] += 1
                at_once.append(reading[hog])
            if person == hog:
                first.set()
                assert other_read.wait(30)
            read.pack(opened, 0)
            with lock:
                reading[person] -= 1

    monkeypatch.setattr(read, "PATIENCE", 60)
    with ThreadPoolExecutor(11) as pool:
        hogs = [pool.submit(send, hog) for _ in range(10)]
        assert first.wait(30)
        pool.submit(send, other).result(30)
        other_read.set()
        for one in hogs:
            one.result(60)
    assert len(at_once) == 11 and max(at_once) == 1


def test_a_persons_second_file_is_refused_by_what_they_are_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PATIENCE", 0.05)
    content = csv_of(["x"], ["y"])
    with read.opened(content, 1):
        with pytest.raises(Refused, match="您上传的另一个文件正在读取"), read.opened(content, 1):
            pass
        with read.opened(content, 2), pytest.raises(Refused, match="正在读取其他文件"), read.opened(content, 3):
            pass
    with suppress(KeyError), read.opened(content, 1):
        raise KeyError  # whatever happens, the place is free again
    with read.opened(content, 1):
        pass


def test_the_reader_knows_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "never to be seen")
    with read.opened(csv_of(["x"])):
        (key,) = children()
        assert b"never to be seen" not in Path(f"/proc/{key}/environ").read_bytes()
        limits = dict(line.split(maxsplit=1) for line in _limits(key))
    assert limits["address"].split()[0].isdigit() and limits["cpu"].split()[0].isdigit()


def _limits(key: int) -> Iterator[str]:
    for line in Path(f"/proc/{key}/limits").read_text().splitlines():
        for name, said in (("address", "Max address space"), ("cpu", "Max cpu time")):
            if line.startswith(said):
                yield f"{name} {line.removeprefix(said)}"


def test_no_damage_to_a_file_is_more_than_a_refusal() -> None:
    chance = random.Random(11)
    good = book(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>'), shared=texts("名称"))
    parts: dict[str, Any] = parts_of(
        {"a": sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>')}, shared=texts("名称")
    )
    for turn in range(80):
        if turn % 2:
            content = bytearray(good)
            for _ in range(chance.randint(1, 5)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            damaged = bytes(content)
        else:  # inside the parts, where no checksum says so
            name = chance.choice(list(parts))
            text = str(parts[name])
            place = chance.randrange(len(text))
            damaged = archive(
                parts | {name: text[:place] + chance.choice(["", "<", "9", '"', "/", "xyz"]) + text[place + 1 :]}
            )
        try:
            rows_of(damaged)
        except Refused:
            continue
