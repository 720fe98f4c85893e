# `make export` and `make test` do all of their own set-up in $(VENV); the second time they install and train nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?= cnn
INSTALLED := $(VENV)/.installed

.PHONY: export test test-extra test-all fuzz bench bench-all lint clean
.DELETE_ON_ERROR:

export: $(INSTALLED)
	$(BIN)/mnist-edge export --model $(MODEL)
	$(BIN)/mnist-edge verify exports/$(MODEL)
	$(BIN)/mnist-edge bench exports/$(MODEL)

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# what needs Python packages alone
test: $(INSTALLED)
	$(PYTEST) -m "not extra"

# what needs Debian packages, boards' userlands, other runtimes or more time
test-extra: $(INSTALLED)
	$(PYTEST) -m extra

test-all: $(INSTALLED)
	$(PYTEST)

# mutated files through every command, for as long as one likes: make fuzz SECONDS=3600 SEED=7
SECONDS ?= 120
SEED ?= 0
FUZZED ?= exports/mlp
fuzz: $(INSTALLED)
	[ -e $(FUZZED)/manifest.json ] || $(BIN)/mnist-edge export --model mlp --all
	PYTHONPATH=tests $(BIN)/python benchmarks/fuzz.py $(FUZZED) --seconds $(SECONDS) --seed $(SEED)

# Our files beside other runtimes, converters and scripts, on this machine, which should do nothing else: benchmarks/README.md.
BENCH := $(BIN)/python benchmarks
COMPARED := cnn mlp
bench: $(INSTALLED)
	for model in $(COMPARED); do [ -e exports/$$model/manifest.json ] || $(BIN)/mnist-edge export --model $$model || exit; done
	for model in $(COMPARED) edge-small edge; do $(BENCH)/versus_converter_defaults.py latency --model $$model || exit; done
	$(BENCH)/versus_converter_defaults.py export
	$(BENCH)/runtimes.py
	$(BENCH)/predict.py
	$(BENCH)/installed.py
	cat benchmarks/results/seeds.md

# and what takes hours: every recipe trained with ten seeds, the edge networks with five
bench-all: bench
	$(BENCH)/seeds.py
	$(BENCH)/edge.py seeds

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "mnist-edge needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is another. Say: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Installing into $(VENV), once; this takes a minute or two …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[export,dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
