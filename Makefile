# make run    install everything into .venv and run the whole workflow on the embedded default
# make test   install if needed and run the tests
# make lint   check the code's style
PYTHON ?= python3.11
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: run test test-slow lint install

run: install
	dvc repro
	@python -m losh.cli summary

test: install
	python -m pytest tests -n 2 --dist loadfile -m "not slow"

test-slow: install
	python -m pytest tests -m slow

lint: install
	ruff check src stages scripts tests

install: $(VENV)/.installed

# The lock file has versions and the hashes of the wheels for Linux x86_64 and Python 3.11 to 3.13
# (where there is none, of the source); elsewhere: pip install -e .
$(VENV)/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 && $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --progress-bar off --require-hashes -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps -e .
	@touch $@
