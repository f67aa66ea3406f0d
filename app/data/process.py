"""What this process calls itself where it holds something for a while."""

from __future__ import annotations

import os
import uuid


def _name() -> str:
    return f"{os.getpid()}-{uuid.uuid4().hex[:12]}"


def _renew() -> None:
    global PROCESS  # noqa: PLW0603  (a process has one name)
    PROCESS = _name()


PROCESS = _name()
# A fork of a process that has read this is another one: what the two hold must not be taken for each other's.
os.register_at_fork(after_in_child=_renew)
