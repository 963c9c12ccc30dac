# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints/ci.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1

.PHONY: demo demo-train test chromium lint types docs bench clean

demo: $(VENV)/.core
	$(BIN)/cxr-instruct demo --out demo

demo-train: $(VENV)/.train
	$(BIN)/cxr-instruct demo-train

test: lint types chromium
	$(BIN)/pytest -n 2

# The preview is tested in a browser; without one these tests say so and are skipped.
chromium:
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
	  || { test "$$(id -u)" = 0 && export DEBIAN_FRONTEND=noninteractive && apt-get update -qq \
	       && apt-get install -y -qq --no-install-recommends chromium > /dev/null && command -v chromium; } \
	  || echo "no Chromium, and none could be installed: tests in a browser are skipped"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/cxr-instruct lint

types: $(VENV)/.dev
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench_build.py

# Generated pages and schemas; tests hold them to the code.
docs: $(VENV)/.dev
	$(BIN)/cxr-instruct schema task_spec > docs/schemas/task_spec.schema.json
	$(BIN)/cxr-instruct schema recipe > docs/schemas/recipe.schema.json
	$(BIN)/cxr-instruct schema training > docs/schemas/training.schema.json
	$(BIN)/python -m instruct.reports.sources_page > docs/sources.md

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.train: $(BIN)/python pyproject.toml constraints/ci.txt
	$(BIN)/python -m pip install -q -e '.[train]'
	touch $@ $(VENV)/.core

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints/ci.txt
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@ $(VENV)/.core $(VENV)/.train

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
