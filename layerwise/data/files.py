"""Rows and labels from one file of any kind that layerwise reads."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from layerwise.data.idx import load_idx


class Table(NamedTuple):
    """Rows, and the shape of the images that they are.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
    image_shape : tuple of int or None
        None where the rows are no images.
    """

    X: np.ndarray
    image_shape: tuple[int, ...] | None


def load_rows(path: str | PathLike[str]) -> Table:
    """Load rows from a ``.npy`` or an IDX file; images become rows of pixels.

    Parameters
    ----------
    path : str or path-like
        A ``.npy`` file (never pickled objects), or an IDX file, compressed with gzip or not.

    Returns
    -------
    table : Table
        In the type of the file; memory-mapped where the file is not compressed.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, holds no numbers, or has less than two axes.
    """
    array = _load_array(Path(path))
    if array.ndim < 2:
        raise ValueError(f"{path} has shape {array.shape}, but rows need two axes: samples and features")
    return Table(array.reshape(len(array), math.prod(array.shape[1:])), _image_shape(array.shape[1:]))


def load_labels(path: str | PathLike[str]) -> np.ndarray:
    """Load one label a row from a ``.npy`` or an IDX file.

    Parameters
    ----------
    path : str or path-like
        As for `load_rows`.

    Returns
    -------
    y : ndarray of shape (n_samples,)

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged or does not have one axis.
    """
    array = _load_array(Path(path))
    if array.ndim != 1:
        raise ValueError(f"{path} has shape {array.shape}, but labels need one axis: one label a row")
    return array


def _load_array(path: Path) -> np.ndarray:
    if path.suffix != ".npy":
        return load_idx(path)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as .npy: {error}") from error
    if array.dtype.kind not in "biufU":
        raise ValueError(f"{path} holds values of type {array.dtype}, but numbers, or text for labels, are needed")
    return array


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that a row can be drawn in, grey or colour; None where it is no image."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    return shape if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3) else None
