"""Pictures of units and layers: how active they are, what they weigh, how much they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from layerwise.plotting._axes import add_legend, name_features, new_axes, shorten

_BINS = 30
POSITIVE, NEGATIVE, GREY = "C0", "C1", "0.6"


def plot_activations(
    mean_activations: Any,
    *,
    target: float | None = None,
    dead: Any = None,
    saturated: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many units have which mean activation, against the one that sparsity asks for.

    Parameters
    ----------
    mean_activations : array-like of shape (n_units,)
        Such as ``Autoencoder.mean_activations_``.
    target : float, default=None
        What the penalty asks for (rho), drawn as a line.
    dead, saturated : array-like of int, default=None
        Indices of units that hardly vary, and of units that are nearly always at an end of their range; a unit in both
        counts as dead. They are hatched.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If there are no units.

    Examples
    --------
    >>> ax = plot_activations([0.05, 0.06, 0.04, 0.0], target=0.05, dead=[3])
    """
    means = np.asarray(mean_activations, dtype=float)
    if means.ndim != 1 or len(means) == 0:
        raise ValueError(f"mean_activations has shape {means.shape}, but (n_units,) with n_units >= 1 is expected")
    kind = np.zeros(len(means), dtype=int)
    for number, indices in ((2, saturated), (1, dead)):
        kind[np.asarray([] if indices is None else indices, dtype=int)] = number
    ax = ax or new_axes(6, 4)
    low, high = min(means.min(), means.max() if target is None else target), max(means.max(), target or means.max())
    margin = 0.05 * (high - low) or 0.05 * (abs(high) or 1.0)
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    below = np.zeros(_BINS)
    handles: list[Any] = []
    names: list[str] = []
    for number, (name, colour, hatch) in enumerate(
        [("units", POSITIVE, None), ("dead units", GREY, "////"), ("saturated units", NEGATIVE, "xxxx")]
    ):
        if number and not (kind == number).any():
            continue
        counts, _ = np.histogram(means[kind == number], edges)
        handles.append(ax.bar(edges[:-1], counts, np.diff(edges), below, align="edge", color=colour, hatch=hatch))
        names.append(name)
        below += counts
    if target is not None:
        handles.append(ax.axvline(target, linestyle="--", color="black"))
        names.append(f"target {target:g}")
    if len(handles) > 1:
        add_legend(ax, handles, names)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("mean activation")
    ax.set_ylabel("units")
    return ax


def plot_weights(
    weights: Any, feature_names: Sequence[Any] | None = None, *, max_bars: int = 12, ax: Axes | None = None
) -> Axes:
    """Draw the largest weights of one unit as bars, the largest by size at the top.

    Parameters
    ----------
    weights : array-like of shape (n_features,)
        A row of ``Autoencoder.components_``.
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
    >>> ax = plot_weights([0.2, -1.5, 0.7], ["age", "fare", "class"])
    """
    weights = np.asarray(weights, dtype=float)
    names = name_features(feature_names, len(weights))
    largest = np.argsort(-np.abs(weights), kind="stable")[:max_bars]
    ax = ax or new_axes(5, 0.6 + 0.3 * len(largest))
    colours = np.where(weights[largest] >= 0, POSITIVE, NEGATIVE)
    draw_bars(ax, weights[largest], [names[index] for index in largest], color=colours)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_xlabel("weight")
    return ax


def plot_explained_variance(
    names: Sequence[str], ratios: Sequence[float], pca_ratios: Sequence[float] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the share of the variance that reconstructions keep, beside that of as many principal components.

    Parameters
    ----------
    names : sequence of str
        Of the layers, or of whatever has a ratio.
    ratios : sequence of float
        Such as ``Autoencoder.explained_variance_ratio_``; at most 1.
    pca_ratios : sequence of float, default=None
        Such as ``Autoencoder.pca_explained_variance_ratio_``.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> ax = plot_explained_variance(["layer 0", "whole stack"], [0.9, 0.8], [0.95, 0.85])
    """
    ax = ax or new_axes(6, 4)
    series = {"autoencoder": (ratios, POSITIVE), "PCA of the same width": (pca_ratios, GREY)}
    shown = {name: (np.asarray(values, dtype=float), colour) for name, (values, colour) in series.items() if values}
    places, width = np.arange(len(names)), 0.8 / max(1, len(shown))
    handles: list[Any] = []
    for number, (values, colour) in enumerate(shown.values()):
        bars = ax.bar(places + (number - (len(shown) - 1) / 2) * width, values, width * 0.92, color=colour)
        ax.bar_label(bars, [f"{value:.1%}" if np.isfinite(value) else "" for value in values], padding=2, fontsize=8)
        handles.append(bars)
    ax.set_xticks(places, [shorten(name) for name in names], parse_math=False)
    ax.yaxis.set_major_formatter("{x:.0%}")
    lowest = min((np.nanmin(values, initial=0.0) for values, _ in shown.values()), default=0.0)
    room = 0.1 * (1 - lowest)  # for the labels beyond the bars
    ax.set_ylim(lowest - room if lowest < 0 else 0, 1 + room)
    if lowest < 0:
        ax.axhline(0, color="black", linewidth=0.8)
    ax.set_ylabel("explained variance")
    if len(shown) > 1:
        add_legend(ax, handles, list(shown), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return ax


def draw_bars(ax: Axes, values: np.ndarray, names: Sequence[str], **settings: Any) -> None:
    """Draw horizontal bars, from the top down, each with its name."""
    places = np.arange(len(values))
    ax.barh(places, values, **settings)
    ax.set_yticks(places, [shorten(name) for name in names], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
