# The commands of the project; each does its own set-up. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 8080
SANDBOX_PORT ?= 8090
export PORT SANDBOX_PORT
.DEFAULT_GOAL := help
.PHONY: help demo demo-passwords test check bench docs lint-miniapp migration translate env env-dev vendor

help: ## this list
	@awk -F':.*## ' '/^[a-z%-]+:.*## /{sub("%", "NAME", $$1); printf "  make %-18s %s\n", $$1, $$2}' Makefile

env: .venv/.runtime
env-dev: .venv/.dev

.venv/.made:
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "没有找到 $(PYTHON)（Python is missing）：请安装 Python 3.11 或更新版本，例如 apt install python3 python3-venv。" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 版本过低（too old）：需要 3.11 或更新版本，可用 make PYTHON=python3.11 指定。" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || { rm -rf .venv; echo "无法建立虚拟环境（venv is missing）：请安装 python3-venv，例如 apt install python3-venv。" >&2; exit 1; }
	@touch $@

NO_PACKAGES = echo "无法安装依赖（packages could not be installed）：请检查网络或 pip 的设置后重试。" >&2

.venv/.runtime: requirements.lock | .venv/.made
	@echo "正在安装依赖（installing packages）……"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock || { $(NO_PACKAGES); exit 1; }
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock || { $(NO_PACKAGES); exit 1; }
	@touch $@

demo: env ## console and sandbox with demo data on 127.0.0.1 (PORT, SANDBOX_PORT)
	@$(BIN)/python scripts/demo.py

demo-passwords: env ## new passwords for the demo's accounts, printed once
	@$(BIN)/python scripts/demo.py passwords

test: env-dev ## the whole suite; with TEST_POSTGRESQL_URL, TEST_MYSQL_URL also on those servers; ARGS go to pytest
	@BIN=$(BIN) sh scripts/test.sh $(ARGS)

check: env-dev ## lint, format, types, import floors, docs up to date, migrations complete
	@BIN=$(BIN) sh scripts/check.sh

BENCHES = $(filter-out bare %_worker console_% __init__,$(basename $(notdir $(wildcard bench/*.py))))

bench: env-dev ## every benchmark; `make bench-bare` apart, which wants root and an hour
	@for name in $(BENCHES); do $(MAKE) --no-print-directory bench-$$name || exit 1; done

bench-%: env-dev ## one benchmark, e.g. bench-kill
	@DOUZHOU_ENV=/nonexistent $(BIN)/python -m bench.$* $(ARGS)

docs: env-dev ## the generated pages of docs/
	@DOUZHOU_ENV=/nonexistent $(BIN)/python scripts/docs.py

lint-miniapp: ## check of the mini-program template
	@if [ -d miniapp ]; then $(BIN)/python scripts/lint_miniapp.py; else echo "仓库中还没有小程序模板（miniapp/），无可检查。"; fi

migration: env ## new revision: make migration m="what changes"
	@DOUZHOU_ENV=/nonexistent $(BIN)/python scripts/migration.py "$(m)"

translate: env-dev ## gather the texts and compile the message catalogues
	@DOUZHOU_ENV=/nonexistent $(BIN)/python scripts/translate.py

vendor: ## the vendored styles and scripts of app/static/vendor, from the packages pinned in scripts/vendor (needs Node)
	@cd scripts/vendor && npm ci --no-audit --no-fund --silent && node build.mjs
