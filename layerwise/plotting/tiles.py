"""Rows as tiles: images side by side on one canvas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Space between tiles, in pixels of the tiles.
GAP = 1


def as_images(rows: Any, image_shape: tuple[int, ...] | None) -> np.ndarray:
    """Return rows as images.

    Parameters
    ----------
    rows : array-like of shape (n_images, n_features)
        uint8 is read as intensities from 0 to 255 and scaled to [0, 1].
    image_shape : tuple of (height, width) or (height, width, 3), or None
        None takes a square.

    Returns
    -------
    images : ndarray of shape (n_images, height, width[, 3])

    Raises
    ------
    ValueError
        If the features do not fill the image.
    """
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


def filter_tiles(weights: Any, image_shape: tuple[int, ...] | None) -> np.ndarray:
    """Return weights as images in [0, 1], each scaled by itself.

    Zero weight is mid-grey, the largest weight by size black or white; for colour each image is shifted and stretched
    to fill [0, 1].

    Parameters
    ----------
    weights : array-like of shape (n_units, n_features)
    image_shape : tuple of (height, width) or (height, width, 3), or None
        None takes a square.

    Returns
    -------
    tiles : ndarray of shape (n_units, height, width[, 3])
    """
    tiles = as_images(weights, image_shape)
    axes = tuple(range(1, tiles.ndim))
    if tiles.ndim == 4:
        low, high = tiles.min(axes, keepdims=True), tiles.max(axes, keepdims=True)
        return (tiles - low) / np.where(high > low, high - low, 1)
    size = np.abs(tiles).max(axes, keepdims=True)
    return 0.5 + 0.5 * tiles / np.where(size > 0, size, 1)


def row_tiles(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return images in [0, 1]: ``low`` is black, ``high`` white, and what is beyond is cut off.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width[, 3])
    low, high : float

    Returns
    -------
    tiles : ndarray of shape (n_images, height, width[, 3])
    """
    return np.clip((images - low) / (high - low), 0, 1)


def count_columns(tiles: np.ndarray) -> int:
    """Return how many tiles of shape (n, height, width[, 3]) stand beside each other in a square."""
    return max(1, min(len(tiles), math.ceil(math.sqrt(len(tiles) * tiles.shape[1] / tiles.shape[2]))))


def join_tiles(tiles: np.ndarray, columns: int, *, empty: float = 1.0) -> np.ndarray:
    """Put tiles on one canvas, line by line.

    Parameters
    ----------
    tiles : ndarray of shape (n_tiles, height, width[, 3])
        Values in [0, 1].
    columns : int
    empty : float, default=1.0
        The value of gaps and of empty places: white.

    Returns
    -------
    canvas : ndarray of shape (canvas_height, canvas_width[, 3])

    Examples
    --------
    >>> import numpy as np
    >>> join_tiles(np.zeros((3, 2, 2)), 2).shape
    (5, 5)
    """
    columns = min(columns, len(tiles))
    lines = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1] + GAP, tiles.shape[2] + GAP
    canvas = np.full((lines * height - GAP, columns * width - GAP, *tiles.shape[3:]), empty)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return canvas
