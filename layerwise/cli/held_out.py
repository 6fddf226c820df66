"""Rows that `fit` does not train on: which they are, and how good a model is on them, beside simple ones."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from layerwise import distributed
from layerwise.cli.evaluating import in_scale_of_training, measure
from layerwise.cli.opening import list_columns
from layerwise.cli.targets import mark_unlabeled
from layerwise.data.column_types import Date
from layerwise.data.inputs import Input, is_tabular, read
from layerwise.estimators import StackedClassifier, StackedRegressor
from layerwise.inspection import bare
from layerwise.labels import has_label
from layerwise.recipes import HELD_OUT_KEYS

# Share of the rows that are held out, unless told otherwise.
FRACTION = 0.2
# Of fewer rows (with a label, where labels are learnt), or of classes that are as many as the rows to be held out, none
# are; of more bytes in a map, a copy is too much.
_FEWEST, _MOST_BYTES = 50, 2**28
# Values that a simple model is trained on, at most.
_MOST_VALUES = 4_000_000
# The figure by which each kind of model is judged, and what the simple models of it are called.
_FIGURES = {
    "classifier": ("accuracy", "accuracy", "logistic regression"),
    "regressor": ("r2", "R2", "ridge regression"),
    "autoencoder": ("explained_variance", "explained variance", "PCA of the same width"),
}
# Differences of that figure that are told.
_OVERFITS, _BEHIND = 0.1, 0.01


class HeldOut(NamedTuple):
    """Rows to train on, and rows to measure the model on.

    Attributes
    ----------
    source : Input
        Rows to train on.
    y : ndarray of shape (n_samples,) or None
        Their labels, as estimators take them.
    rows : Input or None
        Rows held out, each with a label where labels are learnt.
    labels : ndarray of shape (n_held_out,) or None
        Their labels, as estimators take them.
    how : str
        How they were chosen, or why there are none, in words.
    places : ndarray of shape (n_held_out,) or None
        Where the rows held out stand in their file.
    """

    source: Input
    y: np.ndarray | None
    rows: Input | None
    labels: np.ndarray | None
    how: str
    places: np.ndarray | None = None


def hold_out(source: Input, y: np.ndarray | None, settings: Mapping[str, Any]) -> HeldOut:
    """Hold rows out: those of a file of their own, or a share of the data, at random or as the settings say.

    Of models with labels only rows with a label are held out, in the proportions of the classes; of a group all rows
    or none; of rows in time the last ones.
    """
    _check(settings)
    if "validation_data" in settings:
        return _read(source, y, settings)
    known = np.ones(source.X.shape[0], bool) if y is None else _find_labelled(y, settings)
    candidates = np.flatnonzero(known)
    fraction = settings.get("validation_fraction", FRACTION)
    labels = y[candidates] if settings["model"] == "classifier" and y is not None else None
    fewest = _FEWEST if labels is None else max(_FEWEST, int(np.ceil(len(np.unique(labels.astype(str))) / FRACTION)))
    why = _refuse(source, len(candidates), fewest, settings)
    if why is not None:
        return HeldOut(source, y, None, None, why)
    if settings.get("ordered", False):
        outside, how = candidates[len(candidates) - max(1, round(fraction * len(candidates))) :], "the last ones"
    else:
        groups = source.ids[settings["groups"]][candidates] if "groups" in settings else None
        outside, how = _draw(candidates, labels, groups, fraction, settings["random_state"])
    left = np.ones(len(known), bool)
    left[outside] = False
    inside, outside = np.flatnonzero(left), np.sort(outside)
    parts = (None, None) if y is None else (y[inside], y[outside])
    n_all = source.X.shape[0]
    told = f"{len(outside):,} of {n_all:,} rows, {how} (--validation-fraction 0 trains on all)"
    time = _find_time(source)
    if time is not None and how != "the last ones":
        told += f"; rows are in the order of column {time!r:.65}: --ordered holds the last ones out"
    return HeldOut(source.take(inside), parts[0], source.take(outside), parts[1], told, outside)


def _find_time(source: Input) -> str | None:
    """Return a column of dates by which the rows are sorted, if there is one."""
    if source.encoder is None:
        return None
    for place, name in enumerate(source.feature_columns or ()):
        if isinstance(source.encoder.get_reading(name), Date) and (np.diff(source.X[:, place]) >= 0).all():
            return name
    return None


def _check(settings: Mapping[str, Any]) -> None:
    fraction = settings.get("validation_fraction", FRACTION)
    if not 0 <= fraction < 1:
        raise ValueError(f"validation_fraction={fraction:g} must be a share of the rows, from 0 to below 1")
    given = [name for name in ("validation_data", "groups", "ordered") if settings.get(name)]
    asked = given or (["validation_fraction"] if settings.get("validation_fraction") else [])
    if settings["model"] not in _FIGURES and asked:
        raise ValueError(
            f"{asked[0]}={settings[asked[0]]!r} has no meaning with model={settings['model']!r}, which is to judge all "
            f"rows; leave it out"
        )
    if len(given) > 1 or (given == ["validation_data"] and "validation_fraction" in settings):
        named = " and ".join(f"--{name.replace('_', '-')}" for name in (given + ["validation_fraction"])[:2])
        raise ValueError(f"{named} exclude each other; name the rows to hold out in one way")


def _find_labelled(y: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    return has_label(y, settings.get("finetuning", {}).get("unlabeled"))


def _refuse(source: Input, n_candidates: int, fewest: int, settings: Mapping[str, Any]) -> str | None:
    """Say why no rows are held out; None where some can be."""
    asked = any(name in settings for name in HELD_OUT_KEYS)
    if settings.get("validation_fraction") == 0:
        return "none, as asked for"
    if distributed.world_size() > 1 or settings.get("deterministic"):  # which gives the bits of any number of them
        return "none by several processes; --validation-data names such rows"
    if isinstance(source.X, np.memmap) and source.X.nbytes > _MOST_BYTES:
        return f"none of {source.X.nbytes / 2**30:.1f} GiB on disk; --validation-data names such rows"
    if settings["model"] not in _FIGURES:
        return "none, as all rows are to be judged"
    if n_candidates < fewest and not asked:
        what = "rows" if settings["model"] == "autoencoder" else "rows with labels"
        return f"none, as {n_candidates} {what} are too few to spare some (at least {fewest})"
    return None


def _read(source: Input, y: np.ndarray | None, settings: Mapping[str, Any]) -> HeldOut:
    """Read rows held out from a file of their own."""
    path = settings["validation_data"]
    labels = settings.get("labels") if y is not None else None
    if labels is not None and labels not in list_columns(Path(path)):
        raise ValueError(
            f"validation_data={path} needs labels in a column of the name of those of the data, but it has no column "
            f"{labels!r}"
        )
    matrix = not (Path(path).is_dir() or is_tabular(path))
    rows = read(
        path,
        labels=labels,
        layout=settings.get("layout") if matrix else None,
        transpose=matrix and settings.get("transpose", False),
        encoder=source.encoder,
        image_shape=source.image_shape,
    )
    marked = places = None
    if y is not None:
        assert rows.y is not None
        places = np.flatnonzero(_find_labelled(rows.y, settings))
        rows = rows.take(places)
        marked, _ = mark_unlabeled(rows.y, {"model": settings["model"]})
    return HeldOut(source, y, rows, marked, f"{rows.X.shape[0]:,} rows of {path}", places)


def judge(
    model: BaseEstimator, X: Any, X_held_out: Any, held_out: HeldOut, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a run remembers of a model on the rows held out; nothing without such."""
    if held_out.rows is None or settings["model"] not in _FIGURES:
        return {}
    figures = compare(model, X, held_out, X_held_out, settings)
    doubts = list_doubts(figures, settings["model"])
    told = {"held_out": describe(figures, settings["model"]), "held_out_figures": figures}
    return told | ({"doubts": doubts} if doubts else {})


