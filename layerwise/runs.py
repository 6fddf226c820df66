"""A run on disk is a folder: the model, how it was made, ``metrics.jsonl`` with every iteration, pictures, a report."""

from __future__ import annotations

import io
import json
import platform
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from sklearn.base import BaseEstimator

import layerwise
from layerwise import persistence, plotting, products
from layerwise.atomic import write_file
from layerwise.data.column_types import is_plain
from layerwise.errors import FileError
from layerwise.export import write_model_card
from layerwise.inspection import bare, layers_of, stack_of
from layerwise.limits import check_length, own_file
from layerwise.recipes import write_toml
from layerwise.report import write_report
from layerwise.section import SECTION_KEYS
from layerwise.strict_json import parse_json, read_json
from layerwise.urls import Url, is_url, redact

METRICS, FACTS, SETTINGS, REPORT, CARD = "metrics.jsonl", "run.json", "run.toml", "report.html", "MODEL_CARD.md"
# The longest file of metrics, and the longest line in it.
_MAX_METRICS, _MAX_LINE = 2**26, 2**16


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_end(value: Any) -> bool:
    return value is None or _is_number(value)


# What steps and facts are, as far as anything is done with them. None stands for what is not known.
_STEP: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("stage", "status"), _is_text),
    **dict.fromkeys(("iteration", "value", "validation_loss", "seconds", "n_rows"), _is_number),
    "parts": lambda value: isinstance(value, dict) and all(part is None or _is_number(part) for part in value.values()),
}
_FACTS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        ("command", "data", "labels", "sample_weight", *SECTION_KEYS, "digest_of_rows", "read_at", "row_order"),
        _is_text,
    ),
    "sample_of_rows": lambda value: (
        isinstance(value, dict)
        and type(value.get("n_rows")) is int
        and isinstance(value.get("hashes"), list)
        and 0 < len(value["hashes"]) < 2**12
        and all(isinstance(text, str) and re.fullmatch("[0-9a-f]{16}", text) for text in value["hashes"])
    ),
    "descriptions": lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
    "label_marks": lambda value: is_plain(value) and value["type"] == "marked",
    "ranges": lambda value: (
        isinstance(value, list)
        and all(isinstance(ends, list) and len(ends) == 2 and all(map(_is_end, ends)) for ends in value)
    ),
    **dict.fromkeys(("transpose", "value_labels", "zero_based"), lambda value: isinstance(value, bool)),
    "layerwise_version": _is_text,
    **dict.fromkeys(
        ("id", "ignore", "date_parts"), lambda value: isinstance(value, list) and all(map(_is_text, value))
    ),
    "unlabeled": lambda value: _is_text(value) or _is_number(value),
    "max_categories": lambda value: type(value) is int,
    "image_shape": lambda value: (
        isinstance(value, list)
        and len(value) in (2, 3)
        and all(type(side) is int and 0 < side < 2**16 for side in value)
    ),
}
# Inputs and reconstructions in a picture.
_N_EXAMPLES = 12


