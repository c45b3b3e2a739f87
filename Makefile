# make demo: from nothing to captions.   make test: lint, types, every test.   make bench: how fast, against the limit.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test lint bench clean
help:
	@sed -n 's/^# //p' Makefile

install: $(INSTALLED)

# torch and torchvision come as the index gives them; --no-deps keeps the last line from asking again
$(INSTALLED): pyproject.toml
	@echo "Installing into $(VENV); torch alone is a few GB, so the first time takes some minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,timm,java,cluster]'
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/captioning demo

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

test: lint
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

bench: $(INSTALLED)
	@$(BIN)/python -m pytest -s --override-ini addopts='-q --import-mode=importlib' tests/benchmarks

clean:
	rm -rf $(VENV) runs data/scenes data/features
