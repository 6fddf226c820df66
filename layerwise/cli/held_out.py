"""Rows that `fit` does not train on: which they are.

Of few rows each is held out in its turn, by folds, and the model itself is trained on all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit

from layerwise import distributed
from layerwise.cli.opening import match_columns, select
from layerwise.cli.targets import match_classes, read_as_trained, stands_for_none, which_have_one
from layerwise.data.cells import CellsSource
from layerwise.data.column_types import Date, Marked
from layerwise.data.inputs import Input, TableSource, open_source, read
from layerwise.labels import has_label
from layerwise.recipes import HELD_OUT_KEYS
from layerwise.section import WHOLE, Section
from layerwise.urls import as_place

# Kinds of models that are measured on rows held out.
_MEASURED = ("autoencoder", "classifier", "regressor")
# Share of the rows that are held out, unless told otherwise.
FRACTION = 0.2
# Fewer rows (with a label, where labels are learnt), or those of classes that are as many as the rows to be held out,
# are held out by folds; of more bytes in a map, a copy is too much.
_FEWEST, _MOST_BYTES = 50, 2**28
# How many folds there are, at most; of how many rows at least, and of how many values at most, which take seconds.
_FOLDS, _FEWEST_FOLDED, _MOST_FOLDED = 5, 10, 250_000


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
    folds : sequence of ndarray
        Where the rows stand that are held out together, in models of their own; the model is trained on all.
    """

    source: Input
    y: np.ndarray | None
    rows: Input | None
    labels: np.ndarray | None
    how: str
    places: np.ndarray | None = None
    folds: Sequence[np.ndarray] = ()


def hold_out(
    source: Input,
    y: np.ndarray | None,
    settings: Mapping[str, Any],
    marks: Marked | None = None,
    unlabeled: Any = None,
) -> HeldOut:
    """Hold rows out: those of a file of their own, or a share of the data, at random or as the settings say, or folds.

    Of models with labels only rows with a label are held out, in the proportions of the classes; of a group all rows
    or none; of rows in time the last ones. Labels of a file of their own are written with ``marks``, as those of the
    data, and ``unlabeled`` stands for none among them.
    """
    _check(settings)
    if "validation_data" in settings:
        return _read(source, y, settings, marks, unlabeled)
    known = np.ones(source.X.shape[0], bool) if y is None else which_have_one(y, settings)
    candidates = np.flatnonzero(known)
    fraction = settings.get("validation_fraction", FRACTION)
    labels = y[candidates] if settings["model"] == "classifier" and y is not None else None
    fewest = _FEWEST if labels is None else max(_FEWEST, int(np.ceil(len(np.unique(labels.astype(str))) / FRACTION)))
    why = _refuse(source, settings)
    if why is not None:
        return HeldOut(source, y, None, None, why)
    if len(candidates) < fewest and not any(name in settings for name in HELD_OUT_KEYS):
        what = f"{len(candidates)} {'rows' if y is None else 'rows with labels'} are too few to spare some"
        return _fold(source, y, candidates, labels, f"{what} (at least {fewest})", settings["random_state"])
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
    told += "" if any(settings.get(name) for name in ("ordered", "groups")) else _hint_at_time(source)
    return HeldOut(source.take(inside), parts[0], source.take(outside), parts[1], told, outside)


def _fold(
    source: Input, y: np.ndarray | None, candidates: np.ndarray, labels: np.ndarray | None, few: str, seed: int
) -> HeldOut:
    """Part few rows into folds, each of which is held out in its turn; in the proportions of classes."""
    none = HeldOut(source, y, None, None, f"none, as {few}")
    n_folds, how = _FOLDS, ""
    if labels is not None:
        candidates, classes = _leave_single(candidates, labels)
        counts = np.unique(classes, return_counts=True)[1]
        if len(counts) < 2:
            return none._replace(how=f"{none.how}, and for folds two classes need two rows or more")
        n_folds, how = min(_FOLDS, int(counts.min())), " in the proportions of the classes"
    if len(candidates) < _FEWEST_FOLDED:
        return none._replace(how=f"{none.how}, and fewer than {_FEWEST_FOLDED} to make folds of")
    if np.prod(source.X.shape) > _MOST_FOLDED:
        return none._replace(
            how=f"{none.how}, and all rows too many to train {n_folds} times; see --validation-fraction"
        )
    kind = KFold if labels is None else StratifiedKFold
    parts = kind(n_folds, shuffle=True, random_state=seed).split(candidates, None if labels is None else classes)
    told = (
        f"{len(candidates)} of {source.X.shape[0]:,} rows, by {n_folds} folds{how}: as {few}, {n_folds} models are "
        f"measured, each on rows it has not seen, and the model is trained on all rows (--validation-fraction 0 leaves "
        f"the folds out){_hint_at_time(source)}"
    )
    return none._replace(how=told, folds=[candidates[chosen] for _, chosen in parts])


