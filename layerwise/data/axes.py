"""Which axis of an array counts its rows: a guess by the kind of file, or as the user says."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from layerwise.errors import FileError

LAYOUTS = ("images-first", "images-last", "pixels", "windows")


class Arranged(NamedTuple):
    """Rows of an array.

    The ``image_shape`` is that in which a row can be drawn, if any; ``layout`` is how the axes of the array were read,
    None of a matrix, whose rows are rows; ``shape`` is that of the array in the file.
    """

    X: np.ndarray | sparse.csr_matrix
    image_shape: tuple[int, ...] | None
    layout: str | None
    shape: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, int] | None:
        """The height and width of the image whose pixels are the rows."""
        return (self.shape[0], self.shape[1]) if self.layout == "pixels" else None


def check_layout(layout: str | None) -> None:
    """Refuse a layout that there is none of."""
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} must be one of {', '.join(LAYOUTS)}")


def arrange(
    path: Path, values: np.ndarray | sparse.csr_matrix, layout: str | None, *, transpose: bool = False
) -> Arranged:
    """Return the rows of an array of two or more axes; ``layout`` and ``transpose`` are those of `load_rows`.

    In ``.mat`` files images are counted along the last axis, as MATLAB does; in others along the first.
    """
    shape = tuple(map(int, values.shape))
    if len(shape) == 2:
        if layout is not None:
            warnings.warn(
                f"layout={layout!r} changes nothing: {path} holds a matrix of {shape[0]} x {shape[1]}, whose rows are "
                f"the rows",
                stacklevel=4,
            )
        if transpose and sparse.issparse(values):
            values = sparse.csr_matrix(values.T)
        elif transpose:  # what is mapped from a file stays there
            values = values.T if isinstance(values, np.memmap) else np.ascontiguousarray(values.T)
        return Arranged(values, None, None, shape)
    if transpose:
        raise ValueError(
            f"transpose=True is for a matrix of features x samples, but {path} holds an array of "
            f"{' x '.join(map(str, shape))}; say by layout which of its axes counts rows"
        )
    layout = layout or ("images-last" if path.suffix.lower() == ".mat" else "images-first")
    if layout == "pixels":
        if len(shape) != 3:
            raise FileError(f"{path} has shape {shape}, but layout='pixels' needs height x width x bands")
        return Arranged(values.reshape(-1, shape[2]), None, layout, shape)
    if layout == "images-last":
        values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    sides = values.shape[1:]
    image_shape = None if layout == "windows" else _image_shape(sides)
    return Arranged(values.reshape(len(values), math.prod(sides)), image_shape, layout, shape)


def _image_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape that a row can be drawn in, grey or colour; None where it is no image."""
    if len(shape) == 3 and shape[2] == 1:
        shape = shape[:2]
    return shape if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3) else None
