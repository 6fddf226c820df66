"""What `fit` does, step by step: from settings and a file of data to the folder of a run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise import distributed, persistence, recipes, runs
from layerwise.atomic import LOCK, publish, write_file
from layerwise.callbacks import Callback, EarlyStopping, MetricsFile, Step
from layerwise.checkpoint import Checkpoint
from layerwise.cli.common import Display
from layerwise.cli.held_out import HeldOut, hold_out, judge
from layerwise.cli.opening import digest_rows, name_rows
from layerwise.cli.recipe_flags import SETTLED, arguments_of_read, begin_as_table, iterations_asked_for, overlay
from layerwise.cli.targets import are_all, choose_model, count_labelled, mark_unlabeled
from layerwise.cli.telling import describe_fit
from layerwise.cli.unfinished import CHECKPOINTS, SCRATCH
from layerwise.data.inputs import Input, read
from layerwise.data.naming import naming_columns
from layerwise.data.values import describe_missing
from layerwise.estimators import AutoencoderImputer, AutoencoderOutlierDetector
from layerwise.inspection import describe_scale, inspect_model, layers_of
from layerwise.trackers import MLflow, TensorBoard

Tracked: TypeAlias = MLflow | TensorBoard


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
    """

    source: Input
    settings: dict[str, Any]
    complete: dict[str, Any]
    why: str | None
    n_labelled: int | None
    missing: str | None
    held_out: HeldOut


class Trained(NamedTuple):
    """A model after what prepares its rows, and the rows that its last step takes: of the training, and held out."""

    model: BaseEstimator
    X: Any
    X_held_out: Any


def fit_into(
    folder: Path,
    settings: Mapping[str, Any],
    flags: Mapping[str, Any],
    callbacks: Sequence[Callback],
    track: Sequence[str],
    checkpoint_seconds: float,
    display: Display,
) -> dict[str, Any]:
    """Train, and let rank 0 write all of the run into a folder; return its facts."""
    start = time.perf_counter()
    task = plan(settings, flags, folder / SCRATCH)
    filled = task.missing if fills_gaps(task.source, task.settings) else None
    for line in describe_fit(task.source, task.settings, task.n_labelled, task.why, filled, task.held_out.how):
        display.say(line)
    places = {name: task.settings[name] for name in SETTLED if name in task.settings}
    recipe = recipes.describe(recipes.build(task.settings)) | places
    _note_settings(folder, recipe)
    with ExitStack() as opened:
        trackers = open_trackers(track, Path(task.settings["out"]), folder, recipe, opened)
        with MetricsFile(folder / runs.METRICS, resume=True) as metrics:
            trained = train(task, [*callbacks, metrics, *trackers], folder / CHECKPOINTS, checkpoint_seconds)
        scale = describe_scale(layers_of(trained.model)[0])
        display.say(f"Scale: {scale}")
        facts = _gather_facts(task, trained, places, scale, start)
        if distributed.rank() > 0:
            return facts
        if task.settings.get("report", True):
            display.say(f"writing {runs.REPORT} ...")
        _write(folder, task, trained, facts, recipe)
        log_run(trackers, folder)
    return facts | {"stages": inspect_model(trained.model)["stages"]}


def plan(settings: Mapping[str, Any], flags: Mapping[str, Any], scratch: Path) -> Task:
    """Read the rows, and settle what is trained on which of them."""
    source = read(**arguments_of_read(settings), scratch=scratch)
    chosen, why = settings.get("model"), None
    if chosen is None:
        contamination = flags.get("contamination", settings.get("contamination"))
        unlabeled = flags.get("unlabeled", settings.get("finetuning", {}).get("unlabeled"))
        chosen, why = choose_model(source.y, contamination, unlabeled)
    settings = dict(settings) | {"model": chosen}
    if source.encoder is not None:
        settings = begin_as_table(settings, flags, *source.X.shape)
    settings = overlay(settings, flags, source.X.shape[1])
    y, complete = mark_unlabeled(source.y, settings)
    if chosen == "regressor":
        source = source._replace(y=y)  # text has become numbers
    n_labelled = None if source.y is None else count_labelled(source.y, complete)
    held_out = hold_out(source, y, complete)
    return Task(source, settings, complete, why, n_labelled, describe_missing(source.X, source.feature_names), held_out)


