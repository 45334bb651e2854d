# Two commands do everything on a fresh machine with Python >= 3.11 and make:
#   make exam    set up, scan a brain on the twin, say where the pictures are
#   make test    set up, check, test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= build/exam
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: exam test check setup validate bench clean help

help:
	@sed -n 's/^#   //p' Makefile

exam: $(VENV)/.installed
	$(BIN)/scanroom exam brain --out $(OUT)

setup: $(VENV)/.tested

check: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

validate: $(VENV)/.tested
	$(BIN)/python -m validation

bench: $(VENV)/.tested
	$(BIN)/python -m benchmarks

# The stamps make a second run skip the installation; they are older than what they depend on only
# when the dependencies change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	$(BIN)/scanroom warm
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	@echo "Adding the test tools (once) ..."
	$(PIP) --editable ".[test]"
	touch $@

clean:
	rm -rf build $(VENV)
