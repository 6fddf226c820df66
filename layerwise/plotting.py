"""Pictures: arrays in, matplotlib Axes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

# Space between tiles, in pixels of the tiles.
_GAP = 1


def plot_filters(
    weights: Any, image_shape: tuple[int, ...] | None = None, *, max_tiles: int = 400, ax: Axes | None = None
) -> Axes:
    """Draw the weights of each unit as a tile: the input that excites it most, up to its length.

    Parameters
    ----------
    weights : array-like of shape (n_units, n_features)
        Such as ``Autoencoder.components_``.
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        None takes a square.
    max_tiles : int, default=400
        Units drawn at most, from the first.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If the features do not fill the image.

    Notes
    -----
    Each tile is scaled by itself: zero weight is mid-grey, the largest weight by size is black or white. For colour
    each tile is shifted and stretched to fill [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> ax = plot_filters(np.random.default_rng(0).normal(size=(7, 12)), (3, 4))
    """
    tiles = _as_images(weights, image_shape)[:max_tiles]
    axes = tuple(range(1, tiles.ndim))
    if tiles.ndim == 4:
        low, high = tiles.min(axes, keepdims=True), tiles.max(axes, keepdims=True)
        tiles = (tiles - low) / np.where(high > low, high - low, 1)
    else:
        size = np.abs(tiles).max(axes, keepdims=True)
        tiles = 0.5 + 0.5 * tiles / np.where(size > 0, size, 1)
    columns = math.ceil(math.sqrt(len(tiles) * tiles.shape[1] / tiles.shape[2]))
    return _show_grid(tiles, columns, ax)


def plot_reconstructions(
    inputs: Any, reconstructions: Any, image_shape: tuple[int, ...] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw inputs in the upper row and their reconstructions below, on one scale.

    Parameters
    ----------
    inputs, reconstructions : array-like of shape (n_images, n_features)
        uint8 inputs are read as intensities from 0 to 255 and scaled to [0, 1].
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        None takes a square.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ValueError
        If the shapes differ, or the features do not fill the image.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).random((5, 16))
    >>> ax = plot_reconstructions(x, x / 2)
    """
    upper, lower = _as_images(inputs, image_shape), _as_images(reconstructions, image_shape)
    if upper.shape != lower.shape:
        raise ValueError(f"inputs have shape {np.shape(inputs)}, but reconstructions {np.shape(reconstructions)}")
    low, high = min(0.0, upper.min()), max(1.0, upper.max())
    tiles = np.clip((np.concatenate([upper, lower]) - low) / (high - low), 0, 1)
    return _show_grid(tiles, len(upper), ax)


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
    ax = ax or _new_axes(6, 4)
    for name, curve in curves.items():
        ax.plot(range(1, len(curve) + 1), curve, label=name)
    if all(value > 0 for curve in curves.values() for value in curve):
        ax.set_yscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel("loss")
    ax.grid(visible=True, alpha=0.3)
    if curves:
        ax.legend()
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
    ax = ax or _new_axes(6, 4)
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


def _as_images(rows: Any, image_shape: tuple[int, ...] | None) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 2 or len(rows) == 0:
        raise ValueError(f"rows have shape {rows.shape}, but (n_images, n_features) with n_images >= 1 is expected")
    if rows.dtype == np.uint8:
        rows = rows / 255
    if image_shape is None:
        side = math.isqrt(rows.shape[1])
        image_shape = (side, side)
    drawable = len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] == 3)
    if math.prod(image_shape) != rows.shape[1] or not drawable:
        raise ValueError(
            f"image_shape={image_shape} does not fit {rows.shape[1]} features; give (height, width) or "
            f"(height, width, 3)"
        )
    return rows.reshape(len(rows), *image_shape)


def _show_grid(tiles: np.ndarray, columns: int, ax: Axes | None) -> Axes:
    """Show tiles of shape (n, height, width[, 3]) with values in [0, 1], row by row; empty places stay white."""
    columns = min(columns, len(tiles))
    lines = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1] + _GAP, tiles.shape[2] + _GAP
    canvas = np.ones((lines * height - _GAP, columns * width - _GAP, *tiles.shape[3:]))
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    ax = ax or _new_axes(*_figure_size(canvas))
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def _figure_size(canvas: np.ndarray) -> tuple[float, float]:
    height, width = canvas.shape[:2]
    scale = 8 / max(height, width)
    return max(1.0, width * scale), max(1.0, height * scale)


def _new_axes(width: float, height: float) -> Axes:
    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax
