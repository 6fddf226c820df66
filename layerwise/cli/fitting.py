"""What `fit` does, step by step: from settings and a file of data to a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise import distributed, recipes
from layerwise.callbacks import Callback, Step
from layerwise.checkpoint import Checkpoint
from layerwise.data.inputs import Input
from layerwise.data.misfits import name_columns
from layerwise.estimators import AutoencoderImputer
from layerwise.estimators._finetuning import find_labelled
from layerwise.plotting.rows import is_known
from layerwise.trackers import MLflow, TensorBoard

# Numbers with more different values than this are targets rather than classes: a heuristic choice.
_MAX_CLASSES = 30
# Fewer rows than this do not tell what a column is: a heuristic choice.
_FEW_ROWS = 10
# Values that are looked at in one go.
_BLOCK = 2**22


def choose_model(y: np.ndarray | None, contamination: float | None = None) -> str:
    """Return which model suits the labels: one of `layerwise.recipes.MODELS`."""
    if y is None:
        return "autoencoder" if contamination is None else "outliers"
    if y.ndim == 2:
        return "regressor"
    known = distributed.unique(y[is_known(y)])
    if y.dtype.kind == "f" and (known != np.floor(known)).any():
        return "regressor"
    return "regressor" if y.dtype.kind in "iuf" and len(known) > _MAX_CLASSES else "classifier"


def mark_unlabeled(y: np.ndarray | None, settings: Mapping[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Return labels that estimators take, and settings that name the label of rows that have none.

    A missing text becomes the empty one, a missing class number the one below the lowest, a missing target stays NaN.
    """
    settings = dict(settings)
    if settings["model"] not in ("classifier", "regressor"):
        return None, settings
    if y is None:
        raise ValueError(f"model={settings['model']!r} needs labels; give them with --labels")
    if settings["model"] == "regressor" and y.dtype.kind not in "biuf":
        raise ValueError(
            f"a regressor needs numbers as labels, but found {y[is_known(y)][:1].tolist()}; choose a classifier"
        )
    finetuning = dict(settings.get("finetuning", {}))
    unlabeled = finetuning.get("unlabeled")
    if unlabeled is not None:
        finetuning["unlabeled"] = _as_label(unlabeled, y)
        return y, settings | {"finetuning": finetuning}
    missing = ~is_known(y)
    if not distributed.any_rank(bool(missing.any())):
        return y.astype(str) if y.dtype.kind == "O" else y, settings
    if y.dtype.kind == "O":
        y, unlabeled = np.where(missing, "", y).astype(str), ""
    elif settings["model"] == "classifier" and ((known := distributed.unique(y[is_known(y)])) == np.floor(known)).all():
        unlabeled = int(known.min()) - 1
        y = np.where(missing, unlabeled, y).astype(np.int64)
    else:
        unlabeled = float("nan")
    return y, settings | {"finetuning": finetuning | {"unlabeled": unlabeled}}


def count_labelled(y: np.ndarray, settings: Mapping[str, Any]) -> int:
    """Return how many rows of all processes have a label, neither missing nor the one that stands for none."""
    known = is_known(y) if y.ndim == 1 else is_known(y).all(axis=1)
    known &= find_labelled(y, settings.get("finetuning", {}).get("unlabeled"))
    return sum(distributed.gather_counts([int(known.sum())]))


def describe_odd_columns(source: Input) -> list[str]:
    """Say which columns of a table seem to tell rows apart only, and which tell nothing; of several processes none."""
    if source.feature_columns is None or len(source.X) < _FEW_ROWS or distributed.world_size() > 1:
        return []
    rising, constant = _find_odd_columns(source.X)
    counters, same = ([source.feature_columns[place] for place in np.flatnonzero(odd)] for odd in (rising, constant))
    lines = []
    if counters:
        have, advice = ("has", "if it only tells rows apart, give it with --id")
        if len(counters) > 1:
            have, advice = ("have", "if they only tell rows apart, give them with --id")
        lines.append(f"{name_columns(counters)} {have} another whole number in every row: {advice}")
    if same:
        lines.append(f"{name_columns(same)} {'tells' if len(same) == 1 else 'tell'} nothing: all values are the same")
    return lines


def _find_odd_columns(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns are whole numbers that rise from each row to the next, and which never change."""
    rising = constant = np.ones(X.shape[1], bool)
    step = max(1, _BLOCK // X.shape[1])
    for start in range(0, len(X), step):
        rows = X[max(0, start - 1) : start + step]
        rising = rising & (np.diff(rows, axis=0) > 0).all(axis=0) & (rows == np.floor(rows)).all(axis=0)
        constant = constant & (rows == X[0]).all(axis=0)
        if not (rising | constant).any():
            break
    return rising, constant


def train(
    source: Input,
    y: np.ndarray | None,
    missing: str | None,
    settings: Mapping[str, Any],
    callbacks: Sequence[Callback],
    checkpoints: Path,
    seconds: float,
) -> tuple[BaseEstimator, np.ndarray]:
    """Train the model of the settings; return it, after what prepares its rows, and those rows.

    ``missing`` says which values are, as `describe_missing` does. ``checkpoints`` is the folder for them, one of which
    is written after so many ``seconds``.
    """
    steps: list[tuple[str, BaseEstimator]] = []
    if source.encoder is not None:
        steps.append(("table", source.encoder))
    X = source.X
    if missing and not settings.get("impute"):
        raise ValueError(f"{missing}; fill them in with --impute, or leave such columns out with --ignore NAME")
    if settings.get("impute"):
        imputer = AutoencoderImputer(random_state=settings["random_state"])
        imputer.set_params(
            callbacks=[_prefixed("imputer", callback) for callback in callbacks],
            checkpoint=Checkpoint(checkpoints / "imputer", seconds=seconds),
        )
        X = imputer.fit_transform(X)
        steps.append(("imputer", imputer))
    checkpoint = Checkpoint(checkpoints / "model", seconds=seconds)
    model = recipes.build(settings).set_params(callbacks=list(callbacks), checkpoint=checkpoint)
    model.fit(X) if y is None else model.fit(X, y)
    steps.append(("model", model))
    return (model if len(steps) == 1 else Pipeline(steps)), X


def open_trackers(names: Sequence[str], out: Path, staging: Path, stack: ExitStack) -> list[Callback]:
    """Return the experiment trackers of these names, open until the stack is closed."""
    trackers: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(staging / "tensorboard"),
        "mlflow": lambda: MLflow(out.name),
    }
    return [stack.enter_context(trackers[name]()) for name in names]


def _prefixed(prefix: str, callback: Callback) -> Callback:
    """Return a callback that takes the stages of another model under names of their own."""

    def call(step: Step) -> bool | None:
        return callback(replace(step, stage=f"{prefix} {step.stage}"))

    return call


def _as_label(value: Any, y: np.ndarray) -> Any:
    """Return a label in the type of the others."""
    try:
        label = str(value) if y.dtype.kind in "UO" else np.array([value]).astype(y.dtype)[0].item()
    except (ValueError, OverflowError):
        raise ValueError(f"unlabeled={value!r} is no label of type {y.dtype}, which the labels have") from None
    if not distributed.any_rank(bool((y == label).any())):
        raise ValueError(f"unlabeled={value!r} stands nowhere in the labels")
    return label
