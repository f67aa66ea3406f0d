"""A catalogue compiled: `messages.mo`, made from `messages.po` unless it is there and of these very words."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po


def compiled(source: Path) -> bytes:
    """The compiled form of a `.po`, kept beside it: read where it was made from these very words, else made anew.

    The words tell, by their digest, not the files' times: a checkout or an unpacked archive sets those as it likes.
    Where the folder cannot be written (an installation that its user may only read) the form is made at every start.
    """
    text, path = source.read_bytes(), source.with_suffix(".mo")
    digest = sha256(text).hexdigest()
    with suppress(OSError):
        held = path.read_bytes()
        if digest.encode() in held:
            return held
    made = _made(text, digest)
    with suppress(OSError):
        _keep(path, made, like=source)
    return made


def _made(text: bytes, digest: str) -> bytes:
    """What gettext reads; its header's `Project-Id-Version` says from which words it was made."""
    words = read_po(BytesIO(text))
    words.project, words.version = "Douzhou", digest
    made = BytesIO()
    write_mo(made, words)
    return made.getvalue()


def _keep(path: Path, made: bytes, *, like: Path) -> None:
    """Put a file in its place at once: no other process reads half of it. Whoever may read `like` may read it."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        beside = Path(file.name)
        try:
            file.write(made)
            file.flush()
            shutil.copymode(like, beside)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
