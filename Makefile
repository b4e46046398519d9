# From nothing but Python 3.11, make and git: `make run`.

CONFIG ?= configs/quickstart.yaml
JOBS ?= 2
# Index of another torch build (CPU only, or CUDA); empty: the one that pip is set up for.
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
# Another lock file or another project file: another stamp, so the environment is brought up to date.
STAMP := $(VENV)/ready-$(shell cat constraints.txt pyproject.toml | cksum | cut -d ' ' -f 1)
SUITABLE := import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for name in python3.11 python3; do \
	"$$name" -c '$(SUITABLE)' 2>/dev/null && { echo "$$name"; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
# Bytecode comes after all else and on every core; pip would make it on one.
INSTALL := $(PIP) install --no-compile
DATA := reviews_zh corpus_zh digits reviews_zh_raw

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup run test check lint types data clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8
	@echo "CONFIG=$(CONFIG)  JOBS=$(JOBS)  TORCH_INDEX=$(TORCH_INDEX)"

setup: $(STAMP) ## .venv with exact versions, and database templates (minutes, once)

run: setup ## run CONFIG from raw data to a registered model
	@$(BIN)/athanor run $(CONFIG)

test: setup lint ## contracts, style and every test
	@$(BIN)/athanor data pull $(DATA)
	@$(BIN)/python -m compileall -q components pipelines tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

check: setup lint types ## style, contracts and types

lint: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "  -> $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/lint-imports --no-cache >$(VENV)/contracts.txt || { cat $(VENV)/contracts.txt; exit 1; }
	@grep '^Contracts:' $(VENV)/contracts.txt

types: setup
	@$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python --summary=none --output-format min-text

data: setup ## every data set, verified against data.dvc
	@$(BIN)/athanor data pull

clean: ## remove what tools left behind; .venv, data and .athanor stay
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "athanor needs Python 3.11 on the PATH; found $$(python3 --version 2>&1)" >&2; exit 1; }
	@$(PYTHON) -c '$(SUITABLE)' || { echo "athanor needs Python 3.11; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@echo "setup: $$($(PYTHON) --version) in $(VENV); this takes some minutes, once"
	@$(BIN)/python -c '$(SUITABLE)' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) pip==26.3  # half the time of the one that comes with Python 3.11
	@echo "setup: torch"
	@$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	@echo "setup: everything else"
	@$(INSTALL) -c constraints.txt -e '.[dev]'
	@echo "setup: bytecode"
	@$(BIN)/python -m compileall -qq -j 0 -x /tests/ $(VENV)/lib || true  # some of torch is for newer Pythons
	@echo "setup: database templates"
	@$(BIN)/python -m pipelines.templates
	@rm -f $(VENV)/ready-*
	@touch $@
