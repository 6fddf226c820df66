"""What `fit` does, step by step: from settings and a file of data to a trained model."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from layerwise import distributed, persistence, recipes
from layerwise.atomic import LOCK
from layerwise.callbacks import Callback, EarlyStopping, Step
from layerwise.checkpoint import Checkpoint
from layerwise.data._polars import import_polars
from layerwise.data.column_types import FLAGS, MARKERS, Marked, find_marks
from layerwise.data.inputs import Input
from layerwise.data.profiles import as_number, describe_misfit, find_stray_label
from layerwise.estimators import AutoencoderImputer, AutoencoderOutlierDetector
from layerwise.labels import find_labelled, find_missing, has_label
from layerwise.solvers import SOLVERS
from layerwise.trackers import MLflow, TensorBoard

Tracked: TypeAlias = MLflow | TensorBoard

# Whole numbers of at most so many different values are classes, where they repeat and are not spread (of at most ten,
# one of both is enough). With more, up to the second limit, they are so where they count from 0 or 1 without gaps and
# each stands for so many rows on average: heuristic choices.
_FEW_CLASSES, _MAX_CLASSES, _ROWS_OF_CLASS = 30, 100, 5
# Of fewer different whole numbers nobody doubts that they are classes.
_DOUBTFUL = 10
# More different whole numbers than that are spread if they take less than this share of those between the ends; they
# repeat if each stands for so many rows on average: heuristic choices.
_DENSE, _REPEATS = 1 / 3, 2
# So many classes of text are named.
_SHOWN_CLASSES = 10


def choose_model(y: np.ndarray | None, contamination: float | None = None, unlabeled: Any = None) -> tuple[str, str]:
    """Return which model suits the labels, one of `layerwise.recipes.MODELS`, and why, in words."""
    if y is None:
        why = "there are no labels"
        return ("autoencoder", why) if contamination is None else ("outliers", f"{why}, but a contamination is given")
    if y.ndim == 2:
        return "regressor", "each row has several targets"
    if unlabeled is not None and not _is_gap(unlabeled, y):
        y = y[find_labelled(y, _as_label("unlabeled", unlabeled, y))]
    if y.dtype.kind not in "iuf" and not are_all(y, int):
        return ("classifier", "the labels are true and false") if are_all(y, bool) else _choose_for_text(y, unlabeled)
    if have_fractions(y):
        return "regressor", "the labels are numbers with fractions"
    known = distributed.unique(y[~find_missing(y)])
    count = len(known)
    n_labelled = sum(distributed.gather_counts([int((~find_missing(y)).sum())]))
    numbered = count <= _MAX_CLASSES and known[0] in (0, 1) and known[-1] - known[0] == count - 1
    dense, repeats = count >= _DENSE * (known[-1] - known[0]), n_labelled >= _REPEATS * count
    few = (
        count <= _REPEATS
        or (count <= _DOUBTFUL and (dense or repeats))
        or (count <= _FEW_CLASSES and dense and repeats)
    )
    model = "classifier" if few or (numbered and n_labelled >= _ROWS_OF_CLASS * count) else "regressor"
    why = f"the labels are {count:,} different whole number{'s' if count > 1 else ''} in {n_labelled:,} rows"
    if count < _DOUBTFUL:
        return model, why
    taken, other, meant = (
        ("classes", "regressor", "amounts") if model == "classifier" else ("amounts", "classifier", "classes")
    )
    return model, f"{why}, taken as {taken}; if they are {meant}, choose --model {other}"


def _is_gap(unlabeled: Any, y: np.ndarray) -> bool:
    """Whether the label that stands for none has been read as a gap among numbers."""
    return unlabeled in MARKERS and y.dtype.kind not in "OU" and distributed.any_rank(bool(find_missing(y).any()))


def have_fractions(y: np.ndarray) -> bool:
    """Whether one of the labels of all ranks is no whole number."""
    known = y[~find_missing(y)]
    return y.dtype.kind == "f" and distributed.any_rank(bool((known != np.floor(known)).any()))


def _choose_for_text(y: np.ndarray, unlabeled: Any) -> tuple[str, str]:
    """Return the model, and why, for labels of text, all but the one that stands for none."""
    numbers = None if unlabeled is None else as_amounts(y)
    if numbers is not None:
        return choose_model(numbers)
    written, amounts = find_label_marks(y), as_amounts(y)
    if written is not None and amounts is not None and (chosen := choose_model(amounts))[0] == "regressor":
        return "regressor", f"{chosen[1]}, written with {written}"
    labels = _gather_labels(y)
    classes = sorted(set(labels) - {None})
    misfit = describe_misfit(classes, find_stray_label(labels), "counted from 1")
    if misfit and len(classes) > _FEW_CLASSES:
        return "regressor", f"the labels look like {misfit}"
    shown = ", ".join(f"{label:.65}" for label in classes[:_SHOWN_CLASSES])
    more = f" and {len(classes) - _SHOWN_CLASSES:,} more" if len(classes) > _SHOWN_CLASSES else ""
    why = f"the labels are text: {len(classes):,} class{'es' if len(classes) != 1 else ''}: {shown}{more}"
    marks = ", ".join(repr(label) for label in classes if label in MARKERS)
    why += f"; {marks} is one of them, unless --missing names it" if marks else ""
    return "classifier", f"{why}, which look like {misfit}" if misfit else why


def _gather_labels(y: np.ndarray) -> list[Any]:
    """Return the labels of all ranks."""
    return [label for part in distributed.gather_bytes(json.dumps(y.tolist()).encode()) for label in json.loads(part)]


def as_amounts(y: np.ndarray, unlabeled: Any = None, marks: Marked | None = None) -> np.ndarray | None:
    """Return labels of text as numbers, NaN where one is missing or stands for none; None where one is no number.

    ``marks`` is how those of the training are written; found anew if not given.
    """
    numbers = [np.nan if label in (None, unlabeled) else as_number(label) for label in y.tolist()]
    if not distributed.any_rank(None in numbers):
        return np.array(numbers, dtype=np.float64)
    marks = marks or find_label_marks(y, unlabeled)
    if marks is None:
        return None
    known = [label not in (None, unlabeled) for label in y.tolist()]
    read = np.full(len(y), np.nan)
    read[known] = marks.encode(import_polars().Series([str(label).strip() for label in y[known]])).to_numpy()
    return None if distributed.any_rank(bool(np.isnan(read[known]).any())) else read


def find_label_marks(y: np.ndarray, unlabeled: Any = None) -> Marked | None:
    """Return how all labels are written as numbers, with a unit and the like; None if they are not, or plain."""
    if distributed.any_rank(y.ndim != 1 or y.dtype.kind not in "OU"):
        return None
    labels = {str(label).strip() for label in _gather_labels(y) if label not in (None, unlabeled)}
    plain = {label for label in labels if as_number(label) is not None}
    return find_marks(sorted(labels)) if labels and len(plain) < len(labels) else None


def are_all(y: np.ndarray, kind: type) -> bool:
    """Whether labels are of this type on all ranks, apart from those that are missing."""
    if y.dtype.kind != "O":
        return y.dtype.kind in {bool: "b", int: "iu"}[kind]
    return not distributed.any_rank(any(type(value) is not kind for value in y[~find_missing(y)]))


def mark_unlabeled(y: np.ndarray | None, settings: Mapping[str, Any]) -> tuple[np.ndarray | None, dict[str, Any]]:
    """Return labels that estimators take, and settings that name the label of rows that have none.

    A missing text becomes the empty one, a missing class number the one below the lowest, a missing target stays NaN.
    """
    settings = dict(settings)
    if settings["model"] not in ("classifier", "regressor"):
        return None, settings
    if y is None:
        raise ValueError(f"model={settings['model']!r} needs labels; give them with --labels")
    finetuning = dict(settings.get("finetuning", {}))
    if _is_gap(finetuning.get("unlabeled"), y):
        settings["finetuning"] = finetuning = {k: v for k, v in finetuning.items() if k != "unlabeled"}
    unlabeled = finetuning.get("unlabeled")
    if isinstance(finetuning.get("class_weight"), Mapping):  # TOML knows no keys but texts
        named = finetuning["class_weight"].items()
        finetuning["class_weight"] = {_as_label("class_weight", label, y): weight for label, weight in named}
        settings["finetuning"] = finetuning
    if y.dtype.kind == "O" and (are_all(y, int) or are_all(y, bool)):
        if unlabeled is not None:
            y = y.copy()
            y[y == _as_label("unlabeled", unlabeled, y)] = None
        y, finetuning["unlabeled"] = _fill_labels(y, settings["model"])
        return y, settings | {"finetuning": finetuning}
    if settings["model"] == "regressor" and y.dtype.kind not in "biuf":
        marked = None if unlabeled is None else _as_label("unlabeled", unlabeled, y)
        amounts = as_amounts(y, marked)
        if amounts is None:
            _refuse_text(y, marked)
        if not distributed.any_rank(bool(np.isnan(amounts).any())):
            return amounts, settings
        return amounts, settings | {"finetuning": finetuning | {"unlabeled": float("nan")}}
    if unlabeled is not None:
        finetuning["unlabeled"] = _as_label("unlabeled", unlabeled, y)
        return y, settings | {"finetuning": finetuning}
    missing = find_missing(y)
    if not distributed.any_rank(bool(missing.any())):
        return y.astype(str) if y.dtype.kind == "O" else y, settings
    if y.dtype.kind == "O":
        y, unlabeled = np.where(missing, "", y).astype(str), ""
    elif settings["model"] == "classifier" and ((known := distributed.unique(y[~missing])) == np.floor(known)).all():
        unlabeled = int(known.min()) - 1
        y = np.where(missing, unlabeled, y).astype(np.int64)
    else:
        unlabeled = float("nan")
    return y, settings | {"finetuning": finetuning | {"unlabeled": unlabeled}}


def _refuse_text(y: np.ndarray, unlabeled: Any) -> NoReturn:
    """Refuse labels of text for a regressor, one of which may stand for none."""
    labels = [None if label == unlabeled else label for label in _gather_labels(y)]
    stray = find_stray_label(labels)
    misfit = describe_misfit({label for label in labels if label is not None}, stray, "counted from 1")
    if misfit is None:
        found = next(label for label in labels if label is not None and as_number(label) is None)
        raise ValueError(f"a regressor needs numbers as labels, but found {found!r:.65}; choose a classifier")
    if stray is not None and unlabeled is None:
        misfit += f", or name such a mark with --unlabeled {shlex.quote(stray.value)}"
    raise ValueError(
        f"a regressor needs numbers as labels, but these look like {misfit}; if they are classes, choose "
        f"--model classifier"
    )


def _fill_labels(y: np.ndarray, model: str) -> tuple[np.ndarray, Any]:
    """Return whole numbers, or true and false as 1 and 0, as numbers; and the one that stands where one is missing."""
    missing = find_missing(y)
    if model == "regressor":
        return np.where(missing, np.nan, y).astype(np.float64), float("nan")
    known = {int(value) for value in distributed.unique(np.array([str(int(value)) for value in y[~missing]]))}
    dtype = np.uint64 if max(known, default=0) >= 2**63 else np.int64
    none = next(value for value in range(0 if dtype == np.uint64 else -1, len(known) + 1) if value not in known)
    return np.where(missing, none, y).astype(dtype), none


def count_labelled(y: np.ndarray, settings: Mapping[str, Any]) -> int:
    """Return how many rows of all processes have a label, neither missing nor the one that stands for none."""
    known = has_label(y, settings.get("finetuning", {}).get("unlabeled"))
    return sum(distributed.gather_counts([int(known.sum())]))


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


def train(
    source: Input,
    y: np.ndarray | None,
    missing: str | None,
    settings: Mapping[str, Any],
    callbacks: Sequence[Callback],
    checkpoints: Path | None,
    seconds: float,
    held_out: tuple[Any, np.ndarray | None] | None = None,
) -> tuple[BaseEstimator, np.ndarray, Any]:
    """Train the model of the settings; return it, after what prepares its rows, and those rows, and those held out.

    ``missing`` says which values are, as `describe_missing` does. ``checkpoints`` is the folder for them, one of which
    is written after so many ``seconds``; None writes none. ``held_out`` are rows, and their labels, to stop early by.
    """
    steps: list[tuple[str, BaseEstimator]] = []
    if source.encoder is not None:
        steps.append(("table", source.encoder))
    X, weights = source.X, {} if source.weights is None else {"sample_weight": source.weights}
    if missing and not fills_gaps(source, settings):
        refuse_gaps(missing, source)
    if settings.get("impute") or missing:
        if sparse.issparse(X):
            raise ValueError(
                "impute=True needs dense rows, but the data is a sparse matrix, in which nothing is missing"
            )
        imputer = AutoencoderImputer(random_state=settings["random_state"])
        imputer.set_params(autoencoder__dtype=settings.get("dtype", "float32"))
        if (max_iter := _iterations_asked_for(settings)) is not None:
            imputer.set_params(autoencoder__solver__max_iter=max_iter)
        imputer.set_params(
            callbacks=[_prefixed("imputer", callback) for callback in callbacks],
            checkpoint=None if checkpoints is None else Checkpoint(checkpoints / "imputer", seconds=seconds),
        )
        X = imputer.fit_transform(X, **weights)
        if held_out is not None:
            held_out = imputer.transform(held_out[0]), held_out[1]
        steps.append(("imputer", imputer))
    checkpoint = None if checkpoints is None else Checkpoint(checkpoints / "model", seconds=seconds)
    model = recipes.build(settings).set_params(callbacks=list(callbacks), checkpoint=checkpoint)
    if isinstance(model, AutoencoderOutlierDetector) and source.encoder is not None:
        model.set_params(feature_groups=source.feature_columns)  # a column of text counts as one
    watched = {}
    if held_out is not None and not getattr(vars(model).get("early_stopping"), "refit", False):
        watched = {"X_val": held_out[0]} | ({} if y is None else {"y_val": held_out[1]})
        unset = [name for name, value in model.get_params().items() if name.endswith("early_stopping") and not value]
        model.set_params(**{name: EarlyStopping() for name in unset})
    model.fit(X, **weights, **watched) if y is None else model.fit(X, y, **weights, **watched)
    if hasattr(model, "classes_") and source.y is not None and are_all(source.y, bool):
        model.classes_ = model.classes_.astype(bool)  # which have been numbers beside gaps
    steps.append(("model", model))
    return (model if len(steps) == 1 else Pipeline(steps)), X, None if held_out is None else held_out[0]


def _iterations_asked_for(settings: Mapping[str, Any]) -> int | None:
    """Return how many iterations the first layer has, if that is not what it has when nothing is said."""
    finetuning, layers = settings.get("finetuning", {}), settings.get("layers", [])
    # The recipe for tables has iterations of its own for its layer.
    spec = finetuning if finetuning.get("init") == "linear" else layers[0] if layers else {}
    usual = recipes.default_layers(settings["model"])
    given, default = (
        one.get("solver", {}) if isinstance(one.get("solver", {}), Mapping) else {}
        for one in (spec, usual[0] if usual else {})
    )
    solver = SOLVERS[given.get("name", "lbfgs")]()
    asked = given.get("max_iter")
    return None if asked in (default.get("max_iter"), solver.max_iter) else asked


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


def _as_label(name: str, value: Any, y: np.ndarray) -> Any:
    """Return a label in the type of the others."""
    try:
        label: Any
        if are_all(y, bool):
            label = FLAGS[str(value)]
        elif are_all(y, int) and y.dtype.kind == "O":
            label = int(value)
        else:
            label = str(value) if y.dtype.kind in "UO" else np.array([value]).astype(y.dtype)[0].item()
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{name}={value!r} is no label of type {y.dtype}, which the labels have") from None
    if not distributed.any_rank(bool((y == label).any())):
        raise ValueError(f"{name}={value!r} stands nowhere in the labels")
    return label
