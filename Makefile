# Every target runs from a fresh clone. `make` alone says what there is.
SHELL := /bin/sh
PY := .venv/bin/python
WITH_PYTHON := sh scripts/python.sh
TOOL_ENV := SECRET_KEY=only-for-tools-0123456789-abcdefghijklmnopqrstuvwxyz ENV_FILE=/nonexistent
SOURCES := manage.py accounts friends messaging securechat scripts tests bench

.DEFAULT_GOAL := help
.PHONY: help run run-cluster demo build test check format layers bench bench-peers chaos dev clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'

run:  ## install what is missing, build, and serve on https://localhost:8443 (PORT=… for another port)
	@PORT="$(PORT)" $(WITH_PYTHON) scripts/run.py

run-cluster:  ## three processes on PostgreSQL and Valkey behind HAProxy or nginx (PORT=…, PROXY=nginx, PROCESSES=…)
	@PORT="$(PORT)" $(WITH_PYTHON) scripts/cluster.py

demo:  ## two friends with a conversation, in the running server or in one started for it
	@$(WITH_PYTHON) scripts/demo.py

build:  ## the client and the static files only
	@$(WITH_PYTHON) scripts/run.py build

test:  ## every test: client, SQLite, PostgreSQL, and a real browser
	@$(WITH_PYTHON) scripts/test.py

check: dev  ## format, lint, types, layers, migrations, deployment settings, templates, then the tests
	@$(WITH_PYTHON) scripts/check.py
	@$(MAKE) --no-print-directory test

format: dev  ## rewrite Python, templates and the client in the project's format
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix-only .
	cd client && npx --no-install prettier --write . && npx --no-install eslint --fix .

layers: dev  ## do imports still go one way?
	$(TOOL_ENV) .venv/bin/lint-imports

bench: dev build  ## messages each second, how soon and at what cost (ARGS="--folder /dev/shm")
	$(PY) -m bench.throughput --sockets 2000 $(ARGS)

bench-peers: dev build  ## the same with Prosody and ejabberd, which it installs where it may (root, Debian)
	$(PY) -m bench.peers.install
	$(PY) -m bench.throughput --sockets 2000 $(ARGS)

chaos: dev build  ## 100,000 messages on each database while everything breaks: is one lost? (ARGS="--messages 2000")
	$(PY) -m bench.chaos $(ARGS)

dev:
	@$(WITH_PYTHON) scripts/check.py install

clean:  ## remove what was built; keys, certificates and data stay
	rm -rf client/dist client/node_modules staticfiles .venv .mypy_cache .ruff_cache .pytest_cache test-results
