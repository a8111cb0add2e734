# Each target sets up what it needs in a virtual environment (.venv), once.
#
#   make demo       JupyterLab with the tour notebooks, on your own login or on the simulator
#   make test       the whole test suite; installs the browser and the Codex CLI where possible
#   make test-fast  the tests that need only Python, in under three minutes
#   make check      format, lint, types and import contracts
#   make contract   what the newest Codex CLI does otherwise than the pinned one, and the contract tests against it;
#                   CODEX=0.169.0 names another
#   make coverage   how much of the code the tests that need only Python run, branches included
#   make bench      the performance table
#   make docs       the documentation, in docs/_build/html

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST_ARGS ?=
DEMO_ARGS ?=
CODEX ?= latest

.PHONY: demo test test-fast check contract coverage bench docs clean help
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'codex_nb needs Python 3.11 or newer: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-%: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[$*]'
	@touch $@

demo: $(VENV)/.ready-demo
	$(BIN)/codex-nb demo $(DEMO_ARGS)

test: $(VENV)/.ready-dev
	$(BIN)/python -m tests $(PYTEST_ARGS)

test-fast: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -m "(unit or shell) and not long" -n 2 --dist worksteal $(PYTEST_ARGS)

check: $(VENV)/.ready-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

contract: $(VENV)/.ready-dev
	$(BIN)/python -m tests.contract.drift $(CODEX)
	CODEX_NB_CODEX=$(CURDIR)/.tiers/codex-$(CODEX)/node_modules/.bin/codex \
	  $(BIN)/python -m pytest -q tests/contract $(PYTEST_ARGS)

coverage: $(VENV)/.ready-dev
	$(BIN)/python -m pytest -q -m "unit or shell" -n 2 --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

bench: $(VENV)/.ready-bench
	$(BIN)/python -m tests.benchmarks

docs: $(VENV)/.ready-dev
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

clean:
	rm -rf $(VENV) .tiers .artifacts docs/_build
