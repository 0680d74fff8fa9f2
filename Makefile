# `make` lists the targets. What follows ## beside a target is its line in that list.
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
CODE := src stages scripts tests docs/conf.py

.DEFAULT_GOAL := help
.PHONY: help run test test-slow benchmark lint format docs install

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## install what is missing and run the whole workflow on the embedded default
	dvc repro
	@python -m losh.cli summary

test: install ## run the tests but for the slow ones
	python -m pytest tests -n 2 --dist loadfile -m "not slow"

test-slow: install ## run the tests marked slow
	python -m pytest tests -m slow

benchmark: install ## speed and memory on this machine; OTHER=adapter.py: against other code
	python scripts/benchmark.py$(if $(OTHER), --other $(OTHER))

lint: install ## check rules, format and types
	ruff check $(CODE)
	ruff format --check $(CODE)
	mypy

format: install ## mend what ruff can mend by itself
	ruff check --fix $(CODE)
	ruff format $(CODE)

docs: install ## build the pages as a site, site/index.html; a broken link fails
	@python -c "import furo, myst_parser" 2>/dev/null || python -m pip install --quiet -e ".[docs]"
	@rm -rf site
	python -m sphinx -q -W --keep-going -c docs -d tmp/doctrees . site

install: $(VENV)/.installed ## install everything into .venv

# The lock file has versions and the hashes of the wheels for Linux x86_64 and Python 3.11 to 3.13
# (where there is none, of the source); elsewhere: pip install -e .
$(VENV)/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --progress-bar off --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps -e .
	@touch $@
