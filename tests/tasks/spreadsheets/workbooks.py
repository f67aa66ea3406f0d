"""Excel files made by hand, part by part, as programs of several houses write them; and those meant to do harm."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
KINDS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_KINDS = "http://purl.oclc.org/ooxml/officeDocument/relationships"
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def sheet(rows: str, *, before: str = "", after: str = "", main: str = MAIN) -> str:
    return f'{DECLARATION}<worksheet xmlns="{main}">{before}<sheetData>{rows}</sheetData>{after}</worksheet>'


def texts(*items: str, root: str = "sst") -> str:
    return f'<{root} xmlns="{MAIN}">' + "".join(f"<si><t>{item}</t></si>" for item in items) + f"</{root}>"


def styles(*codes: str | int) -> str:
    """A style table: style 0 is the general one, the others have these formats, by their number or their code."""
    own = {code: 164 + place for place, code in enumerate(codes) if isinstance(code, str)}
    formats = "".join(
        f'<numFmt numFmtId="{key}" formatCode="{escape(code, {chr(34): "&quot;"})}"/>' for code, key in own.items()
    )
    xfs = "".join(
        f'<xf numFmtId="{own.get(code, code)}" fontId="0" fillId="0" borderId="0" xfId="0"/>' for code in (0, *codes)
    )
    return (
        f'<styleSheet xmlns="{MAIN}"><numFmts count="{len(own)}">{formats}</numFmts>'
        f'<cellStyleXfs count="1"><xf numFmtId="10"/></cellStyleXfs><cellXfs count="{len(codes) + 1}">{xfs}</cellXfs>'
        f'<dxfs><dxf><numFmt numFmtId="165" formatCode="General"/></dxf></dxfs></styleSheet>'
    )


def cell(place: str, value: Any, style: int = 0) -> str:
    """One cell with a text written in it, or a number; a string that begins with `<` is XML of its own."""
    marked = f' s="{style}"' if style else ""
    where = f' r="{place}"' if place else ""
    if isinstance(value, str):
        if value.startswith("<"):
            return f"<c{where}{marked}{value[1:]}"
        return (
            f'<c{where}{marked} t="inlineStr"><is><t>{escape(value)}</t></is></c>' if value else f"<c{where}{marked}/>"
        )
    return f"<c{where}{marked}><v>{value!r}</v></c>"


def row(number: int, values: Sequence[Any], marks: Sequence[int] = (), more: str = "") -> str:
    """A row from column A on; `marks` are its cells' styles."""
    found = [
        cell(f"{chr(65 + place)}{number}", value, marks[place] if place < len(marks) else 0)
        for place, value in enumerate(values)
        if value is not None
    ]
    return f'<row r="{number}"{more}>{"".join(found)}</row>'


def archive(parts: Mapping[str, str | bytes], *, streamed: bool = False) -> bytes:
    """The parts as a file; `streamed` as programs write that cannot go back: sizes behind each part, 64-bit fields."""
    made = io.BytesIO()
    target: Any = _Unseekable(made) if streamed else made
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            data = content.encode() if isinstance(content, str) else content
            if streamed:
                with packed.open(name, "w", force_zip64=True) as part:
                    part.write(data)
            else:
                packed.writestr(name, data)
    return made.getvalue()


class _Unseekable:
    def __init__(self, target: io.BytesIO) -> None:
        self.write, self.flush = target.write, target.flush


def parts_of(
    sheets: Mapping[str, str],
    *,
    shared: str = "",
    style: str = "",
    states: Mapping[str, str] | None = None,
    before: str = "",
    main: str = MAIN,
    kinds: str = KINDS,
    folder: str = "",
) -> dict[str, str | bytes]:
    """The parts of a workbook with these sheets, by their names; `folder` goes before the targets."""
    related = [("worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
    related += [("sharedStrings", "sharedStrings.xml")] if shared else []
    related += [("styles", "styles.xml")] if style else []
    named = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" state="{(states or {}).get(name, "visible")}" r:id="rId{number}"/>'
        for number, name in enumerate(sheets, 1)
    )
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'{DECLARATION}<Types xmlns="{TYPES}"><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'{DECLARATION}<Relationships xmlns="{RELATIONS}"><Relationship Id="rId1" Type="{kinds}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{DECLARATION}<workbook xmlns="{main}" xmlns:r="{kinds}">{before}<sheets>{named}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">'
        + "".join(
            f'<Relationship Id="rId{number}" Type="{kinds}/{kind}" Target="{folder}{target}"/>'
            for number, (kind, target) in enumerate(related, 1)
        )
        + "</Relationships>",
    }
    parts |= {f"xl/worksheets/sheet{number}.xml": content for number, content in enumerate(sheets.values(), 1)}
    return parts | ({"xl/sharedStrings.xml": shared} if shared else {}) | ({"xl/styles.xml": style} if style else {})


