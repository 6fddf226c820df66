"""Pictures of rows: a map of their codes, what was predicted of them, how badly they are reconstructed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from layerwise.labels import find_missing
from layerwise.plotting._axes import add_legend, name_features, new_axes, shorten
from layerwise.plotting.units import GREY, NEGATIVE, POSITIVE, draw_bars

# More kinds of label than colours: the rarest share one. More distinct numbers than this are a scale.
_MAX_KINDS = 20
# More classes than this have no numbers in their cells.
_MAX_NUMBERS = 15


def plot_codes(points: Any, labels: Any = None, *, ax: Axes | None = None) -> Axes:
    """Draw a map of codes, coloured by label.

    Parameters
    ----------
    points : array-like of shape (n_rows, 2)
    labels : array-like of shape (n_rows,), default=None
        Kinds, or more than 20 different numbers, which become a scale. Rows of None or NaN have no label and are grey.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If the points are not in a plane, or labels are not as many.

    Examples
    --------
    >>> ax = plot_codes([[0, 0], [0, 1], [5, 5]], ["cat", "cat", "dog"])
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points have shape {points.shape}, but (n_rows, 2) is expected")
    if labels is not None and len(labels) != len(points):
        raise ValueError(f"there are {len(points)} points, but {len(labels)} labels; each point needs one, or none has")
    ax = ax or new_axes(6, 5)
    size = 12 if len(points) > 300 else 24
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, color=POSITIVE)
    else:
        _scatter_labelled(ax, points, np.asarray(labels), size)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def _scatter_labelled(ax: Axes, points: np.ndarray, labels: np.ndarray, size: int) -> None:
    known = ~find_missing(labels)
    if not known.all():
        without = ax.scatter(points[~known, 0], points[~known, 1], s=size, linewidths=0, color=GREY)
    points, labels = points[known], labels[known]
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    kinds, counts = np.unique(labels, return_counts=True)
    if labels.dtype.kind in "fiu" and len(kinds) > _MAX_KINDS:
        scale = ax.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, c=labels.astype(float), cmap="viridis")
        ax.figure.colorbar(scale, ax=ax, shrink=0.8)
        return
    shown = kinds[np.sort(np.argsort(-counts, kind="stable")[:_MAX_KINDS])]
    colours = colormaps["tab10" if len(shown) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    rare = ~np.isin(labels, shown)
    handles = [ax.scatter(points[rare, 0], points[rare, 1], s=size, linewidths=0, color=GREY)] if rare.any() else []
    names = ["other"] * len(handles)
    for kind, colour in zip(shown, colours, strict=False):
        handles.append(
            ax.scatter(points[labels == kind, 0], points[labels == kind, 1], s=size, linewidths=0, color=colour)
        )
        names.append(shorten(kind))
    if not known.all():
        handles.append(without)
        names.append("no label")
    add_legend(
        ax, handles, names, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2, handletextpad=0
    )


def plot_confusion(y_true: Any, y_pred: Any, labels: Any = None, *, ax: Axes | None = None) -> Axes:
    """Draw how often each class was taken for which.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,)
    labels : array-like of shape (n_classes,), default=None
        The classes, in the order of rows and columns; None takes those that occur, sorted.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> ax = plot_confusion(["cat", "dog", "dog"], ["cat", "dog", "cat"])
    """
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    labels = np.unique(np.concatenate([y_true, y_pred])) if labels is None else np.asarray(labels)
    ax = ax or new_axes(6, 6)
    display = ConfusionMatrixDisplay(
        confusion_matrix(y_true, y_pred, labels=labels), display_labels=[shorten(label) for label in labels]
    )
    long = max(len(str(label)) for label in labels) > 3
    display.plot(
        ax=ax,
        cmap="Blues",
        colorbar=False,
        include_values=len(labels) <= _MAX_NUMBERS,
        values_format="d",
        xticks_rotation="vertical" if long else "horizontal",
    )
    for text in [*ax.get_xticklabels(), *ax.get_yticklabels()]:
        text.set_parse_math(False)
    if len(labels) > 3 * _MAX_NUMBERS:
        ax.set_xticks([])
        ax.set_yticks([])
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    return ax


def plot_predictions(y_true: Any, y_pred: Any, *, ax: Axes | None = None) -> Axes:
    """Draw predicted against true values, with the line on which both are the same.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,)
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> ax = plot_predictions([1.0, 2.0, 3.0], [1.1, 1.8, 3.0])
    """
    ax = ax or new_axes(5, 5)
    ax.axline((float(np.mean(y_true)),) * 2, slope=1, linestyle="--", linewidth=1, color="black")
    ax.scatter(y_true, y_pred, s=12, linewidths=0, alpha=0.6, color=POSITIVE)
    ax.set_xlabel("true")
    ax.set_ylabel("predicted")
    ax.grid(visible=True, alpha=0.3)
    return ax


def plot_scores(errors: Any, threshold: float | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw how many rows have which reconstruction error, and from where on they are outliers.

    Parameters
    ----------
    errors : array-like of shape (n_rows,)
        Such as `layerwise.AutoencoderOutlierDetector.reconstruction_error` gives.
    threshold : float, default=None
        Rows above it are outliers.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Notes
    -----
    Errors spread over powers of ten, so their scale is logarithmic where all are positive.

    Examples
    --------
    >>> ax = plot_scores([0.1, 0.2, 0.15, 4.0], threshold=1.0)
    """
    errors = np.asarray(errors, dtype=float)
    ax = ax or new_axes(6, 4)
    logarithmic = bool((errors > 0).all()) and len(errors) > 0 and errors.max() > errors.min()
    edges = np.geomspace(errors.min(), errors.max(), 41) if logarithmic else np.histogram_bin_edges(errors, 40)
    beyond = np.zeros(len(errors), dtype=bool) if threshold is None else errors > threshold
    bars: list[Any] = []
    below = np.zeros(len(edges) - 1)
    for chosen, colour in ((~beyond, POSITIVE), (beyond, NEGATIVE)):
        counts, _ = np.histogram(errors[chosen], edges)
        bars.append(ax.bar(edges[:-1], counts, np.diff(edges), below, align="edge", color=colour))
        below += counts
    if logarithmic:
        ax.set_xscale("log")
    if threshold is not None:
        line = ax.axvline(threshold, linestyle="--", color="black")
        add_legend(ax, [*bars, line], ["normal rows", "outliers", f"threshold {threshold:.3g}"])
    ax.set_xlabel("reconstruction error")
    ax.set_ylabel("rows")
    return ax


def plot_feature_errors(
    errors: Any, feature_names: Sequence[Any] | None = None, *, max_bars: int = 12, ax: Axes | None = None
) -> Axes:
    """Draw the reconstruction error of each feature, averaged over rows, the largest at the top.

    Parameters
    ----------
    errors : array-like of shape (n_rows, n_features) or (n_features,)
        At least 0; NaN, where a value was missing, is left out.
    feature_names : sequence of str, default=None
        None numbers the features.
    max_bars : int, default=12
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If there is not one name a feature.

    Examples
    --------
    >>> ax = plot_feature_errors([[0.1, 0.4], [0.3, 0.2]], ["age", "fare"])
    """
    errors = np.atleast_2d(np.asarray(errors, dtype=float))
    observed = ~np.isnan(errors)
    means = np.where(observed, errors, 0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    names = name_features(feature_names, len(means))
    largest = np.argsort(-means, kind="stable")[:max_bars]
    ax = ax or new_axes(5, 0.6 + 0.3 * len(largest))
    draw_bars(ax, means[largest], [names[index] for index in largest], color=POSITIVE)
    ax.set_xlabel("mean reconstruction error")
    return ax
