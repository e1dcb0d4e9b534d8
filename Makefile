# `make demo` and `make test` each make their own environment in .venv and install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A plain "torch" on Linux brings gigabytes for a GPU; this release is what the project is tested with.
TORCH ?= torch==2.13.0

.PHONY: demo test check accept bench soak clean

demo: $(VENV)/.demo
	$(BIN)/python -m synth model fetch smollm2-135m
	$(BIN)/python -m synth run pipelines/quickstart.yaml

test: $(VENV)/.dev
	$(BIN)/python -m synth model fetch smollm2-135m
	$(BIN)/python -m pytest -n 2 -m "not slow"
	SYNTH_REQUIRE_MODEL=1 $(BIN)/python -m pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m "not slow"

accept: $(VENV)/.dev
	$(BIN)/python -m synth model fetch smollm2-135m
	$(BIN)/python bench/accept.py

bench: $(VENV)/.dev
	$(BIN)/python bench/calls.py
	$(BIN)/python bench/cap.py
	$(BIN)/python bench/novelty.py

# The long tests, a quarter of an hour: fifty kills in one run.
soak: $(VENV)/.dev
	$(BIN)/python -m pytest -m soak

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[local,train]"
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[local,train,dev]"
	touch $@