def tell_held_out(facts: Mapping[str, Any]) -> list[str]:
    """Say how good the model of a run is on the rows held out, and what should be looked into."""
    if "held_out" not in facts:
        return []
    doubts = [f"{what} {remedy}" for what, remedy in facts.get("doubts", [])]
    return [f"Held out: {facts['held_out']}", *doubts]


def _draw(
    candidates: np.ndarray, labels: np.ndarray | None, groups: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, str]:
    """Return the positions of rows drawn at random, and how."""
    options: dict[str, Any] = {"n_splits": 1, "test_size": fraction, "random_state": seed}
    if groups is not None:
        names = groups.astype(str)
        if len(np.unique(names)) < 2:
            raise ValueError(f"all rows belong to the group {str(names[0])!r:.65}, so that no group can be held out")
        _, chosen = next(GroupShuffleSplit(**options).split(candidates, groups=names))
        return candidates[chosen], "whole groups"
    if labels is not None:
        _, classes, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
        several = counts[classes] > 1  # the only one of its class is needed to train
        n_classes, n_held_out = len(np.unique(classes[several])), round(fraction * several.sum())
        if n_classes > 1 and n_held_out >= n_classes:
            _, chosen = next(StratifiedShuffleSplit(**options).split(classes[several], classes[several]))
            return candidates[several][chosen], "in the proportions of the classes"
    _, chosen = next(ShuffleSplit(**options).split(candidates))
    return candidates[chosen], "at random"


