"""How good a model is on rows that it has not seen, beside simple models, and what should be looked into."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise.cli.common import Display
from layerwise.cli.evaluating import Answers, answer, explain, in_scale_of_training, measure
from layerwise.cli.held_out import HeldOut
from layerwise.cli.targets import which_have_one
from layerwise.cli.task import Task, Trained, train
from layerwise.data.inputs import Input
from layerwise.estimators import StackedClassifier, StackedRegressor
from layerwise.inspection import bare, prepare

# Values that a simple model is trained on, at most; and values of sparse rows that are measured, dense, at once.
_MOST_VALUES, _MOST_DENSE = 4_000_000, 2**25
# The figure by which each kind of model is judged, and what the simple models of it are called.
_FIGURES = {
    "classifier": ("accuracy", "accuracy", "logistic regression"),
    "regressor": ("r2", "R2", "ridge regression"),
    "autoencoder": ("explained_variance", "explained variance", "PCA of the same width"),
}
# Differences of that figure that are told.
_OVERFITS, _BEHIND = 0.1, 0.01


class _Part(NamedTuple):
    """A trained estimator, the rows as it took them, and rows that it did not train on, each with their labels."""

    estimator: BaseEstimator
    X: Any
    y: np.ndarray | None
    X_held_out: Any
    y_held_out: np.ndarray | None


def judge(task: Task, trained: Trained, display: Display) -> dict[str, Any]:
    """Return what a run remembers of a model on the rows held out; nothing without such."""
    settings, held_out = task.complete, task.held_out
    if settings["model"] not in _FIGURES:
        return {}
    if held_out.folds:
        parts, rows = [], held_out.source.take(np.concatenate(held_out.folds))
        for number, outside in enumerate(held_out.folds, 1):
            display.say(f"fold {number} of {len(held_out.folds)} ...")
            try:
                parts.append(_train_without(outside, task))
            except (ValueError, FloatingPointError) as error:
                display.say(f"Held out: none after all, as no model can be trained without fold {number}: {error}")
                return {}
    elif held_out.rows is not None:
        rows, X_held_out, labels = held_out.rows, trained.X_held_out, held_out.labels
        n_most = _MOST_DENSE // X_held_out.shape[1]
        if sparse.issparse(X_held_out) and X_held_out.shape[0] > n_most:
            rng = np.random.default_rng(settings["random_state"])
            drawn = np.sort(rng.choice(X_held_out.shape[0], n_most, replace=False))
            rows, X_held_out, labels = rows.take(drawn), X_held_out[drawn], None if labels is None else labels[drawn]
            display.say(f"Held out: measured on {n_most:,} of them, at random, as dense rows take much memory")
        parts = [_Part(bare(trained.model), trained.X, held_out.y, X_held_out, labels)]
    else:
        return {}
    figures = compare(parts, rows, settings)
    doubts = list_doubts(figures, settings["model"])
    told = {"held_out": describe(figures, settings["model"]), "held_out_figures": figures}
    return told | ({"doubts": doubts} if doubts else {})


def _train_without(outside: np.ndarray, task: Task) -> _Part:
    """Train a model of the task on all rows but those of a fold."""
    source, y = task.held_out.source, task.held_out.y
    inside = np.setdiff1d(np.arange(source.X.shape[0]), outside)
    labels = (None, None) if y is None else (y[inside], y[outside])
    part = task._replace(held_out=HeldOut(source.take(inside), labels[0], None, None, "a fold"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that have been warned of
        fitted, X, _ = train(part, (), None, 0.0)
        left_out = prepare(fitted, source.X[outside])
    return _Part(bare(fitted), X, labels[0], left_out, labels[1])


def tell_held_out(facts: Mapping[str, Any]) -> list[str]:
    """Say how good the model of a run is on the rows held out, and what should be looked into."""
    if "held_out" not in facts:
        return []
    doubts = [f"{what} {remedy}" for what, remedy in facts.get("doubts", [])]
    return [f"Held out: {facts['held_out']}", *doubts]


def compare(parts: Sequence[_Part], rows: Input, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of models on rows held out, and beside them those on the training rows and of simple models.

    ``rows`` are those held out of all parts, one after the other.
    """
    folder, estimator = Path(settings["out"]), parts[0].estimator
    answers = _join([answer(part.estimator, part.X_held_out) for part in parts])
    figures = measure(estimator, None, rows.y, rows.weights, folder=folder, answers=answers)
    rng = np.random.default_rng(settings["random_state"])
    samples = [_draw_sample(part, settings, rng) for part in parts]
    name = _FIGURES[settings["model"]][0]
    trained = [
        measure(part.estimator, X, y, None, folder=folder)[name] for part, (X, y) in zip(parts, samples, strict=True)
    ]
    linear = [_answer_linear(part, X, y) for part, (X, y) in zip(parts, samples, strict=True)]
    said = [each for each in linear if each is not None]
    return {
        "n_rows": len(answers[0]),
        **({"n_folds": len(parts)} if len(parts) > 1 else {}),
        **figures,
        f"{name}_on_training": None if None in trained else float(np.mean(trained)),
        f"{name}_of_linear": None if len(said) < len(linear) else _measure_linear(parts, _join(said)),
    }


