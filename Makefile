# `make run` and `make test` are all a newcomer needs; the rest is for those who change Kasal.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(wildcard libs/*/pyproject.toml services/*/pyproject.toml cli/pyproject.toml)
LOCK := requirements/all.lock
STAMP := $(VENV)/.ready
# uv is used where it is on the machine; otherwise it comes through pip into a folder of its own.
SOURCES := $(wildcard libs/*/src services/*/src cli/src) checks
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.uv/bin/uv)
export UV_LINK_MODE ?= copy

.PHONY: help setup run test test-long check format bench lock clean

help: ## Show what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(CURDIR)/.uv/bin/uv:
	$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet "uv>=0.13,<0.14"

# The lock holds everything that is downloaded, with hashes; the workspace's own packages follow without dependencies.
$(STAMP): $(UV) $(LOCK) $(MEMBERS)
	test -x $(BIN)/python || $(UV) venv --quiet --python $(PYTHON) $(VENV)
	env -u PYTHONDONTWRITEBYTECODE $(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --offline $(foreach m,$(MEMBERS),-e $(dir $(m)))
	touch $@

setup: $(STAMP) ## Make .venv from the lock

run: setup ## Start Kasal on this machine: every service, SQLite, no account
	$(BIN)/kasal dev

check: setup ## Format, lint, types, layers, sizes and the fast tests: under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports --no-cache
	$(BIN)/python checks/structure.py
	$(BIN)/pytest libs cli -m "not long" -k "not rabbit and not postgres" -n 2 --dist loadfile

format: setup ## Format and mend what can be mended
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

test: setup ## Every test but the long ones, on real PostgreSQL and RabbitMQ
	$(BIN)/pytest libs services cli -m "not long" -n 2 --dist loadfile
	$(BIN)/pytest tests -m "not long"

test-long: setup ## The long tests
	$(BIN)/pytest tests -m long

bench: setup ## Measure, as ratios against the plain alternative
	$(BIN)/python -m benchmarks

lock: $(UV) ## Resolve the dependencies anew and write requirements/*.lock
	$(UV) lock --upgrade
	bash requirements/export
