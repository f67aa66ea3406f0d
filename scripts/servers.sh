#!/bin/sh
# Throw-away PostgreSQL, MariaDB and Redis for the tests, on free ports with data in a new folder; as root, installs
# what is missing. `start FOLDER` writes FOLDER/settings, to be sourced;
# `stop FOLDER` ends what it started, by pid.
set -eu
folder=$2

as() { user=$1; shift; if [ "$(id -u)" = 0 ]; then runuser -u "$user" -- "$@"; else "$@"; fi; }
need() {
  command -v "$1" >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] || { echo "缺少 $1：请以 root 安装 $2（missing: install it as root）。" >&2; exit 1; }
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2"; } >/dev/null ||
    { echo "无法安装 $2（cannot be installed）：请手工安装后重试。" >&2; exit 1; }
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
wait_for() {
  for _ in $(seq 120); do "$@" >/dev/null 2>&1 && return; sleep 0.5; done
  echo "没有启动（did not start）：$1，见 $folder" >&2; exit 1
}

start() {
  mkdir -p "$folder" && chmod 755 "$folder"
  PATH=$PATH:/usr/sbin
  need psql postgresql; need mariadbd mariadb-server; need redis-server redis-server
  bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  pg=$(free_port)
  mkdir -p "$folder/pg" && if [ "$(id -u)" = 0 ]; then chown postgres "$folder/pg"; fi
  as postgres "$bin/initdb" -D "$folder/pg/data" -U postgres --auth=trust -E UTF8 --locale=C.UTF-8 >/dev/null
  as postgres "$bin/pg_ctl" -D "$folder/pg/data" -l "$folder/pg/log" -w \
    -o "-p $pg -c listen_addresses=127.0.0.1 -c unix_socket_directories=$folder/pg -c fsync=off -c max_connections=300" \
    start >/dev/null
  my=$(free_port)
  mkdir -p "$folder/my" && if [ "$(id -u)" = 0 ]; then chown mysql "$folder/my"; fi
  as mysql mariadb-install-db --no-defaults --datadir="$folder/my/data" \
    --auth-root-authentication-method=normal --skip-test-db >/dev/null
  as mysql mariadbd --no-defaults --datadir="$folder/my/data" --port="$my" --bind-address=127.0.0.1 \
    --socket="$folder/my/socket" --pid-file="$folder/my/pid" --max-connections=300 \
    --innodb-flush-log-at-trx-commit=0 >"$folder/my/log" 2>&1 &
  wait_for mariadb-admin --no-defaults --protocol=tcp -h 127.0.0.1 -P "$my" -u root ping
  redis=$(free_port)
  redis-server --port "$redis" --bind 127.0.0.1 --save "" --appendonly no --daemonize yes \
    --dir "$folder" --pidfile "$folder/redis.pid" --logfile "$folder/redis.log" >/dev/null
  cat >"$folder/settings" <<END
export TEST_POSTGRESQL_URL="postgresql+psycopg://postgres@127.0.0.1:$pg/douzhou_ci"
export TEST_MYSQL_URL="mysql+pymysql://root@127.0.0.1:$my/douzhou_ci"
export TEST_REDIS_URL="redis://127.0.0.1:$redis/0"
END
}

stop() {
  for file in "$folder/pg/data/postmaster.pid" "$folder/my/pid" "$folder/redis.pid"; do
    [ -s "$file" ] || continue
    pid=$(head -n 1 "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 40); do kill -0 "$pid" 2>/dev/null || break; sleep 0.25; done
  done
}

case ${1:-} in start | stop) "$1" ;; *) echo "usage: $0 start|stop FOLDER" >&2; exit 2 ;; esac
