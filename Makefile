# Two commands matter: `make demo` and `make test`. Each prepares .venv by itself.
PYTHON ?= python3.11
BIN := .venv/bin
# Two processes with one thread each beat two processes that fight for the cores.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test slow check lint types bench publish clean

demo: .venv/ready
	env -u OMP_NUM_THREADS $(BIN)/rate reproduce demo --jobs 2

test: .venv/ready
	$(BIN)/pytest -n auto

slow: .venv/ready
	$(BIN)/pytest -n auto -m slow

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

check: lint types test

bench: .venv/ready
	env -u OMP_NUM_THREADS $(BIN)/python -m benchmarks

publish: .venv/ready  # make publish EXPERIMENT=demo takes runs/demo into results/, docs/results/ and README.md
	$(BIN)/python -c "from rate.reporting.publish import publish; publish('runs/$(EXPERIMENT)')"

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[development]'
	touch $@

clean:
	rm -rf .venv runs
