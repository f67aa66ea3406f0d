"""The Chromium of the browser tests; run by itself, says in one sentence what is missing for it.

It looks by starting it: Playwright's own Node, the browser and its libraries, and a font that can write Chinese.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Two characters drawn without a font of theirs are the same empty box.
DRAWN = """() => {
  const drawn = (letter) => {
    const canvas = document.createElement('canvas');
    const pen = canvas.getContext('2d');
    pen.font = '32px sans-serif';
    pen.fillText(letter, 8, 64);
    return canvas.toDataURL();
  };
  return drawn('抖') !== drawn('舟');
}"""


class NoBrowserError(Exception):
    """There is no browser that starts; its text says why."""


def path_of(playwright: Playwright) -> str | None:
    """The system's Chromium, or the one that `playwright install` fetched."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    own = playwright.chromium.executable_path
    return found or (own if own and Path(own).exists() else None)


@contextmanager
def started() -> Iterator[Browser]:
    """A running Chromium."""
    manager = sync_playwright()
    try:
        playwright = manager.start()
    except Exception as error:  # the driver that ends at once is a plain Exception
        raise NoBrowserError("Playwright 的 Node 无法启动（its own Node does not start）") from error
    try:
        path = path_of(playwright)
        if path is None:
            raise NoBrowserError(
                f"没有找到浏览器（no browser）：{'、'.join(NAMES)}，也没有 playwright install chromium 的"
            )
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            raise NoBrowserError(f"浏览器无法启动（it does not start）：{path}") from error
        yield browser
        browser.close()
    finally:
        playwright.stop()


def main() -> int:
    try:
        with started() as browser:
            if browser.new_page().evaluate(DRAWN):
                return 0
            print("没有中文字体（no Chinese font）")
    except NoBrowserError as error:
        print(error)
    return 1


if __name__ == "__main__":
    sys.exit(main())
