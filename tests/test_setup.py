"""`flask setup`: from an empty database, repeated, and by two processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import ROOT, new_database, test_environment


def start(env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "run", "setup"], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.fixture
def env(tmp_path: Path, worker_id: str) -> dict[str, str]:
    url = new_database(tmp_path, f"setup_{worker_id}")
    own = test_environment(url, "http://127.0.0.1:1")
    return {**os.environ, **own, "TESTING": "", "DOUZHOU_ENV": "/nonexistent"}


def test_two_at_once_and_once_more(env: dict[str, str]) -> None:
    for running in ([start(env), start(env)], [start(env)]):
        for process in running:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0, output
    engine = sa.create_engine(env["DATABASE_URL"])
    with engine.connect() as connection:
        names = connection.exec_driver_sql("select name from ab_role order by name").scalars().all()
    engine.dispose()
    assert len(names) == len(set(names)) == 8


def test_a_wrong_setting_ends_with_one_sentence(env: dict[str, str]) -> None:
    process = start({**env, "SECRET_KEY": "short"})
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "SECRET_KEY" in output and "Traceback" not in output
