"""Several ranks compute what one does: the same sums to 1e-12, the same bits on each, whoever has which rows."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks
import torch

from layerwise import Autoencoder, distributed, load

PROGRAM = Path(ranks.__file__)


def launch(n_ranks, *words, timeout=240):
    """Start a Python program of several ranks as torchrun does; return how each one ended, and what it printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "WORLD_SIZE": n_ranks,
        "LOCAL_WORLD_SIZE": n_ranks,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": 1,
    }
    processes = []
    for rank in range(n_ranks):
        environment = os.environ | {key: str(value) for key, value in common.items()}
        environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, *map(str, words)]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        answers = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, out, err) for process, (out, err) in zip(processes, answers, strict=True)]


@pytest.fixture(scope="module")
def alone():
    return ranks.compute(slice(None))


@pytest.fixture(scope="module")
def in_shards():
    with distributed.joint(deterministic=True):
        return ranks.compute(slice(None))


@pytest.mark.parametrize("lengths", [(41, 19), (31, 0, 29), pytest.param((20, 1, 0, 39), marks=pytest.mark.slow)])
def test_ranks_compute_what_one_does(lengths, tmp_path, alone, in_shards):
    for code, _, err in launch(len(lengths), PROGRAM, "share_rows", tmp_path, *lengths):
        assert code == 0, err
    together = np.load(tmp_path / "free.npz")
    assert set(together) == set(alone)
    for name, value in alone.items():
        if not name.startswith("fit"):
            tolerance = 1e-4 if name == "offset" else 1e-12
            assert np.abs(together[name] - value).max() <= tolerance * max(1, np.abs(value).max()), name
        else:  # rounding grows along the way, and batches are of other rows; the last number is the loss
            assert together[name][-1] == pytest.approx(value[-1], rel=0.3, abs=0.03), name
    if len(lengths) in (2, 4):
        exact = np.load(tmp_path / "deterministic.npz")
        assert [name for name, value in in_shards.items() if exact[name].tobytes() != value.tobytes()] == []


def test_shards_of_one_process_compute_the_same_sums(alone, in_shards):
    for name, value in alone.items():
        if not name.startswith(("fit", "offset")):
            assert np.abs(in_shards[name] - value).max() <= 1e-12 * max(1, np.abs(value).max()), name


def test_what_one_rank_meets_ends_all(tmp_path):
    (_, first, err), (_, second, other) = launch(2, PROGRAM, "disagree", tmp_path)
    assert (err, other) == ("", "")
    for answer, sentence in zip(first.splitlines(), second.splitlines(), strict=True):
        assert answer.removeprefix("PeerError: rank 1: ") in sentence or sentence.removeprefix("PeerError: ") in answer
    expected = [
        "PeerError: rank 1: X contains NaN or infinity",
        "ValueError: the number of columns and the type of X must be the same on all ranks, but is 7 float64 on rank 0",
        "ValueError: X has no rows on any rank",
        "PeerError: rank 1: X has 30 rows, but y has 29 labels",
        "went on to iteration 3",
        "ConnectionError: the 2 ranks have come apart: their parameters differ",
    ]
    for answer, sentence in zip(first.splitlines(), expected, strict=True):
        assert answer.startswith(sentence)


def test_rank_that_dies_is_missed(tmp_path):
    (code, out, err), (died, *_) = launch(2, PROGRAM, "lose_a_rank", tmp_path, timeout=120)
    assert died == 9
    assert code == 0, err
    assert "rank 0 of 2 cannot reach the others: one of them ended, or was silent for too long" in out


def test_signal_to_one_rank_keeps_the_fit_of_all(tmp_path):
    folder = tmp_path / "checkpoint"
    for code, out, err in launch(2, PROGRAM, "interrupt", folder):
        assert code == 0, err
        assert [line.split(";")[0] for line in out.splitlines()] == [
            "143 terminated in stage layer 0 at iteration 3",
            "143 terminated in stage finetune at iteration 2",
        ]
    together = np.load(tmp_path / "resumed.npz")
    with pytest.warns(UserWarning, match=r"shards of rows 1 \(was 2\)"):
        alone = ranks.keep_classifier(slice(None), checkpoint=folder)
    for place, matrix in enumerate(alone.coefs_):
        assert together[str(place)].tobytes() == matrix.tobytes()


