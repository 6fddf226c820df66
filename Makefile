# Everything a clone needs: `make demo` and `make test` install what they use into .venv.
PYTHON ?= python3
BIN := .venv/bin
RIVALS := .venv-rivals/bin
RESULTS := benchmarks/results

.PHONY: demo test test-cuda test-slow docs dist bench fuzz lint clean

demo: .venv/package
	$(BIN)/layerwise demo --overwrite

# Tests are small: a process a core is faster than threads within one. They compare with what processors compute.
test: lint
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n auto --maxprocesses 8 --dist loadfile

# Where there is a GPU; skipped without.
test-cuda: .venv/installed
	$(BIN)/python -m pytest -q tests/test_cuda.py tests/test_rows.py

test-slow: .venv/installed
	$(BIN)/python -m pytest -q -m slow

# The guide, into docs/_build. Its examples are run; a warning is an error, and so is a dead link.
docs: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs auto docs docs/_build
	$(BIN)/python -m pytest -q tests/built_docs.py

# What is published, into dist/, once the tests of its size and content pass.
dist: .venv/installed
	$(BIN)/python -m pytest -q tests/test_release.py tests/test_wheel.py
	rm -rf dist
	$(BIN)/python -m build

bench: .venv/installed .venv-rivals/installed
	mkdir -p $(RESULTS)
	$(BIN)/python benchmarks/bench_evaluation.py --json $(RESULTS)/evaluation.json
	$(BIN)/python benchmarks/bench_products.py --json $(RESULTS)/products.json
	$(BIN)/python benchmarks/bench_lbfgs.py --json $(RESULTS)/lbfgs.json
	$(BIN)/python benchmarks/bench_minibatch.py --json $(RESULTS)/minibatch.json
	$(BIN)/python benchmarks/bench_classifier.py --json $(RESULTS)/classifier.json
	$(BIN)/python benchmarks/bench_deep_autoencoder.py --json $(RESULTS)/deep_autoencoder.json
	$(BIN)/python benchmarks/bench_rows.py --rows 60000 600000 --json $(RESULTS)/rows.json
	$(BIN)/python benchmarks/bench_million_rows.py --json $(RESULTS)/million_rows.json
	$(BIN)/python benchmarks/bench_ufldl.py --json $(RESULTS)/ufldl.json
	$(BIN)/python benchmarks/bench_ranks.py --json $(RESULTS)/ranks.json
	$(BIN)/python benchmarks/bench_outliers.py --json $(RESULTS)/outliers.json
	$(BIN)/python benchmarks/bench_imputer.py --json $(RESULTS)/imputer.json

# Damaged files, a million of each kind: hours. A case that comes out wrong is named, and `--case` repeats it.
FUZZ_JOBS ?= 1
fuzz: .venv/installed
	for loader in idx idx.gz npy npz csv model toml; do \
	  OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --loader $$loader --n 1000000 --jobs $(FUZZ_JOBS) || exit 1; done
	for loader in mat images; do \
	  OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --loader $$loader --n 10000 --jobs $(FUZZ_JOBS) || exit 1; done

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/package: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt --editable '.[tables]'
	touch $@

.venv/installed: .venv/package
	$(BIN)/pip install --quiet -c constraints.txt --editable '.[dev]'
	touch $@

# What the benchmarks compare with, where it would burden .venv. A rival that cannot be installed is left out there.
# ClustPy comes without its dependencies: the search for versions that fit takes pip many minutes.
.venv-rivals/installed: constraints.txt
	$(PYTHON) -m venv .venv-rivals
	$(RIVALS)/pip install --quiet -c constraints.txt torch scikit-learn numpy rich
	-$(RIVALS)/pip install --quiet -c constraints.txt pyod==3.6.7
	-$(RIVALS)/pip install --quiet -c constraints.txt matplotlib pandas tqdm
	-$(RIVALS)/pip install --quiet --no-deps clustpy==0.0.3
	touch $@

clean:
	rm -rf .venv .venv-rivals runs dist docs/_build docs/gallery docs/generated docs/sg_execution_times.rst $(RESULTS)
