"""WSGI entry: `run:app`."""

from __future__ import annotations

import sys

from app import create_app
from app.secrets import KeyRingError
from config import SettingError

try:
    app = create_app()
except (SettingError, KeyRingError) as error:
    sys.exit(f"抖舟无法启动（cannot start）：{error}")
