"""The frame of the pages: files that browsers may keep, what the shell holds, and what no page may load."""

from __future__ import annotations

import gc
import gzip
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app.console.frame.shell import initials
from app.extensions import db
from app.models.records import WebSession
from app.web import assets
from app.web.assets import Files, files_of
from tests.conftest import Actors
from tests.pages import text_of

ROOT = Path(assets.FOLDER).parent
PAGES = ("/", "/merchantview/list/", "/merchantview/show/1", "/miniprogramview/show/1", "/jobs/", "/account/")
OLD = re.compile(
    r"bootstrap\.min|jquery|select2|font-?awesome|fa-fw|glyphicon|data-toggle|static/appbuilder", re.IGNORECASE
)

BEFORE = pytest.mark.any_database("static files are answered before a database is asked")


def _addresses(page: str) -> set[str]:
    return set(re.findall(r'(?:src|href|data-tom-select(?:-css)?)="(/static/[^"#]+)', page))


# Files.


def test_a_files_address_changes_with_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "FOLDER", tmp_path)
    monkeypatch.setattr(assets, "LOOK_EVERY", 0)
    files = Files()
    (tmp_path / "one.css").write_text("a {}")
    first = files.address("one.css")
    (tmp_path / "one.css").write_text("a { color: red }")
    second = files.address("one.css")
    assert re.fullmatch(r"/static/one\.css\?v=[0-9a-f]{8}", first)
    assert first != second


@BEFORE
def test_a_file_is_kept_for_a_year_only_at_its_own_address(app: Flask) -> None:
    client, address = app.test_client(), files_of(app).address("console.css")
    kept, old = client.get(address), client.get("/static/console.css?v=000000000000")
    assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "must-revalidate" in old.headers["Cache-Control"]
    assert kept.headers["Content-Type"] == "text/css; charset=utf-8"
    again = client.get(address, headers={"If-None-Match": kept.headers["ETag"]})
    assert (again.status_code, again.get_data()) == (304, b"")


@BEFORE
@pytest.mark.parametrize("name", ["console.css", "console.js", "vendor/tabler.css", "vendor/icons.css"])
def test_a_file_comes_compressed_to_who_can_read_it(app: Flask, name: str) -> None:
    client = app.test_client()
    plain = client.get(files_of(app).address(name))
    packed = client.get(files_of(app).address(name), headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.get_data()) == plain.get_data() == (assets.FOLDER / name).read_bytes()
    assert len(packed.get_data()) < len(plain.get_data()) / 2


@BEFORE
def test_what_is_vendored_comes_in_brotli(app: Flask) -> None:
    answer = app.test_client().get(
        files_of(app).address("vendor/htmx.js"), headers={"Accept-Encoding": "gzip, deflate, br"}
    )
    assert answer.headers["Content-Encoding"] == "br"
    assert answer.get_data() == (assets.FOLDER / "vendor/htmx.js.br").read_bytes()


@BEFORE
@pytest.mark.parametrize(
    "path",
    [
        "vendor/tabler.css.gz",
        "../assets.py",
        "%2e%2e/assets.py",
        "vendor",
        "",
        "no.css",
        ".hidden",
        "a//b",
        "appbuilder/js/jquery-latest.js",
    ],
)
def test_nothing_else_of_the_machine_is_served(app: Flask, path: str) -> None:
    assert app.test_client().get(f"/static/{path}").status_code == 404


@BEFORE
def test_nothing_is_kept_of_the_names_that_strangers_make_up(app: Flask) -> None:
    """Each is a file by another name, and there is no end of them."""
    files = files_of(app)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for times in range(1, 300):
            assert files.find(f"{'./' * 1000}{'vendor/../' * times}console.css") is None
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 300_000


def test_a_file_opens_no_session_and_asks_no_database(app: Flask, client_for: Callable[..., FlaskClient]) -> None:
    client, seen = client_for("operator"), []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        answer = client.get(files_of(app).address("console.js"))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert answer.status_code == 200
    assert not seen
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@BEFORE
def test_every_static_file_that_a_template_names_is_there(app: Flask) -> None:
    for path in (ROOT / "templates").rglob("*.html"):
        for name in re.findall(r"asset\('([^']+)'\)", path.read_text()):
            assert files_of(app).find(name) is not None, f"{path.name} names {name}"


def test_every_icon_that_a_template_names_is_held() -> None:
    held = set(re.findall(r"^\.i-([\w-]+)\{", (assets.FOLDER / "vendor/icons.css").read_text(), re.MULTILINE))
    for path in (ROOT / "templates").rglob("*.html"):
        for name in re.findall(r"\bicon(?:_name)?[(=]\s*'([\w-]+)'", path.read_text()):
            assert name in held, f"{path.name} names the icon {name}"


# Pages.


@pytest.fixture
def pages(full: Actors, operator: FlaskClient) -> Iterator[dict[str, str]]:
    yield {path: text_of(operator, path) for path in PAGES}


def test_no_page_loads_what_we_left_behind(pages: dict[str, str], operator: FlaskClient) -> None:
    for path, text in pages.items():
        assert not OLD.search(text), (path, OLD.search(text))
        assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="(?:https?:)?//', text), path


def test_every_file_of_a_page_is_there_under_its_hash(pages: dict[str, str], operator: FlaskClient) -> None:
    for path, text in pages.items():
        for address in _addresses(text):
            answer = operator.get(address)
            assert answer.status_code == 200, (path, address)
            assert "immutable" in answer.headers["Cache-Control"], (path, address)


