#!/bin/sh
# The whole suite on SQLite; then, where a server is given, again on it what asks for a database (tests/servers.py).
# What the browser tests need is looked for by starting it and installed; without it they are skipped, and the summary
# says so (REQUIRE_BROWSER=1, and REQUIRE_DEPLOY=1 for nginx and systemd, make that a failure). Arguments go to pytest.
set -eu
packages="chromium fonts-noto-cjk libatomic1" # the last is for the Node that Playwright brings
missing=$("$BIN/python" scripts/browser.py 2>/dev/null) || {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "正在安装浏览器测试所需的软件（installing what the browser tests need）：$packages ……"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages; } \
      >/dev/null 2>&1 || true
  else
    "$BIN/python" -m playwright install chromium >/dev/null 2>&1 || true
  fi
  missing=$("$BIN/python" scripts/browser.py 2>/dev/null) ||
    echo "浏览器测试缺少条件（the browser tests lack something）：$missing。请以 root 运行一次（as root, once）：apt-get update && apt-get install -y --no-install-recommends $packages"
}
# The files of deploy/ are tried with the programs they are for; where those cannot be had, the summary says so.
PATH=$PATH:/usr/sbin
if ! { command -v nginx && command -v systemd-analyze; } >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "正在安装部署测试所需的软件（installing what the tests of deploy/ need）：nginx-light systemd ……"
  # No service is started: a policy of our own says no while they are installed.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light systemd; } \
    >/dev/null 2>&1 || true
  [ -z "${made:-}" ] || rm -f "$policy"
fi
export DOUZHOU_ENV=/nonexistent
# What is compiled is kept beside its source: every worker and every process that a test starts would compile it anew.
unset PYTHONDONTWRITEBYTECODE
failed=0
"$BIN/python" -m pytest -n 2 --dist loadgroup -q "$@" || failed=$?
for url in "${TEST_POSTGRESQL_URL:-}" "${TEST_MYSQL_URL:-}"; do
  [ -n "$url" ] || continue
  echo "== the same on ${url%%:*}"
  DOUZHOU_TEST_SERVER="$url" "$BIN/python" -m pytest -n 2 --dist loadgroup -q -m "not browser" "$@" || failed=$?
done
exit "$failed"
