"""How good a model is on rows: accuracy, R2, how well outliers are told, the error of reconstructions."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import average_precision_score, mean_absolute_error, r2_score, roc_auc_score

from layerwise.cli.fitting import are_all, as_label
from layerwise.cli.opening import Opened
from layerwise.estimators import AutoencoderOutlierDetector, StackedClassifier, StackedRegressor
from layerwise.plotting.rows import is_known


def without_unlabeled(y: np.ndarray, unlabeled: str | None, of_training: Any) -> np.ndarray:
    """Return labels in which those that stand for none are missing; that of the training need not stand anywhere."""
    if unlabeled is None and of_training is None:
        return y
    try:
        none = y == as_label(of_training if unlabeled is None else unlabeled, y)
    except ValueError:
        if unlabeled is None:
            return y
        raise
    return np.where(none, np.nan, y) if y.dtype.kind == "f" else np.where(none, None, y.astype(object))


def _as_numbers(y: np.ndarray) -> np.ndarray:
    """Return labels without gaps that are objects, but all of them flags or whole numbers, as an array of those."""
    if y.dtype.kind != "O" or not (are_all(y, bool) or are_all(y, int)):
        return y
    return y.astype(bool if are_all(y, bool) else np.uint64 if y.max() >= 2**63 else np.int64)


def measure(opened: Opened) -> dict[str, Any]:
    """Return the figures of a model on rows, by what it is."""
    estimator, y = opened.estimator, opened.y
    if isinstance(estimator, AutoencoderOutlierDetector):
        return _measure_outliers(estimator, opened.X, y)
    if not isinstance(estimator, (StackedClassifier, StackedRegressor)):
        return _measure_reconstruction(estimator, opened.X)
    if y is None:
        raise ValueError(
            f"there are no labels to compare with, which {opened.folder}, {type(estimator).__name__}, needs; say where "
            f"they are with --labels"
        )
    known = is_known(y)
    if not known.any():
        raise ValueError(f"the labels of {opened.folder} are all missing, so there is nothing to compare with")
    predicted, y = estimator.predict(opened.X[known]), _as_numbers(y[known])
    if isinstance(estimator, StackedRegressor):
        if y.dtype.kind not in "biuf":
            raise ValueError(f"{opened.folder} predicts numbers, but the labels are texts such as {str(y[0])!r}")
        r2 = float(r2_score(y, predicted)) if len(y) > 1 else None
        return {"n_labelled": len(y), "r2": r2, "mean_absolute_error": float(mean_absolute_error(y, predicted))}
    classes = estimator.classes_
    numbers = y.dtype.kind in "biuf" and classes.dtype.kind in "biuf"
    if not numbers or (np.result_type(y, classes).kind == "f" and "f" not in (y.dtype.kind, classes.dtype.kind)):
        y, predicted, classes = y.astype(str), predicted.astype(str), classes.astype(str)
    alien = ~np.isin(y, classes)
    if alien.all():
        raise ValueError(
            f"the labels, such as {y[0]}, are no classes of {opened.folder}: {', '.join(map(str, classes))}"
        )
    if alien.any():
        warnings.warn(f"{alien.sum()} labels, such as {y[alien][0]}, are no classes of the model", stacklevel=2)
    _, counts = np.unique(y, return_counts=True)
    n_wrong = int((predicted != y).sum())
    return {
        "n_labelled": len(y),
        "accuracy": 1 - n_wrong / len(y),
        "n_wrong": n_wrong,
        "accuracy_of_commonest": float(counts.max() / len(y)),
    }


def _measure_outliers(detector: AutoencoderOutlierDetector, X: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
    """Return how many outliers there are; with labels of two values, how well errors tell the rarer one apart."""
    errors = detector.reconstruction_error(X)
    figures = {"mean_error": float(errors.mean()), "n_outliers": int((detector.predict(X) < 0).sum())}
    if y is None:
        return figures
    known = is_known(y)
    y, errors = y[known], errors[known]
    values, counts = np.unique(y.astype(str), return_counts=True)
    if len(values) != 2:
        raise ValueError(f"labels have {len(values)} different values, but two are needed: outlier and normal")
    rare = values[counts.argmin()]
    true, found = y.astype(str) == rare, detector.predict(X[known]) < 0
    hits = int((true & found).sum())
    return figures | {
        "outlier_label": str(rare),
        "auc": float(roc_auc_score(true, errors)),
        "average_precision": float(average_precision_score(true, errors)),
        "precision": hits / int(found.sum()) if found.any() else None,
        "recall": hits / int(true.sum()),
    }


def _measure_reconstruction(estimator: BaseEstimator, X: np.ndarray) -> dict[str, Any]:
    """Return errors in the scale of the training, in which every column counts as it did there."""
    scaling = estimator._scaling
    scaled = X / 255.0 if X.dtype == np.uint8 else X if scaling is None else X / scaling.scale.numpy(force=True)
    spread = 0.5 * float(np.var(scaled, axis=0, dtype=np.float64).sum())
    error = float(estimator._errors(estimator._check_rows(X)).mean())
    return {"reconstruction_error": error, "explained_variance": 1 - error / spread if spread > 0 else None}
