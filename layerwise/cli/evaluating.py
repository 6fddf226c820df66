"""The command that measures a trained model: evaluate."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    average_precision_score,
    mean_absolute_error,
    precision_score,
    r2_score,
    recall_score,
    roc_auc_score,
)

from layerwise import stacking
from layerwise.cli.common import AnyText, Array, Data, Device, Labels, Layout, Model, Reply, Transpose
from layerwise.cli.opening import open_model, tell_known
from layerwise.cli.targets import as_amounts
from layerwise.data import Rows
from layerwise.data.column_types import MARKERS
from layerwise.estimators import AutoencoderOutlierDetector, StackedClassifier, StackedRegressor
from layerwise.labels import find_missing, has_label

# What a model says of rows, one array a part: predictions; or rows in the scale of the training, and their errors.
Answers: TypeAlias = tuple[np.ndarray, ...]


def evaluate(
    model: Model,
    data: Data,
    *,
    labels: Labels = None,
    unlabeled: Annotated[str | None, AnyText] = None,
    sample_weight: str | None = None,
    array: Array = None,
    layout: Layout = None,
    transpose: Transpose = None,
    device: Device = "auto",
) -> Reply:
    """Measure a model on rows: accuracy, R2 or AUC with labels, the reconstruction error without.

    Example: layerwise evaluate runs/digits t10k-images.gz --labels t10k-labels.gz

    Parameters
    ----------
    labels
        The column or array of the data, or the file, that holds the true labels or targets; of a table the column of
        the training if not given.
    unlabeled
        The label of rows that have none, beside that of the training: they are left out.
    sample_weight
        The column or array of the data that says how often each row counts; each counts once if not given, whatever it
        was in training.
    """
    opened = open_model(
        model,
        data,
        labels=labels,
        sample_weight=sample_weight,
        array=array,
        layout=layout,
        transpose=transpose,
        device=device,
    )
    if labels and opened.encoder is not None and labels in opened.encoder.feature_names_in_:
        raise ValueError(
            f"column {labels!r} is a feature of {opened.folder}, which has learned from it, so it cannot tell how good "
            f"the model is; train it with {shlex.join(['--ignore', labels])}"
        )
    y = opened.source.y
    if unlabeled is not None and (y is None or not _stands_for_none(y, unlabeled).any()):
        raise ValueError(f"unlabeled={unlabeled!r} stands nowhere in the labels")
    figures = measure(opened.estimator, opened.X, y, opened.source.weights, folder=opened.folder, unlabeled=unlabeled)
    facts = {"n_rows": opened.X.shape[0], **figures}
    shown = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in facts.items()}
    lines = [f"{name}: {value}" for name, value in shown.items()]
    # Of a detector the training rows are those to judge.
    known = None if isinstance(opened.estimator, AutoencoderOutlierDetector) else tell_known(opened)
    return Reply(facts | ({"doubt": known} if known else {}), "\n".join([*lines, *([known] if known else [])]))


def measure(
    estimator: BaseEstimator,
    X: Any,
    y: np.ndarray | None,
    weights: np.ndarray | None,
    *,
    folder: Path,
    unlabeled: str | None = None,
    answers: Answers | None = None,
) -> dict[str, Any]:
    """Return the figures of a model, which lies in a folder, on rows, by what it is.

    ``answers`` are those of other models like it, each to some of the rows; those of the model itself if not given.
    """
    if isinstance(estimator, AutoencoderOutlierDetector):
        known = None if y is None else has_label(y) & ~_stands_for_none(y, unlabeled)
        return _measure_outliers(estimator, X, y, known, weights)
    if not isinstance(estimator, (StackedClassifier, StackedRegressor)):
        scaled, errors = answers or answer(estimator, X)
        return _measure_reconstruction(scaled, errors, weights)
    if y is None:
        raise ValueError(
            f"there are no labels to compare with, which {folder}, {type(estimator).__name__}, needs; say where "
            f"they are with --labels"
        )
    known = has_label(y) & ~_stands_for_none(y, estimator.unlabeled) & ~_stands_for_none(y, unlabeled)
    if not known.any():
        raise ValueError(f"the labels of {folder} are all missing, so there is nothing to compare with")
    predicted, y = estimator.predict(X[known]) if answers is None else answers[0][known], y[known]
    weights = None if weights is None else weights[known]
    if isinstance(estimator, StackedRegressor):
        amounts = as_amounts(y) if y.dtype.kind in "OU" else y
        y = y if amounts is None else amounts
        if y.dtype.kind not in "biuf":
            raise ValueError(f"{folder} predicts numbers, but the labels are texts such as {str(y[0])!r}")
        r2 = float(r2_score(y, predicted, sample_weight=weights)) if len(y) > 1 else None
        error = float(mean_absolute_error(y, predicted, sample_weight=weights))
        return {"n_labelled": len(y), "r2": r2, "mean_absolute_error": error}
    classes = estimator.classes_
    numbers = y.dtype.kind in "biuf" and classes.dtype.kind in "biuf"
    if not numbers or (np.result_type(y, classes).kind == "f" and "f" not in (y.dtype.kind, classes.dtype.kind)):
        y, predicted, classes = y.astype(str), predicted.astype(str), classes.astype(str)
    alien = ~np.isin(y, classes)
    if alien.all():
        raise ValueError(f"the labels, such as {y[0]}, are no classes of {folder}: {', '.join(map(str, classes))}")
    if alien.any():
        warnings.warn(f"{alien.sum()} labels, such as {y[alien][0]}, are no classes of the model", stacklevel=2)
    wrong = predicted != y
    _, places = np.unique(y, return_inverse=True)
    shares = np.bincount(places, weights)
    return {
        "n_labelled": len(y),
        "accuracy": 1 - float(np.average(wrong, weights=weights)),
        "n_wrong": int(wrong.sum()),
        "accuracy_of_commonest": float(shares.max() / shares.sum()),
    }


def _stands_for_none(y: np.ndarray, unlabeled: Any) -> np.ndarray:
    """Return which labels are the one that stood for none in the training."""
    if unlabeled is None:
        return np.zeros(len(y), bool)
    if y.dtype.kind not in "biuf":
        return y.astype(str) == str(unlabeled)
    if unlabeled in MARKERS:
        return find_missing(y)
    try:
        return y == float(unlabeled)
    except ValueError:
        return np.zeros(len(y), bool)


def _measure_outliers(
    detector: AutoencoderOutlierDetector,
    X: np.ndarray,
    y: np.ndarray | None,
    known: np.ndarray | None,
    weights: np.ndarray | None,
) -> dict[str, Any]:
    """Return how many outliers there are; with labels of two values, how well errors tell the rarer one apart."""
    errors, found = detector.reconstruction_error(X), detector.predict(X) < 0
    mean = float(np.average(errors, weights=weights))
    figures = {"mean_error": mean, "n_outliers": int(found.sum())}
    if y is None:
        return figures
    y, errors, found, weights = y[known], errors[known], found[known], None if weights is None else weights[known]
    values, places = np.unique(y.astype(str), return_inverse=True)
    if len(values) != 2:
        raise ValueError(f"labels have {len(values)} different values, but two are needed: outlier and normal")
    rare = values[np.bincount(places, weights).argmin()]
    true = y.astype(str) == rare
    return figures | {
        "n_labelled": len(y),
        "outlier_label": str(rare),
        "auc": float(roc_auc_score(true, errors, sample_weight=weights)),
        "average_precision": float(average_precision_score(true, errors, sample_weight=weights)),
        "precision": float(precision_score(true, found, sample_weight=weights, zero_division=0)),
        "recall": float(recall_score(true, found, sample_weight=weights)),
    }


def in_scale_of_training(estimator: BaseEstimator, rows: Rows) -> np.ndarray:
    """Return rows of a coder as float64 of shape (n_rows, n_features), far values as far as they are."""
    return stacking.apply(estimator.coder_.straighten, rows).double().numpy(force=True)


def answer(estimator: BaseEstimator, X: Any) -> Answers:
    """Return what a model says of rows: predictions; or the rows in the scale of its training, and their errors."""
    if isinstance(estimator, (StackedClassifier, StackedRegressor)):
        return (estimator.predict(X),)
    rows = estimator.coder_.rows(X)
    return in_scale_of_training(estimator, rows), estimator.coder_.errors(rows).numpy(force=True)


def explain(scaled: np.ndarray, errors: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """Return the share of the variance of rows that errors leave; None where nothing varies."""
    centred = scaled - np.average(scaled, axis=0, weights=weights)
    np.square(centred, out=centred)
    spread = 0.5 * float(np.average(centred, axis=0, weights=weights).sum())
    return 1 - float(np.average(errors, weights=weights)) / spread if spread > 0 else None


def _measure_reconstruction(scaled: np.ndarray, errors: np.ndarray, weights: np.ndarray | None) -> dict[str, Any]:
    """Return errors in the scale of the training, in which every column counts as it did there."""
    error = float(np.average(errors, weights=weights))
    return {"reconstruction_error": error, "explained_variance": explain(scaled, errors, weights)}
