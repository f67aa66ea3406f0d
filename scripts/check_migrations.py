"""`flask db check` on an empty SQLite database: the migrations give exactly the tables of the models."""

from __future__ import annotations

import base64
import secrets
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_migrate import check, upgrade  # after the path

from app.factory import create_app


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def settings(folder: str) -> dict[str, str]:
    """Settings of a throw-away application."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "DATA_KEYS": f"k1:{key()}",
        "INDEX_KEY": key(),
        "DATABASE_URL": f"sqlite:///{folder}/check.db",
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, create_app(settings(folder)).app_context():
        upgrade()
        check()
