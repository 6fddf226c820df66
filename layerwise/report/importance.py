"""Which columns of a table matter: what the score loses without them, or their share of the error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import r2_score

from layerwise.estimators import AutoencoderOutlierDetector
from layerwise.plotting.units import POSITIVE, draw_bars
from layerwise.report.columns import Column
from layerwise.report.figures import chart
from layerwise.report.section import Section, percent
from layerwise.report.subject import Subject, find_classes

_N_REPEATS = 5
_MAX_BARS, _MAX_LINES = 12, 30
# Multiplications of all passes together, two seconds or so; of a pass beside the weights, for an entry and at all.
_WORK, _ENTRY, _PASS = 4e10, 50, 1e7
_FEWEST_ROWS = 200


def importance_section(subject: Subject) -> Section | None:
    """Return the section of how much each column matters; None for images, and without anything to measure it by."""
    if subject.image_shape is not None:
        return None
    if isinstance(subject.model, AutoencoderOutlierDetector):
        return _share_errors(subject)
    if subject.known.sum() > 1 and (is_classifier(subject.model) or is_regressor(subject.model)):
        return _permute(subject)
    return None


def permute_columns(
    score: Callable[[np.ndarray], float],
    rows: np.ndarray,
    columns: Sequence[Column],
    n_repeats: int,
    random: np.random.RandomState,
) -> np.ndarray:
    """Return what a score loses when a column is shuffled, all features that were made of it together.

    Parameters
    ----------
    score : callable
        Of rows, which it must not change.
    rows : ndarray of shape (n_rows, n_features)
    columns : sequence of Column
    n_repeats : int
    random : RandomState

    Returns
    -------
    losses : ndarray of shape (n_columns, n_repeats)
    """
    whole, shuffled = score(rows), rows.copy()
    losses = np.empty((len(columns), n_repeats))
    for place, column in enumerate(columns):
        for repeat in range(n_repeats):
            shuffled[:, column.features] = rows[random.permutation(len(rows))][:, column.features]
            losses[place, repeat] = whole - score(shuffled)
        shuffled[:, column.features] = rows[:, column.features]
    return losses


def _permute(subject: Subject) -> Section:
    of_classes = is_classifier(subject.model)
    known = np.flatnonzero(subject.known)
    n_rows, columns, n_repeats = _plan(subject, len(known))
    chosen = np.sort(subject.random.permutation(known)[:n_rows])
    assert subject.labels is not None
    true = subject.labels[chosen]
    true = find_classes(true, subject.model.classes_) if of_classes else true.astype(float)
    score = partial(_score_classes if of_classes else _score_values, subject.model, true)
    losses = permute_columns(score, subject.rows[chosen], columns, n_repeats, subject.random)
    means, spreads = losses.mean(axis=1), losses.std(axis=1)
    name = "accuracy" if of_classes else "R²"
    return _make_section(
        columns,
        means,
        [
            f"{round(mean, 3) + 0.0:.3f}" + (f" ± {spread:.3f}" if n_repeats > 1 else "")
            for mean, spread in zip(means, spreads, strict=True)
        ],
        f"loss of {name}",
        {"score": name, "whole": f"{score(subject.rows[chosen]):.3f}", "n_rows": n_rows, "n_repeats": n_repeats}
        | {"n_columns": len(subject.columns)},
    )


def _plan(subject: Subject, n_known: int) -> tuple[int, list[Column], int]:
    """Return how many rows, which columns and how many repeats there is time for: by work, so that it is repeatable."""
    weights = sum(parameter.numel() for parameter in subject.model.network_.parameters())
    of_row = weights + _ENTRY * subject.width
    columns = subject.columns
    n_rows = min(n_known, max(_FEWEST_ROWS, int(_WORK / (len(columns) * of_row))))
    n_passes = max(1, int(_WORK / (n_rows * of_row + _PASS)))
    if n_passes < len(columns):
        first = subject.model.network_.layers[0].encoder_weight.detach().double().square().sum(dim=0).numpy(force=True)
        heavy = np.argsort([-first[column.features].sum() for column in columns], kind="stable")[:n_passes]
        columns = [columns[k] for k in np.sort(heavy)]
    return n_rows, columns, min(_N_REPEATS, max(1, n_passes // len(columns)))


def _score_classes(model: Any, true: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean(np.asarray(model.predict_proba(rows)).argmax(axis=1) == true))


def _score_values(model: Any, true: np.ndarray, rows: np.ndarray) -> float:
    return float(r2_score(true, model.predict(rows)))


def _share_errors(subject: Subject) -> Section:
    terms = np.asarray(subject.model.reconstruction_error(subject.rows, per_feature=True), dtype=float)
    terms = np.maximum(terms, 0.0)
    by_column = np.stack([terms[:, column.features].sum(axis=1) for column in subject.columns], axis=1)
    totals = by_column.sum(axis=1, keepdims=True)
    shares = np.divide(by_column, totals, out=np.zeros_like(by_column), where=totals > 0).mean(axis=0)
    words = [percent(share) for share in shares]
    return _make_section(subject.columns, shares, words, "share of the error", {"score": None})


def _make_section(
    columns: Sequence[Column], values: np.ndarray, words: Sequence[str], label: str, content: dict[str, Any]
) -> Section:
    order = np.argsort(-values, kind="stable")
    bars = order[:_MAX_BARS]
    first = ", ".join(f"{columns[k].name} {words[k]}" for k in order[:3])
    alt = f"The {len(bars)} columns that matter most, by {label}: first {first}."
    draw = partial(_draw, values[bars], [columns[k].name for k in bars], label)
    return Section(
        "importance",
        "Which columns matter",
        content
        | {
            "label": label,
            "n_tried": len(columns),
            "figure": chart(draw, alt, height=50 + 15 * len(bars)),
            "lines": [(columns[k].name, words[k]) for k in order[:_MAX_LINES]],
        },
    )


def _draw(values: np.ndarray, names: list[str], label: str, ax: Any) -> None:
    draw_bars(ax, values, names, color=POSITIVE)
    ax.set_xlabel(label)
