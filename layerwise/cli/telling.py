"""What is said of rows before a training, and of a model after it: what went wrong, what to try, what to do next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from layerwise import distributed, runs
from layerwise.cli.common import as_command
from layerwise.cli.opening import list_columns
from layerwise.cli.task import Task
from layerwise.data.column_types import MARKERS
from layerwise.data.inputs import Input
from layerwise.data.naming import as_flag, name_columns
from layerwise.data.values import describe_codes, describe_odd_columns
from layerwise.estimators import AutoencoderOutlierDetector
from layerwise.section import Section
from layerwise.urls import Url, as_place

# What a person wants next, by the model that was trained.
_NEXT = {"autoencoder": ["encode", "--out", "codes.csv"], "outliers": ["score", "--because", "--out", "scores.csv"]}
# Of outliers, unless it is given.
_CONTAMINATION = signature(AutoencoderOutlierDetector).parameters["contamination"].default
# Labels are few if a smaller share of the rows has one: a heuristic choice.
_FEW = 0.1
# How the axes of an array were read, where it is not rows along the first.
_TOLD = {"images-last": "rows along the last axis", "pixels": "each pixel a row", "windows": "each sample a row"}


def describe_data(source: Input, settings: Mapping[str, Any], n_labelled: int | None) -> list[str]:
    """Return what was read, in lines: rows, how axes were taken, what the columns of a table are."""
    return [
        _describe_rows(source, n_labelled),
        *_describe_order(source),
        *_advise_on_transpose(source, settings),
        *_describe_columns(source),
    ]


def describe_fit(task: Task, filled: str | None, recipe: Sequence[str]) -> list[str]:
    """Return what is said before a training, in lines.

    Which values are ``filled`` in first, and which ``recipe`` was taken, are in words.
    """
    source, settings = task.source, task.settings
    lines = describe_data(source, settings, task.n_labelled)
    if task.why:
        lines.append(_describe_task(settings["model"], task.why, source))
    lines += recipe
    if task.marks is not None:
        lines.append(f"Labels: amounts written with {task.marks}, which predictions are without")
    if filled:
        lines.append(f"Filled in by an autoencoder first: {filled} (--no-impute refuses them)")
    lines.append(f"Held out: {task.held_out.how}")
    if source.encoder is not None and source.feature_columns is not None:
        written = [name for name in source.encoder.numbers_ if source.encoder.get_reading(name) is not None]
        lines += describe_odd_columns(source.X, source.feature_columns, written)
    if settings["model"] == "outliers":
        share = settings.get("contamination", _CONTAMINATION)
        lines.append(f"Outliers: the most unusual {100 * share:g} % of the rows (--contamination)")
    return lines


def _describe_rows(source: Input, n_labelled: int | None) -> str:
    """Return what all processes have read, in words."""
    n_rows = sum(distributed.gather_counts([source.X.shape[0]]))
    text = f"{n_rows:,} rows of {source.X.shape[1]:,} features"
    if source.image_shape is not None:
        text = f"{n_rows:,} images of {' x '.join(map(str, source.image_shape))}"
    if source.layout in _TOLD:
        axes = " x ".join(map(str, source.shape or ()))
        text = f"{text} (an array of {axes}, {_TOLD[source.layout]}: layout {source.layout!r}, see --layout)"
    if source.zero_based is not None:
        text = f"{text} (columns counted from {int(not source.zero_based)}, see --zero-based)"
    if n_labelled is None:
        return text
    return f"{text}, {'' if n_labelled == n_rows else f'{n_labelled:,} of them '}with labels"


def _describe_order(source: Input) -> list[str]:
    """Return a line on rows that may come in another order when they are read again."""
    order = source.origin.get("row_order")
    if order is None:
        return []
    return [
        f"Order of the rows: {order}; to repeat this run, or to go on with it, they must come in the same order again: "
        f"give a query with ORDER BY"
    ]


def _advise_on_transpose(source: Input, settings: Mapping[str, Any]) -> list[str]:
    """Return a line on a wide matrix of MATLAB, whose columns may be the samples."""
    n_rows, n_features = source.X.shape
    matlab = str(settings["data"]).lower().endswith(".mat") and source.layout is None and source.image_shape is None
    if not matlab or settings.get("transpose") is not None or n_rows >= n_features or source.y is not None:
        return []
    return [
        f"{settings['data']} has more columns than rows: if its columns are the samples, as in trainAutoencoder, add "
        f"--transpose (if not, --no-transpose leaves this out)"
    ]


def _describe_columns(source: Input) -> list[str]:
    """Return what the columns of a table were taken for, in a line, and one on those that may be codes."""
    if source.encoder is None:
        return []
    codes = source.encoder.list_codes()
    lines = [f"Columns: {source.encoder.describe()}"]
    if codes:
        lines.append(
            f"{name_columns(codes)} {'is' if len(codes) == 1 else 'are'} read as numbers: if they are codes, "
            f"{as_flag('--ignore', codes)}, or put a letter before each"
        )
    texts = [
        f"{mark!r} in {name!r:.65}"
        for name, values in source.encoder.categories_.items()
        for mark in values
        if mark in MARKERS and mark != "missing"
    ]
    if texts:
        lines.append(
            f"{', '.join(texts)} {'is a value' if len(texts) == 1 else 'are values'} of text like others; name what "
            f"stands for nothing with --missing"
        )
    numbers = source.encoder.numbers_of(source.X)
    if source.y is not None and source.y.ndim == 1 and source.y.dtype.kind in "if":
        numbers[source.label_name or "labels"] = source.y
    gaps = describe_codes(numbers)
    return lines if gaps is None else [*lines, gaps]


def _describe_task(model: str, why: str, source: Input) -> str:
    """Return which model was chosen, why, and how to choose the other where whole numbers may be either."""
    numbers = source.y is not None and source.y.ndim == 1 and source.y.dtype.kind in "iuf"
    other = " (--model regressor for amounts)" if model == "classifier" and numbers and "--model" not in why else ""
    return f"Model: {model}, because {why}{other}"


def warn_of_stages(place: Path, facts: Mapping[str, Any]) -> list[str]:
    """Say which stages of the training failed."""
    failed = [
        f"{stage['stage']} {stage['status']}"
        for stage in facts["stages"]
        if stage["status"].startswith(("failed", "diverged"))
    ]
    return [f"Training went wrong: {'; '.join(failed)}. See {place / runs.REPORT}"] if failed else []


def advise_on_labels(facts: Mapping[str, Any]) -> list[str]:
    """Say what to try instead where few labels have trained the layers too, and no rows held out tell how well."""
    n_rows, n_labelled = facts["n_rows"], facts.get("n_labelled")
    if (
        "held_out" in facts
        or facts["model"] != "classifier"
        or n_labelled >= _FEW * n_rows
        or facts["stages"][-1]["stage"] != "finetune"
    ):
        return []
    return [
        f"Only {n_labelled:,} of {n_rows:,} rows have labels: --finetune head, which leaves the layers as they are, is "
        f"often better with so few"
    ]


def suggest_next(place: Path, facts: Mapping[str, Any]) -> str:
    """Return the command that a person wants next; of what learned from labels, how good it is on other rows."""
    data = as_place(facts["data"])
    if facts["model"] in _NEXT:
        verb, *more = _NEXT[facts["model"]]
        return as_command(verb, place, data, *more)
    own = isinstance(data, Url) or facts["labels"] in list_columns(data, Section(sheet=facts.get("sheet")))
    labels = [] if own else ["--labels", "THEIR_LABELS"]
    evaluate, predict = as_command("evaluate", place, "OTHER_ROWS", *labels), as_command("predict", place, data)
    return f"{evaluate} (rows that it has not seen), or {predict}"
