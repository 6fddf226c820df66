"""Labels as `fit` takes them: which model suits them, and what estimators make of those that are missing."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np

from layerwise import distributed
from layerwise.data._polars import pl
from layerwise.data.column_types import FLAGS, MARKERS, Marked, find_marks
from layerwise.data.profiles import as_number, describe_misfit, find_stray_label
from layerwise.labels import find_labelled, find_missing, has_label, is_missing

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
    marks = find_label_marks(y)
    amounts = None if marks is None else as_amounts(y, marks=marks)
    if amounts is not None and (chosen := choose_model(amounts))[0] == "regressor":
        return chosen
    labels = _gather_labels(y)
    classes = sorted(set(labels) - {None})
    misfit = describe_misfit(classes, find_stray_label(labels), "counted from 1")
    if misfit and len(classes) > _FEW_CLASSES:
        return "regressor", f"the labels look like {misfit}"
    shown = ", ".join(f"{label:.65}" for label in classes[:_SHOWN_CLASSES])
    more = f" and {len(classes) - _SHOWN_CLASSES:,} more" if len(classes) > _SHOWN_CLASSES else ""
    why = f"the labels are text: {len(classes):,} class{'es' if len(classes) != 1 else ''}: {shown}{more}"
    gaps = ", ".join(repr(label) for label in classes if label in MARKERS)
    why += f"; {gaps} is one of them, unless --missing names it" if gaps else ""
    return "classifier", f"{why}, which look like {misfit}" if misfit else why


def _gather_labels(y: np.ndarray) -> list[Any]:
    """Return the labels of all ranks."""
    return [label for part in distributed.gather_bytes(json.dumps(y.tolist()).encode()) for label in json.loads(part)]


def as_amounts(y: np.ndarray, unlabeled: Any = None, marks: Marked | None = None) -> np.ndarray | None:
    """Return labels of text as numbers, NaN where one is missing or stands for none; None where one is no number.

    ``marks`` is how they are written; found if not given.
    """
    numbers = [np.nan if label in (None, unlabeled) else as_number(label) for label in y.tolist()]
    if not distributed.any_rank(None in numbers):
        return np.array(numbers, dtype=np.float64)
    marks = marks or find_label_marks(y, unlabeled)
    if marks is None:
        return None
    known = [label not in (None, unlabeled) for label in y.tolist()]
    read = np.full(len(y), np.nan)
    read[known] = marks.encode(pl.Series([str(label).strip() for label in y[known]])).to_numpy()
    return None if distributed.any_rank(bool(np.isnan(read[known]).any())) else read


def read_as_trained(y: np.ndarray, marks: Marked | None, unlabeled: Collection[Any], where: str) -> np.ndarray:
    """Return amounts of other rows as numbers, written as those of the training: with these marks, or plain.

    NaN stands where one is missing, or ``unlabeled``.

    Raises
    ------
    ValueError
        If one is written otherwise. The message says ``where`` it is from.
    """
    text = distributed.any_rank(y.dtype.kind in "OU")
    numbers = _read_written(y.tolist(), marks, unlabeled) if text else y
    if distributed.any_rank(None in numbers if text else False):
        labels = _gather_labels(y)
        row = _read_written(labels, marks, unlabeled).index(None)
        how = "plain numbers" if marks is None else f"amounts written with {marks}"
        raise ValueError(
            f"{where} holds the label {labels[row]!r:.65} in row {row + 1} (counted from 1), but those of the training "
            f"are {how}; write it alike, or leave it empty"
        )
    unit = "" if marks is None else f"{marks.before}{marks.after}".strip()
    if unit and not distributed.any_rank(any(unit in str(label) for label in y)):
        warnings.warn(
            f"the labels of {where} are plain numbers, read as amounts in {unit!r}, as those of the training are",
            stacklevel=2,
        )
    return np.array(numbers, dtype=np.float64) if text else y


def _read_written(labels: list[Any], marks: Marked | None, unlabeled: Collection[Any]) -> list[float | None]:
    """Return labels as numbers: NaN for a missing one, None for one that is written otherwise."""
    read = {label: as_number(label) for label in set(labels)}
    if marks is not None:
        texts = list(map(str, read))
        read = dict(zip(read, marks.encode(pl.Series(texts, dtype=pl.String).str.strip_chars()), strict=True))
    none = {label for label in read if is_missing(label) or str(label) in unlabeled}
    return [np.nan if label in none else read[label] for label in labels]


def match_classes(y: np.ndarray, trained: np.ndarray, where: str) -> np.ndarray:
    """Return labels of other rows in the type of those of the training, of whose classes they are."""
    classes = {_name_of(label): label for label in distributed.unique(trained[has_label(trained)]).tolist()}
    alien = [name for name in map(_name_of, _gather_labels(y)) if name not in classes]
    if alien:
        raise ValueError(f"{where} holds {alien[0]}, which is none of the classes: {', '.join(classes)}")
    return np.array([classes[_name_of(label)] for label in y.tolist()], dtype=trained.dtype)


def _name_of(label: Any) -> str:
    """Return a label as text: whole numbers without a point, true and false as 1 and 0."""
    return str(label) if isinstance(label, str) or label != label // 1 else str(int(label))


def stands_for_none(y: np.ndarray, unlabeled: Any) -> np.ndarray:
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
    return sum(distributed.gather_counts([int(which_have_one(y, settings).sum())]))


def which_have_one(y: np.ndarray, settings: Mapping[str, Any]) -> np.ndarray:
    """Return which rows have a label, neither missing nor the one that stands for none."""
    return has_label(y, settings.get("finetuning", {}).get("unlabeled"))


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
