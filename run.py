"""WSGI entry: `run:app`."""

from __future__ import annotations

import sys

from app import create_app
from app.data.secrets import KeyRingError
from app.errors import DeclarationError
from config import SettingError

try:
    app = create_app()  # the screens' modules, which may say what cannot be, are loaded here
except (DeclarationError, SettingError, KeyRingError) as error:
    sys.exit(f"抖舟无法启动（cannot start）：{error}")
