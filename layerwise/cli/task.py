"""What `fit` trains: a model, after what prepares its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise import recipes
from layerwise.callbacks import Callback, EarlyStopping, Step
from layerwise.checkpoint import Checkpoint
from layerwise.cli.held_out import HeldOut
from layerwise.cli.recipe_flags import COUNTS, iterations_asked_for
from layerwise.cli.targets import are_all
from layerwise.data.column_types import Marked
from layerwise.data.count_scaler import CountScaler
from layerwise.data.inputs import Input
from layerwise.data.naming import naming_columns
from layerwise.estimators import AutoencoderImputer, AutoencoderOutlierDetector


class Task(NamedTuple):
    """What is to be trained, and on what.

    Attributes
    ----------
    source : Input
        All rows that were read.
    settings : dict
        As ``run.toml`` says them.
    complete : dict
        The same with what the labels add: which stands for none.
    why : str or None
        Why the model was chosen; None if it was asked for.
    n_labelled : int or None
        Rows of all processes with a label.
    missing : str or None
        Which values are missing, as `describe_missing` says it.
    held_out : HeldOut
        Rows to train on, and rows to measure the model on.
    marks : Marked or None
        How the labels are written as numbers, where they are text.
    """

    source: Input
    settings: dict[str, Any]
    complete: dict[str, Any]
    why: str | None
    n_labelled: int | None
    missing: str | None
    held_out: HeldOut
    marks: Marked | None


class Trained(NamedTuple):
    """A model after what prepares its rows, and the rows that its last step takes: of the training, and held out."""

    model: BaseEstimator
    X: Any
    X_held_out: Any


def refuse_gaps(missing: str, source: Input) -> NoReturn:
    """Refuse missing values, which this sentence of `describe_missing` tells, where nothing fills them in."""
    if sparse.issparse(source.X):
        raise ValueError(f"{missing}; put numbers in their place, as --impute needs rows that are not sparse")
    if source.encoder is not None:
        raise ValueError(
            f"{missing}; have them filled in (without --no-impute), or leave such columns out with --ignore NAME"
        )
    raise ValueError(f"{missing}; fill them in with --impute, or save the rows without such columns")


def fills_gaps(source: Input, settings: Mapping[str, Any]) -> bool:
    """Whether what is missing is filled in: where that is asked for, and in a table unless it is told not to."""
    impute = settings.get("impute")
    return source.encoder is not None if impute is None else bool(impute)


def train(task: Task, callbacks: Sequence[Callback], checkpoints: Path | None, seconds: float) -> Trained:
    """Train the model of a task, and before it what fills in missing values.

    ``checkpoints`` is the folder for them, one of which is written after so many ``seconds``; None writes none.
    """

    def checkpoint(name: str) -> Checkpoint | None:
        return None if checkpoints is None else Checkpoint(checkpoints / name, seconds=seconds)

    source, y, settings, rows = task.held_out.source, task.held_out.y, task.complete, task.held_out.rows
    X, X_held_out = source.X, None if rows is None else rows.X
    weights = {} if source.weights is None else {"sample_weight": source.weights}
    steps: list[tuple[str, BaseEstimator]] = [] if source.encoder is None else [("table", source.encoder)]
    counts = _make_count_scaler(task, settings)
    with naming_columns(X=task.source.feature_names, y=task.source.label_name and [task.source.label_name]):
        if task.missing and not fills_gaps(source, settings):
            refuse_gaps(task.missing, source)
        if counts is not None:
            X, steps = counts.fit_transform(X), [*steps, ("counts", counts)]
            X_held_out = None if rows is None else counts.transform(X_held_out)
        if settings.get("impute") or task.missing:
            imputer = _make_imputer(X, settings).set_params(
                callbacks=[_prefixed("imputer", callback) for callback in callbacks],
                checkpoint=checkpoint("imputer"),
            )
            X = imputer.fit_transform(X, **weights)
            X_held_out = None if rows is None else imputer.transform(X_held_out)
            steps.append(("imputer", imputer))
        model = recipes.build(settings).set_params(callbacks=list(callbacks), checkpoint=checkpoint("model"))
        if isinstance(model, AutoencoderOutlierDetector) and source.encoder is not None:
            # A column counts as one, however many it has become.
            model.set_params(feature_groups=source.feature_columns)
        labels = () if y is None else (y,)
        model.fit(X, *labels, **weights, **_watch(model, X_held_out, task.held_out.labels))
    if hasattr(model, "classes_") and source.y is not None and are_all(source.y, bool):
        model.classes_ = model.classes_.astype(bool)  # which have been numbers beside gaps
    if source.encoder is None and source.feature_names is not None:  # those of genes
        model.column_names_ = np.array(source.feature_names, dtype=object)
    steps.append(("model", model))
    return Trained(model if len(steps) == 1 else Pipeline(steps), X, X_held_out)


def _make_count_scaler(task: Task, settings: Mapping[str, Any]) -> CountScaler | None:
    """Return what brings counts to one scale, where that is asked for."""
    asked = {name: bool(settings.get(name)) for name in COUNTS}
    if not any(asked.values()):
        return None
    name = next(name for name in COUNTS if asked[name])
    if task.missing or settings.get("impute"):
        raise ValueError(f"{name}=True is for counts, of which none is missing: {task.missing or 'leave --impute out'}")
    encoder = task.source.encoder
    read = [] if encoder is None else [name for name in encoder.numbers_ if encoder.get_reading(name) is not None]
    if encoder is not None and (encoder.categories_ or read):
        first = [*encoder.categories_, *read][0]
        raise ValueError(f"{name}=True is for counts, but column {first!r:.65} is text; leave it out with --ignore")
    return CountScaler(**asked)


def _make_imputer(X: Any, settings: Mapping[str, Any]) -> AutoencoderImputer:
    """Return what fills in the missing values of rows, trained as long as was asked for."""
    if sparse.issparse(X):
        raise ValueError("impute=True needs dense rows, but the data is a sparse matrix, in which nothing is missing")
    imputer = AutoencoderImputer(random_state=settings["random_state"])
    imputer.set_params(autoencoder__dtype=settings.get("dtype", "float32"))
    max_iter = iterations_asked_for(settings)
    return imputer if max_iter is None else imputer.set_params(autoencoder__solver__max_iter=max_iter)


def _watch(model: BaseEstimator, X_held_out: Any, labels: np.ndarray | None) -> dict[str, Any]:
    """Let a model stop early by rows held out, unless it holds some out itself; return what its `fit` takes then."""
    if X_held_out is None or getattr(vars(model).get("early_stopping"), "refit", False):
        return {}
    unset = [name for name, value in model.get_params().items() if name.endswith("early_stopping") and not value]
    model.set_params(**{name: EarlyStopping() for name in unset})
    return {"X_val": X_held_out} | ({} if labels is None else {"y_val": labels})


def _prefixed(prefix: str, callback: Callback) -> Callback:
    """Return a callback that takes the stages of another model under names of their own."""

    def call(step: Step) -> bool | None:
        return callback(replace(step, stage=f"{prefix} {step.stage}"))

    return call
