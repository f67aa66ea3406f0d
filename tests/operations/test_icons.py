"""Icons: fetched by the job from the address Douyin names, bounded in every way, kept, and shown by our own address."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from PIL import Image
from sqlalchemy.orm import Session

from app.addresses import is_address
from app.data import storage
from app.data.clock import utcnow
from app.extensions import db
from app.jobs.run import run_now
from app.models import AuditEntry, MiniProgram
from app.notices import egress
from app.notices.egress import Undelivered
from app.operations import icons
from tests.conftest import Actors, Launch, SandboxServer, change, operate, refresh
from tests.notices.receivers import Receiver, certificate, resolve, serving

HOST = "p3.example.com"
ADDRESS = f"https://{HOST}/icon.png?x-signature=1"


def picture(kind: str = "PNG", size: tuple[int, int] = (200, 200), colour: str = "#c62828") -> bytes:
    kept = BytesIO()
    Image.new("RGB", size, colour).save(kept, kind)
    return kept.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises that many pixels: a few bytes that would be decoded to gigabytes."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """The host of pictures, over TLS under its own name."""
    root, context = certificate(tmp_path, HOST)
    with serving(Receiver(answer=picture()), context) as receiver:
        monkeypatch.setattr(egress, "CA_FILE", str(root))
        resolve(monkeypatch, {HOST: [("127.0.0.1", receiver.port)], "inside.example.com": [("10.0.0.8", 443)]})
        yield receiver


@pytest.fixture
def shown(session: Session, actors: Actors) -> MiniProgram:
    """Alice's mini-program, whose icon Douyin has just named."""
    row = actors.alice_app
    change(session, row, icon_url=ADDRESS, icon_due_at=utcnow())
    return row


def fetched(app: Flask, session: Session, row: MiniProgram) -> str:
    """Run the job; its sentence."""
    run = run_now(app, "fetch_icons", "测试")
    assert run is not None
    refresh(session)
    return run.result


# From Douyin's answer to the page.


