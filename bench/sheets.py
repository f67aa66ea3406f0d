"""What hostile spreadsheets cost: `make bench-sheets`.

The console is started as it is run (gunicorn, one worker, SQLite of its own), somebody signs in, and each bomb of the
tests is uploaded through the import's page. Meanwhile another person logs in once after the other. Printed per bomb:
its size, how long its answer took, the processor time and the greatest memory of the console and of the process that
reads, the slowest log-in, and the sentence. At last a good file of 20,000 rows, read beside openpyxl's read-only mode
in this process. Nothing is asserted; `--only PART` takes the bombs whose name has it.
"""

from __future__ import annotations

import argparse
import html
import io
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import requests

from app.tasks.spreadsheets import read
from app.tasks.spreadsheets.write import writer
from bench.console_site import wide
from tests.conftest import PASSWORD, ROOT, free_port, test_environment
from tests.tasks.spreadsheets.workbooks import BOMBS, bomb, formats

PAGE = "/merchantview/import"
TICKS = os.sysconf("SC_CLK_TCK")
READER = "spreadsheets.child"


class Console:
    """The console in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = (
            kept
            | test_environment(f"sqlite:///{folder / 'bench.db'}", "http://127.0.0.1:9")
            | {
                "DOUZHOU_ENV": "/nonexistent",
                "PUBLIC_URL": self.url,
                "BIND": self.url.removeprefix("http://"),
                "WEB_WORKERS": "1",
                "LOG_LEVEL": "ERROR",
                "STORAGE_URL": f"file://{folder}/storage",
            }
        )
        self._flask("setup")
        self._flask("user", "add", "boss", "--role", "platform_admin", "--password-stdin", given=PASSWORD)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "run:app"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            with suppress(requests.RequestException):
                if requests.get(f"{self.url}/healthz", timeout=2).ok:
                    return
            time.sleep(0.1)
        raise SystemExit("控制台没有就绪（the console did not start）")

    def _flask(self, *arguments: str, given: str = "") -> None:
        subprocess.run(
            [sys.executable, "-m", "flask", "--app", "run", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def log_in(self) -> requests.Session:
        session = requests.Session()
        page = session.get(f"{self.url}/login/", timeout=60).text
        answer = session.post(
            f"{self.url}/login/",
            timeout=60,
            allow_redirects=False,
            data={"csrf_token": token_in(page), "username": "boss", "password": PASSWORD},
        )
        if answer.status_code != 302:
            raise SystemExit(f"登录失败（log-in answered {answer.status_code}）")
        return session

    def upload(self, session: requests.Session, content: bytes) -> str:
        """Send a file; the sentence beside its field, or that it was taken."""
        token = token_in(session.get(f"{self.url}{PAGE}", timeout=60).text)
        answer = session.post(
            f"{self.url}{PAGE}",
            timeout=120,
            allow_redirects=False,
            data={"csrf_token": token, "mode": "both"},
            files={"file": ("a.xlsx", content)},
        )
        if answer.status_code == 302:
            return "读取完成"
        said = re.search(r'class="wrong"[^>]*>(.*?)<', answer.text, re.DOTALL)
        return f"{answer.status_code} {html.unescape(said[1]).strip() if said else '?'}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def token_in(page: str) -> str:
    return re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)[0]


def below(key: int) -> list[int]:
    """A process and all that it began."""
    found = [key]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


@dataclass
class Watch:
    """The processor time and greatest memory of the console and of its reader, as the system counts them."""

    console: Console
    console_megabytes: float = 0
    reader_megabytes: float = 0
    reader_seconds: float = 0
    console_seconds: float = 0
    logins: list[float] = field(default_factory=list)

    @contextmanager
    def over(self) -> Iterator[None]:
        ended = threading.Event()
        threads = [threading.Thread(target=each, args=(ended,)) for each in (self._look, self._log_in)]
        before = self._console_seconds()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()
            self.console_seconds = self._console_seconds() - before

    def _look(self, ended: threading.Event) -> None:
        while not ended.is_set():
            for key in below(self.console.process.pid):
                with suppress(OSError, IndexError, ValueError):
                    reader = READER in Path(f"/proc/{key}/cmdline").read_text()
                    megabytes = _megabytes(key)
                    if reader:
                        self.reader_megabytes = max(self.reader_megabytes, megabytes)
                        self.reader_seconds = max(self.reader_seconds, _seconds(key))
                    else:
                        self.console_megabytes = max(self.console_megabytes, megabytes)
            ended.wait(0.02)

    def _log_in(self, ended: threading.Event) -> None:
        while not ended.is_set():
            began = time.monotonic()
            self.console.log_in()
            self.logins.append(time.monotonic() - began)

    def _console_seconds(self) -> float:
        return sum(_seconds(key) for key in below(self.console.process.pid))


def _megabytes(key: int) -> float:
    """The memory that a process holds now."""
    return int(Path(f"/proc/{key}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _seconds(key: int) -> float:
    fields = Path(f"/proc/{key}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def bombs(console: Console, only: str) -> None:
    session = console.log_in()
    calm = Watch(console)
    with calm.over():
        time.sleep(2)
    print(f"console before: {calm.console_megabytes:.0f} MB; a log-in alone: {max(calm.logins):.2f} s at most\n")
    print(f"{'bomb':32} {'size':>7} {'answer':>8} {'reader':>16} {'console':>16} {'log-in':>8}  said")
    files = {name: name for name in BOMBS if only in name}
    for name in [*files, "formats to the last row"] if only in "formats to the last row" else files:
        content = formats() if name not in files else bomb(name)
        bomb.cache_clear()
        watch = Watch(console)
        began = time.monotonic()
        with watch.over():
            said = console.upload(session, content)
            took = time.monotonic() - began
        print(
            f"{wide(name, 32)} {len(content) / 2**20:4.1f} MB {took:6.1f} s {watch.reader_seconds:5.1f} s "
            f"{watch.reader_megabytes:4.0f} MB {watch.console_seconds:5.1f} s {watch.console_megabytes:4.0f} MB "
            f"{max(watch.logins):6.2f} s  {said}",
            flush=True,
        )


def good(rows: int) -> None:
    """A good file, read as an upload is, and by openpyxl's reader for values."""
    heads = ["商户名称", "行业", "联系人", "手机号", "主体类型", "佣金比例（%）", "套餐", "套餐到期日", "状态", "备注"]
    values = ["餐饮", "王女士", "13800138000", "企业", 5.5, "专业版", "2027-12-31", "正常", "备注"]
    made = io.BytesIO()
    out = writer("xlsx", made, heads)
    for number in range(rows):
        out.row([f"商户{number}", *values])
    out.close()
    content = made.getvalue()
    began, own = time.monotonic(), time.process_time()
    child = _children()
    with read.opened(content) as book:
        kept = read.pack(book, 0)
    print(
        f"\n{rows:,} rows of {len(heads)} cells, {len(content) / 2**20:.1f} MB: {time.monotonic() - began:.2f} s; "
        f"reader {_children() - child:.2f} s, this process {time.process_time() - own:.2f} s of processor time"
    )
    own = time.process_time()
    count = sum(1 for _ in read.Table(kept).rows())
    print(f"the kept rows again ({len(kept) / 2**20:.1f} MB): {time.process_time() - own:.2f} s for {count:,}")
    own = time.process_time()
    count = sum(
        1 for _ in openpyxl.load_workbook(io.BytesIO(content), read_only=True).active.iter_rows(values_only=True)
    )
    print(f"openpyxl, read-only: {time.process_time() - own:.2f} s of this process for {count:,}")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the bombs' names")
    parser.add_argument("--rows", type=int, default=20_000, help="of the good file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="douzhou-sheets-") as folder:
        console = Console(Path(folder))
        try:
            bombs(console, options.only)
        finally:
            console.stop()
    good(options.rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