def _note_settings(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write run.toml, which --resume reads whenever the process dies, unless the run has begun before."""
    if not (folder / runs.SETTINGS).is_file():
        staging = folder / SCRATCH / runs.SETTINGS
        write_file(staging, recipes.write_toml(recipe))
        publish(staging, folder / runs.SETTINGS)


def _gather_facts(task: Task, trained: Trained, places: Mapping[str, Any], scale: str, start: float) -> dict[str, Any]:
    """Return what a run remembers of its training, which began at ``start``."""
    source, settings = task.source, task.settings
    shared = {"rows_shown": f"{trained.X.shape[0]:,} of them, those of the first process"}
    return runs.gather_facts(
        model=settings["model"],
        chosen_because=task.why,
        **{name: value for name, value in places.items() if name != "missing"} | {"image_shape": source.image_shape},
        random_state=settings["random_state"],
        n_rows=sum(distributed.gather_counts([source.X.shape[0]])),
        n_labelled=task.n_labelled,
        unlabeled=settings.get("finetuning", {}).get("unlabeled"),
        scale=scale,
        n_features=trained.X.shape[1],
        **(shared if distributed.world_size() > 1 else {}),
        missing=task.missing,
        digest_of_rows=digest_rows(source.X),
        **judge(trained.model, trained.X, trained.X_held_out, task.held_out, task.complete),
        seconds=round(time.perf_counter() - start, 1),
    )


def _write(folder: Path, task: Task, trained: Trained, facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> None:
    """Write the files of a run, which show the rows held out where there are such."""
    source, held_out = task.source, task.held_out
    shown, X = (held_out.source, trained.X) if held_out.rows is None else (held_out.rows, trained.X_held_out)
    runs.write_run(
        folder,
        trained.model,
        X,
        y=shown.y,
        facts=facts,
        settings=recipe,
        image_shape=source.image_shape,
        feature_names=source.feature_names,
        feature_columns=source.feature_columns,
        row_names=name_rows(shown, held_out.places),
        report=task.settings.get("report", True),
        trained_on=held_out.rows is None,
        unfilled=shown.X,
    )


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


def train(task: Task, callbacks: Sequence[Callback], checkpoints: Path, seconds: float) -> Trained:
    """Train the model of a task, and before it what fills in missing values.

    ``checkpoints`` is the folder for them, one of which is written after so many ``seconds``.
    """
    source, y, settings, rows = task.held_out.source, task.held_out.y, task.complete, task.held_out.rows
    X, X_held_out = source.X, None if rows is None else rows.X
    weights = {} if source.weights is None else {"sample_weight": source.weights}
    steps: list[tuple[str, BaseEstimator]] = [] if source.encoder is None else [("table", source.encoder)]
    with naming_columns(X=task.source.feature_names, y=task.source.label_name and [task.source.label_name]):
        if task.missing and not fills_gaps(source, settings):
            refuse_gaps(task.missing, source)
        if settings.get("impute") or task.missing:
            imputer = _make_imputer(X, settings).set_params(
                callbacks=[_prefixed("imputer", callback) for callback in callbacks],
                checkpoint=Checkpoint(checkpoints / "imputer", seconds=seconds),
            )
            X = imputer.fit_transform(X, **weights)
            X_held_out = None if rows is None else imputer.transform(X_held_out)
            steps.append(("imputer", imputer))
        model = recipes.build(settings).set_params(
            callbacks=list(callbacks), checkpoint=Checkpoint(checkpoints / "model", seconds=seconds)
        )
        if isinstance(model, AutoencoderOutlierDetector) and source.encoder is not None:
            model.set_params(feature_groups=source.feature_columns)  # a column of text counts as one
        labels = () if y is None else (y,)
        model.fit(X, *labels, **weights, **_watch(model, X_held_out, task.held_out.labels))
    if hasattr(model, "classes_") and source.y is not None and are_all(source.y, bool):
        model.classes_ = model.classes_.astype(bool)  # which have been numbers beside gaps
    steps.append(("model", model))
    return Trained(model if len(steps) == 1 else Pipeline(steps), X, X_held_out)


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


def open_trackers(
    names: Sequence[str], out: Path, staging: Path, settings: Mapping[str, Any], stack: ExitStack
) -> list[Tracked]:
    """Return the experiment trackers of these names, open until the stack is closed; MLflow is told the settings."""
    trackers: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(staging / "tensorboard"),
        "mlflow": lambda: MLflow(out.name, params=flatten(settings)),
    }
    return [stack.enter_context(trackers[name]()) for name in names]


def log_run(trackers: Sequence[Tracked], folder: Path) -> None:
    """Hand the files of a run to the trackers that take files; those of the model as a folder that `load` reads."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != LOCK]
    for tracker in trackers:
        if not isinstance(tracker, MLflow):
            continue
        try:
            for path in files:
                tracker.log_file(path, "model" if path.name in (persistence.CONFIG, persistence.TENSORS) else None)
        except Exception as error:  # whatever it is: the run itself is whole
            warnings.warn(f"MLflow did not take the files of the run: {error}", UserWarning, stacklevel=2)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings under names such as ``layers.0.solver.max_iter``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(place): item for place, item in enumerate(value)}
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _prefixed(prefix: str, callback: Callback) -> Callback:
    """Return a callback that takes the stages of another model under names of their own."""

    def call(step: Step) -> bool | None:
        return callback(replace(step, stage=f"{prefix} {step.stage}"))

    return call
