# Two commands matter: `make demo` and `make test`. Each prepares .venv with a Python from 3.11 to
# 3.14; `make PYTHON=/path/to/python ...` names one.
BIN := .venv/bin
# Two processes with one thread each beat two processes that fight for the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow fuzz check lint types docs bench bench-check publish freeze clean

demo: .venv/demo
	env -u OMP_NUM_THREADS $(BIN)/rate reproduce demo --jobs 2

test: .venv/development
	$(BIN)/pytest -n auto

slow: .venv/development
	$(BIN)/pytest -n auto -m slow

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/development
	$(BIN)/mypy

# make fuzz COUNT=20000 SEED=7 damages files of every format that is read
fuzz: .venv/development
	$(BIN)/python -m tests.fuzz --count $(or $(COUNT),4000) --seed $(or $(SEED),0)

check: lint types test

# the site of all pages, offline, in site/index.html
docs: .venv/development
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -c docs . site
	cp docs/site.html site/index.html


bench: .venv/development
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks

# fails where a ratio is 1.5 times worse than the stored one
bench-check: .venv/development
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks --quick --check

# make publish EXPERIMENT=demo takes runs/demo into results/, docs/results/ and README.md
publish: .venv/development
	$(BIN)/python -c "from rate.reporting.publish import publish; publish('runs/$(EXPERIMENT)')"

# An environment that uv made has no pip.
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL = { $(PIP) --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip; } \
	&& $(PIP) install --constraint constraints.txt --editable

.venv/bin/python:
	python="$$(.ci/find-python $(PYTHON))" && "$$python" -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing what the demo needs into .venv; PyTorch may take minutes to download."
	$(INSTALL) .
	touch $@

.venv/development: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing what tests and tools need into .venv; PyTorch may take minutes to download."
	$(INSTALL) '.[development]'
	touch $@ .venv/demo

# make freeze EXPERIMENT=demo fixes its recipes, by hash, before reported seeds are trained
freeze: .venv/development
	$(BIN)/python -c "from rate.experiments.freezing import freeze; freeze('$(EXPERIMENT)')"

clean:
	rm -rf .venv runs
