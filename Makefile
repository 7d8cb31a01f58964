# Every target sets itself up: a virtual environment in $(VENV), by pip alone, from pyproject.toml
# and the exact versions of constraints.txt, brought up to date when either of them changes.
PYTHON ?= python3
VENV ?= .venv
FAMILY ?= cet
ARGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint bench clean

help:
	@echo "make demo    train on the 8x8 digits, offline, in about a minute (installs first, once)"
	@echo "make test    the default test suite; ARGS='-k name' narrows it"
	@echo "make lint    format, lint, types and import layers, as CI checks them"
	@echo "make bench   speed of FAMILY=$(FAMILY) against its reference and plain backpropagation"
	@echo "make clean   remove $(VENV) and caches; runs/ stays"
	@echo "PYTHON=... picks the interpreter, VENV=... the place of the environment"

demo: $(VENV)/.core
	@$(BIN)/weft train cet/digits

test: $(VENV)/.dev
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q tests/unit/test_layers.py

bench: $(VENV)/.core
	@$(BIN)/weft bench $(FAMILY) $(ARGS)

clean:
	@rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "weft needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "installing weft and its dependencies into $(VENV), once: a minute or two" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "installing the tools for tests and lint into $(VENV), once" >&2
	@$(INSTALL) -e '.[dev]'
	@touch $@
