"""Does pre-training help? The same network with and without it, for several numbers of labels and several seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import StratifiedShuffleSplit

from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.solvers import LBFGS


@dataclass(frozen=True)
class Comparison:
    """Test accuracies of both kinds of network.

    Attributes
    ----------
    budgets : list of int
        Numbers of labelled rows.
    pretrained, control : ndarray of shape (n_budgets, n_seeds)
        Share of the test rows classified rightly, with pre-training and without; the same labelled rows and the same
        initial weights stand at the same place.
    """

    budgets: list[int]
    pretrained: np.ndarray
    control: np.ndarray

    def gains(self) -> np.ndarray:
        """Return mean and 95 % confidence interval of the gain by pre-training.

        Paired over seeds, by Student's distribution; the interval is infinite where there is one seed only.

        Returns
        -------
        gains : ndarray of shape (n_budgets, 3)
            Mean, lower and upper end.

        Examples
        --------
        >>> import numpy as np
        >>> Comparison([10], np.array([[0.9, 0.8]]), np.array([[0.7, 0.7]])).gains().round(2).tolist()
        [[0.15, -0.49, 0.79]]
        """
        return mean_interval(self.pretrained - self.control)

    def verdict(self, place: int) -> str:
        """Say in words what the interval at one budget means."""
        _, low, high = self.gains()[place]
        if low > 0:
            return "pre-training helps"
        return "pre-training hurts" if high < 0 else "no clear difference"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        return {
            "budgets": self.budgets,
            "pretrained": self.pretrained.tolist(),
            "control": self.control.tolist(),
            "gain": [[value if np.isfinite(value) else None for value in row] for row in self.gains().tolist()],
            "verdict": [self.verdict(place) for place in range(len(self.budgets))],
        }


def mean_interval(values: np.ndarray) -> np.ndarray:
    """Return mean, lower and upper end of the 95 % confidence interval of each row, by Student's distribution.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_values)

    Returns
    -------
    intervals : ndarray of shape (n_rows, 3)
    """
    mean, n = values.mean(axis=1), values.shape[1]
    half = np.full(len(mean), np.inf) if n < 2 else stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return np.stack([mean, mean - half, mean + half], axis=1)


def compare(
    classifier: StackedClassifier,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    *,
    budgets: Sequence[int],
    n_seeds: int = 5,
    seed: int = 0,
    announce: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Train the same network with and without pre-training, on the same few labels and from the same initial weights.

    Pre-training sees all rows, without labels. The control has the same layers with 0 iterations of pre-training. For
    each seed labelled rows are drawn anew, all classes in proportion.

    Parameters
    ----------
    classifier : StackedClassifier
        The recipe; its autoencoder is not frozen.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    X_test : array-like of shape (n_test, n_features)
    y_test : array-like of shape (n_test,)
    budgets : sequence of int
        Numbers of labelled rows; n_samples takes all.
    n_seeds : int, default=5
    seed : int, default=0
        The first of them.
    announce : callable, default does nothing
        Takes a line of text after every run.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    ValueError
        If a budget is larger than the number of rows, or smaller than that of classes.
    """
    y = np.asarray(y)
    n_classes = len(np.unique(y))
    for budget in budgets:
        if not n_classes <= budget <= len(y):
            raise ValueError(
                f"budgets={list(budgets)}: {budget} is not between {n_classes} (the classes) and {len(y)} (the rows)"
            )
    results = np.empty((2, len(budgets), n_seeds))
    for run in range(n_seeds):
        recipe = classifier.autoencoder or StackedAutoencoder()
        stacks = [clone(stack).set_params(random_state=seed + run) for stack in (_untrained(recipe), recipe)]
        control, pretrained = (FrozenEstimator(stack.fit(X)) for stack in stacks)
        for place, budget in enumerate(budgets):
            labelled = _draw(y, budget, seed + run)
            for kind, start in enumerate((pretrained, control)):
                fine = clone(classifier).set_params(autoencoder=start, random_state=seed + run)
                results[kind, place, run] = fine.fit(X[labelled], y[labelled]).score(X_test, y_test)
            announce(
                f"seed {seed + run}, {budget} labels: {results[0, place, run]:.2%} with pre-training, "
                f"{results[1, place, run]:.2%} without"
            )
    return Comparison(list(budgets), *results)


def _untrained(autoencoder: StackedAutoencoder | Autoencoder) -> StackedAutoencoder | Autoencoder:
    """Return the same stack with nothing to do but to draw its initial weights: any gradient is small enough."""
    if isinstance(autoencoder, Autoencoder):
        return clone(autoencoder).set_params(solver=LBFGS(0, tol=sys.float_info.max), early_stopping=None)
    layers = [_untrained(layer) for layer in autoencoder.recipes()]
    return clone(autoencoder).set_params(layers=layers, finetune=None)


def _draw(y: np.ndarray, budget: int, seed: int) -> np.ndarray:
    """Return positions of labelled rows, every class in proportion."""
    if budget == len(y):
        return np.arange(len(y))
    split = StratifiedShuffleSplit(1, train_size=budget, test_size=None, random_state=seed)
    return np.sort(next(split.split(y, y))[0])