def test_what_douyin_names_is_fetched_by_the_job_and_by_nothing_else(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    run = operate(app, session, "sync_app_info", launch.mini_program)
    row = session.get_one(MiniProgram, launch.mini_program.id)
    assert run.state == "succeeded"
    assert (row.icon_url.startswith(sandbox.url), row.icon_key) == (True, "")
    assert fetched(app, session, row).startswith("成功 1")
    with app.app_context(), Image.open(BytesIO(storage.read(row.icon_key))) as kept:
        assert kept.format == "WEBP"


def test_an_answer_with_another_kind_of_address_stores_none(
    app: Flask, session: Session, launch: Launch, sandbox: SandboxServer
) -> None:
    for bad in ("javascript:alert(1)", "data:text/html,<script>", "http://p3.example.com/a.png"):
        sandbox.post(f"apps/{launch.mini_program.appid}", icon=bad)
        operate(app, session, "sync_app_info", launch.mini_program)
        row = session.get_one(MiniProgram, launch.mini_program.id)
        assert (bad, row.icon_url, bad in str(row.info)) == (bad, "", False)


def test_a_page_shows_the_kept_icon_by_our_own_address(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver, client_for: Callable[..., Any]
) -> None:
    fetched(app, session, shown)
    client = client_for("operator")
    page = client.get(f"/miniprogramview/show/{shown.id}").get_data(as_text=True)
    (address,) = {part.split('"')[0] for part in page.split('src="') if part.startswith("/miniprogramview/picture")}
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert {"private", "immutable", "max-age=31536000"} == set(answer.headers["Cache-Control"].split(", "))
    assert HOST not in page
    assert address in client.get("/miniprogramview/list/").get_data(as_text=True)


def test_before_it_is_fetched_the_first_character_stands_there(
    session: Session, shown: MiniProgram, client_for: Callable[..., Any]
) -> None:
    client = client_for("operator")
    page = client.get(f"/miniprogramview/show/{shown.id}").get_data(as_text=True)
    assert '<i class="avatar" data-first="爱"></i>' in page
    assert client.get(f"/miniprogramview/picture/{shown.id}").status_code == 404


def test_only_the_merchant_whose_it_is_sees_it(
    app: Flask, session: Session, shown: MiniProgram, actors: Actors, host: Receiver, client_for: Callable[..., Any]
) -> None:
    fetched(app, session, shown)
    path = f"/myminiprogramview/picture/{shown.id}"
    alice, bob = client_for("owner", actors.alice), client_for("owner", actors.bob)
    assert alice.get(path).status_code == 200
    assert path in alice.get("/myminiprogramview/list/").get_data(as_text=True)
    assert bob.get(path).status_code == bob.get("/myminiprogramview/picture/999999").status_code == 404
    assert bob.get(path.replace("/my", "/")).status_code == alice.get(path.replace("/my", "/")).status_code == 403
    assert app.test_client().get(path).status_code == 302


def test_pages_load_pictures_from_us_alone(app: Flask) -> None:
    said = app.test_client().get("/login/").headers["Content-Security-Policy"]
    assert "img-src 'self' data:;" in said


# What is kept.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_becomes_a_small_one_of_our_own_making(kind: str) -> None:
    with Image.open(BytesIO(icons.small(picture(kind, (640, 320)) + b"<script>alert(1)</script>"))) as kept:
        assert (kept.format, kept.size) == ("WEBP", (160, 80))
    assert b"script" not in icons.small(picture(kind) + b"<script>")


def test_the_same_content_has_the_same_key_and_each_owner_their_own(app: Flask) -> None:
    with app.app_context():
        first, again, other = (storage.put_named("icons", "webp", b"x", owner=owner) for owner in ("a", "a", "b"))
    assert first == again != other


def test_it_is_fetched_again_when_its_address_changes(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver
) -> None:
    fetched(app, session, shown)
    before, changed = shown.icon_key, shown.changed_at
    fetched(app, session, shown)
    assert len(host.got) == 1
    host.answer = picture(colour="#11672f")
    icons.note(shown, ADDRESS.replace("=1", "=2"))
    session.commit()
    fetched(app, session, shown)
    assert len(host.got) == 2
    assert shown.icon_key != before
    icons.note(shown, "")
    assert (shown.icon_key, shown.icon_due_at) == ("", None)
    assert changed is not None


def test_what_came_for_an_older_address_is_not_shown(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver
) -> None:
    """The address changed while the answer was on its way."""

    def meanwhile() -> None:
        with app.app_context():
            with db.engine.begin() as connection:
                connection.execute(sa.update(MiniProgram.__table__).values(icon_url=ADDRESS + "&new"))

    host.before = meanwhile
    fetched(app, session, shown)
    assert shown.icon_key == ""
    assert shown.icon_due_at is not None
    assert shown.icon_due_at <= utcnow()


def test_the_audit_log_does_not_speak_of_it(app: Flask, session: Session, shown: MiniProgram, host: Receiver) -> None:
    count = sa.select(sa.func.count(AuditEntry.id))
    before = session.scalar(count)
    fetched(app, session, shown)
    assert session.scalar(count) == before


def test_housekeeping_drops_what_no_page_shows(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver
) -> None:
    fetched(app, session, shown)
    with app.app_context():
        old = storage.put_named("icons", "webp", b"nobody's", owner="gone")

    def there(key: str) -> bool:
        with app.app_context():
            return bool(key in [name for name, _ in storage.keys("icons", key[6:8])])

    for hour in range(16):
        icons.clean(app)
        assert (hour, there(old)) == (hour, True)  # too young: it may be about to be shown
    with time_machine.travel(utcnow() + timedelta(days=2), tick=True):
        start = utcnow()
    for hour in range(17):
        with time_machine.travel(start + timedelta(hours=hour), tick=True):
            icons.clean(app)
    assert (there(old), there(shown.icon_key)) == (False, True)


# What is refused.


def test_a_host_that_sends_more_than_it_may_is_left(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver
) -> None:
    host.answer = picture() + bytes(icons.MOST)
    assert "内容过大" in fetched(app, session, shown)
    assert shown.icon_key == ""


def test_one_that_only_says_it_sends_little_is_too(monkeypatch: pytest.MonkeyPatch, host: Receiver) -> None:
    """Bytes are counted, whatever the head said: here it says nothing."""
    host.answer, host.headers = bytes(8 * 1024 * 1024), {"Content-Length": "", "Connection": "close"}
    with pytest.raises(Undelivered):
        egress.fetch(ADDRESS, most=icons.MOST, local=True)


def test_a_body_that_drips_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch, host: Receiver) -> None:
    monkeypatch.setattr(egress, "SECONDS", 0.6)
    host.pause = 0.05
    with pytest.raises(Undelivered, match="没有应答"):  # else it would come whole, if late
        egress.fetch(ADDRESS, most=icons.MOST, local=True)