def compare(
    model: BaseEstimator, X: np.ndarray, held_out: HeldOut, X_held_out: np.ndarray, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the figures of a model on rows held out, and beside them those on the training rows and of simple models.

    ``X`` and ``X_held_out`` are the rows of both kinds as the last step of the model takes them.
    """
    estimator, folder, y, rows = bare(model), Path(settings["out"]), held_out.y, held_out.rows
    assert rows is not None
    figures = measure(estimator, X_held_out, rows.y, rows.weights, folder=folder)
    rng = np.random.default_rng(settings["random_state"])
    known = np.arange(X.shape[0]) if y is None else np.flatnonzero(_find_labelled(y, settings))
    n_most = max(100, _MOST_VALUES // X.shape[1])
    drawn = np.sort(rng.choice(known, n_most, replace=False)) if len(known) > n_most else known
    sample, labels = X[drawn], None if y is None else y[drawn]
    training = measure(estimator, sample, labels, None, folder=folder)
    name = _FIGURES[settings["model"]][0]
    return {
        "n_rows": X_held_out.shape[0],
        **figures,
        f"{name}_on_training": training[name],
        f"{name}_of_linear": _measure_linear(estimator, sample, labels, X_held_out, held_out.labels),
    }


def _measure_linear(
    estimator: BaseEstimator, X: np.ndarray, y: np.ndarray | None, X_held_out: np.ndarray, y_held_out: Any
) -> float | None:
    """Return the same figure of a linear model; None where it cannot be trained."""
    if not isinstance(estimator, (StackedClassifier, StackedRegressor)):
        return _measure_pca(estimator, X, X_held_out)
    linear = LogisticRegression(max_iter=300) if isinstance(estimator, StackedClassifier) else Ridge()
    rival = make_pipeline(StandardScaler(with_mean=not sparse.issparse(X)), linear)
    assert y is not None
    if isinstance(estimator, StackedClassifier):
        y, y_held_out = y.astype(str), y_held_out.astype(str)
        if len(np.unique(y)) < 2:
            return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations, and of classes that look like amounts
        return float(rival.fit(X.astype(np.float64), y).score(X_held_out.astype(np.float64), y_held_out))


def _measure_pca(estimator: BaseEstimator, X: np.ndarray, X_held_out: np.ndarray) -> float | None:
    """Return the share of variance that PCA of the width of the codes explains, in the scale of the training."""
    coder = estimator.coder_
    scaled = [in_scale_of_training(estimator, coder.rows(rows)) for rows in (X, X_held_out)]
    width = min(coder.modules[-1].n_hidden, *scaled[0].shape)
    pca = PCA(width, svd_solver="full" if min(scaled[0].shape) < 500 else "randomized", random_state=0).fit(scaled[0])
    spread = ((scaled[1] - scaled[1].mean(axis=0)) ** 2).sum()
    rest = ((scaled[1] - pca.inverse_transform(pca.transform(scaled[1]))) ** 2).sum()
    return float(1 - rest / spread) if spread > 0 else None


def describe(figures: Mapping[str, Any], model: str) -> str:
    """Return what `compare` found, as one line."""
    name, word, linear = _FIGURES[model]
    beside = [f"{word} on training rows {_show(figures[f'{name}_on_training'], model)}"]
    if "accuracy_of_commonest" in figures:
        beside.append(f"always the commonest class {_show(figures['accuracy_of_commonest'], model)}")
    if figures[f"{name}_of_linear"] is not None:
        beside.append(f"{linear} {_show(figures[f'{name}_of_linear'], model)}")
    return f"{word} {_show(figures[name], model)} on {figures['n_rows']:,} rows ({', '.join(beside)})"


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
