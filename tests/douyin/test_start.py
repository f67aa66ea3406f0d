"""A process that has just started reads and writes the wire in many threads at once, and lives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.douyin import CALLS
from app.douyin.contract import Upload
from app.douyin.inbound import MESSAGES
from app.douyin.warm import kinds

ROOT = Path(__file__).resolve().parents[2]
PROCESSES, THREADS = 50, 16


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_fifty_fresh_processes_of_sixteen_threads_live() -> None:
    """Without the building at import about 9 in 10 of them end by SIGSEGV."""
    ends = json.loads(run("-m", "bench.start_worker", f"--processes={PROCESSES}", f"--threads={THREADS}"))
    assert ends == {"0": PROCESSES}


_BUILT = """
from app.douyin import CALLS, inbound, warm
for kind in warm.kinds(CALLS.values(), inbound.MESSAGES.values()):
    if "__msgspec_cache__" not in vars(kind):
        print(kind.__name__)
"""


def test_the_import_alone_builds_every_type() -> None:
    assert run("-c", _BUILT) == ""


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_reply_of_every_endpoint_is_among_the_types_that_are_built(name: str) -> None:
    reply: Any = CALLS[name].reply_type
    assert reply in {type(None), bytes, *kinds(CALLS.values(), ())}


def test_what_nests_in_replies_pushes_and_parameters_is_built_too() -> None:
    names = {kind.__qualname__ for kind in kinds(CALLS.values(), MESSAGES.values())}
    assert {"Permission", "LatestVersion", "AuditStatus", "ModifyGuide", "EventStatus", "AuditWay"} <= names
    assert Upload.__qualname__ not in names


_WALKED = """
import sys
from app.douyin import CALLS, contract
def below(kind):
    return {kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))}
defined = {kind for kind in below(contract.Call) if hasattr(kind, "route")}
print(len(CALLS), sorted(kind.__name__ for kind in defined ^ set(CALLS.values())))
print(sorted({"flask", "sqlalchemy"} & set(sys.modules)))
"""


def test_every_endpoint_enters_by_being_defined_and_brings_no_database_and_no_flask() -> None:
    assert run("-c", _WALKED).splitlines() == [f"{len(CALLS)} []", "[]"]
