"""What a classifier or a regressor predicts, beside what is true."""

from __future__ import annotations

from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap
from sklearn.base import is_classifier, is_regressor
from sklearn.metrics import mean_absolute_error, r2_score

from layerwise.plotting import plot_confusion, plot_predictions
from layerwise.plotting.tiles import as_images, row_tiles
from layerwise.report.coding import intensity_range
from layerwise.report.figures import chart, picture, shrink, zoom_for
from layerwise.report.metrics import draw_probabilities, measure_classes
from layerwise.report.section import Section, number, percent
from layerwise.report.subject import Subject, find_classes

_N_MISTAKES = 12
_N_DEVIATIONS = 3
_MAX_TARGETS = 4
# From nothing, so that the page shows through, light or dark.
_SHADES = LinearSegmentedColormap.from_list("shades", ["#1f6cb400", "#1f6cb4"])
_ON_SHADE = "#fefefe"


def predictions_section(subject: Subject) -> Section | None:
    """Return the section of a classifier's or a regressor's predictions; None for others, and without labels."""
    if not subject.known.any():
        return None
    if is_classifier(subject.model):
        return _classes_section(subject)
    return _targets_section(subject) if is_regressor(subject.model) else None


def _classes_section(subject: Subject) -> Section:
    assert subject.labels is not None
    where = np.flatnonzero(subject.known)
    names = [str(name) for name in subject.model.classes_]
    true = find_classes(subject.labels[where], subject.model.classes_)
    probabilities = np.asarray(subject.model.predict_proba(subject.rows[where]))
    predicted = probabilities.argmax(axis=1)
    wrong = predicted != true
    counts = np.bincount(true, minlength=len(names))
    pair = _commonest_mistake(true[wrong], predicted[wrong], names)
    alt = f"Confusion matrix of {len(names)} classes: {(~wrong).sum()} of {len(true)} rows are right. {pair}"
    draw = partial(_draw_confusion, np.array(names)[true], np.array(names)[predicted], names)
    worst = np.argsort(np.where(wrong, -probabilities.max(axis=1), 1), kind="stable")[: min(_N_MISTAKES, wrong.sum())]
    return Section(
        "classes",
        "Predicted classes",
        {
            "n_rows": len(true),
            "n_wrong": int(wrong.sum()),
            "accuracy": 1 - wrong.mean(),
            "majority": counts.max() / len(true),
            "majority_class": names[counts.argmax()],
            "pair": pair,
            "figure": chart(draw, alt, width=380, height=340),
            "n_classes": len(names),
            "by_class": measure_classes(true, predicted, names),
            "curves": draw_probabilities(true, probabilities, names),
            "images": subject.image_shape is not None,
            "mistakes": [
                _describe_mistake(
                    subject, where[row], names[true[row]], names[predicted[row]], probabilities[row].max()
                )
                for row in worst
            ],
        },
    )


def _commonest_mistake(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> str:
    if not len(true):
        return "No row of the sample is taken for another class."
    pairs, counts = np.unique(np.stack([true, predicted]), axis=1, return_counts=True)
    first, second = pairs[:, counts.argmax()]
    often = "once" if counts.max() == 1 else f"{counts.max()} times"
    return f"The commonest mistake: {names[first]} taken for {names[second]}, {often}."


def _describe_mistake(subject: Subject, row: int, true: str, predicted: str, probability: float) -> dict[str, Any]:
    words = {
        "name": subject.names[row],
        "true": true,
        "predicted": predicted,
        "probability": percent(float(probability)),
    }
    if subject.image_shape is None:
        return words | {"deviations": describe_deviations(subject, row)}
    alt = f"{subject.names[row]}: a {true}, taken for {predicted}."
    images = as_images(subject.values(subject.x[row : row + 1]), subject.image_shape)
    tiles = shrink(row_tiles(images, *intensity_range(subject)))
    return words | {"figure": picture(tiles[0], alt, zoom=zoom_for(tiles, 84))}


def describe_deviations(subject: Subject, row: int) -> list[tuple[str, str, str]]:
    """Return the columns of a row that are farthest from their mean: name, value, how far.

    Parameters
    ----------
    subject : Subject
    row : int
        Of the sample.

    Returns
    -------
    deviations : list of (name, value, deviation)
        In standard deviations; of texts, how many rows have the same.
    """
    values = np.where(subject.missing, np.nan, subject.values(subject.x))
    with np.errstate(invalid="ignore", divide="ignore"):
        deviations = np.nan_to_num((values[row] - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0), posinf=0)
    found = []
    for column in subject.columns:
        if column.holds(values[row]):
            place = column.largest(values[row])
            far, words = abs(deviations[place]), f"{deviations[place]:+.1f} sd"
            if column.texts is not None:  # as far as numbers that so few rows go beyond, were they normal
                share = float(np.mean((values[:, place] > 0.5) == (values[row, place] > 0.5)))
                far, words = NormalDist().inv_cdf(1 - share / 2), f"{percent(share)} of the rows"
            found.append((far, (column.name, column.tell(values[row]), words)))
    found.sort(key=lambda item: -item[0])
    return [words for _, words in found[:_N_DEVIATIONS]]


def _draw_confusion(true: np.ndarray, predicted: np.ndarray, names: list[str], ax: Any) -> None:
    plot_confusion(true, predicted, names, ax=ax)
    ax.tick_params(length=0)
    ax.images[0].set_cmap(_SHADES)
    highest = max(1, ax.images[0].norm.vmax or 1)
    for text in ax.texts:
        text.set_color("black" if int(text.get_text()) < highest / 2 else _ON_SHADE)


def _targets_section(subject: Subject) -> Section:
    assert subject.labels is not None
    where = np.flatnonzero(subject.known)
    true = subject.labels[where].astype(float).reshape(len(where), -1)
    predicted = np.asarray(subject.model.predict(subject.rows[where]), dtype=float).reshape(len(where), -1)
    off = np.abs(predicted - true).sum(axis=1)
    worst = np.argsort(-off, kind="stable")[:_N_MISTAKES]
    return Section(
        "targets",
        "Predicted values",
        {
            "n_rows": len(where),
            "r2": r2_score(true, predicted) if len(where) > 1 else float("nan"),
            "error": number(mean_absolute_error(true, predicted)),
            "mean_error": number(np.abs(true - true.mean(axis=0)).mean()),
            "figures": [_draw_target(*columns) for columns in zip(true.T[:_MAX_TARGETS], predicted.T, strict=False)],
            "n_targets": true.shape[1],
            "images": subject.image_shape is not None,
            "mistakes": [
                {
                    "name": subject.names[where[row]],
                    "true": number(true[row].tolist()),
                    "predicted": number(predicted[row].tolist()),
                    "off": number(off[row]),
                    "deviations": [] if subject.image_shape else describe_deviations(subject, where[row]),
                }
                for row in worst
            ],
        },
    )


def _draw_target(true: np.ndarray, predicted: np.ndarray) -> Markup:
    alt = (
        f"Predicted against true values of {len(true)} rows, from {number(true.min())} to {number(true.max())}; on "
        f"average they differ by {number(np.abs(true - predicted).mean())}."
    )
    return chart(partial(plot_predictions, true, predicted), alt, width=320, height=300)