def test_a_list_is_light_enough_for_a_phone(pages: dict[str, str], operator: FlaskClient) -> None:
    """What is transferred for the first visit, with the page itself uncompressed."""
    page = pages["/merchantview/list/"]
    first = {address for address in _addresses(page) if "favicon" not in address}
    weight = len(page.encode())
    for address in first:
        weight += len(operator.get(address, headers={"Accept-Encoding": "br, gzip"}).get_data())
    assert weight <= 150 * 1024, weight


def test_no_script_is_inline(pages: dict[str, str]) -> None:
    for path, text in pages.items():
        assert all('src="/static/' in tag for tag in re.findall(r"<script[^>]*>", text)), path
        assert not re.search(r"<[^>]+\son\w+\s*=", text), path


def test_the_shell_says_where_one_is(pages: dict[str, str]) -> None:
    page = pages["/merchantview/show/1"]
    assert re.search(r'<a class="side-link" href="/merchantview/list/"[^>]*aria-current="page"', page)
    way = re.findall(r'<li class="breadcrumb-item[^>]*>(?:<a href="([^"]*)">)?(?:<span>)?([^<]*)', page)
    assert [text for _url, text in way] == ["商户", "商户列表", "爱丽丝花店"]
    assert way[1][0] == "/merchantview/list/"
    assert len(re.findall(r'aria-current="page"', page)) >= 2


def test_the_shell_has_its_landmarks(pages: dict[str, str]) -> None:
    for path, text in pages.items():
        assert text.count("<main") == 1, path
        assert 'class="skip-link" href="#content"' in text
        assert 'aria-label="主菜单"' in text
        assert 'lang="zh-CN"' in text


@pytest.mark.parametrize(
    ("cookies", "marks"),
    [
        ({}, ('data-bs-theme="light"', 'data-ui-theme="system"', 'data-density="comfortable"', 'data-side="full"')),
        ({"theme": "dark", "density": "compact"}, ('data-bs-theme="dark"', 'data-density="compact"')),
        ({"side": "mini"}, ('data-side="mini"',)),
        ({"theme": '"><script>'}, ('data-ui-theme="system"',)),
    ],
)
def test_the_first_paint_is_as_the_reader_chose(
    operator: FlaskClient, cookies: dict[str, str], marks: tuple[str, ...]
) -> None:
    for name, value in cookies.items():
        operator.set_cookie(name, value)
    head = text_of(operator, "/jobs/").split("<head>")[0]
    assert all(mark in head for mark in marks), head


def test_a_folded_group_stays_folded_unless_one_is_in_it(operator: FlaskClient) -> None:
    operator.set_cookie("folded", "1.3")
    page = text_of(operator, "/jobs/")
    groups = dict(re.findall(r'<details class="side-group" data-group="(\d+)"( open)?>', page))
    assert groups["1"] == ""
    assert groups["2"] == " open"
    here = text_of(operator, "/merchantview/list/")
    assert '<details class="side-group" data-group="1" open>' in here


def test_a_page_for_a_visitor_writes_no_session(app: Flask, session: Session) -> None:
    rows = select(func.count()).select_from(WebSession)
    before = session.scalar(rows)
    answer = app.test_client().get("/no-such-page")
    session.rollback()
    assert answer.status_code == 404
    assert session.scalar(rows) == before
    assert "Set-Cookie" not in answer.headers
    assert 'name="csrf-token"' not in answer.get_data(as_text=True)


def test_a_faults_page_has_the_shell_for_who_has_logged_in(app: Flask, operator: FlaskClient) -> None:
    own, foreign = text_of(operator, "/no-such-page", 404), text_of(app.test_client(), "/no-such-page", 404)
    assert 'aria-label="主菜单"' in own
    assert 'aria-label="主菜单"' not in foreign
    for page in (own, foreign):
        assert "没有找到" in page
        assert "返回工作台" in page


def test_a_fault_in_the_shell_itself_leaves_the_bare_page(
    operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_what: object) -> None:
        raise RuntimeError("the menu")

    monkeypatch.setattr(
        sys.modules["app.console.frame.shell"], "once", broken
    )  # the name in the package is the function
    page = text_of(operator, "/no-such-page", 404)
    assert "没有找到" in page
    assert 'aria-label="主菜单"' not in page


def test_a_part_of_a_page_is_told_its_fault_in_a_sentence(operator: FlaskClient) -> None:
    answer = operator.get("/no-such-page", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")
    assert answer.get_data(as_text=True) == "没有找到：页面或记录不存在，或不属于您。"


def test_the_words_of_the_scripts_are_a_file_of_their_own(operator: FlaskClient) -> None:
    page = text_of(operator, "/jobs/")
    address = next(found for found in _addresses(page) if "words.zh.js" in found)
    assert '"copied": "已复制"' in operator.get(address).get_data(as_text=True)


def test_every_word_that_a_script_asks_for_is_declared() -> None:
    from app.console.frame.script_words import SCRIPT_WORDS

    for path in assets.FOLDER.glob("*.js"):
        asked = re.findall(r"\b(?:Douzhou\.)?word\(\s*'([\w]+)'", path.read_text())
        assert not [key for key in asked if key not in SCRIPT_WORDS], path.name


@pytest.mark.parametrize(
    ("name", "shown"), [("王小明", "小明"), ("admin", "A"), ("Ann Bo Cy", "AB"), ("", "?"), ("李", "李")]
)
def test_a_person_without_a_picture_has_initials(name: str, shown: str) -> None:
    assert initials(name) == shown
