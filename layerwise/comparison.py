"""Does pre-training help? The same network with and without it, for several numbers of labels and several seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.estimators._checks import check_same_length
from layerwise.estimators._finetuning import find_labelled
from layerwise.solvers import LBFGS


@dataclass(frozen=True)
class Comparison:
    """Test accuracies of both kinds of network.

    Attributes
    ----------
    budgets : list of int
        Numbers of labelled rows.
    depths : list of (str or int)
        How many layers were fine-tuned, as ``finetune`` of the classifier says it.
    pretrained, control : ndarray of shape (n_budgets, n_depths, n_seeds)
        Share of the test rows classified rightly, with pre-training and without; the same labelled rows and the same
        initial weights stand at the same place.
    """

    budgets: list[int]
    depths: list[str | int]
    pretrained: np.ndarray
    control: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be told: for each budget every depth, then each kind of network at its own best depth.

        Returns
        -------
        rows : list of dict
            ``budget``, ``finetune``, ``pretrained`` and ``control`` (mean accuracies), ``gain`` (mean, lower and upper
            end of its 95 % confidence interval, paired over seeds), ``verdict``.

        Examples
        --------
        >>> import numpy as np
        >>> comparison = Comparison([10], ["all"], np.array([[[0.9, 0.8]]]), np.array([[[0.7, 0.7]]]))
        >>> [round(end, 2) for end in comparison.rows()[0]["gain"]]
        [0.15, -0.49, 0.79]
        """
        rows = []
        for budget, pretrained, control in zip(self.budgets, self.pretrained, self.control, strict=True):
            for place, depth in enumerate(self.depths):
                rows.append(self._compare(budget, depth, pretrained[place], control[place]))
            rows.append(self._compare(budget, "best", _best(pretrained), _best(control)))
        return rows

    def series(self) -> dict[str, np.ndarray]:
        """Return mean, lower and upper end at every budget, for each kind of network and depth."""
        return {
            f"{name}, {depth}": mean_interval(accuracies[:, place])
            for name, accuracies in (("pre-trained", self.pretrained), ("not pre-trained", self.control))
            for place, depth in enumerate(self.depths)
        }

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        return {
            "budgets": self.budgets,
            "depths": self.depths,
            "pretrained": self.pretrained.tolist(),
            "control": self.control.tolist(),
            "rows": [row | {"gain": [end if np.isfinite(end) else None for end in row["gain"]]} for row in self.rows()],
        }

    def _compare(self, budget: int, depth: str | int, pretrained: np.ndarray, control: np.ndarray) -> dict[str, Any]:
        gain = mean_interval((pretrained - control)[None])[0].tolist()
        _, low, high = gain
        verdict = "pre-training helps" if low > 0 else "pre-training hurts" if high < 0 else "no clear difference"
        return {
            "budget": budget,
            "finetune": depth,
            "pretrained": float(pretrained.mean()),
            "control": float(control.mean()),
            "gain": gain,
            "verdict": verdict,
        }


