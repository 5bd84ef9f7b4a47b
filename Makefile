# `make speech` and `make voice` (data, training, report), and `make test`. All create `.venv` if it is missing.

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
# What `make vocoder-train` trains on: corpora that `audiodiff prepare` knows, each in data/NAME.
CORPORA := festvox-ru asterisk-en asterisk-fr asterisk-ru fillets-cs kokoro
# What `make vocoder-benchmark` measures, and a voice and language that no model is trained on.
MODEL := audiodiff/pretrained/speech-16k
RECORDED := $(filter-out kokoro,$(CORPORA))
UNSEEN := asterisk-it
BENCHMARK ?=
# What `make vocoder-voice` fine-tunes BASE on: three minutes of a voice that it never saw.
BASE := speech-16k-fine
NEW_VOICE := asterisk-ru
VOICE := data/hibari
LONG := speech_mel_long
# One process per core, one torch thread per process (tests/conftest.py); idle processes take tests from busy ones.
PARALLEL := -n auto --dist worksteal
# `make test COVERAGE=--cov` measures line coverage and fails below the limit in pyproject.toml.
COVERAGE ?=

# The models that the newest training runs exported.
NEWEST_MODEL = $$(ls -td runs/speech_mel/*/model | head -n 1)
NEWEST_VOICE = $$(ls -td runs/speech_text/*/model | head -n 1)

.PHONY: chaos help install speech voice vocoder-train vocoder-benchmark vocoder-voice acceptance test test-slow mutate fuzz lint docs wheels space clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 14

install: $(STAMP)  ## create .venv with everything that the other targets use

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

$(SPEECH)/manifest.jsonl: | $(STAMP)
	$(BIN)/audiodiff prepare asterisk-en --out $(SPEECH)

speech: $(STAMP) $(SPEECH)/manifest.jsonl  ## download speech, train a vocoder for eight minutes, write a report with audio
	$(BIN)/python train.py +recipe=speech_mel trainer=quick
	model="$(NEWEST_MODEL)"
	$(BIN)/audiodiff evaluate --model "$$model" --data $(SPEECH) --report "$$PWD/$${model%/model}/report"

# On two cores: 12 core-minutes of synthesis (8,000 sentences, 7.3 hours), 85 minutes of training, then the report.
$(VOICE)/manifest.jsonl: | $(STAMP)
	$(BIN)/audiodiff prepare hibari --clips 8000 --out $(VOICE)

voice: $(STAMP) $(VOICE)/manifest.jsonl  ## synthesize sentences, train text to speech on them for 85 minutes, write a report with audio
	$(BIN)/python train.py +recipe=speech_text data.path=$(VOICE) trainer.max_time=00:01:25:00
	model="$(NEWEST_VOICE)"
	$(BIN)/audiodiff evaluate --model "$$model" --data $(VOICE) --limit 100 --report "$$PWD/$${model%/model}/report"

# 28 voices, 2.5 hours of synthetic speech, in 2.5 core-hours; resumable.
data/kokoro/manifest.jsonl: | $(STAMP)
	$(BIN)/audiodiff prepare kokoro --clips 80 --out $(@D)

data/%/manifest.jsonl: | $(STAMP)
	$(BIN)/audiodiff prepare $* --out $(@D)

# One core, lowest priority. Stop it at any time, start it again: it continues, and keeps an export for every hour.
vocoder-train: $(STAMP) $(CORPORA:%=data/%/manifest.jsonl)  ## train a vocoder for days, resumable: one core, lowest priority, hourly exports
	folders="$(CORPORA:%=data/%)"
	resume=$$(compgen -G "runs/$(LONG)/*/checkpoints/step=*.ckpt" > /dev/null && echo resume=last || true)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 nice -n 19 $(BIN)/python train.py +recipe=$(LONG) "data.path=[$${folders// /,}]" $$resume

