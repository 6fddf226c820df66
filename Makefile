# Everything a clone needs: `make demo` and `make test` install what they use into .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow bench lint clean

demo: .venv/installed
	$(BIN)/layerwise demo --overwrite

test: lint
	$(BIN)/python -m pytest -q -m "not slow"

test-slow: .venv/installed
	$(BIN)/python -m pytest -q -m slow

bench: .venv/installed
	$(BIN)/python benchmarks/bench_ufldl.py
	$(BIN)/python benchmarks/bench_deep_autoencoder.py

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs dist