def _best(accuracies: np.ndarray) -> np.ndarray:
    """Return the accuracies of the depth with the highest mean."""
    return accuracies[accuracies.mean(axis=1).argmax()]


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
    budgets: Sequence[int | str],
    depths: Sequence[str | int] = ("head", "all"),
    n_seeds: int = 5,
    seed: int = 0,
    announce: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Train the same network with and without pre-training, on the same few labels and from the same initial weights.

    Pre-training sees all rows, without labels. The control has the same layers with 0 iterations of pre-training. For
    each seed labelled rows are drawn anew, all classes in proportion and at least one row of each.

    Parameters
    ----------
    classifier : StackedClassifier
        The recipe. What is frozen in it is trained anew.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The classifier's ``unlabeled`` marks rows that only pre-training sees.
    X_test : array-like of shape (n_test, n_features)
    y_test : array-like of shape (n_test,)
    budgets : sequence of (int or "all")
        Numbers of labelled rows.
    depths : sequence of (str or int), default=("head", "all")
        How many layers labels train, in place of the classifier's ``finetune``. With few labels the head alone is often
        best for what was pre-trained, and the whole network for what was not.
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
        If a budget is larger than the number of labelled rows or smaller than that of classes, the test rows do not
        go with the others, or ``n_seeds`` is below 1.
    """
    X, y, X_test, y_test = (np.asarray(array) for array in (X, y, X_test, y_test))
    check_same_length(X, y, "X", "y")
    check_same_length(X_test, y_test, "X_test", "y_test")
    if X.shape[1:] != X_test.shape[1:]:
        raise ValueError(f"X has shape {X.shape}, but X_test has {X_test.shape}; they must have the same columns")
    if n_seeds < 1:
        raise ValueError(f"n_seeds={n_seeds} leaves nothing to compare; give at least 1, better 5")
    labelled = np.flatnonzero(find_labelled(y, classifier.unlabeled))
    counts = _check_budgets(budgets, y[labelled], y_test)

    classifier = clone(classifier).set_params(checkpoint=None)  # of one fit, and there are many
    recipe = _unfitted(classifier.autoencoder or StackedAutoencoder())
    results = np.empty((2, len(counts), len(depths), n_seeds))
    for run in range(n_seeds):
        stacks = [clone(stack).set_params(random_state=seed + run) for stack in (recipe, _untrained(recipe))]
        if classifier.callbacks is not None:
            stacks[0].set_params(callbacks=classifier.callbacks)
        starts = [FrozenEstimator(stack.fit(X)) for stack in stacks]
        for place, count in enumerate(counts):
            drawn = labelled[_draw(y[labelled], count, seed + run)]
            for (depth_place, depth), (kind, start) in product(enumerate(depths), enumerate(starts)):
                fine = clone(classifier).set_params(autoencoder=start, finetune=depth, random_state=seed + run)
                accuracy = fine.fit(X[drawn], y[drawn]).score(X_test, y_test)
                results[kind, place, depth_place, run] = accuracy
            for depth, pretrained, control in zip(depths, *results[:, place, :, run], strict=True):
                announce(
                    f"seed {seed + run}, {count} labels, finetune={depth!r}: {pretrained:.2%} with pre-training, "
                    f"{control:.2%} without"
                )
    return Comparison(counts, list(depths), *results)


def _check_budgets(budgets: Sequence[int | str], y: np.ndarray, y_test: np.ndarray) -> list[int]:
    """Return the budgets as numbers."""
    unknown = np.setdiff1d(y_test, y)
    if len(unknown):
        raise ValueError(f"y_test holds {unknown[0]}, which is no class of y")
    n_classes = len(np.unique(y))
    counts = [len(y) if budget == "all" else budget for budget in budgets]
    for count in counts:
        if not isinstance(count, Integral) or not n_classes <= count <= len(y):
            raise ValueError(
                f"budgets={list(budgets)}: {count!r} is not between {n_classes} (the classes) and {len(y)} (the "
                f"labelled rows), nor 'all'"
            )
    if not counts:
        raise ValueError("budgets=[] leaves nothing to compare; give numbers of labels, for example [100, 1000]")
    return [int(count) for count in counts]


def _unfitted(autoencoder: Any) -> Any:
    """Return the recipe of a stack or a layer, with nothing frozen in it."""
    if isinstance(autoencoder, FrozenEstimator):
        return _unfitted(autoencoder.estimator)
    autoencoder = clone(autoencoder).set_params(checkpoint=None)
    if isinstance(autoencoder, StackedAutoencoder):
        autoencoder.set_params(layers=[_unfitted(layer) for layer in autoencoder.recipes()])
    return autoencoder


def _untrained(autoencoder: Any) -> Any:
    """Return the same recipe with nothing to do but to draw its initial weights: any gradient is small enough."""
    if isinstance(autoencoder, Autoencoder):
        return clone(autoencoder).set_params(solver=LBFGS(0, tol=sys.float_info.max), early_stopping=None)
    return clone(autoencoder).set_params(layers=[_untrained(layer) for layer in autoencoder.recipes()], finetune=None)


def _draw(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return positions of so many rows, every class in proportion and at least one row of each."""
    order = np.random.RandomState(seed).permutation(len(y))
    rank = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        rank[members] = np.arange(len(members)) / len(members)
    # The first of every class have rank 0, the last almost 1.
    return np.sort(order[np.argsort(rank[order], kind="stable")][:count])
