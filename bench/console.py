"""Our lists beside Django's admin, on the same rows in one run: CPU a page, statements, kilobytes; and flatness.

    python -m bench.console [--rows 100000] [--requests 30] [--flat 10000]

Both are called in this process as WSGI applications, in turn, signed in, after a warm-up. CPU is the process's own
(`time.process_time`), the median of the requests. Nothing is asserted about time. `--flat 10000,1000000` compares with
a million rows, too: that file has 2.4 GB and takes minutes to fill.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask

from bench import console_django
from bench.console_rows import COMMON, RARE, build
from bench.console_site import Site, filled, measure, signed_in, wide

LISTS = {
    "小程序": ("miniprogramview", "miniprogram"),
    "商户": ("merchantview", "merchant"),
    "版本": ("versionview", "version"),
}


@dataclass(frozen=True)
class Case:
    """One page: what it is, and its address here and there (without Django's page size, which is no argument)."""

    title: str
    ours: str
    theirs: str
    size: int = 25


def cases(name: str, deep: int) -> list[Case]:
    """The pages of one list; `deep` is a page counted from 0."""
    ours, theirs = (f"/{LISTS[name][0]}/list/", f"/admin/bench/{LISTS[name][1]}/")
    common, rare = quote(COMMON), quote(RARE)
    found = [
        Case("第一页", ours, theirs),
        Case("100 行", f"{ours}?psize=100", theirs, 100),
        Case(f"第 {deep + 1} 页", f"{ours}?page={deep}", f"{theirs}?p={deep + 1}"),
        Case(f"搜索「{COMMON}」", f"{ours}?q={common}", f"{theirs}?q={common}"),
        Case(f"搜索「{RARE}」", f"{ours}?q={rare}", f"{theirs}?q={rare}"),
    ]
    if name == "小程序":
        found.append(Case("按商户名称排序", f"{ours}?order=merchant&way=asc", f"{theirs}?o=3"))
    return found


def our_site(folder: Path, rows: int) -> tuple[Flask, Site]:
    """Our application over a new file with that many rows of each kind, an operator signed in."""
    app = filled(f"sqlite:///{folder / f'{rows}.db'}", lambda engine: build(engine, rows))
    return app, signed_in(app, "bench", "operator")


def django_site(folder: Path, rows: int) -> Site:
    """Django's admin over the same file."""
    application, cookie = console_django.start(str(folder / f"{rows}.db"))
    from django.db import connection  # noqa: PLC0415  (Django is configured first)

    @contextmanager
    def counted() -> Iterator[list[str]]:
        statements: list[str] = []

        def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(note):
            yield statements

    return Site(application, cookie, counted)


def beside_django(sites: list[Site], rows: int, requests: int, sizes: dict[int, Site]) -> None:
    """One line a page: ours beside Django's over the same rows, then what ours takes over other numbers of rows."""
    print(f"{rows:,} rows of each; CPU of one page, median of {requests}; growth is to {rows:,} rows or from them")
    grown = " ".join(f"{f'{size:,} rows':>22}" for size in sizes)
    print(f"{'page':28} {'ours':>8} {'Django':>9} {'ratio':>6} {'statements':>11} {'KB':>13} {grown}")
    deep = min(2999, rows // 25 - 1)
    for name in LISTS:
        for number, case in enumerate(cases(name, deep)):
            console_django.page_size(case.size)
            ours, theirs = measure(sites, [case.ours, case.theirs], requests)
            beside = [growth((sites[0], rows), (other, size), name, number, requests) for size, other in sizes.items()]
            print(
                f"{wide(f'{name} {case.title}', 28)} {ours.cpu:5.1f} ms {theirs.cpu:6.1f} ms "
                f"{ours.cpu / theirs.cpu:6.2f} {ours.statements:5d} : {theirs.statements:<3d} "
                f"{ours.kilobytes:6.1f} : {theirs.kilobytes:<5.1f} {' '.join(beside)}",
                flush=True,
            )


def growth(one: tuple[Site, int], other: tuple[Site, int], name: str, number: int, requests: int) -> str:
    """A page over the other number of rows, and what the greater number takes of the smaller: `4.6 ms x1.02`."""
    (less, smaller), (more, _greater) = sorted((one, other), key=lambda held: held[1])
    path = cases(name, min(2999, smaller // 25 - 1))[number].ours
    small, great = (taken.cpu for taken in measure([less, more], [path, path], requests))
    return f"{small if less is other[0] else great:12.1f} ms x{great / small:.2f}".rjust(22)


def permission_checks(app: Flask, site: Site) -> None:
    """How many statements a page's permission checks take, beside how many checks there are."""
    manager = app.appbuilder.sm  # type: ignore[attr-defined]
    plain, asked = manager.has_access, []
    with site.counted() as statements:

        def noted(permission: str, view: str) -> bool:
            before = len(statements)
            answer = plain(permission, view)
            asked.append(len(statements) - before)
            return bool(answer)

        manager.has_access = noted
        try:
            site.get("/miniprogramview/list/?psize=100")
        finally:
            del manager.has_access
    print(f"\npermission checks of one page: {len(asked)}, statements they took: {sum(asked)}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--flat", default="10000", help="other numbers of rows to compare ours at; empty for none")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="douzhou-console-") as folder:
        app, ours = our_site(Path(folder), options.rows)
        django = django_site(Path(folder), options.rows)
        sizes = {int(size): our_site(Path(folder), int(size))[1] for size in filter(None, options.flat.split(","))}
        beside_django([ours, django], options.rows, options.requests, sizes)
        permission_checks(app, ours)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
