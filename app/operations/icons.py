"""Icons (头像) of mini-programs: fetched from the address Douyin names, made small, and kept in our storage.

A page shows only what is kept here: a picture loaded from elsewhere would tell that host who looks at our pages, and
could be changed after it was seen. Nothing is fetched while somebody waits for a page: `note` says what is due, the
job `fetch_icons` gets it.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from datetime import timedelta
from io import BytesIO

from flask import Flask
from PIL import Image
from sqlalchemy import select, update

from app.data import storage
from app.data.clock import utcnow
from app.data.engine import reading
from app.data.tenancy import PLATFORM, app_scope
from app.errors import Refused
from app.models import MiniProgram
from app.notices.channels import local_allowed
from app.notices.egress import Undelivered, fetch

FOLDER, SUFFIX, MIMETYPE = "icons", "webp", "image/webp"
MOST = 1024 * 1024  # bytes
LONGEST = 500  # characters of an address, as its column has them
SIDE = 4096  # pixels, by the header, before anything is decoded
PIXELS = 2048 * 2048
SCANS = 100  # of a JPEG, each decoded over the whole picture; programs make ten, a megabyte holds tens of thousands
SCAN = b"\xff\xda"  # stands in no other place of a picture's data
SHOWN = 160  # pixels: what pages need at twice their density
BROKEN = (  # what decoders answer purpose-made input with
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MOST_A_SLOT = 200
AGAIN, RENEWED, KEPT = timedelta(days=1), timedelta(days=30), timedelta(days=1)
SHARDS_A_SLOT = 16  # of 256: all of them within a day


def note(app: MiniProgram, address: str) -> None:
    """Remember the icon's address; what it shows is due when it is another than before."""
    address = address if len(address) <= LONGEST else ""
    if address != app.icon_url:
        app.icon_url, app.icon_due_at = address, utcnow() if address else None
        if not address:
            app.icon_key = ""


def due(flask_app: Flask) -> list[int]:
    """Mini-programs whose icon is to be fetched, those that wait longest first."""
    wanted = select(MiniProgram.id).where(MiniProgram.icon_due_at <= utcnow())
    with app_scope(flask_app, PLATFORM) as session, reading():
        return list(session.scalars(wanted.order_by(MiniProgram.icon_due_at).limit(MOST_A_SLOT)))


def get(flask_app: Flask, mini_program_id: int) -> str:
    """Fetch one and keep it; its key, "" without an address. Refused says why not; it is tried again later."""
    with app_scope(flask_app, PLATFORM) as session, reading():
        wanted = select(MiniProgram.appid, MiniProgram.icon_url).where(MiniProgram.id == mini_program_id)
        found = session.execute(wanted).one_or_none()
    if found is None or not found.icon_url:
        return ""
    try:
        content = small(fetch(found.icon_url, most=MOST, local=local_allowed(flask_app)))
    except Undelivered as problem:
        _settle(flask_app, mini_program_id, found.icon_url, RENEWED if problem.lasting else AGAIN)
        raise Refused(str(problem)) from None
    with flask_app.app_context():
        key = storage.put_named(FOLDER, SUFFIX, content, owner=found.appid)
    _settle(flask_app, mini_program_id, found.icon_url, RENEWED, key)
    return key


def _settle(flask_app: Flask, mini_program_id: int, address: str, span: timedelta, key: str = "") -> None:
    """Write what came of it, unless the address is another by now: that one is due by itself."""
    values = {"icon_due_at": utcnow() + span, "changed_at": MiniProgram.changed_at}
    if key:
        values["icon_key"] = key
    same = (MiniProgram.id == mini_program_id, MiniProgram.icon_url == address)
    with app_scope(flask_app, PLATFORM) as session:
        session.execute(update(MiniProgram).where(*same).values(values).execution_options(synchronize_session=False))
        session.commit()


def small(content: bytes) -> bytes:
    """A picture as a small WebP of our own making; Undelivered for what is none, or too large to be decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; the size is ours to judge
            return _drawn(content)
    except Image.DecompressionBombError:  # by the header alone, before we ask
        raise Undelivered("图片尺寸过大", lasting=True) from None
    except BROKEN:
        raise Undelivered("不是可用的图片", lasting=True) from None


def _drawn(content: bytes) -> bytes:
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if not (0 < width <= SIDE and 0 < height <= SIDE and width * height <= PIXELS):
            raise Undelivered("图片尺寸过大", lasting=True)
        if image.format == "JPEG" and content.count(SCAN) > SCANS:
            raise Undelivered("不是可用的图片", lasting=True)
        image.draft("RGB", (SHOWN, SHOWN))
        drawn = image.convert("RGBA")
    drawn.thumbnail((SHOWN, SHOWN))
    kept = BytesIO()
    drawn.save(kept, "WEBP", quality=85)
    return kept.getvalue()


def clean(flask_app: Flask) -> int:
    """Delete what no mini-program shows any more, a part of the folder an hour; how many files went."""
    hour = int(utcnow().timestamp()) // 3600
    shards = [f"{(hour * SHARDS_A_SLOT + place) % 256:02x}" for place in range(SHARDS_A_SLOT)]
    gone = 0
    with app_scope(flask_app, PLATFORM) as session, reading():
        for shard in shards:
            old = [key for key, at in storage.keys(FOLDER, shard) if at < utcnow() - KEPT]
            shown = set(session.scalars(select(MiniProgram.icon_key).where(MiniProgram.icon_key.in_(old))))
            session.commit()
            for key in set(old) - shown:
                storage.delete(key)
                gone += 1
    return gone
