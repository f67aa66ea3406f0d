#!/bin/sh
# Lint, format, types, import floors, generated pages, migrations against the models: all of them, then the verdict.
set -u
export DOUZHOU_ENV=/nonexistent
failed=
try() { name=$1; shift; "$@" || failed="$failed $name"; }
try lint "$BIN/ruff" check .
try format "$BIN/ruff" format --check .
try types "$BIN/mypy"
try floors "$BIN/lint-imports" --no-cache
try docs "$BIN/python" scripts/docs.py --check
try texts "$BIN/python" scripts/translate.py --check
try migrations "$BIN/python" scripts/check_migrations.py
if [ -n "$failed" ]; then echo "make check: failed:$failed" >&2; exit 1; fi
echo "make check: ok"
