"""Are missing values filled in better than by scikit-learn's imputers, and how long does it take?

A share of the entries of two data sets, drawn at random, is taken out and filled in again, by each imputer with its
default settings: that of layerwise, the mean of the column and the mean of the nearest rows. The error is the root of
the mean squared error of the entries that were taken out, in the units of the data, and a mean over the seeds. The
seconds of training and filling in together are a median over shares and seeds; the imputers run in turn.

    python benchmarks/bench_imputer.py [--shares 10 30 50] [--seeds 0 1 2]
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from common import Figures, parser, seconds, show, write
from sklearn.datasets import load_diabetes, load_digits
from sklearn.impute import KNNImputer, SimpleImputer

from layerwise import AutoencoderImputer

CONTESTANTS: dict[str, Callable[[int], Any]] = {
    "layerwise": lambda seed: AutoencoderImputer(random_state=seed),
    "KNNImputer": lambda seed: KNNImputer(),
    "SimpleImputer": lambda seed: SimpleImputer(),
}


def fill(imputer: Any, X: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Return the error at the entries that were taken out, and the seconds it took to fill them in."""
    filled = X.astype(float)
    filled[missing] = np.nan

    def run() -> None:
        nonlocal filled
        filled = imputer.fit_transform(filled)

    took = seconds(run)
    return float(np.sqrt(((filled - X)[missing] ** 2).mean())), took


def race(X: np.ndarray, shares: Sequence[int], seeds: Sequence[int]) -> Figures:
    """Fill in with every imputer in turn; return the mean error at each share, and the median seconds, of each."""
    for make in CONTESTANTS.values():  # a warm-up
        fill(make(0), X, np.random.default_rng(0).random(X.shape) < shares[0] / 100)
    errors: dict[str, dict[int, list[float]]] = {name: {share: [] for share in shares} for name in CONTESTANTS}
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for share in shares:
        for seed in seeds:
            missing = np.random.default_rng(seed).random(X.shape) < share / 100
            for name, make in CONTESTANTS.items():
                error, took = fill(make(seed), X, missing)
                errors[name][share].append(error)
                times[name].append(took)
    return {
        name: {f"error, {share} %": statistics.mean(errors[name][share]) for share in shares}
        | {"seconds": statistics.median(times[name])}
        for name in CONTESTANTS
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--shares", type=int, nargs="+", default=[10, 30, 50], help="percent of entries taken out")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of what is taken out and of training")
    options.add_argument("--rows", type=int, help="the first rows of each data set alone, to try this out")
    arguments = options.parse_args()

    figures: dict[str, Figures] = {}
    for title, X in {"digits": load_digits().data, "diabetes": load_diabetes(scaled=False).data}.items():
        X = X[: arguments.rows]
        figures[title] = race(X, arguments.shares, arguments.seeds)
        show(f"{title}, {X.shape[0]} x {X.shape[1]}", figures[title])
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
