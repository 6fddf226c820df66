"""The top of the page: a few key figures with a scale to judge by, and what should be looked into."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from layerwise.report.section import Section, number, percent
from layerwise.report.subject import Subject
from layerwise.report.training import StageRecord
from layerwise.solvers import Status

# Which rows figures are on, by whether the model was trained on them.
_WHERE = {
    True: " on the rows it was trained on",
    False: " on other rows than it was trained on",
    None: " on these rows",
}
# Of the variance, but for rounding.
_ALL = 0.9999
_CUT = Status.MAX_ITER.value
# In the name of a stage that only tries a value of alpha, of which there are many.
_TRIAL = "(alpha="
_LOWER = "Lower learning_rate_init or scale the data, and train again."
_RAISE = "Raise learning_rate_init, or lower a penalty that is very large, and train again."
# How stages end that went wrong, and what to do about it.
_BAD = {
    Status.DIVERGED.value: _LOWER,
    Status.NOT_FINITE.value: _LOWER,
    Status.STILL.value: _RAISE,
    "unfinished": _LOWER,
}


def summary_section(
    subject: Subject,
    stages: Sequence[StageRecord],
    ratios: Sequence[tuple[str, float, float | None]],
    results: Mapping[str, Section],
    doubts: Sequence[tuple[str, str]] = (),
) -> Section:
    """Return the summary.

    Parameters
    ----------
    subject : Subject
    stages : sequence of StageRecord
    ratios : sequence of (name, ratio, pca_ratio)
        Explained variance; the last is that of the whole.
    results : mapping of str to Section
        Sections of predictions, outliers and missing values, by name.
    doubts : sequence of (str, str), default=()
        What the run found to be looked into, each with what to do about it.

    Returns
    -------
    section : Section
    """
    figures = [
        *_key_results(results, _WHERE[subject.trained_on]),
        _key_variance(subject, ratios),
        _key_units(subject),
        _key_training(stages),
    ]
    warnings = [
        *doubts,
        *_warn_of_stages(stages),
        *_warn_of_units(subject),
        *_warn_of_variance(subject, ratios),
        *_warn_of_results(results),
    ]
    return Section("summary", "Summary", {"figures": figures, "warnings": warnings, "notes": _note_stages(stages)})


def _figure(
    label: str, value: str, scale: str, share: float | None = None, mark: float | None = None
) -> dict[str, Any]:
    """Return a key figure: its bar is filled to ``share`` and has a mark to judge it by."""
    bar = None if share is None or not math.isfinite(share) else min(1.0, max(0.0, share))
    return {"label": label, "value": value, "scale": scale, "share": bar, "mark": mark}


def _key_results(results: Mapping[str, Section], where: str) -> list[dict[str, Any]]:
    """Return the figures of what the model is for; ``where`` says on which rows labels are compared."""
    figures = []
    if "classes" in results:
        found = results["classes"].content
        scale = f"always “{found['majority_class']}” would be right in {percent(found['majority'])}"
        figures.append(
            _figure(f"accuracy{where}", percent(found["accuracy"]), scale, found["accuracy"], found["majority"])
        )
    if "targets" in results:
        found = results["targets"].content
        figures.append(
            _figure(f"R²{where}", number(found["r2"]), "1 is perfect, 0 is the mean of the targets", found["r2"])
        )
        scale = f"the mean of the targets is {found['mean_error']} off"
        figures.append(_figure(f"mean absolute error{where}", found["error"], scale))
    if "outliers" in results:
        found = results["outliers"].content
        scale = f"{found['n_outliers']:,} of {found['n_rows']:,} rows; training took {percent(found['contamination'])}"
        figures.append(_figure("outliers", percent(found["share"]), scale, found["share"], found["contamination"]))
    if "missing" in results:
        found = results["missing"].content
        if found["n_hidden"]:
            scale = "root mean square, of that of column means"
            figures.append(_figure("error of filled-in values", percent(found["error"]), scale, found["error"]))
        figures.append(_figure("missing values", percent(found["share"]), "of the rows looked at", found["share"]))
    return figures


def _before(subject: Subject) -> str:
    """Say that labels changed the layers after what is told of them, if they did."""
    return f"before {subject.finetuned_with} changed the layers" if subject.finetuned_with else ""


def _key_variance(subject: Subject, ratios: Sequence[tuple[str, float, float | None]]) -> dict[str, Any]:
    _, kept, pca = ratios[-1]
    words = [
        "worse than the mean of the rows" if kept < 0 else "",
        "of the observed values" if pca is None else _judge(pca),
        _before(subject),
    ]
    mark = None if pca is None or pca > _ALL else pca
    return _figure("explained variance", percent(kept), "; ".join(filter(None, words)), kept, mark)


def _judge(pca: float) -> str:
    """Say what PCA keeps; where that is all, it is no scale to judge by."""
    return "codes of this width can keep all" if pca > _ALL else f"PCA of the same width keeps {percent(pca)}"


def _key_units(subject: Subject) -> dict[str, Any]:
    total = sum(layer.n_hidden for layer in subject.layers)
    dead = sum(len(subject.dead_units(index)) for index in range(len(subject.layers)))
    saturated = sum(len(subject.saturated_units(index)) for index in range(len(subject.layers)))
    words = [f"of {total:,}", f"{dead} dead, {saturated} saturated", _before(subject)]
    working = total - dead - saturated
    return _figure("units at work", f"{working:,}", "; ".join(filter(None, words)), working / total)


def _key_training(stages: Sequence[StageRecord]) -> dict[str, Any]:
    seconds = sum(stage.seconds or 0.0 for stage in stages)
    n_cut = sum((stage.status or "").startswith(_CUT) for stage in stages)
    scale = f"{len(stages)} stage{'s' * (len(stages) != 1)}, {n_cut} stopped by max_iter"
    return _figure("training", f"{seconds:,.1f} s" if seconds < 600 else f"{seconds / 60:,.0f} min", scale)


def _note_stages(stages: Sequence[StageRecord]) -> list[str]:
    """Return which stages used all of their iterations, which is as it should be where their curves are flat."""
    cut = [stage for stage in stages if (stage.status or "").startswith(_CUT)]
    if not cut:
        return []
    trials = [stage for stage in cut if _TRIAL in stage.name]
    names = [f"{stage.name} ({stage.n_iter:,})" for stage in cut if stage not in trials]
    if trials:
        n_iter = max(stage.n_iter for stage in trials)
        names.append(f"{len(trials)} trial{'s' * (len(trials) != 1)} of alpha ({n_iter:,})")
    return [
        f"Stopped by max_iter before converging: {', '.join(names)} iterations. Look at the loss curves: "
        "where one still falls, raise max_iter; where it is flat, this does no harm."
    ]


def _warn_of_stages(stages: Sequence[StageRecord]) -> list[tuple[str, str]]:
    found = []
    for stage in stages:
        status = stage.status or "unfinished: no end was recorded"
        found += [(f"Stage {stage.name} {status}.", advice) for end, advice in _BAD.items() if status.startswith(end)]
    return found


def _warn_of_units(subject: Subject) -> list[tuple[str, str]]:
    found = []
    when = f", {_before(subject)}" if subject.finetuned_with else ""
    for index, layer in enumerate(subject.layers):
        where = f"Layer {index}{when}"
        dead, saturated = len(subject.dead_units(index)), len(subject.saturated_units(index))
        if dead:
            remedy = "Lower the sparsity weight or raise its target" if layer.sparsity else "Lower alpha or n_hidden"
            found.append(
                (
                    f"{where}: {dead} of {layer.n_hidden} units are dead: they hardly vary from row to row.",
                    f"{remedy}, or train longer.",
                )
            )
        if saturated:
            found.append(
                (
                    f"{where}: {saturated} of {layer.n_hidden} units are saturated: nearly always at the end of "
                    f"their range.",
                    "Raise alpha, or scale the data.",
                )
            )
    return found


def _warn_of_variance(subject: Subject, ratios: Sequence[tuple[str, float, float | None]]) -> list[tuple[str, str]]:
    name, kept, pca = ratios[-1]
    if pca is None or not math.isfinite(kept) or kept >= pca - 0.1 or pca > _ALL:
        return []
    where = "The whole stack" if name == "whole stack" else name.capitalize()
    when = f", {_before(subject)}," if subject.finetuned_with else ""
    return [
        (
            f"{where}{when} keeps {percent(kept)} of the variance, PCA of the same width {percent(pca)}.",
            "Sparsity, weight decay and noise cost some of it, for features that serve better; if reconstruction is "
            "what matters, lower them or train longer.",
        )
    ]


def _warn_of_results(results: Mapping[str, Section]) -> list[tuple[str, str]]:
    found = []
    if "classes" in results:
        content = results["classes"].content
        if content["accuracy"] <= content["majority"]:
            found.append(
                (
                    f"The classifier is right in {percent(content['accuracy'])} of the rows: no better than always the "
                    f"commonest class.",
                    "Check that the labels belong to the rows; train longer, or with a lower alpha.",
                )
            )
    if "targets" in results and results["targets"].content["r2"] <= 0:
        found.append(
            (
                "The regressor is no better than the mean of the targets.",
                "Scale the targets to about the size of 1, train longer, or with a lower alpha.",
            )
        )
    if "missing" in results and results["missing"].content.get("error", 0.0) >= 1:
        found.append(
            ("Values are filled in no better than by the mean of their column.", "Train longer, or fill in means.")
        )
    return found
