# The two commands of the README are `make run-app` and `make test`; each does its own set-up once.
# Mirrors: pip's own settings (PIP_INDEX_URL, pip.conf) and HF_ENDPOINT are honoured; TORCH_INDEX is where the
# CPU build of torch lies on Linux (empty: whatever the package index holds).
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
APP ?= all
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
APP_STAMP := .venv/.installed-app
TEST_STAMP := .venv/.installed-test
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help run-app test install lint bench soak starters prerequisites
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run-app: $(APP_STAMP) ## start the products (APP=support|finance|all) and print their addresses
	@exec $(BIN)/headwater run --app $(APP)

test: $(TEST_STAMP) lint ## lint, check types and run every test at the size that fits
	$(BIN)/python -m pytest -n 2 --dist loadfile

install: $(APP_STAMP) ## make .venv with everything that run-app needs

lint: $(TEST_STAMP) ## ruff, strict types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(TEST_STAMP) ## run one benchmark: BENCH=inference [QUICK=1]
	@test -n "$(BENCH)" || { echo "name a benchmark: make bench BENCH=<one of:" tests/benchmarks/[a-z]*.py ">"; exit 2; }
	$(BIN)/python tests/benchmarks/$(subst -,_,$(BENCH)).py

soak: $(TEST_STAMP) ## run a property test at full size: NAME=index [N=10000]
	@test -n "$(NAME)" || { echo "name a soak: make soak NAME=<one of:" tests/soak/[a-z]*.py ">"; exit 2; }
	$(BIN)/python tests/soak/$(subst -,_,$(NAME)).py $(if $(N),--steps $(N))

starters: $(APP_STAMP) ## tune the adapters under apps/*/starter again from their recipes
	$(BIN)/headwater support train-starter
	$(BIN)/headwater finance train-starter --output build/finance

prerequisites:
	@docker/prerequisites.sh "$(PYTHON)"

$(BIN)/python: | prerequisites
	@$(PYTHON) -m venv .venv

$(APP_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@TORCH_INDEX="$(TORCH_INDEX)" docker/install.sh "support,finance,dash,tune"
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt $(APP_STAMP)
	@TORCH_INDEX="$(TORCH_INDEX)" docker/install.sh "support,finance,dash,tune,dev"
	@$(BIN)/headwater models fetch minilm multilingual mpnet
	@touch $@