def _join(answers: Sequence[Answers]) -> Answers:
    return tuple(np.concatenate(columns) for columns in zip(*answers, strict=True))


def _draw_sample(part: _Part, settings: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, np.ndarray | None]:
    """Return training rows with a label, and their labels: all, unless they are very many."""
    known = np.arange(part.X.shape[0]) if part.y is None else np.flatnonzero(which_have_one(part.y, settings))
    n_most = max(100, _MOST_VALUES // part.X.shape[1])
    drawn = np.sort(rng.choice(known, n_most, replace=False)) if len(known) > n_most else known
    return part.X[drawn], None if part.y is None else part.y[drawn]


def _answer_linear(part: _Part, X: Any, y: np.ndarray | None) -> Answers | None:
    """Return what a linear model, trained on these rows, says of the rows held out; None where it cannot be trained."""
    if y is None:
        return _answer_pca(part.estimator, X, part.X_held_out)
    is_classifier = isinstance(part.estimator, StackedClassifier)
    linear = LogisticRegression(max_iter=300) if is_classifier else Ridge()
    rival = make_pipeline(StandardScaler(with_mean=not sparse.issparse(X)), linear)
    y = y.astype(str) if is_classifier else y
    if is_classifier and len(np.unique(y)) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations, and of classes that look like amounts
        return (rival.fit(X.astype(np.float64), y).predict(part.X_held_out.astype(np.float64)),)


def _answer_pca(estimator: BaseEstimator, X: Any, X_held_out: Any) -> Answers:
    """Return rows held out, in the scale of the training, and their errors by PCA of the width of the codes."""
    coder = estimator.coder_
    scaled = [in_scale_of_training(estimator, coder.rows(rows)) for rows in (X, X_held_out)]
    width = min(coder.modules[-1].n_hidden, *scaled[0].shape)
    pca = PCA(width, svd_solver="full" if min(scaled[0].shape) < 500 else "randomized", random_state=0).fit(scaled[0])
    difference = pca.inverse_transform(pca.transform(scaled[1]))
    difference -= scaled[1]
    return scaled[1], 0.5 * np.square(difference, out=difference).sum(axis=1)


def _measure_linear(parts: Sequence[_Part], answers: Answers) -> float | None:
    """Return the figure of linear models by what they say of the rows held out."""
    estimator = parts[0].estimator
    if not isinstance(estimator, (StackedClassifier, StackedRegressor)):
        return explain(*answers)
    y = np.concatenate([part.y_held_out for part in parts])
    if isinstance(estimator, StackedClassifier):
        return float(np.mean(answers[0] == y.astype(str)))
    return float(r2_score(y, answers[0])) if len(y) > 1 else None


def describe(figures: Mapping[str, Any], model: str) -> str:
    """Return what `compare` found, as one line."""
    name, word, linear = _FIGURES[model]
    beside = [f"{word} on training rows {_show(figures[f'{name}_on_training'], model)}"]
    if "accuracy_of_commonest" in figures:
        beside.append(f"always the commonest class {_show(figures['accuracy_of_commonest'], model)}")
    if figures[f"{name}_of_linear"] is not None:
        beside.append(f"{linear} {_show(figures[f'{name}_of_linear'], model)}")
    folds = f" by {figures['n_folds']} folds" if "n_folds" in figures else ""
    return f"{word} {_show(figures[name], model)} on {figures['n_rows']:,} rows{folds} ({', '.join(beside)})"


def list_doubts(figures: Mapping[str, Any], model: str) -> list[tuple[str, str]]:
    """Return what should be looked into, each with what to do about it."""
    name, word, linear = _FIGURES[model]
    value, trained, rival = figures[name], figures[f"{name}_on_training"], figures[f"{name}_of_linear"]
    if value is None:
        return []
    doubts = []
    if rival is not None and value < rival - _BEHIND:
        doubts.append(
            (
                f"On rows held out {linear} is better: {word} {_show(rival, model)}, this model {_show(value, model)}.",
                "Take that, or train with other layers, more decay (--alpha, --head-alpha) or more rows.",
            )
        )
    if trained is not None and trained - value > _OVERFITS:
        head = "--finetune head, " if model == "classifier" else ""
        remedy = f"Try {head}fewer units, more decay (--alpha, --head-alpha) or noise (--corruption masking)."
        if rival is not None and abs(value - rival) < _BEHIND:
            remedy = "A linear model does no better there: more rows, or fewer columns, would help."
        doubts.append(
            (
                f"The model overfits: {word} {_show(trained, model)} on training rows, {_show(value, model)} on rows "
                f"held out.",
                remedy,
            )
        )
    return doubts


def _show(value: float | None, model: str) -> str:
    if value is None:
        return "not known"
    return f"{value:.3f}" if model == "regressor" else f"{100 * value:.1f} %"
