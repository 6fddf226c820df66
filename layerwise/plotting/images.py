"""Pictures of images: filters, inputs and their reconstructions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from layerwise.plotting._axes import new_axes
from layerwise.plotting.tiles import as_images, count_columns, filter_tiles, join_tiles, row_tiles


def plot_filters(
    weights: Any,
    image_shape: tuple[int, ...] | None = None,
    *,
    max_tiles: int = 400,
    columns: int | None = None,
    ax: Axes | None = None,
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
    columns : int, default=None
        Tiles beside each other; None makes the whole about square.
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
    tiles = filter_tiles(weights, image_shape)[:max_tiles]
    return _show(join_tiles(tiles, columns or count_columns(tiles)), ax)


def plot_reconstructions(
    inputs: Any,
    reconstructions: Any,
    image_shape: tuple[int, ...] | None = None,
    *,
    corrupted: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw inputs in the upper row and their reconstructions below, on one scale.

    Parameters
    ----------
    inputs, reconstructions : array-like of shape (n_images, n_features)
        uint8 inputs are read as intensities from 0 to 255 and scaled to [0, 1].
    image_shape : tuple of (height, width) or (height, width, 3), default=None
        None takes a square.
    corrupted : array-like of shape (n_images, n_features), default=None
        What the reconstructions were made from, shown between the two; values beyond those of the inputs are cut off.
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
    >>> ax = plot_reconstructions(x, x / 2, corrupted=x * (x > 0.3))
    """
    rows = {"inputs": inputs, "corrupted": corrupted, "reconstructions": reconstructions}
    lines = {name: as_images(values, image_shape) for name, values in rows.items() if values is not None}
    for name, images in lines.items():
        if images.shape != lines["inputs"].shape:
            raise ValueError(f"inputs have shape {np.shape(inputs)}, but {name} {np.shape(rows[name])}")
    low, high = min(0.0, lines["inputs"].min()), max(1.0, lines["inputs"].max())
    tiles = row_tiles(np.concatenate(list(lines.values())), low, high)
    return _show(join_tiles(tiles, len(lines["inputs"])), ax)


def _show(canvas: np.ndarray, ax: Axes | None) -> Axes:
    ax = ax or new_axes(*_figure_size(canvas))
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    return ax


def _figure_size(canvas: np.ndarray) -> tuple[float, float]:
    height, width = canvas.shape[:2]
    scale = 8 / max(height, width)
    return max(1.0, width * scale), max(1.0, height * scale)
