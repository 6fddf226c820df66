"""Does the outlier detector, as it comes, rank rows better than others do as they come, and how long does it take?

Three data sets: breast cancer, where benign is normal, and two of handwritten digits, where each digit in turn is. All
train on a random half of the normal rows, and score the other half and all other rows; every contestant, in a process
of its own, gets the same halves: the detector of layerwise, scikit-learn's isolation forest and PyOD's autoencoder,
all with default settings. The area under the ROC curve is a mean over the splits, the seconds of training and scoring
together are a median; one run before the first split does not count. Images are bytes for layerwise and floats from 0
to 1 for the others.

    python benchmarks/bench_outliers.py [--seeds 5 2 2]

With a folder of CSV files, such as R's data sets, on real tables instead, in which outliers are planted (planting.py):

    OMP_NUM_THREADS=1 python benchmarks/bench_outliers.py --tables FOLDER [--n-tables 20] [--first 0]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from common import RIVAL_PYTHON, Figures, alone, answer, parser, show, write
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

SPLITS = "LAYERWISE_SPLITS"  # the variable that tells a contestant the file of its splits
ELSEWHERE = ("PyOD AutoEncoder",)  # what runs in the environment of `RIVAL_PYTHON`, which has no layerwise

Scores = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def data_sets() -> dict[str, tuple[np.ndarray, np.ndarray, range]]:
    """Return the rows of each data set, their classes, and which of those are to be normal in turn."""
    from layerwise.data import load_mnist_small

    X, y, _, _ = load_mnist_small()
    return {
        "breast cancer": (*load_breast_cancer(return_X_y=True), range(1, 2)),
        "digits": (*load_digits(return_X_y=True), range(10)),
        "MNIST": (X, y, range(10)),
    }


def split(y: np.ndarray, normal_classes: range, n_seeds: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the seed of each split, which rows are normal, and which of those are to train on."""
    for seed in range(n_seeds):
        for label in normal_classes:
            normal = np.flatnonzero(y == label)
            chosen = np.random.default_rng([seed, label]).permutation(normal)[: len(normal) // 2]
            yield seed, y == label, np.isin(np.arange(len(y)), chosen)


# Contestants: training rows, rows to score, seed -> scores, the higher the more unusual.


def ours(X: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    from layerwise import AutoencoderOutlierDetector

    return -AutoencoderOutlierDetector(random_state=seed).fit(X).score_samples(X_test)


def isolation_forest(X: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    return -IsolationForest(random_state=seed).fit(_floats(X)).score_samples(_floats(X_test))


def pyod_autoencoder(X: np.ndarray, X_test: np.ndarray, seed: int) -> np.ndarray:
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, verbose=0).fit(_floats(X)).decision_function(_floats(X_test))


def _floats(X: np.ndarray) -> np.ndarray:
    return X / np.float32(255) if X.dtype == np.uint8 else X


CONTESTANTS = {"layerwise": ours, "IsolationForest": isolation_forest, "PyOD AutoEncoder": pyod_autoencoder}


def measure(scores_of: Scores) -> Figures:
    """Run a contestant on all splits of the file; return the mean area and the median seconds."""
    with np.load(os.environ[SPLITS]) as file:
        X, splits = file["X"], list(zip(file["seeds"], file["normal"], file["train"], strict=True))
    areas, times = [], []
    for seed, normal, train in (splits[0], *splits):
        rows, others = X[train], X[~train]
        began = time.perf_counter()
        scores = scores_of(rows, others, int(seed))
        times.append(time.perf_counter() - began)
        areas.append(roc_auc_score(~normal[~train], scores))
    return {"ROC-AUC": statistics.mean(areas[1:]), "seconds": statistics.median(times[1:]), "splits": len(splits)}


def run(name: str) -> Figures | None:
    """Run a contestant in a process of its own; None, and a sentence, if it is not installed or fails."""
    if name not in ELSEWHERE:
        return alone(__file__, name)
    try:
        return alone(__file__, name, python=RIVAL_PYTHON)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"{name} is left out, `make .venv-rivals/installed` installs it: {error}")
        return None


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs=3, default=[5, 2, 2], help="splits of each data set and class")
    options.add_argument("--rows", type=int, help="the first rows of each data set alone, to try this out")
    options.add_argument("--tables", type=Path, help="a folder of CSV files: outliers planted in tables, 3 seeds")
    options.add_argument("--n-tables", type=int, default=20, help="how many tables")
    options.add_argument("--first", type=int, default=0, help="which tables: others of those that qualify")
    arguments = options.parse_args()
    if arguments.tables is not None:
        import planting  # which needs layerwise, as not all contestants do

        write(arguments.json, planting.compare(arguments.tables, arguments.n_tables, arguments.first, seeds=[0, 1, 2]))
        return

    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SPLITS] = str(Path(folder) / "splits.npz")
        for (title, (X, y, classes)), n_seeds in zip(data_sets().items(), arguments.seeds, strict=True):
            X, y = X[: arguments.rows], y[: arguments.rows]
            seeds, normal, train = zip(*split(y, classes, n_seeds), strict=True)
            np.savez(os.environ[SPLITS], X=X, seeds=seeds, normal=normal, train=train)
            found = {name: run(name) for name in CONTESTANTS}
            figures[title] = {name: measured for name, measured in found.items() if measured is not None}
            show(f"{title}, {len(seeds)} splits", figures[title])
    write(arguments.json, figures)


if __name__ == "__main__" and not answer(
    {name: lambda scores_of=scores_of: measure(scores_of) for name, scores_of in CONTESTANTS.items()}
):
    main()
