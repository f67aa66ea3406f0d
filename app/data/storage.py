"""Files that people upload or are given: kept under random keys in any place that fsspec knows (`STORAGE_URL`)."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import secrets
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from typing import IO, Any

from flask import current_app
from fsspec.core import url_to_fs

from app.data.secrets import keyring

# Keys are made here and nowhere else: a name from outside never becomes a path.
_KEY = re.compile(r"[a-z]{1,16}/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z0-9]{1,8}")
BLOCK = 1 << 20


def new_key(folder: str, suffix: str) -> str:
    """A key that nobody can guess: `exports/3f/3f…e1.csv`. ValueError for a folder or suffix that is no plain word."""
    name = secrets.token_hex(16)
    return _checked(f"{folder}/{name[:2]}/{name}.{suffix}")


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("not a key of the storage")
    return key


def _place(key: str) -> tuple[Any, str]:
    system, root = url_to_fs(current_app.config["STORAGE_URL"])
    return system, f"{root.rstrip('/')}/{_checked(key)}"


def put(folder: str, suffix: str, content: IO[bytes]) -> str:
    """Keep what a stream holds from where it stands; gives its key."""
    key = new_key(folder, suffix)
    _write(key, content)
    return key


def put_named(folder: str, suffix: str, content: bytes, *, owner: str) -> str:
    """Keep content under a key that says what it is: the same content of the same owner has the same key, for ever."""
    name = hashlib.sha256(owner.encode() + b"\0" + content).hexdigest()[:32]
    key = _checked(f"{folder}/{name[:2]}/{name}.{suffix}")
    _write(key, io.BytesIO(content))
    return key


def keys(folder: str, shard: str) -> list[tuple[str, datetime]]:
    """What is kept in one of a folder's 256 parts (two hex digits): keys, and when each was written, UTC."""
    system, root = url_to_fs(current_app.config["STORAGE_URL"])
    place = f"{root.rstrip('/')}/{folder}/{shard}"
    try:
        found = system.ls(place, detail=False)
    except FileNotFoundError:
        return []
    named = [f"{folder}/{shard}/{path.rsplit('/', 1)[-1]}" for path in found]
    return [(key, _aware(system.modified(_place(key)[1]))) for key in named if _KEY.fullmatch(key)]


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _write(key: str, content: IO[bytes]) -> None:
    system, path = _place(key)
    system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    with system.open(path, "wb") as target:
        shutil.copyfileobj(content, target, BLOCK)


def open_file(key: str) -> IO[bytes]:
    """A kept file for reading. FileNotFoundError when it is gone, ValueError when the key is none of ours."""
    system, path = _place(key)
    opened: IO[bytes] = system.open(path, "rb")
    return opened


def read(key: str) -> bytes:
    """A kept file as a whole: for those whose size was limited when they came."""
    with open_file(key) as stream:
        return stream.read()


def put_sealed(folder: str, content: bytes) -> str:
    """Keep what may hold phone numbers: encrypted, and bound to its key."""
    key, text = sealed(folder, content)
    keep(key, text)
    return key


def sealed(folder: str, content: bytes) -> tuple[str, str]:
    """A new key and the text to `keep` under it: for whoever writes a row first and the file after."""
    key = new_key(folder, "sealed")
    return key, keyring().seal(base64.b64encode(content).decode(), key)


def keep(key: str, text: str) -> None:
    """Write what `sealed` gave; a second time is harmless."""
    _write(key, io.BytesIO(text.encode()))


def read_sealed(key: str) -> bytes:
    """What `put_sealed` was given."""
    return base64.b64decode(keyring().open(read(key).decode(), key))


def delete(key: str) -> None:
    """Remove a file; one that is gone already is no fault."""
    system, path = _place(key)
    with suppress(FileNotFoundError):
        system.rm_file(path)
