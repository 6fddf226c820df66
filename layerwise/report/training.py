"""How it was made: the run, its stages, their loss curves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from layerwise.inspection import inspect_model
from layerwise.plotting import plot_loss
from layerwise.report.figures import chart
from layerwise.report.section import Section, number
from layerwise.report.subject import Subject

# What a run tells of itself, in the order of the page; None where it stands elsewhere on it.
_FACTS = {
    "command": None,
    "model": "Model",
    "chosen_because": "Chosen because",
    "experiment": "Experiment",
    "data": "Data",
    "report on": "Rows shown from",
    "n_rows": "Rows",
    "n_labelled": "Rows with labels",
    "rows_shown": "Rows shown",
    "n_features": "Features",
    "array": "Array",
    "query": "Query",
    "table": "Table",
    "read_at": "Read at",
    "row_order": "Order of the rows",
    "image_shape": "Image shape",
    "labels": "Labels",
    "id": "Identifiers",
    "ignore": "Ignored columns",
    "max_categories": "Values of a text at most",
    "missing": "Missing values",
    "date_parts": "Cycles of dates",
    "scale": "Scale",
    "impute": "Imputed",
    "out": "Folder",
    "random_state": "Seed",
    "seconds": "Seconds",
    "threads": "Threads",
    "products": "Matrix products",
    "layerwise_version": "layerwise",
    "torch_version": "PyTorch",
    "python_version": "Python",
    "machine": "Machine",
    "digest_of_rows": None,
    "sample_of_rows": None,
    "ranges": None,
    "descriptions": None,
    "label_marks": None,
    "amounts": "Amounts",
    "held_out": "On rows held out",
    "held_out_figures": None,
    "doubts": None,
    "report": None,
    "created": "Created",
}
_LAYER = {
    "n_inputs": "inputs",
    "n_hidden": "units",
    "activation": "activation",
    "output_activation": "output",
    "loss": "loss",
    "tied": "tied",
    "alpha": "alpha",
    "sparsity": "sparsity",
    "corruption": "corruption",
    "contraction": "contraction",
    "solver": "solver",
}


@dataclass
class StageRecord:
    """What is known of a stage of training."""

    name: str
    curves: dict[str, list[float]] = field(default_factory=dict)
    sample_sizes: list[int] = field(default_factory=list)
    n_iter: int = 0
    loss: float | None = None
    seconds: float | None = None
    status: str | None = None


def read_stages(subject: Subject, history: Sequence[Mapping[str, Any]] | None) -> list[StageRecord]:
    """Return the stages of training from the lines of a history; from what the model remembers if there are none.

    Parameters
    ----------
    subject : Subject
    history : sequence of dict or None
        As `layerwise.callbacks.Step.as_dict` gives them.

    Returns
    -------
    stages : list of StageRecord
    """
    if not history:
        return [_remembered(record) for record in getattr(subject.model, "history_", subject.autoencoder.history_)]
    stages: dict[str, StageRecord] = {}
    for step in history:
        name = str(step.get("stage", "training"))
        stage = stages.setdefault(name, StageRecord(name))
        _take_in(stage, step)
    return list(stages.values())


def _take_in(stage: StageRecord, step: Mapping[str, Any]) -> None:
    stage.n_iter = int(step.get("iteration") or stage.n_iter)
    stage.seconds = step.get("seconds", stage.seconds)
    stage.loss = step.get("value", stage.loss)
    stage.status = step.get("status")
    if stage.status is not None:
        return
    values = {"cost": step.get("value"), **(step.get("parts") or {}), "validation": step.get("validation_loss")}
    for name, value in values.items():
        if value is not None:
            stage.curves.setdefault(name, []).append(float(value))
    stage.sample_sizes.append(int(step.get("n_rows") or 0))


def _remembered(record: Mapping[str, Any]) -> StageRecord:
    curves = {"cost": record["loss_curve"], "validation": record["validation_loss_curve"]}
    return StageRecord(
        record["stage"],
        {name: curve for name, curve in curves.items() if curve},
        n_iter=record["n_iter"],
        loss=record["loss"],
        seconds=record["seconds"],
        status=record["status"],
    )


def describe_run(subject: Subject, stages: Sequence[StageRecord], run: Mapping[str, Any]) -> Section:
    """Return what was run, with which layers and how its stages ended."""
    layers = inspect_model(subject.model)["layers"]
    return Section(
        "run",
        "What was run",
        {
            "facts": _list_facts(run),
            "command": None if run.get("command") is None else _as_command(run["command"]),
            "layer_names": [f"layer {index}" for index in range(len(layers))],
            "layer_facts": [
                (label, [number(layer[name]) for layer in layers])
                for name, label in _LAYER.items()
                if any(layer[name] not in (None, False, 0.0) for layer in layers)
            ],
            "stages": stages,
        },
    )


def _list_facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a run tells of itself: what is known by name, then the rest; nothing that is empty."""
    labels = _FACTS | {name: name for name in run if name not in _FACTS}
    return [
        (label, str(run[name]) if name == "random_state" else number(run[name]))
        for name, label in labels.items()
        if label is not None and name in run and not _is_empty(run[name])
    ]


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, Sequence, Mapping)) and len(value) == 0)


def _as_command(command: Any) -> str:
    return shlex.join(map(str, command)) if isinstance(command, (list, tuple)) else str(command)


def draw_losses(stages: Sequence[StageRecord]) -> Section | None:
    """Return the cost of every stage and its parts, as curves; None if nothing was recorded."""
    figures = [_draw_stage(stage) for stage in stages if stage.curves.get("cost")]
    if not figures:
        return None
    grows = any(len(set(stage.sample_sizes)) > 1 for stage in stages)
    return Section("losses", "Loss curves", {"figures": figures, "grows": grows})


def _draw_stage(stage: StageRecord) -> dict[str, Any]:
    cost = stage.curves["cost"]
    parts = {name: curve for name, curve in stage.curves.items() if name != "cost" and any(curve)}
    if len(parts) == 1 and next(iter(parts.values())) == cost:
        parts = {}  # the cost has one part only
    alt = f"Cost in stage {stage.name} over {len(cost)} iterations: from {number(cost[0])} to {number(cost[-1])}."
    if parts:
        alt += " At the end: " + ", ".join(f"{name} {number(curve[-1])}" for name, curve in parts.items()) + "."
    return {"title": stage.name, "figure": chart(partial(_draw_curves, {"cost": cost, **parts}), alt)}


def _draw_curves(curves: dict[str, list[float]], ax: Any) -> None:
    plot_loss(curves, ax=ax)
    ax.set_ylabel("cost")
