"""A catalogue's compiled form is made where it is wanted, from the words as they stand."""

from __future__ import annotations

import gettext
import os
import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask

from app.i18n import catalogue as catalogues
from app.i18n.catalogue import catalogue
from app.i18n.compiled import compiled
from app.i18n.language import LANGUAGES

pytestmark = pytest.mark.any_database("words")

ROOT = Path(__file__).resolve().parents[2]
HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\n'


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "messages.po"
    write(path, "Shop")
    return path


def write(path: Path, english: str) -> None:
    path.write_text(f'{HEADER}msgid "门店"\nmsgstr "{english}"\n', encoding="utf-8")


def english(form: bytes) -> str:
    return gettext.GNUTranslations(BytesIO(form)).gettext("门店")


def test_what_is_missing_is_built_and_kept(words: Path) -> None:
    assert english(compiled(words)) == "Shop"
    assert english(words.with_suffix(".mo").read_bytes()) == "Shop"
    assert sorted(path.name for path in words.parent.iterdir()) == ["messages.mo", "messages.po"]


def test_what_is_kept_is_not_built_again(words: Path) -> None:
    compiled(words)
    before = words.with_suffix(".mo").stat()
    assert compiled(words) == words.with_suffix(".mo").read_bytes()
    assert words.with_suffix(".mo").stat().st_ino == before.st_ino


def test_what_was_made_from_other_words_is_built_anew_whatever_the_files_times_say(words: Path) -> None:
    compiled(words)
    write(words, "Store")
    os.utime(words, (1, 1))  # as an unpacked archive has it: older than what was made
    assert english(compiled(words)) == "Store"
    assert english(words.with_suffix(".mo").read_bytes()) == "Store"


@pytest.mark.parametrize("torn", [b"", b"\xde\x12\x04\x95", b"no catalogue"])
def test_what_is_torn_is_built_anew(words: Path, torn: bytes) -> None:
    words.with_suffix(".mo").write_bytes(torn)
    assert english(compiled(words)) == "Shop"


def test_who_may_read_the_words_may_read_what_was_made_of_them(words: Path) -> None:
    words.chmod(0o644)
    before = os.umask(0o077)
    try:
        compiled(words)
    finally:
        os.umask(before)
    assert stat.S_IMODE(words.with_suffix(".mo").stat().st_mode) == 0o644


def test_where_nothing_can_be_written_it_is_translated_all_the_same(
    words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_options: object) -> None:
        raise OSError(30, "Read-only file system")  # root may write to a folder that it forbade itself

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refused)
    assert english(compiled(words)) == "Shop"
    assert not words.with_suffix(".mo").exists()


def test_processes_that_build_it_at_once_do_not_disturb_each_other(words: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.i18n.compiled import compiled; sys.stdin.read(1);"
        "path = Path(sys.argv[1]); [(path.with_suffix('.mo').unlink(missing_ok=True), compiled(path)) for _ in range(200)]"
    )
    command = [sys.executable, "-c", script, str(words)]
    made = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(b"\n", timeout=60)[1] for process in made]
    assert errors == [b"", b""]
    assert english(compiled(words)) == "Shop"
    assert sorted(path.name for path in words.parent.iterdir()) == ["messages.mo", "messages.po"]


def test_making_an_application_builds_them_all(app: Flask) -> None:
    assert app.testing
    for name in LANGUAGES:
        path = catalogues.source(name)
        assert path.with_suffix(".mo").read_bytes() == compiled(path)


def test_every_word_of_a_catalogue_is_read(words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogues, "source", lambda _name: words)
    catalogue.cache_clear()
    try:
        assert catalogue("en").find("门店") == "Shop"
    finally:
        catalogue.cache_clear()


def test_none_is_kept_in_git() -> None:
    listed = subprocess.run(["git", "ls-files", "*.mo"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    assert listed.stdout == ""
