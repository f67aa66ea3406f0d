"""Write the roles' snapshot anew: `python -m tests.security.freeze`; then look at the difference."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from app import create_app
from app.roles import role_matrix
from tests.conftest import test_environment

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(test_environment(f"sqlite:///{folder}/roles.db", "http://127.0.0.1:9"))
        text = json.dumps(role_matrix(app), ensure_ascii=False, indent=1, sort_keys=True)
    Path(__file__).with_name("role_matrix.json").write_text(text + "\n")
    sys.stdout.write("written\n")
