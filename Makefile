# What a user or a developer types. `make` alone lists it. Every target sets up .venv first when that is missing or old.

.DEFAULT_GOAL := help
BIN := .venv/bin
# A Python 3.11 to 3.13: the first that fits of python3, python3.13, python3.12, python3.11, unless one is named.
PYTHON ?=
# For example: make test PYTEST_ARGS="tests/atproto -x"
PYTEST_ARGS ?=
# For example: make interop ARGS="--duration 120"
ARGS ?=

.PHONY: help setup setup-dev run demo test test-long lint type fmt docs interop bench mutants clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: ## Set up .venv with what the relay needs, and no more
	@tools/setup_venv.sh runtime "$(PYTHON)"

setup-dev: ## Set up .venv with what tests and checks need too
	@tools/setup_venv.sh dev "$(PYTHON)"

run: setup ## Run the relay under gunicorn, on the settings in .env and the environment
	@exec $(BIN)/gunicorn -c conf/gunicorn.conf.py zlay_py.app:app

demo: setup ## Run the relay against a simulated network, all on this machine, and watch it; Ctrl-C ends it
	@exec $(BIN)/python -m tools.demo $(ARGS)

test: setup-dev ## Run the tests, but for the slow ones
	$(BIN)/python -m gevent.monkey --module pytest -m "not slow" $(PYTEST_ARGS)

test-long: setup-dev ## Run all the tests
	$(BIN)/python -m gevent.monkey --module pytest $(PYTEST_ARGS)

lint: setup-dev ## Check style, formatting, the layers, and that the generated documents are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m tools.gen_docs --check

type: setup-dev ## Check the types
	$(BIN)/mypy zlay_py tests tools

fmt: setup-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup-dev ## Write the generated parts of the documents anew
	$(BIN)/python -m tools.gen_docs

interop: setup-dev ## Run the relay between reference PDSes and reference consumers from npm
	$(BIN)/python -m tools.interop.run $(ARGS)

bench: setup-dev ## Measure what an event costs, part by part and as a whole (JSON)
	@$(BIN)/python -m tools.bench.run $(ARGS)

mutants: setup-dev ## Make deliberate bugs, one by one in a copy, and see that the tests notice them (7 minutes)
	$(BIN)/python -m tools.mutants.run $(ARGS)

clean: ## Remove .venv, caches and build products; never data/
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find zlay_py tests tools conf -name __pycache__ -type d -prune -exec rm -rf {} +
