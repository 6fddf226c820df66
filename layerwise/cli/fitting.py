"""What `fit` does, step by step: from settings and a file of data to the folder of a run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from layerwise import distributed, persistence, recipes, runs
from layerwise.atomic import LOCK, publish, write_file
from layerwise.callbacks import Callback, MetricsFile
from layerwise.cli.common import Display
from layerwise.cli.held_out import hold_out
from layerwise.cli.judging import judge
from layerwise.cli.opening import name_rows
from layerwise.cli.recipe_flags import SETTLED, arguments_of_read, begin_as_table, overlay, tell_recipe
from layerwise.cli.targets import choose_model, count_labelled, find_label_marks, mark_unlabeled
from layerwise.cli.task import Task, Trained, fills_gaps, train
from layerwise.cli.telling import describe_fit
from layerwise.cli.trained_rows import digest_rows, measure_ranges, sample_rows
from layerwise.cli.unfinished import CHECKPOINTS, SCRATCH
from layerwise.data.column_types import as_plain
from layerwise.data.inputs import read
from layerwise.data.values import describe_missing
from layerwise.inspection import describe_counts, describe_scale, inspect_model, layers_of
from layerwise.trackers import MLflow, TensorBoard

Tracked: TypeAlias = MLflow | TensorBoard


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
    for line in describe_fit(
        task, filled, tell_recipe({**settings, "model": task.settings["model"]}, flags, task.source)
    ):
        display.say(line)
    remembered, task = _let_go(task)
    places = {name: task.settings[name] for name in SETTLED if name in task.settings}
    recipe = recipes.describe(recipes.build(task.settings)) | places
    _note_settings(folder, recipe)
    with ExitStack() as opened:
        trackers = open_trackers(track, Path(task.settings["out"]), folder, recipe, opened)
        with MetricsFile(folder / runs.METRICS, resume=True) as metrics:
            trained = train(task, [*callbacks, metrics, *trackers], folder / CHECKPOINTS, checkpoint_seconds)
        scales = [describe_counts(trained.model), describe_scale(layers_of(trained.model)[0])]
        scale = "; then ".join(filter(None, scales))
        display.say(f"Scale: {scale}")
        facts = _gather_facts(task, trained, places, remembered, scale, start, display)
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
    settings = dict(settings) | {"model": chosen} | ({} if source.sheet is None else {"sheet": source.sheet})
    if source.encoder is not None:
        settings = begin_as_table(settings, flags, *source.X.shape)
    settings = overlay(settings, flags, source.X.shape[1])
    marks = None
    if chosen == "regressor" and source.y is not None:
        marks = find_label_marks(source.y, settings.get("finetuning", {}).get("unlabeled"))
    y, complete = mark_unlabeled(source.y, settings)
    if chosen == "regressor":
        source = source._replace(y=y)  # text has become numbers
    n_labelled = None if source.y is None else count_labelled(source.y, complete)
    held_out = hold_out(source, y, complete, marks, settings.get("finetuning", {}).get("unlabeled"))
    missing = describe_missing(source.X, source.column_names)
    return Task(source, settings, complete, why, n_labelled, missing, held_out, marks)


def _let_go(task: Task) -> tuple[dict[str, Any], Task]:
    """Return what a run remembers of the rows that were read, and the task without them, where it trains on copies."""
    X = task.source.X
    remembered = {
        "n_rows": sum(distributed.gather_counts([X.shape[0]])),
        "digest_of_rows": digest_rows(X),
        "sample_of_rows": sample_rows(task.held_out.source.X),
        "ranges": measure_ranges(X),
    }
    return remembered, task._replace(source=task.source._replace(X=X[:0].copy()))


def _note_settings(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Write run.toml, which --resume reads whenever the process dies, unless the run has begun before."""
    if not (folder / runs.SETTINGS).is_file():
        staging = folder / SCRATCH / runs.SETTINGS
        write_file(staging, recipes.write_toml(recipe))
        publish(staging, folder / runs.SETTINGS)


def _gather_facts(
    task: Task,
    trained: Trained,
    places: Mapping[str, Any],
    remembered: Mapping[str, Any],
    scale: str,
    start: float,
    display: Display,
) -> dict[str, Any]:
    """Return what a run remembers of its training, which began at ``start``, beside what it does of its rows."""
    source, settings = task.source, task.settings
    marks = {}
    if task.marks is not None:
        marks = {"label_marks": as_plain(task.marks), "amounts": f"written with {task.marks} in the labels"}
    shared = {"rows_shown": f"{trained.X.shape[0]:,} of them, those of the first process"}
    return runs.gather_facts(
        model=settings["model"],
        chosen_because=task.why,
        **{name: value for name, value in places.items() if name != "missing"}
        | {"image_shape": source.image_shape, "zero_based": source.zero_based},
        random_state=settings["random_state"],
        n_rows=remembered["n_rows"],
        n_labelled=task.n_labelled,
        unlabeled=settings.get("finetuning", {}).get("unlabeled"),
        scale=scale,
        n_features=trained.X.shape[1],
        **(shared if distributed.world_size() > 1 else {}),
        missing=task.missing,
        descriptions=source.descriptions,
        **{name: value for name, value in remembered.items() if name != "n_rows"},
        **marks,
        **source.origin,
        **judge(task, trained, display),
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
