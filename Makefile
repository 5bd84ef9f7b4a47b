# Two commands: `make speech` (data, training, report) and `make test`. Both make `.venv` when it is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := all,dev
STAMP := $(VENV)/.installed
SPEECH := data/asterisk-en
# A process a core; a process that runs out of tests takes some of another's. Each has one torch thread (tests/conftest.py).
PARALLEL := -n auto --dist worksteal

# What the newest training run exported.
NEWEST_MODEL = $$(ls -td runs/speech_mel/*/model | head -n 1)

.PHONY: help install speech acceptance test test-slow mutate lint clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

install: $(STAMP)  ## .venv with everything that the other targets use

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(SPEECH)/manifest.jsonl: | $(STAMP)
	$(BIN)/audiodiff prepare asterisk-en --out $(SPEECH)

speech: $(STAMP) $(SPEECH)/manifest.jsonl  ## real speech, eight minutes of training, and a report to listen to
	$(BIN)/python train.py +recipe=speech_mel trainer=quick
	model="$(NEWEST_MODEL)"
	$(BIN)/audiodiff evaluate --model "$$model" --data $(SPEECH) --report "$$PWD/$${model%/model}/report"

acceptance: speech  ## make speech, then hold its report against what it must show
	$(BIN)/python tests/acceptance.py "$$(dirname $(NEWEST_MODEL))/report/report.json"

test: lint  ## lint and the fast tests, one process a core, no GPU, no network
	$(BIN)/pytest -rs $(PARALLEL)

test-slow: $(STAMP)  ## the tests that `make test` leaves out
	$(BIN)/pytest -rs $(PARALLEL) -m "slow and not bench"

mutate: $(STAMP)  ## does a test notice each wrong number of the process? ten minutes on two cores
	$(BIN)/python tests/mutate.py

lint: $(STAMP)  ## ruff (rules and format), import layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:  ## remove caches and builds; data, runs and .venv stay
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis htmlcov .coverage outputs multirun
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
