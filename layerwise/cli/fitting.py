"""What `fit` does, step by step: from settings and a file of data to a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise import distributed, recipes
from layerwise.callbacks import Callback, Step
from layerwise.checkpoint import Checkpoint
from layerwise.data.inputs import Input
from layerwise.estimators import AutoencoderImputer
from layerwise.estimators._finetuning import find_labelled
from layerwise.plotting.rows import is_known
from layerwise.trackers import MLflow, TensorBoard

# Numbers with more different values than this are targets rather than classes: a heuristic choice.
_MAX_CLASSES = 30


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
    known = is_known(y).reshape(len(y), -1).all(axis=1)
    known &= find_labelled(y, settings.get("finetuning", {}).get("unlabeled"))
    return sum(distributed.gather_counts([int(known.sum())]))


def refuse_gaps(missing: str) -> None:
    """Refuse missing values, which this sentence of `describe_missing` tells, where nothing fills them in."""
    raise ValueError(f"{missing}; fill them in with --impute, or leave such columns out with --ignore NAME")


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
        refuse_gaps(missing)
    if settings.get("impute"):
        if sparse.issparse(X):
            raise ValueError(
                "impute=True needs dense rows, but the data is a sparse matrix, in which nothing is missing"
            )
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