def _hint_at_time(source: Input) -> str:
    """Say which column of dates the rows are sorted by, if there is one."""
    if source.encoder is None:
        return ""
    for name, values in source.encoder.numbers_of(source.X).items():
        if isinstance(source.encoder.get_reading(name), Date) and (np.diff(values) >= 0).all():
            return f"; rows are in the order of column {name!r:.65}: --ordered holds the last ones out"
    return ""


def _check(settings: Mapping[str, Any]) -> None:
    fraction = settings.get("validation_fraction", FRACTION)
    if not 0 <= fraction < 1:
        raise ValueError(f"validation_fraction={fraction:g} must be a share of the rows, from 0 to below 1")
    given = [name for name in ("validation_data", "groups", "ordered") if settings.get(name)]
    asked = given or (["validation_fraction"] if settings.get("validation_fraction") else [])
    if settings["model"] not in _MEASURED and asked:
        raise ValueError(
            f"{asked[0]}={settings[asked[0]]!r} has no meaning with model={settings['model']!r}, which is to judge all "
            f"rows; leave it out"
        )
    if len(given) > 1 or (given == ["validation_data"] and "validation_fraction" in settings):
        named = " and ".join(f"--{name.replace('_', '-')}" for name in (given + ["validation_fraction"])[:2])
        raise ValueError(f"{named} exclude each other; name the rows to hold out in one way")


def _refuse(source: Input, settings: Mapping[str, Any]) -> str | None:
    """Say why no rows are held out; None where some can be."""
    if settings.get("validation_fraction") == 0:
        return "none, as asked for"
    if distributed.world_size() > 1 or settings.get("deterministic"):  # which gives the bits of any number of them
        return "none by several processes; --validation-data names such rows"
    if isinstance(source.X, np.memmap) and source.X.nbytes > _MOST_BYTES:
        return f"none of {source.X.nbytes / 2**30:.1f} GiB on disk; --validation-data names such rows"
    if settings["model"] not in _MEASURED:
        return "none, as all rows are to be judged"
    return None


def _read(
    source: Input, y: np.ndarray | None, settings: Mapping[str, Any], marks: Marked | None, unlabeled: Any
) -> HeldOut:
    """Read rows held out from a file of their own."""
    path = as_place(settings["validation_data"])
    labels = settings.get("labels") if y is not None else None
    section = Section(**select(path, {**settings, "array": None, "zero_based": source.zero_based}, WHOLE))
    opened = open_source(path, section)
    named = opened.names if isinstance(opened, (TableSource, CellsSource)) else ()
    if labels is not None and labels not in named:
        raise ValueError(
            f"validation_data={path} needs labels in a column of the name of those of the data, but it has no column "
            f"{labels!r}"
        )
    opened.as_written = labels if marks is not None or (y is not None and y.dtype.kind == "U") else None
    rows = read(opened, labels=labels, encoder=source.encoder, image_shape=source.image_shape)
    rows = match_columns(rows, source, path)
    marked = places = None
    if y is not None:
        assert rows.y is not None
        where = f"validation_data={path}"
        places = np.flatnonzero(has_label(rows.y) & ~stands_for_none(rows.y, unlabeled))
        known = rows.y[places]
        rows = rows.take(places)
        if settings["model"] == "classifier":
            marked = match_classes(known, y[which_have_one(y, settings)], where)
        else:
            marked = read_as_trained(known, marks, (), where)
            rows = rows._replace(y=marked)
    return HeldOut(source, y, rows, marked, f"{rows.X.shape[0]:,} rows of {path}", places)


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
        several, classes = _leave_single(candidates, labels)
        n_classes, n_held_out = len(np.unique(classes)), round(fraction * len(classes))
        if n_classes > 1 and n_held_out >= n_classes:
            _, chosen = next(StratifiedShuffleSplit(**options).split(classes, classes))
            return several[chosen], "in the proportions of the classes"
    _, chosen = next(ShuffleSplit(**options).split(candidates))
    return candidates[chosen], "at random"


def _leave_single(candidates: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and their classes, as numbers, but for the only row of a class, which is needed to train."""
    _, classes, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    several = counts[classes] > 1
    return candidates[several], classes[several]
