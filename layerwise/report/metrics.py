"""How well a classifier does by class; of two classes, how well its probabilities tell them apart and hold."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score, roc_curve

from layerwise.plotting.units import POSITIVE
from layerwise.report.figures import chart
from layerwise.report.section import percent

# Classes in the table, at most.
_MAX_CLASSES = 30
_N_GROUPS = 10


def measure_classes(true: np.ndarray, predicted: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and number of rows of each class; of many classes those of the lowest F1.

    Parameters
    ----------
    true, predicted : ndarray of shape (n_rows,), int
        Indices of classes.
    names : list of str

    Returns
    -------
    classes : list of dict
        NaN for what is not defined, such as the precision of a class that is never predicted.
    """
    figures = precision_recall_fscore_support(true, predicted, labels=range(len(names)), zero_division=np.nan)
    shown = np.arange(len(names))
    if len(names) > _MAX_CLASSES:
        shown = np.sort(np.argsort(figures[2], kind="stable")[:_MAX_CLASSES])
    return [
        {"name": names[k]}
        | {name: float(values[k]) for name, values in zip(("precision", "recall", "f1"), figures, strict=False)}
        | {"n_rows": int(figures[3][k])}
        for k in shown
    ]


def draw_probabilities(true: np.ndarray, probabilities: np.ndarray, names: list[str]) -> list[tuple[str, Markup]]:
    """Return the ROC curve and the calibration curve of the second of two classes; nothing of more or fewer.

    Parameters
    ----------
    true : ndarray of shape (n_rows,), int
    probabilities : ndarray of shape (n_rows, n_classes)
    names : list of str

    Returns
    -------
    figures : list of (caption, figure)
    """
    if len(names) != 2 or len(np.unique(true)) != 2:
        return []
    positive, sure = true == 1, probabilities[:, 1]
    area = roc_auc_score(positive, sure)
    false_rate, true_rate, _ = roc_curve(positive, sure)
    share, mean = calibration_curve(positive, sure, n_bins=_N_GROUPS, strategy="quantile")
    words = "; ".join(f"{percent(p)} predicted, {percent(s)} true" for p, s in zip(mean, share, strict=True))
    roc = f"ROC curve of {names[1]} against {names[0]} on {len(true)} rows; the area under it (AUC) is {area:.4g}."
    calibration = f"Calibration of the probability of {names[1]} in {len(mean)} groups of rows: {words}."
    axes = ("false positive rate", "true positive rate"), ("mean probability", "share that is right")
    return [
        (
            f"ROC curve of {names[1]}: AUC {area:.4g}; on the broken line are guesses (0.5), 1 is perfect.",
            chart(partial(_draw_curve, false_rate, true_rate, *axes[0], ""), roc, width=300, height=280),
        ),
        (
            f"Calibration of the probability of {names[1]}: on the broken line it is right as often as it says.",
            chart(partial(_draw_curve, mean, share, *axes[1], "o"), calibration, width=300, height=280),
        ),
    ]


def _draw_curve(x: np.ndarray, y: np.ndarray, x_label: str, y_label: str, marker: str, ax: Any) -> None:
    ax.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color="black")
    ax.plot(x, y, marker=marker, color=POSITIVE)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.grid(visible=True, alpha=0.3)
