# make demo       from nothing to captions and their scores
# make test       lint, types, every test
# make test-fast  the quick tests alone, in under a minute
# make format     format the code, and mend what lint can mend
# make docs       the documentation site, into site/
# make bench      how fast, against the limit; PROFILE=1: and where the rest goes; COMPARE=last: what got slower
# make fuzz       broken inputs of every kind, for SECONDS (60)
# make flat       memory over 30 epochs, 20,000 pictures and 1,000 scorings
# make meteor     METEOR of 47,114 captions beside the Java original
# make kills      runs killed at random moments end as if they had not been
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
INSIDE := captioning/pretrained/model.safetensors

.PHONY: help install demo lint format test test-fast docs bench fuzz flat meteor kills clean
help:
	@sed -n 's/^# make/make/p' Makefile

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@echo "Installing into .venv. torch alone is a few GB: the first time takes some minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev,java]'
	@touch $@

demo: $(INSTALLED)
	@if [ -e $(INSIDE) ]; then $(BIN)/captioning caption 'captioning/photographs/*.jpg' \
		--attention runs/photographs/looked.png --json runs/photographs/captions.json; fi
	@$(BIN)/captioning train experiment=demo
	@$(BIN)/captioning caption data/scenes/test/00220[1-8].png --checkpoint runs/demo --json runs/demo/captions.json
	@$(BIN)/captioning evaluate runs/demo --split test
	@echo
	@if [ -e $(INSIDE) ]; then echo "photographs:  runs/photographs/captions.json; where it looked: runs/photographs/looked.png, looked_2.png, …"; fi
	@echo "the training: runs/demo/report.html; captions of the scenes above: runs/demo/captions.json"
	@echo "next: your own photographs in the browser: $(BIN)/captioning serve$$([ -e $(INSIDE) ] || echo ' runs/demo')"

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

format: $(INSTALLED)
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

test: $(INSTALLED)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(INSTALLED)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow' --durations 5 --durations-min 2

docs: $(INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

bench: $(INSTALLED)
	@$(BIN)/python -m pytest -s --override-ini addopts='-q --import-mode=importlib -p no:cacheprovider' \
		-m 'not slow' tests/benchmarks $(if $(COMPARE),--compare $(COMPARE)) $(if $(PROFILE),--profile)

fuzz: $(INSTALLED)
	@$(BIN)/python tests/fuzz.py --seconds $(or $(SECONDS),60)

flat: $(INSTALLED)
	@$(BIN)/python tests/flat.py

meteor: $(INSTALLED)
	@$(BIN)/python tests/meteor.py

kills: $(INSTALLED)
	@$(BIN)/python tests/kills.py --kills 200

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site
