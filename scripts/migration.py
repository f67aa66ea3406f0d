"""`make migration m="what changes"`: a new revision from the models, over a throw-away database."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from check_migrations import settings
from flask_migrate import revision, upgrade

from app.factory import create_app

ROOT = Path(__file__).resolve().parent.parent


def next_number() -> str:
    """Four digits, one above the newest: `0002` after `0001_first_tables.py`."""
    names = [path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py")]
    return f"{max(map(int, names), default=0) + 1:04d}"


if __name__ == "__main__":
    message = " ".join(sys.argv[1:]).strip()
    if not re.search(r"\w", message):
        sys.exit('请说明改了什么（say what changes）：make migration m="add coupons"。')
    with tempfile.TemporaryDirectory() as folder, create_app(settings(folder)).app_context():
        upgrade()
        revision(message=message, autogenerate=True, rev_id=next_number())
