"""The only reader of spreadsheets: XLSX and CSV by one face, read in a process of their own and kept as rows.

A file is read once, when it comes. What is kept of it (`Table`) is a stream of rows, packed; whoever looks at an
import or carries it out reads that, and never the file again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import structlog

from app.errors import Refused
from app.i18n.sentence import say
from app.tasks.spreadsheets.cells import Cell
from app.tasks.spreadsheets.limits import MOST_TEXT, SECONDS

log = structlog.get_logger(__name__)
Line = tuple[int, list[Cell]]  # the row's number as a spreadsheet shows it, its cells
PATIENCE = 10  # seconds that a file waits for another
AT_ONCE = 2  # processes that read, of one server
LARGEST = 10 * 1024 * 1024
_PLACE = Path(__file__).resolve().parent.parent
_COMMAND = (sys.executable, "-P", "-S", "-m", "spreadsheets.child")
BLOCK = 1 << 18
_LOCKED = "EncryptedPackage".encode("utf-16-le")  # a part of every Excel file with a password
_rows = msgspec.json.Decoder(tuple[int, list[str | list[str]]])
_any = msgspec.json.Decoder()


@dataclass(frozen=True)
class Sheet:
    """A sheet's name, whether it is hidden, and its first rows that hold anything."""

    name: str
    hidden: bool
    rows: list[Line]


class Book:
    """An uploaded file while it is read: its sheets, and the rows of one of them, once."""

    def __init__(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        self._input, self._output = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        self._send(b"%d\n" % len(content) + content)
        found = self._line()
        if not isinstance(found, dict):
            raise _gave_up()
        self.kind = str(found["kind"])
        self.sheets = [_sheet(one) for one in found["sheets"]]
        self.told: dict[str, Any] = {}

    def lines(self, sheet: int) -> Iterator[bytes]:
        """The rows of a sheet as they are kept; `told` afterwards says how many there were and what was left out."""
        self._send(b"%d\n" % sheet)
        size = 0
        while True:
            raw = self._raw()
            if raw[:1] == b"{":
                self.told = self._heard(raw)
                return
            size += len(raw)
            if size > MOST_TEXT * 2:
                raise _gave_up()
            yield raw

    def _send(self, data: bytes) -> None:
        try:
            self._input.write(data)
            self._input.flush()
        except OSError:  # it died of what it had so far
            raise _gave_up() from None

    def _raw(self) -> bytes:
        raw = self._output.readline(MOST_TEXT)
        if raw[-1:] != b"\n":
            raise _gave_up()
        return raw

    def _line(self) -> Any:
        return self._heard(self._raw())

    @staticmethod
    def _heard(raw: bytes) -> Any:
        found = _any.decode(raw)
        if isinstance(found, dict) and "refused" in found:
            raise Refused(found["refused"], field="file")
        return found


def _gave_up() -> Refused:
    return Refused("读取这个文件需要太多时间或内存，已停止：请只保留数据后另存，或改用 CSV", field="file")


def _environment() -> dict[str, str]:
    """What a process needs to start, and none of the settings: it is to know no secret."""
    needed = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in needed if name in os.environ} | {"PYTHONPATH": str(_PLACE)}


class Places:
    """Where files are read: one person has one place, so that whoever sends many leaves room for others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers: list[int | None] = []

    @contextmanager
    def one(self, person: int | None) -> Iterator[None]:
        """Wait for a place; nobody in particular (None) may have several. Refused where there is none in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free(person), timeout=PATIENCE):
                again = person is not None and person in self._readers
                words = "您上传的另一个文件正在读取：请稍后再上传" if again else "正在读取其他文件：请稍后再上传"
                raise Refused(words, field="file")
            self._readers.append(person)
        try:
            yield
        finally:
            with self._changed:
                self._readers.remove(person)
                self._changed.notify_all()

    def _free(self, person: int | None) -> bool:
        return len(self._readers) < AT_ONCE and (person is None or person not in self._readers)


_places = Places()


@contextmanager
def opened(content: bytes, person: int | None = None) -> Iterator[Book]:
    """A file in the hands of a process that reads it for somebody. Refused, with what to do, when it cannot be read."""
    with _places.one(person):
        process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
        )
        ending = threading.Timer(SECONDS, process.kill)
        ending.daemon = True
        ending.start()
        try:
            yield Book(process, content)
        except Refused:
            if process.poll():  # a limit, the deadline, or a fault of ours
                log.warning("sheet_reader_died", code=process.returncode, size=len(content))
            raise
        finally:
            ending.cancel()
            process.kill()
            with suppress(OSError):  # what it never read
                process.communicate()


def check_kind(name: str, content: bytes) -> None:
    """Refuse what is no spreadsheet that we read, by what the file is rather than by what it is called."""
    if len(content) > LARGEST:
        raise Refused(say("文件超过 {size} MB：请拆分后分别导入", size=LARGEST // 1024 // 1024), field="file")
    if not content.strip():
        raise Refused("文件是空的", field="file")
    if content[:4] == b"PK\x03\x04":
        return
    if content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" and _LOCKED in content:
        raise Refused("文件设置了打开密码：请在 Excel 或 WPS 中取消密码，另存后再上传", field="file")
    if content[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or name.lower().endswith((".xls", ".et")):
        raise Refused("不支持旧版 .xls 或加密的文件：请另存为 .xlsx 或 CSV 后再上传", field="file")


class Table:
    """What is kept of a file: what its sheets are called and how they begin, and the rows of the one that was read."""

    def __init__(self, kept: bytes) -> None:
        head = zlib.decompressobj()
        self.about: dict[str, Any] = _any.decode(head.decompress(kept))
        self._packed = head.unused_data

    @property
    def kind(self) -> str:
        return str(self.about["kind"])

    @property
    def sheet(self) -> int:
        return int(self.about["sheet"])

    @property
    def sheets(self) -> list[Sheet]:
        return [_sheet(one) for one in self.about["sheets"]]

    @property
    def first(self) -> list[Line]:
        """The first rows of the sheet that was read."""
        return self.sheets[self.sheet].rows

    @property
    def count(self) -> int:
        return int(self.about["rows"])

    def rows(self) -> Iterator[Line]:
        """The rows of the sheet that was read, in order."""
        stream, packed, tail = zlib.decompressobj(), self._packed, b""
        while packed and not stream.eof:
            *whole, tail = (tail + stream.decompress(packed, BLOCK)).split(b"\n")
            packed = stream.unconsumed_tail
            yield from _rows_in(whole)


def _rows_in(lines: list[bytes]) -> list[Line]:
    return [_rows.decode(line) for line in lines]


def _sheet(found: dict[str, Any]) -> Sheet:
    return Sheet(found["name"], found["hidden"], [(row[0], row[1]) for row in found["rows"]])


def pack(book: Book, sheet: int) -> bytes:
    """Read the rows of one of a file's sheets to their end, and pack them to be kept."""
    packing, waiting = zlib.compressobj(1), bytearray()
    parts = []
    for line in book.lines(sheet):
        waiting += line
        if len(waiting) > BLOCK:
            parts.append(packing.compress(bytes(waiting)))
            waiting.clear()
    parts += [packing.compress(bytes(waiting)), packing.flush()]
    sheets = [{"name": one.name, "hidden": one.hidden, "rows": one.rows} for one in book.sheets]
    about = {"kind": book.kind, "sheet": sheet, "sheets": sheets, **book.told}
    return b"".join((zlib.compress(msgspec.json.encode(about)), *parts))
