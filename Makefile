# Targets for people and for CI. `make setup` is part of all of them.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; \
	done)
BIN := .venv/bin
STAMP := .venv/installed
# ARGS may choose tests of one of the two runs only.
NOTHING_TO_RUN := 5
PIP := -m pip --disable-pip-version-check --no-input

.PHONY: help setup demo test test-faults test-faults-short fuzz audit bench lint format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         see the whole line at work (ARGS=--once: and stop again)"
	@echo "make test         formatting, lint, types and all tests but the slow ones"
	@echo "make test-faults  the slow ones: killed processes, cut connections, full disks"
	@echo "make test-faults-short  of each kind of these one, in less than five minutes"
	@echo "make fuzz         made-up input for every door, for about ten minutes (FUZZ_TIMES=300: thrice as long)"
	@echo "make audit        look the pinned packages up among known vulnerabilities (needs the internet)"
	@echo "make bench        how fast it is, beside the limit or a peer (ARGS=import: only that)"
	@echo "make lint         formatting, lint and types alone"
	@echo "make format       put the code into shape"
	@echo "make setup        only install, into .venv"
	@echo "make clean        remove .venv and caches; data in .groupsms stays"

setup: $(STAMP)

# -qq leaves errors. Where Python comes without ensurepip (Debian without python3-venv), its own pip installs into .venv.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing into .venv (only when requirements.lock or pyproject.toml has changed)"
	@rm -f $@
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv .venv && pip='$(BIN)/python $(PIP)'; \
	else \
		$(PYTHON) -m venv --without-pip .venv && pip='$(PYTHON) $(PIP) --python $(BIN)/python'; \
	fi && \
	$$pip install -qq --require-hashes -r requirements.lock && \
	$$pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@exec $(BIN)/groupsms demo $(ARGS)

lint: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary

test: lint
	$(BIN)/pytest -n 2 --dist loadfile -m "not faults and not alone" $(ARGS) || [ $$? = $(NOTHING_TO_RUN) ]
	$(BIN)/pytest -m "alone and not faults" $(ARGS) || [ $$? = $(NOTHING_TO_RUN) ]

test-faults: setup
	$(BIN)/pytest tests/e2e -m faults $(ARGS)

test-faults-short: setup
	$(BIN)/pytest tests/e2e -n 2 --dist loadfile -m "faults and not long_form" $(ARGS)

fuzz: setup
	FUZZ_TIMES=$${FUZZ_TIMES:-100} $(BIN)/pytest tests/e2e/test_fuzzed_*.py $(ARGS)

# pip-audit is no part of the service or of its tests: it has an environment of its own.
audit: setup
	@test -x .venv/audit/bin/pip-audit || { $(PYTHON) -m venv .venv/audit && \
		.venv/audit/bin/python $(PIP) install -qq pip-audit; }
	.venv/audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip

bench: setup
	$(BIN)/python -m tests.bench $(ARGS)

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist tests/clients/node_modules tests/clients/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
