#!/bin/sh
# Lint, format, types, import floors, generated pages, migrations against the models.
set -eu
"$BIN/ruff" check .
"$BIN/ruff" format --check .
"$BIN/mypy"
"$BIN/lint-imports" --no-cache
DOUZHOU_ENV=/nonexistent "$BIN/python" scripts/docs.py --check
DOUZHOU_ENV=/nonexistent "$BIN/python" scripts/check_migrations.py