@pytest.mark.slow
def test_hundred_runs_without_a_hang():
    for seed in range(100):
        answers = launch(1 + seed % 4, PROGRAM, "hurry", seed, timeout=120)
        assert [code for code, *_ in answers] == [0] * len(answers), answers
        assert len({out for _, out, _ in answers}) == 1, seed


def write_rows(folder, kind):
    """Rows with labels, and what else `fit` is told of them."""
    X, y, *_, gaps = ranks.all_rows()
    if kind == "npy":
        np.save(folder / "rows.npy", X.astype(np.float32))
        np.save(folder / "labels.npy", y)
        return ["rows.npy", "--labels", "labels.npy"]
    polars = pytest.importorskip("polars")
    towns = np.where(X[:, 0] > 0.9, "Ulm", np.where(X[:, 1] > 0.5, "Bern", "Basel"))
    labels = [None if number % 7 == 5 else ("yes" if label else "no") for number, label in enumerate(y)]
    table = polars.DataFrame(gaps).with_columns(
        polars.Series("town", towns), polars.Series("ill", labels), polars.Series("name", [f"p{n}" for n in range(60)])
    )
    table.write_csv(folder / "rows.csv") if kind == "csv" else table.write_parquet(folder / "rows.parquet")
    return [f"rows.{kind}", "--labels", "ill", "--id", "name", "--impute"]


@pytest.mark.parametrize("kind", [pytest.param("csv", marks=pytest.mark.slow), "parquet", "npy"])
def test_command_line_of_two_ranks_gives_the_model_of_one(kind, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    settings = ["--layers", "4", "--sparsity-target", "0.1", "--max-iter", "5", "--random-state", "0", "--no-report"]
    words = ["fit", *write_rows(tmp_path, kind), *settings, "--deterministic"]
    (code, _, err), (other, *said) = launch(2, "-m", "layerwise", *words, "--out", "two")
    assert (code, other) == (0, 0), err
    assert said == ["", ""]  # one rank speaks
    assert "60 rows" in err
    torch.set_num_threads(1)
    code, _, err = run(*words, "--out", "one")
    assert code == 0, err
    assert (tmp_path / "two" / "model.safetensors").read_bytes() == (
        tmp_path / "one" / "model.safetensors"
    ).read_bytes()


def test_one_rank_speaks_of_what_it_met(tmp_path):
    rows = np.where(np.arange(60)[:, None] == 50, np.inf, ranks.all_rows()[0])
    np.save(tmp_path / "rows.npy", rows)
    words = ["-m", "layerwise", "fit", tmp_path / "rows.npy", "--layers", "3", "--out", tmp_path / "run"]
    (first, _, err), (second, _, said) = launch(2, *words)
    assert (first, second) == (2, 2)
    assert "layerwise" not in err.replace("(see layerwise", "")
    assert "layerwise, rank 1: X contains NaN or infinity: X[20, 0] is infinity" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.npy"]


def test_only_fit_runs_on_several_ranks(tmp_path, monkeypatch, run):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = run("inspect", tmp_path)
    assert code == 2
    assert "inspect runs in one process; of several, started by torchrun, only fit" in err


def test_example_of_many_processes(tmp_path):
    X = np.random.default_rng(0).random((50, 40)).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    example = Path(__file__).parents[1] / "examples" / "many_processes.py"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*torchrun, example, tmp_path / "rows.npy", tmp_path / "model"], timeout=120)
    assert done.returncode == 0
    assert load(tmp_path / "model").transform(X).shape == (50, 8)


def test_alone_nothing_changes():
    X, *_ = ranks.all_rows()
    with distributed.joint():
        assert (distributed.rank(), distributed.world_size()) == (0, 1)
        within = Autoencoder(3, random_state=0).fit(distributed.share(X))
        with pytest.raises(RuntimeError, match="within another one"), distributed.joint():
            pass
    outside = Autoencoder(3, random_state=0).fit(X)
    assert (within.components_ == outside.components_).all()


def test_shares_cover_all_rows_once(monkeypatch):
    for n_ranks in (1, 2, 3, 8):
        for n_shards in (1, 4):
            bounds = []
            for rank in range(n_ranks):
                monkeypatch.setattr(distributed, "_world", distributed._World(rank, n_ranks, n_shards))
                bounds += distributed.share_bounds(13)
            assert (bounds[0], bounds[-1]) == (0, 13)
            assert bounds[1:-1:2] == bounds[2::2]