def gather_facts(**facts: Any) -> dict[str, Any]:
    """Return how a run was made: the command, the versions, the machine, and the facts given.

    Parameters
    ----------
    **facts : str, number, list or None

    Returns
    -------
    facts : dict
        What JSON can hold.
    """
    return {
        "command": shlex.join(["layerwise", *map(_without_password, sys.argv[1:])]),
        **facts,
        "threads": torch.get_num_threads(),
        "products": products.kernel(),
        "layerwise_version": layerwise.__version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _without_password(word: str) -> str:
    return str(Url(word)) if is_url(word) else redact(word)


def write_run(
    folder: Path,
    model: BaseEstimator | None,
    X: Any,
    *,
    facts: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    image_shape: tuple[int, ...] | None = None,
    report: bool = True,
    **about_rows: Any,
) -> None:
    """Write a trained model, how it was made, its pictures and its report into a folder that holds the metrics.

    Parameters
    ----------
    folder : Path
        Holds ``metrics.jsonl``.
    model : estimator of layerwise, Pipeline that ends in one, or None
        None writes the facts and the loss alone.
    X : array-like of shape (n_samples, n_features)
        Rows for pictures and report, as the last step of the model takes them.
    facts : mapping
        As `gather_facts` returns them.
    settings : mapping or None, default=None
        What ``run.toml`` shall hold, if there is a recipe that repeats the run.
    image_shape : tuple of int or None, default=None
        Shape of a row as an image; None leaves out the pictures that need it.
    report : bool, default=True
        Whether to write ``report.html``.
    **about_rows : array-like, sequence of str, bool or None
        ``y``, ``feature_names``, ``feature_columns``, ``row_names``, ``trained_on`` and ``unfilled``, as
        `layerwise.report.write_report` takes them.
    """
    history = read_metrics(folder)
    write_file(folder / FACTS, json.dumps(facts, indent=2, default=str, allow_nan=False) + "\n")
    if settings is not None:
        write_file(folder / SETTINGS, write_toml(settings))
    curves: dict[str, list[float]] = {}
    for step in history:
        if step["status"] is None and step["value"] is not None:
            curves.setdefault(step["stage"], []).append(step["value"])
    save_picture(plotting.plot_loss(curves), folder / "loss.png")
    if model is None:
        return
    persistence.write(model, folder)
    if image_shape is not None:
        _write_pictures(folder, model, X, image_shape)
    if report:
        place, report_on = folder / REPORT, bare(model)
        write_report(place, report_on, X, history=history, run=facts, image_shape=image_shape, **about_rows)
    write_model_card(folder / CARD, model, facts, overwrite=True)  # the last: it lists the files


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the steps of a run, as `layerwise.callbacks.Step.as_dict` gives them; none if the file is not there.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    steps : list of dict

    Raises
    ------
    FileError
        If the file is too large, or holds what is no step.
    """
    path = own_file(folder, METRICS)
    if path is None:
        return []
    check_length(path, _MAX_METRICS, "a file of metrics")
    steps: list[dict[str, Any]] = []
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            step = parse_json(line, path)
            if not isinstance(step, dict) or step.get("stage") is None or _find_wrong(step, _STEP):
                raise FileError(f"{path} is damaged: line {len(steps) + 1} is no step of a training")
            steps.append(dict.fromkeys(_STEP) | step)
    return steps


def read_facts(folder: Path) -> dict[str, Any]:
    """Return how a run was made; empty if the folder does not tell.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    facts : dict

    Raises
    ------
    FileError
        If the file is too large, or damaged.
    """
    path = own_file(folder, FACTS)
    if path is None:
        return {}
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise FileError(f"{path} is damaged: it does not tell how a run was made")
    wrong = _find_wrong(facts, _FACTS)
    if wrong:
        raise FileError(f"{path} is damaged: {wrong} is not what a run has there")
    return facts


def _find_wrong(found: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]) -> str | None:
    """Return the name of the first entry that is there and is not what it must be."""
    return next(
        (name for name, is_right in kinds.items() if found.get(name) is not None and not is_right(found[name])), None
    )


def save_picture(ax: Axes, path: Path) -> None:
    """Write a picture to a file, and forget its figure.

    Parameters
    ----------
    ax : matplotlib Axes
    path : Path
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format=path.suffix.removeprefix("."))
    plt.close(figure)
    write_file(path, content.getvalue())


def _write_pictures(folder: Path, model: BaseEstimator, X: Any, image_shape: tuple[int, ...]) -> None:
    stack = stack_of(model)
    save_picture(plotting.plot_filters(layers_of(model)[0].components_, image_shape), folder / "filters.png")
    examples = X[:_N_EXAMPLES]
    reconstructions = stack.inverse_transform(stack.transform(examples))
    picture = plotting.plot_reconstructions(examples, reconstructions, image_shape)
    save_picture(picture, folder / "reconstructions.png")
