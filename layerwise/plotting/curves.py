"""Pictures of curves: losses, accuracies by number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator

from layerwise.plotting._axes import add_legend, new_axes


def plot_loss(curves: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw loss curves, one a stage, on a logarithmic scale where all are positive.

    Parameters
    ----------
    curves : mapping of str to sequence of float
        Name of the stage to its loss after every iteration.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> ax = plot_loss({"layer 0": [30.0, 20.0, 15.0], "layer 1": [9.0, 5.0]})
    """
    ax = ax or new_axes(6, 4)
    lines = [ax.plot(range(1, len(curve) + 1), curve, label=name)[0] for name, curve in curves.items()]
    for line, curve in zip(lines, curves.values(), strict=True):
        if len(curve) == 1:  # a line of one point is none
            line.set_marker("o")
    if all(value > 0 for curve in curves.values() for value in curve):
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    ax.grid(visible=True, alpha=0.3)
    if curves:
        add_legend(ax, lines, list(curves))
    return ax


def plot_comparison(budgets: Sequence[int], series: Mapping[str, np.ndarray], *, ax: Axes | None = None) -> Axes:
    """Draw accuracies by number of labels, each series with its mean and its confidence interval.

    Parameters
    ----------
    budgets : sequence of int
    series : mapping of str to ndarray of shape (n_budgets, 3)
        Name to mean, lower and upper end at each budget.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> ax = plot_comparison([100, 1000], {"pre-trained": np.array([[0.8, 0.7, 0.9], [0.9, 0.85, 0.95]])})
    """
    ax = ax or new_axes(6, 4)
    for name, intervals in series.items():
        mean, low, high = np.asarray(intervals).T
        (line,) = ax.plot(budgets, mean, marker="o", label=name)
        if np.isfinite([low, high]).all():
            ax.fill_between(budgets, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    ax.set_xscale("log")
    ax.set_xticks(list(budgets), [f"{budget:,}" for budget in budgets])
    ax.minorticks_off()
    ax.set_xlabel("labelled rows")
    ax.set_ylabel("test accuracy")
    ax.grid(visible=True, alpha=0.3)
    ax.legend()
    return ax


def plot_published(
    names: Sequence[str], published: Sequence[float], obtained: np.ndarray, *, ax: Axes | None = None
) -> Axes:
    """Draw published errors and obtained ones with their intervals, a line of the picture each.

    Parameters
    ----------
    names : sequence of str of length n_figures
    published : sequence of float of length n_figures
        Errors, above 0: the axis is logarithmic.
    obtained : ndarray of shape (n_figures, 3)
        Mean, lower and upper end; the ends may be infinite, where there is no interval.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> ax = plot_published(["stacked", "softmax"], [2.4, 7.4], np.array([[2.2, 2.1, 2.3], [7.4, 7.4, 7.4]]))
    """
    ax = ax or new_axes(7, 0.35 * len(names) + 1)
    places = np.arange(len(names))
    mean, low, high = np.asarray(obtained, dtype=float).T
    ends = np.where(np.isfinite([low, high]), np.abs([mean - low, high - mean]), 0)
    ax.plot(published, places, "o", color="0.5", label="published")
    ax.errorbar(mean, places, xerr=ends, fmt="D", markersize=5, capsize=3, label="obtained")
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlabel("test error (%)")
    ax.grid(visible=True, alpha=0.3)
    ax.legend()
    return ax
