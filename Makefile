# The same targets serve people and CI. Everything installs itself into .venv.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
BIN := .venv/bin
# One worker per core, a file of tests goes to one of them; the long ones come first.
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Nothing here reports to anybody; see loramill/privacy.py.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup data law customer-service up test unit check format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(BIN)/.ready ## install everything into .venv, pinned

$(BIN)/.ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "loramill needs Python 3.11: install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing (once, some minutes)"
	$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

data: setup ## fetch the versioned sample data, if data/ is not there
	@test -d data || dvc pull --quiet --remote store data.dvc

law: setup data ## labour law: from rows to a registered adapter with a verdict
	@loramill run law

customer-service: setup data ## customer service: the same
	@loramill run customer-service

up: setup data ## Prefect server, schedules, worker and MLflow UI; Ctrl-C stops them all
	@python -m flows.up

test: setup data ## all tests but those that need a GPU
	@python -m pytest -m 'not gpu' $(PARALLEL)

unit: setup data ## the quick tests
	@python -m pytest -m 'unit or architecture or invariants' $(PARALLEL)

check: setup ## format, lint, types, imports
	@ruff format --check .
	@ruff check .
	@mypy
	@lint-imports --no-timings 2>/dev/null || lint-imports

format: setup ## put the code into form
	@ruff format .
	@ruff check --fix .

clean: ## remove artifacts/, with its audit logs, proof sheets and ledgers of splits; rows, registered adapters, .venv stay
	@rm -rf artifacts .mypy_cache .ruff_cache .import_linter_cache .hypothesis