def many_scans(count: int) -> bytes:
    """A picture whose last scan is there so many times: little to send, long to decode."""
    made = BytesIO()
    Image.new("L", (640, 640), 90).save(made, "JPEG", progressive=True)
    content = made.getvalue()
    at = content.rindex(b"\xff\xda")
    return content[:at] + content[at:-2] * count + content[-2:]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><script>alert(1)</script>", "不是可用的图片"),
        (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "不是可用的图片"),
        (b"", "不是可用的图片"),
        (many_scans(101), "不是可用的图片"),
        (picture("BMP"), "不是可用的图片"),
        (picture()[:60], "不是可用的图片"),
        (bomb(50_000, 50_000), "图片尺寸过大"),
        (bomb(4_097, 1), "图片尺寸过大"),
        (bomb(4_000, 4_000), "图片尺寸过大"),
    ],
    ids=range(9),
)
def test_what_is_no_picture_or_too_large_a_one_is_not_kept(
    app: Flask, session: Session, shown: MiniProgram, host: Receiver, content: bytes, words: str
) -> None:
    host.answer = content
    assert words in fetched(app, session, shown)
    assert (shown.icon_key, shown.icon_url) == ("", ADDRESS)
    assert shown.icon_due_at is not None
    assert shown.icon_due_at > utcnow() + timedelta(hours=12)


def test_a_packed_answer_is_refused(host: Receiver) -> None:
    host.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(Undelivered, match="压缩"):
        egress.fetch(ADDRESS, most=icons.MOST, local=True)


def test_a_redirect_is_followed_and_checked_each_time(host: Receiver) -> None:
    host.status, host.headers = 302, {"Location": "/again"}
    with pytest.raises(Undelivered, match="重定向次数过多"):
        egress.fetch(ADDRESS, most=icons.MOST, local=True)
    assert [got.path for got in host.got[1:]] == ["/again"] * egress.MOST_REDIRECTS


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("https://inside.example.com/", "内部网络"),
        ("https://169.254.169.254/latest/meta-data", "内部网络"),
        ("https://[::ffff:10.0.0.1]/", "内部网络"),
        ("http://p3.example.com/", "https"),
        ("file:///etc/passwd", "https"),
        ("https://user:word@p3.example.com/", "用户名"),
    ],
)
def test_a_redirect_leads_nowhere_that_may_not_be_asked(host: Receiver, target: str, words: str) -> None:
    host.status, host.headers = 302, {"Location": target}
    with pytest.raises(Undelivered, match=words) as refused:
        egress.fetch(ADDRESS, most=icons.MOST, local=True)
    assert refused.value.lasting
    assert len(host.got) == 1


@pytest.mark.parametrize("place", ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_outside_of_demo_and_tests_no_inner_address_is_asked(place: str) -> None:
    with pytest.raises(Undelivered, match="内部网络"):
        egress.fetch(f"https://{place}/icon.png", most=icons.MOST)


def test_two_thousand_spoilt_pictures_crash_nothing() -> None:
    dice = random.Random(7)
    kinds = [picture(kind, (40, 40)) for kind in icons.FORMATS]
    for number in range(2000):
        spoilt = bytearray(kinds[number % 4])
        for _ in range(dice.randint(1, 8)):
            spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
        try:
            icons.small(bytes(spoilt[: dice.randint(1, len(spoilt))] if number % 3 else bytes(spoilt)))
        except Undelivered:
            continue


# Addresses.


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://p3.example.com/a.png?x=1", True),
        ("HTTPS://P3.EXAMPLE.COM", True),
        ("https://例.cn/", False),
        ("https://docs.example.com/规范", True),
        ("http://p3.example.com/", False),
        ("javascript:alert(1)", False),
        (" https://p3.example.com/", False),
        ("https://p3.example.com/\n", False),
        ("data:image/png;base64,", False),
        ("https://u@p3.example.com/", False),
        ("https:p3.example.com", False),
        ("//p3.example.com", False),
        ("ftp://p3.example.com/", False),
        ('https://p3.example.com/"onload=', False),
        ("", False),
        ("https://p3.example.com/" + "a" * 3000, False),
    ],
)
def test_an_address_is_https_and_nothing_else(text: str, kept: bool) -> None:
    assert is_address(text) is kept
