"""What reconstruction errors tell: unusual rows, and how well missing values are filled in."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from layerwise.estimators import AutoencoderImputer, AutoencoderOutlierDetector
from layerwise.plotting import plot_predictions, plot_scores
from layerwise.plotting.tiles import as_images, join_tiles, row_tiles
from layerwise.report.coding import intensity_range
from layerwise.report.columns import Column
from layerwise.report.figures import chart, picture, shrink, zoom_for
from layerwise.report.section import Section, number, percent
from layerwise.report.subject import Subject

_N_UNUSUAL = 10
_N_FEATURES = 4
# Share of the observed values that are hidden to see how they are filled in.
_HIDDEN = 0.1


def outliers_section(subject: Subject) -> Section | None:
    """Return the section of a detector's scores and the most unusual rows; None for other models."""
    if not isinstance(subject.model, AutoencoderOutlierDetector):
        return None
    terms = np.asarray(subject.model.reconstruction_error(subject.rows, per_feature=True), dtype=float)
    errors, threshold = terms.sum(axis=1), -subject.model.offset_
    outlier = np.asarray(subject.model.predict(subject.rows)) < 0
    beyond = int(outlier.sum())
    order = np.argsort(-errors, kind="stable")[:_N_UNUSUAL]
    expected = subject.values(subject.reconstruction)
    values = subject.values(subject.x)
    alt = (
        f"Reconstruction errors of {len(errors)} rows, from {number(errors.min())} to {number(errors.max())}; {beyond} "
        f"are above the threshold {number(threshold)}."
    )
    return Section(
        "outliers",
        "Unusual rows",
        {
            "n_rows": len(errors),
            "is_sample": len(errors) < subject.n_rows,
            "n_outliers": beyond,
            "share": beyond / len(errors),
            "contamination": subject.model.contamination,
            "threshold": number(threshold),
            "figure": chart(partial(plot_scores, errors, threshold), alt),
            "images": subject.image_shape is not None,
            "rows": [
                {
                    "name": subject.names[row],
                    "label": subject.label_of(row),
                    "error": number(errors[row]),
                    "outlier": outlier[row],
                    **_show_unusual(subject, row, values, expected, terms[row]),
                }
                for row in order
            ],
        },
    )


def _show_unusual(
    subject: Subject, row: int, values: np.ndarray, expected: np.ndarray, terms: np.ndarray
) -> dict[str, Any]:
    total = terms.sum()
    if subject.image_shape is not None:
        images = as_images(np.stack([values[row], expected[row]]), subject.image_shape)
        errors = as_images(terms[None] / (terms.max() or 1.0), subject.image_shape)
        tiles = shrink(np.concatenate([row_tiles(images, *intensity_range(subject)), errors]))
        alt = f"{subject.names[row]}: the row, its reconstruction and the error of each pixel; {number(total)} in all."
        return {"figure": picture(join_tiles(tiles, 3, empty=np.nan), alt, zoom=zoom_for(tiles, 72))}
    observed = np.where(np.isnan(subject.given[row].astype(float)), 0, terms)  # what is filled in is no reason
    by_column = np.array([observed[column.features].sum() for column in subject.columns])
    largest = np.argsort(-by_column, kind="stable")[:_N_FEATURES]
    return {
        "features": [
            {
                "name": subject.columns[k].name,
                "value": _tell_value(subject.columns[k], values[row]),
                "expected": _tell_expected(subject.columns[k], expected[row]),
                "share": float(by_column[k] / total) if total > 0 else 0.0,
            }
            for k in largest
        ]
    }


def _tell_value(column: Column, row: np.ndarray) -> str:
    return column.tell(row) if column.holds(row) else "unknown"


def _tell_expected(column: Column, row: np.ndarray) -> str:
    """Return what is expected of a row; of texts the likeliest, with how near to 1 it comes."""
    certainty = "" if column.texts is None else f" ({column.certainty(row):.2f})"
    return column.tell(row) + certainty


def missing_section(subject: Subject) -> Section | None:
    """Return the section of an imputer: what is missing, and how well values that are hidden are filled in."""
    if not isinstance(subject.model, AutoencoderImputer):
        return None
    shares = subject.missing.mean(axis=0)
    gaps = np.argsort(-shares, kind="stable")[:12]
    trial = _try_out(subject)
    content: dict[str, Any] = {
        "share": subject.missing.mean(),
        "features": [(subject.features[k], percent(shares[k]), float(shares[k])) for k in gaps if shares[k] > 0],
        "n_hidden": 0,
    }
    if trial is not None:
        true, filled = trial
        error = float(np.sqrt(np.mean((true - filled) ** 2)) / (np.sqrt(np.mean(true**2)) or 1.0))
        alt = f"Filled in against true values of {len(true)} hidden entries; the error is {percent(error)} of a mean's."
        content |= {
            "n_hidden": len(true),
            "error": error,
            "figure": chart(partial(_draw_filled, true, filled), alt, width=320, height=300),
        }
    return Section("missing", "Missing values", content)


def _try_out(subject: Subject) -> tuple[np.ndarray, np.ndarray] | None:
    """Hide some of the observed values; return them and what they are filled in with, in standard deviations."""
    rows = np.where(subject.missing, np.nan, subject.rows.astype(float))
    hidden = ~subject.missing & (subject.random.random_sample(rows.shape) < _HIDDEN)
    spread = np.array([np.std(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0.0 for column in rows.T])
    hidden &= spread > 0
    if not hidden.any():
        return None
    filled = np.asarray(subject.model.transform(np.where(hidden, np.nan, rows)), dtype=float)
    columns = np.nonzero(hidden)[1]
    means = np.array(
        [np.mean(column[~np.isnan(column)]) if s > 0 else 0.0 for column, s in zip(rows.T, spread, strict=True)]
    )
    return (rows[hidden] - means[columns]) / spread[columns], (filled[hidden] - means[columns]) / spread[columns]


def _draw_filled(true: np.ndarray, filled: np.ndarray, ax: Any) -> None:
    plot_predictions(true, filled, ax=ax)
    ax.set_xlabel("true, in standard deviations")
    ax.set_ylabel("filled in")
