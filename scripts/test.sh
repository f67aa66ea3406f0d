#!/bin/sh
# The whole suite on SQLite; then, where a server is given, everything but the browser again on it.
set -eu
browser() { command -v chromium || command -v chromium-browser || command -v google-chrome || true; }
if [ -z "$(browser)" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-noto-cjk; } >/dev/null 2>&1 || true
  else
    "$BIN/python" -m playwright install chromium >/dev/null 2>&1 || true
  fi
fi
export DOUZHOU_ENV=/nonexistent
failed=0
"$BIN/python" -m pytest -n 2 --dist loadgroup -q "$@" || failed=$?
for url in "${TEST_POSTGRESQL_URL:-}" "${TEST_MYSQL_URL:-}"; do
  [ -n "$url" ] || continue
  echo "== the same on ${url%%:*}"
  DOUZHOU_TEST_SERVER="$url" "$BIN/python" -m pytest -n 2 --dist loadgroup -q -m "not browser" \
    --ignore tests/douyin --ignore tests/sandbox --ignore tests/fidelity --ignore tests/project "$@" || failed=$?
done
exit "$failed"