# Resumable. BENCHMARK takes further options, the last of each kind counts: BENCHMARK="--steps 1 --limit 2".
vocoder-benchmark: $(STAMP) $(CORPORA:%=data/%/manifest.jsonl) data/$(UNSEEN)/manifest.jsonl  ## quality and speed of MODEL over steps and iterations, into its card
	$(BIN)/audiodiff benchmark --model $(MODEL) $(RECORDED:%=--data seen=data/%) --data english=data/asterisk-en --data unseen=data/$(UNSEEN) \
		--data synthetic=data/kokoro --limit 30 --steps 1,2,4 --iterations 0,4,8,16,32 $(BENCHMARK)

# 200 steps are three minutes of one core. The rows are those of the settings of BASE, before and after.
vocoder-voice: $(STAMP) data/$(NEW_VOICE)/manifest.jsonl  ## fine-tune BASE on three minutes of a new voice, and benchmark it before and after
	test -d runs/new_voice/model || OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python train.py +recipe=speech_few_step trainer=quick \
		audio=speech_16k_fine objective=x0 network.frontend.n_fft=512 network.frontend.hop_length=128 network.fold=2 \
		"network.channels=[256]" "network.blocks=[4]" init_from=$(BASE) data.path=data/$(NEW_VOICE) data.minutes=3 \
		"task.steps=[1,2]" sampler.steps=1 sampler.consistency=8 "model.validated=[1,2]" lr_schedule.warmup_steps=20 \
		trainer.precision=bf16-mixed trainer.max_time=null trainer.max_steps=200 trainer.val_check_interval=100000 folder=runs/new_voice
	$(BIN)/audiodiff setting fast --model runs/new_voice/model --steps 1 --consistency 8 --default
	$(BIN)/audiodiff setting good --model runs/new_voice/model --steps 1 --consistency 64
	$(BIN)/audiodiff benchmark --model audiodiff/pretrained/$(BASE) --data three-minutes=data/$(NEW_VOICE) \
		--tuned three-minutes=runs/new_voice/model --samplers ddim --steps 1 --iterations 8,64 --limit 30 $(BENCHMARK)

acceptance: speech  ## make speech, then check the metrics in its report
	$(BIN)/python tests/acceptance.py "$$(dirname $(NEWEST_MODEL))/report/report.json"

test: lint  ## lint and the fast tests; no GPU, no network
	$(BIN)/pytest -rs $(PARALLEL) $(COVERAGE)

test-slow: $(STAMP)  ## the slow tests, which `make test` skips
	$(BIN)/pytest -rs $(PARALLEL) -m "slow and not bench"

chaos: $(STAMP)  ## kill commands at random moments, fill the disk, set the clock; a table of what is left (minutes)
	$(BIN)/python tests/chaos.py

mutate: $(STAMP)  ## mutation tests: change each number of the diffusion process, expect a failing test (ten minutes)
	$(BIN)/python tests/mutate.py

# The inputs of failures and a report are kept in fuzz/. FUZZ takes options: FUZZ="--minutes 60 --target audio".
FUZZ ?=
fuzz: $(STAMP)  ## mutated files and texts of every kind: each is used, or refused in one line, in bounds of time and memory (ten minutes)
	$(BIN)/python tests/fuzz.py $(FUZZ)

lint: $(STAMP)  ## ruff (rules and format), import layers, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(STAMP)  ## build the documentation as a site in site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheels: $(STAMP)  ## build the wheel of the package and those of its models into dist/; nothing is uploaded
	$(BIN)/python wheels.py --out dist

# make space SPACE=OWNER/NAME
SPACE ?=
space: $(STAMP)  ## write the demo as the folder of a hosted space, with its wheels, to dist/space/; nothing is uploaded
	$(BIN)/python demo/space.py --out dist/space $(SPACE)

clean:  ## remove caches and builds; keeps data, runs and .venv
	rm -rf build dist site .pytest_cache .ruff_cache .import_linter_cache .mypy_cache .hypothesis htmlcov .coverage outputs multirun
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf
