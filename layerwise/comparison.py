"""Does pre-training help? The same network with and without it, for several numbers of labels and several seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

from layerwise.corruptions import Masking
from layerwise.estimators import Autoencoder, StackedAutoencoder, StackedClassifier
from layerwise.estimators._checks import check_same_length, check_sample_weight
from layerwise.estimators._intake import as_rows
from layerwise.estimators._labels import read_labels
from layerwise.labels import find_labelled
from layerwise.penalties import KLSparsity
from layerwise.plotting import plot_comparison
from layerwise.solvers import LBFGS, Adam

__all__ = ["Comparison", "compare"]

# The start that all others are compared with.
NONE = "none"
# How a layer of n_hidden units on n_features columns is pre-trained. All are sigmoid layers, so that their networks are
# the same. The reconstruction error is a sum over columns: penalties that go with it are those known to be good for the
# 784 of MNIST, in proportion.
PRETRAINING: dict[str, Callable[..., Autoencoder]] = {
    "sparse": lambda n_hidden, n_features, _: Autoencoder(
        n_hidden,
        sparsity=KLSparsity(target=0.1, weight=3.0 * n_features / 784),
        alpha=3e-3 * n_features / 784,
        solver=LBFGS(100),
    ),
    "denoising": lambda n_hidden, n_features, solver: _tied(n_hidden, solver, corruption=Masking(0.25)),
    "contractive": lambda n_hidden, n_features, solver: _tied(n_hidden, solver, contraction=n_features / 784),
}
# Up to so many rows L-BFGS pre-trains; more are gone through in batches.
_MANY_ROWS = 10_000
# What is trained on the labelled rows as they are, and on their codes.
RIVALS: dict[str, BaseEstimator] = {
    "LogisticRegression": LogisticRegression(max_iter=1000),
    "SVC": SVC(C=10, cache_size=1000),
}


def _tied(n_hidden: int, solver: LBFGS | Adam, **noise: Any) -> Autoencoder:
    return Autoencoder(n_hidden, loss="binary_cross_entropy", tied=True, alpha=0.0, solver=solver, **noise)


@dataclass(frozen=True)
class Comparison:
    """Test accuracies by what the training starts from, by method, number of labels and seed.

    Attributes
    ----------
    budgets : list of int
        Numbers of labelled rows.
    starts : list of str
        ``"none"``, which is no pre-training, then the names of the classifiers.
    methods : list of (str or int)
        How many layers were fine-tuned, as ``finetune`` of the classifier says it; then the names of the rivals, which
        were trained on codes, and where the start is ``"none"`` on the rows themselves.
    accuracies : ndarray of shape (n_starts, n_methods, n_budgets, n_seeds)
        Share of the test rows classified rightly. The same labelled rows and the same initial weights stand at the
        same seed.
    """

    budgets: list[int]
    starts: list[str]
    methods: list[str | int]
    accuracies: np.ndarray

    def rows(self) -> list[dict[str, Any]]:
        """Return what is to be told: for each budget every method, then each start at its own best method.

        Returns
        -------
        rows : list of dict
            ``budget``, ``method``, ``start``, ``accuracy`` and ``control`` (means; the control is the same method
            without pre-training), ``gain`` (mean, lower and upper end of its 95 % confidence interval, paired over
            seeds), ``verdict``. A gain that is the same for every seed has no interval, and is not clear: there are too
            few test rows to tell seeds apart. The method ``"best"`` is that with the highest mean accuracy on the test
            rows, of each start and of the control.

        Examples
        --------
        >>> import numpy as np
        >>> accuracies = np.array([0.7, 0.7, 0.9, 0.8]).reshape(2, 1, 1, 2)
        >>> comparison = Comparison([10], ["none", "denoising"], ["all"], accuracies)
        >>> [round(end, 2) for end in comparison.rows()[0]["gain"]]
        [0.15, -0.49, 0.79]
        """
        return [
            {"budget": budget, "method": method, "start": start, **_compare(accuracies, control)}
            for place, budget in enumerate(self.budgets)
            for method, (control, *others) in self._by_method(self.accuracies[:, :, place])
            for start, accuracies in zip(self.starts[1:], others, strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        return {
            "budgets": self.budgets,
            "starts": self.starts,
            "methods": self.methods,
            "accuracies": self.accuracies.tolist(),
            "rows": [row | {"gain": [end if np.isfinite(end) else None for end in row["gain"]]} for row in self.rows()],
        }

    def plot(self) -> Figure:
        """Draw accuracies by number of labels, each method in a panel of its own, each start a line.

        Returns
        -------
        figure : matplotlib Figure
        """
        figure = Figure(figsize=(3.2 * len(self.methods) + 1, 3.6), layout="constrained")
        panels = figure.subplots(1, len(self.methods), sharey=True, squeeze=False)[0]
        for ax, method, accuracies in zip(panels, self.methods, self.accuracies.swapaxes(0, 1), strict=True):
            series = {name: mean_interval(line) for name, line in zip(self.starts, accuracies, strict=True)}
            plot_comparison(self.budgets, series, ax=ax).set_title(str(method))
            ax.label_outer()
            if ax is not panels[-1]:
                ax.get_legend().remove()
        return figure

    def _by_method(self, accuracies: np.ndarray) -> Iterator[tuple[str | int, np.ndarray]]:
        """Give each method with its accuracies of shape (n_starts, n_seeds), and ``"best"``."""
        yield from zip(self.methods, accuracies.swapaxes(0, 1), strict=True)
        best = accuracies.mean(axis=2).argmax(axis=1)
        yield "best", accuracies[np.arange(len(best)), best]


def _compare(accuracies: np.ndarray, control: np.ndarray) -> dict[str, Any]:
    gain = mean_interval((accuracies - control)[None])[0].tolist()
    _, low, high = gain
    if low <= 0 <= high or np.isclose(low, high):
        verdict = "no clear difference"
    else:
        verdict = "pre-training helps" if low > 0 else "pre-training hurts"
    return {
        "accuracy": float(accuracies.mean()),
        "control": float(control.mean()),
        "gain": gain,
        "verdict": verdict,
    }


def mean_interval(values: np.ndarray) -> np.ndarray:
    """Return mean, lower and upper end of the 95 % confidence interval of each row, by Student's distribution.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_values)

    Returns
    -------
    intervals : ndarray of shape (n_rows, 3)
        Without ends (-inf and inf) where there is one value only.
    """
    mean, n = values.mean(axis=1), values.shape[1]
    half = np.full(len(mean), np.inf) if n < 2 else stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / np.sqrt(n)
    return np.stack([mean, mean - half, mean + half], axis=1)


def compare(
    classifiers: StackedClassifier | Mapping[str, StackedClassifier],
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    *,
    budgets: Sequence[int | str],
    sample_weight: Any = None,
    sample_weight_test: Any = None,
    depths: Sequence[str | int] = ("head", "all"),
    rivals: Mapping[str, BaseEstimator] | None = None,
    n_seeds: int = 5,
    seed: int = 0,
    announce: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Train the same network with and without pre-training, on the same few labels and from the same initial weights.

    Pre-training sees all rows, without labels. The control has the layers of the first classifier with 0 iterations of
    pre-training. Rivals see the codes of each pre-trained stack, and the rows as they are, each column scaled to [0, 1]
    by all of ``X``. For each seed labelled rows are drawn anew, all classes in proportion and at least one row of each.

    Parameters
    ----------
    classifiers : StackedClassifier or mapping of str to StackedClassifier
        The recipe, or recipes by name. What is frozen in them is trained anew.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        The classifier's ``unlabeled`` marks rows that only pre-training sees.
    X_test : array-like of shape (n_test, n_features)
    y_test : array-like of shape (n_test,)
    budgets : sequence of (int or "all")
        Numbers of labelled rows.
    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts, in pre-training and beside its label; None is 1 each. Rows
        of weight 0 are as if absent, the others are drawn whatever their weight.
    sample_weight_test : array-like of shape (n_test,), default=None
        How often each test row counts in the accuracy; None is 1 each.
    depths : sequence of (str or int), default=("head", "all")
        How many layers labels train, in place of the classifier's ``finetune``. With few labels the head alone is often
        best for what was pre-trained, and the whole network for what was not.
    rivals : mapping of str to classifier, default=None
        Classifiers of scikit-learn to stand beside the network; see `RIVALS`. None takes none. On all labelled rows as
        they are each is trained once, and its accuracy stands at every seed.
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
        go with the others, ``n_seeds`` is below 1, or there is no classifier or one called ``"none"``.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from layerwise import Autoencoder, StackedClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> comparison = compare(
    ...     StackedClassifier(Autoencoder(20), random_state=0),
    ...     X[::2], y[::2], X[1::2], y[1::2], budgets=[10, "all"], rivals=RIVALS, n_seeds=1,
    ... )
    >>> comparison.starts, comparison.methods, comparison.accuracies.shape
    (['none', 'pre-trained'], ['head', 'all', 'LogisticRegression', 'SVC'], (2, 4, 2, 1))
    """
    if isinstance(classifiers, StackedClassifier):
        classifiers = {"pre-trained": classifiers}
    if not classifiers or NONE in classifiers:
        names = list(classifiers)
        raise ValueError(f"classifiers={names} must name one recipe at least, and none {NONE!r}: that is the control")
    first = next(iter(classifiers.values()))
    X, X_test = (np.asarray(as_rows(rows, name)) for rows, name in ((X, "X"), (X_test, "X_test")))
    y, y_test = read_labels(y), read_labels(y_test, "y_test")
    check_same_length(X, y, "X", "y")
    check_same_length(X_test, y_test, "X_test", "y_test")
    weights, test_weights = (
        None if own is None else check_sample_weight(own, rows)
        for own, rows in ((sample_weight, X), (sample_weight_test, X_test))
    )
    if weights is not None:
        X, y, weights = (values[weights > 0] for values in (X, y, weights))
    if X.shape[1:] != X_test.shape[1:]:
        raise ValueError(f"X has shape {X.shape}, but X_test has {X_test.shape}; they must have the same columns")
    if n_seeds < 1:
        raise ValueError(f"n_seeds={n_seeds} leaves nothing to compare; give at least 1, better 5")
    unfit = [name for name, rival in (rivals or {}).items() if not has_fit_parameter(rival, "sample_weight")]
    if weights is not None and unfit:
        raise ValueError(f"sample_weight cannot be used: the rival {unfit[0]!r} takes none; leave one of them out")
    labelled = np.flatnonzero(find_labelled(y, first.unlabeled))
    counts = _check_budgets(budgets, y[labelled], y_test)

    recipes = {name: _fresh(classifier) for name, classifier in classifiers.items()}
    control = _fresh(first)
    starts = {NONE: control.set_params(autoencoder=untrained(control.autoencoder))} | recipes
    methods = [*depths, *(rivals or {})]
    accuracies = np.empty((len(starts), len(methods), len(counts), n_seeds))
    for run in range(n_seeds):
        drawn = [labelled[_draw(y[labelled], count, seed + run)] for count in counts]
        for start, (name, classifier) in enumerate(starts.items()):
            watchers = None if name == NONE else classifier.callbacks  # of layers that are not trained nothing is told
            stack = clone(classifier.autoencoder).set_params(random_state=seed + run, callbacks=watchers)
            frozen = FrozenEstimator(stack.fit(X, sample_weight=weights))
            network = clone(classifier).set_params(autoencoder=frozen, random_state=seed + run, unlabeled=None)
            contestants = [(clone(network).set_params(finetune=depth), X, X_test) for depth in depths]
            if rivals:
                codes, test_codes = (rows if name == NONE else stack.transform(rows) for rows in (X, X_test))
                scaler = MinMaxScaler().fit(codes)
                codes, test_codes = (scaler.transform(rows).astype(np.float32) for rows in (codes, test_codes))
                contestants += [(clone(rival), codes, test_codes) for rival in rivals.values()]
            for place, rows in enumerate(drawn):
                for method, (contestant, train, test) in enumerate(contestants):
                    if run and name == NONE and method >= len(depths) and len(rows) == len(labelled):
                        accuracies[start, method, place, run] = accuracies[start, method, place, 0]
                        continue
                    contestant.fit(
                        train[rows], y[rows], **({} if weights is None else {"sample_weight": weights[rows]})
                    )
                    accuracies[start, method, place, run] = contestant.score(test, y_test, sample_weight=test_weights)
                shares = zip(methods, accuracies[start, :, place, run], strict=True)
                told = ", ".join(f"{method} {share:.2%}" for method, share in shares)
                announce(f"seed {seed + run}, {len(rows)} labels, pre-training {name}: {told}")
    return Comparison(counts, list(starts), methods, accuracies)


def recipe(
    pretraining: str, layers: Sequence[int], solver: LBFGS | Adam, n_samples: int, n_features: int
) -> StackedClassifier:
    """Return a classifier whose layers are pre-trained in one of the ways of `PRETRAINING`.

    Parameters
    ----------
    pretraining : str
        A key of `PRETRAINING`.
    layers : sequence of int
        Units of each layer.
    solver : LBFGS or Adam
        Fine-tunes the head and the network.
    n_samples, n_features : int
        Shape of the rows to pre-train on.

    Returns
    -------
    classifier : StackedClassifier
    """
    trainer = LBFGS(100) if n_samples <= _MANY_ROWS else Adam(15, learning_rate="cosine")
    widths = zip(layers, [n_features, *layers], strict=False)
    stack = StackedAutoencoder([PRETRAINING[pretraining](n_hidden, below, trainer) for n_hidden, below in widths])
    return StackedClassifier(stack, alpha=1e-3, solver=solver)


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


def _fresh(classifier: StackedClassifier) -> StackedClassifier:
    """Return the recipe of a classifier, with nothing frozen in it and without a checkpoint, which is of one fit."""
    autoencoder = _unfitted(classifier.autoencoder or StackedAutoencoder())
    return clone(classifier).set_params(autoencoder=autoencoder, checkpoint=None)


def _unfitted(autoencoder: Any) -> Any:
    """Return the recipe of a stack or a layer, with nothing frozen in it."""
    if isinstance(autoencoder, FrozenEstimator):
        return _unfitted(autoencoder.estimator)
    autoencoder = clone(autoencoder).set_params(checkpoint=None)
    if isinstance(autoencoder, StackedAutoencoder):
        autoencoder.set_params(layers=[_unfitted(layer) for layer in autoencoder.recipes()])
    return autoencoder


def untrained(autoencoder: Any) -> Any:
    """Return the same recipe with nothing to do but to draw its initial weights: any gradient is small enough.

    Parameters
    ----------
    autoencoder : Autoencoder or StackedAutoencoder

    Returns
    -------
    autoencoder : Autoencoder or StackedAutoencoder
    """
    if isinstance(autoencoder, Autoencoder):
        return clone(autoencoder).set_params(solver=LBFGS(0, tol=sys.float_info.max), early_stopping=None)
    return clone(autoencoder).set_params(layers=[untrained(layer) for layer in autoencoder.recipes()], finetune=None)


def _draw(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return positions of so many rows, every class in proportion and at least one row of each."""
    order = np.random.RandomState(seed).permutation(len(y))
    rank = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        rank[members] = np.arange(len(members)) / len(members)
    # The first of every class have rank 0, the last almost 1.
    return np.sort(order[np.argsort(rank[order], kind="stable")][:count])
