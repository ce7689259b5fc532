# Everything from a fresh machine: `make simulate`, `make test`, `make check`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help simulate test check lint types contracts bare clean

help:
	@echo "make simulate   set up, then train privately over ten simulated clients (ARGS='--epsilon 2' to change it)"
	@echo "make test       set up, then run the tests"
	@echo "make check      tests, lint, types and import contracts"
	@echo "make clean      remove the virtual environment"

$(VENV)/.runtime: pyproject.toml $(wildcard client/kernels/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "FedLedger needs Python 3.11 or later: make PYTHON=python3.11")'
	@echo "Setting up $(VENV): PyTorch and what else is needed are fetched, which takes some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	@touch $@

$(VENV)/.development: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	@touch $@

simulate: $(VENV)/.runtime
	$(BIN)/fedledger simulate $(ARGS)

test: $(VENV)/.development
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 3 --dist loadgroup $(ARGS)

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development
	$(BIN)/mypy client common server simulations fedledger.py benchmarks

contracts: $(VENV)/.development
	$(BIN)/lint-imports --no-cache

# Install without the extra that trains, elsewhere, and audit a run with it.
bare: RUN ?= $(error name a run: make bare RUN=runs/...)
bare: BARE := $(VENV)-bare
bare:
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip install --quiet --disable-pip-version-check .
	$(BARE)/bin/python -c 'import importlib.util as u; assert not any(map(u.find_spec, ["torch", "flwr", "opacus"]))'
	cd / && $(abspath $(BARE))/bin/fedledger audit $(abspath $(RUN))
	cd / && $(abspath $(BARE))/bin/fedledger ledger verify $(abspath $(RUN))/ledgers/client-0.jsonl
	cd / && $(abspath $(BARE))/bin/fedledger plan --examples 5000 --epsilon 8 --rounds 10

check: test lint types contracts

clean:
	rm -rf $(VENV)