def book(content: str, *, pad: int = 0, more: Mapping[str, str | bytes] | None = None, **options: Any) -> bytes:
    """A file of one sheet; `pad` bytes that cannot be packed make it as large as an ordinary one."""
    padding = {"docProps/pad.bin": random.Random(7).randbytes(pad)} if pad else {}
    return archive(parts_of({"Sheet1": content}, **options) | dict(more or {}) | padding)


# Meant to do harm.

MEGABYTE = 1024 * 1024
LONG = "中" * 30_000


def values(megabytes: int) -> bytes:
    """So many megabytes of XML: cells that all hold something."""
    one = "<row>" + "<c><v>1</v></c>" * 50 + "</row>"
    return book(sheet(one * (megabytes * MEGABYTE // len(one))), pad=MEGABYTE)


def formats(rows: int = 1_048_576, columns: int = 1) -> bytes:
    """Two rows, and formats down to a spreadsheet's last one: no bomb, though it unpacks to as much."""
    heads = row(1, ["商户名称", "行业"]) + row(2, ["格式店", "餐饮"])
    empty = "".join(f'<c r="{chr(65 + place)}@" s="1"/>' for place in range(columns))
    pieces = [heads]
    pieces += [
        f'<row r="{number}" spans="1:{columns}" s="1" customFormat="1">{empty.replace("@", str(number))}</row>'
        for number in range(3, rows + 1)
    ]
    return book(sheet("".join(pieces)), style=styles(9))


def _cells(inner: str = '<c t="s"><v>0</v></c>') -> str:
    return f"<row>{inner * 50}</row>"


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    text = sheet("<row><c><v>&l11;</v></c></row>").removeprefix(DECLARATION)
    return book(f'<!DOCTYPE x [<!ENTITY l0 "lol">{entities}]>{text}')


def _long() -> bytes:
    return book(sheet('<row><c t="inlineStr"><is><t>' + "a" * (200 * MEGABYTE) + "</t></is></c></row>"))


# Files of at most a few megabytes that would cost whoever lays them out hundreds, by what they do.
BOMBS: dict[str, Callable[[], bytes]] = {
    "248 MB of cells": lambda: values(248),
    "100 MB of cells": lambda: values(100),
    "50 MB of cells": lambda: values(50),
    "one text of 200 MB": _long,
    "blanks of 240 MB": lambda: book(sheet(" " * (240 * MEGABYTE))),
    "shared texts of 120 MB": lambda: book(sheet(_cells()), shared=texts(*["中文" * 500] * 40_000)),
    "six million shared texts": lambda: book(sheet(_cells()), shared=texts(*["a"] * 6_000_000)),
    "one long text in every cell": lambda: book(sheet(_cells() * 400), shared=texts(LONG), pad=60_000),
    "deep nesting": lambda: book(sheet("<a>" * 5_000_000)),
    "a million names": lambda: book(sheet("".join(f"<a{n:x}/>" for n in range(1_000_000)))),
    "a million attributes": lambda: book(sheet("<row " + " ".join(f'a{n:x}=""' for n in range(1_000_000)) + "/>")),
    "entities that multiply": _laughs,
    "a hundred thousand entries": lambda: archive({f"{n:x}": "" for n in range(100_000)}),
    "a ratio of a thousand": lambda: book(sheet("<row>" + "0" * (255 * MEGABYTE))),
    "a directory of a gigabyte": lambda: book(
        sheet(""), more={f"xl/media/{n}.bin": b"\0" * (64 * MEGABYTE) for n in range(16)}
    ),
    "a million styles": lambda: book(sheet(_cells()), style=styles(*range(1, 1_000_000))),
    "a value behind the formats": lambda: book(
        sheet(row(1, ["商户名称"]) + "<row/>" * 900_000 + row(1_048_576, ["远"]))
    ),
}


@cache
def bomb(name: str) -> bytes:
    return BOMBS[name]()
