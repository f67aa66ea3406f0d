"""The workbench, its days and the search over everything, with many mini-programs: milliseconds, statements, kilobytes.

    python -m bench.dashboard [--rows 100000] [--requests 10] [--database URL]

Pages are asked through WSGI in this process, signed in, after a warm-up; the median of the requests, in time and in
this process's own CPU (SQLite's is in it, a server's is not). The database is a new SQLite file, or an empty one at the
address. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from flask import Flask
from sqlalchemy import func, select

from app.data.secrets import keyring
from app.data.tenancy import PLATFORM, app_scope
from app.kept import kept_of
from app.models import Merchant, MiniProgram
from bench.console_site import Site, filled, measure, signed_in, wide
from bench.dataset import fill, name_of, phone_of


def prepared(url: str, rows: int) -> tuple[Flask, Site, Site]:
    """An application over that many mini-programs, with a platform user and a merchant's."""
    app = filled(url, lambda engine: fill(engine, rows, keyring()))
    with app_scope(app, PLATFORM) as session:
        owner = session.scalars(select(MiniProgram.merchant_id).where(MiniProgram.merchant_id.is_not(None))).first()
        key = session.get_one(Merchant, owner).key
        count = session.scalar(select(func.count(MiniProgram.id)))
        print(f"{count:,} mini-programs on {session.get_bind().dialect.name}")
    return app, signed_in(app, "bench.admin", "platform_admin"), signed_in(app, "bench.owner", "owner", key)


def show(app: Flask, site: Site, title: str, path: str, requests: int) -> None:
    """One line; the days are counted anew each time, so that the figure is that of the first reader."""
    (taken,) = measure([site], [path], requests, lambda: kept_of(app).forget("trends"))
    print(
        f"{wide(title, 30)} {taken.wall:7.1f} ms  worst {taken.worst:7.1f}  CPU {taken.cpu:6.1f}  "
        f"{taken.statements:3d} statements {taken.kilobytes:6.1f} KB",
        flush=True,
    )


def pages(rows: int) -> list[tuple[str, str]]:
    """(what it is, address) of what is measured for the platform."""
    some = rows // 3
    found = {
        "整个名称": name_of(some),
        "名称开头": name_of(some)[:3],
        "名称中间": f"{some}号",
        "没有的": "墨菲斯托",
        "手机号": phone_of(some),
        "小程序编号": f"tt{some:018x}",
        "操作编号": f"#{some}",
        "log_id": f"20260101{some:012d}",
        "联系人": "李店长",
        "主体": f"{some}科技",
    }
    return [
        ("工作台", "/"),
        ("30 天", "/trends?days=30"),
        ("90 天", "/trends?days=90"),
        ("系统状态", "/system/"),
        ("系统状态 实时部分", "/system/live"),
        ("定时任务", "/jobs/"),
        ("面板", "/palette/start"),
        *((f"搜索 {title}", f"/palette/search?q={quote(text)}") for title, text in found.items()),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--database", default="")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="douzhou-dashboard-") as folder:
        app, admin, owner = prepared(options.database or f"sqlite:///{Path(folder) / 'bench.db'}", options.rows)
        for title, path in pages(options.rows):
            show(app, admin, title, path, options.requests)
        show(app, owner, "商户的工作台", "/", options.requests)
        show(app, owner, "商户的搜索", f"/palette/search?q={quote('花店')}", options.requests)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
