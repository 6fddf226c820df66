"""Rows and labels from one file of any kind that layerwise reads."""

from __future__ import annotations

import math
import warnings
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from layerwise.data._polars import list_names
from layerwise.data.archives import ARCHIVE_ENDINGS, Shapes, choose_labels, choose_rows, open_archive
from layerwise.data.axes import Arranged, arrange, check_layout
from layerwise.data.idx import load_idx
from layerwise.data.npy import map_npy
from layerwise.data.one_hot import from_one_hot
from layerwise.data.scratch import ROOM, Room
from layerwise.data.table_formats import TABLE_ENDINGS
from layerwise.data.tables import TableFile, is_table, read_labels
from layerwise.data.text_arrays import TEXT_ENDINGS, is_text, load_text
from layerwise.data.unknown_formats import advise
from layerwise.errors import FileError, in_content_of


class Table(NamedTuple):
    """Rows, and the shape of the images that they are; None where they are none."""

    X: Any
    image_shape: tuple[int, ...] | None


def load_rows(
    path: str | PathLike[str], array: str | None = None, *, layout: str | None = None, transpose: bool = False
) -> Table:
    """Load rows from a file of arrays; images become rows of pixels. Of tables with names see `read_input`.

    Parameters
    ----------
    path : str or path-like
        A ``.npy``, ``.npz``, ``.mat`` or ``.safetensors`` file (never pickled objects); HDF5 (``.h5``, ``.hdf5``) or
        Zarr (a folder, or ``.zarr.zip``); a ``.svm``, ``.svmlight`` or ``.libsvm`` file, also with ``.gz`` or ``.bz2``,
        whose labels are the array y; a ``.txt`` or ``.dat`` file of
        numbers without a line of names, such as `numpy.savetxt` writes; or else an IDX file, compressed with gzip or
        not.
    array : str or None, default=None
        Which array of a file of several, field of a struct of ``.mat``, as in ``"data.train"``, or array in a group of
        HDF5 or Zarr, as in ``"/group/data"``. None takes the only matrix, or the one called X, x, data, features or
        images.
    layout : {"images-first", "images-last", "pixels", "windows"} or None, default=None
        Which axis of an array of three or more counts rows: the first, or the last; ``"pixels"`` makes a row of bands
        of each pixel of height x width x bands, those of the first line first; ``"windows"`` makes a row of each sample
        of samples x time x sensors, which is no image. None is ``"images-last"`` in ``.mat`` files, as MATLAB counts
        images, and ``"images-first"`` in others. A matrix has rows in any layout.
    transpose : bool, default=False
        Whether the columns of a matrix are the rows: features x samples, as MATLAB's ``trainAutoencoder`` takes them.

    Returns
    -------
    table : Table
        In the type of the file; memory-mapped where that is ``.npy``, IDX or HDF5 and not compressed or in chunks. A
        sparse matrix of ``.mat``, of a ``.npz`` file of `scipy.sparse.save_npz`, or in SVMlight format is a CSR matrix.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If it is damaged, holds no numbers, or has less than two axes.
    ValueError
        If there is no such array or layout, ``array`` must say which, or ``transpose`` meets an array of three axes.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "cube.npy"
    >>> np.save(path, np.zeros((20, 25, 12)))
    >>> [load_rows(path, layout=layout).X.shape for layout in ("images-first", "images-last", "pixels")]
    [(20, 300), (12, 500), (500, 12)]
    """
    arranged = ArrayFile(Path(path)).rows(array, layout, transpose)
    return Table(arranged.X, arranged.image_shape)


class ArrayFile:
    """A file of arrays that has been opened, once; ``shapes`` is empty where it holds a single one without a name."""

    def __init__(self, path: Path, zero_based: bool | None = None):
        self.path = path
        self._archive = open_archive(path, zero_based)
        self.zero_based = None if self._archive is None else self._archive.zero_based
        self.shapes: Shapes = {} if self._archive is None else self._archive.shapes

    def rows(self, array: str | None, layout: str | None, transpose: bool = False, *, room: Room = ROOM) -> Arranged:
        """Load rows as `load_rows` does, with how the axes were read."""
        path = self.path
        check_layout(layout)
        if self._archive is not None:
            values = self._archive.load(choose_rows(path, self.shapes, array, deep=layout is not None), room)
        else:
            values = _load_single(path, array)
        if values.ndim < 2:
            raise FileError(f"{path} has shape {values.shape}, but rows need two axes: samples and features")
        if values.dtype.kind not in "biuf":
            raise FileError(f"{path} holds values of type {values.dtype}, but numbers are needed")
        if math.prod(values.shape) == 0:
            raise FileError(f"{path} has shape {values.shape}, so there is no value in it")
        return arrange(path, values, layout, transpose=transpose)

    def labels(self, array: str | None, grid: tuple[int, int] | None) -> np.ndarray:
        """Load labels as `load_labels` does."""
        path = self.path
        if self._archive is not None:
            values = self._archive.load(choose_labels(path, self.shapes, array, grid), ROOM)
        else:
            values = _load_single(path, array)
        classes = from_one_hot(path, values) if grid is None else None
        if classes is not None:
            return classes
        if sparse.issparse(values):
            raise FileError(f"{path} holds a sparse matrix, but labels need one axis: one label a row")
        if grid is not None:
            values = _flatten_map(path, values, grid)
        if values.ndim > 1 and values.size == max(values.shape):  # one row or column, as in MATLAB
            values = values.reshape(-1)
        if values.ndim != 1:
            else_one_hot = ", or one 1 among zeros in each row (or each column)" if values.ndim == 2 else ""
            raise FileError(f"{path} has shape {values.shape}, but labels need one axis: one label a row{else_one_hot}")
        if values.dtype.kind not in "biufU":
            raise FileError(f"{path} holds values of type {values.dtype}, but numbers, or text for labels, are needed")
        codes = (
            np.ascontiguousarray(values).view(f"{values.dtype.str[0]}u4") if values.dtype.kind == "U" else values[:0]
        )
        if (codes > 0x10FFFF).any():
            raise FileError(f"{path} is damaged: it holds text that is no Unicode")
        return values


def load_labels(
    path: str | PathLike[str],
    array: str | None = None,
    *,
    grid: tuple[int, int] | None = None,
    as_text: bool = False,
) -> np.ndarray:
    """Load one label a row from a file of arrays, or from a table of one column.

    Parameters
    ----------
    path : str or path-like
        As for `load_rows`; also a ``.csv``, ``.tsv``, ``.parquet``, ``.feather`` or ``.arrow`` file, or a
        workbook.
    array : str or None, default=None
        Which array of a file of several, or field of a struct. None takes the only vector, or the one called y, labels,
        label or target; or the only array. One of two axes, with a single 1 among zeros in each row, or else in each
        column, is one-hot: classes count from 1 in ``.mat`` files, as MATLAB's ``vec2ind`` does, and from 0 in others,
        as ``numpy.argmax`` does; a warning says so.
    grid : tuple of int or None, default=None
        The height and width of an image whose pixels are the rows: the labels may be a map of that shape.
    as_text : bool, default=False
        Leave the labels of a CSV file as they are written, even if they are numbers.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        Numbers or text. Labels missing from a table are NaN among numbers and None among text.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If it is damaged, or does not hold one label a row.
    ValueError
        If there is no such array, or ``array`` must say which.
    """
    path = Path(path)
    return _load_column(path, as_text) if is_table(path) else ArrayFile(path).labels(array, grid)


def _flatten_map(path: Path, values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return a map of labels in the order of the pixels."""
    if values.shape == grid:
        return values.reshape(-1)
    if values.ndim == 1 or min(values.shape) == 1:
        warnings.warn(
            f"the labels of {path} are no map of {grid[0]} x {grid[1]}, and are taken line by line; map(:) in MATLAB "
            f"goes down the columns",
            stacklevel=4,
        )
        return values
    raise FileError(f"{path} has shape {values.shape}, but a map of {grid[0]} x {grid[1]} pixels is needed")


def _load_single(path: Path, name: str | None) -> np.ndarray:
    """Load the array of a file that holds no other."""
    if name is not None:
        raise ValueError(f"{path} holds no arrays with names, so there is no {name!r} in it")
    if is_table(path):
        raise FileError(f"{path} is a table with named columns, but an array is needed here: .npy, .npz or IDX")
    if is_text(path):
        return load_text(path)
    return map_npy(path) if path.suffix.lower() == ".npy" else _load_idx(path)


def _load_idx(path: Path) -> np.ndarray:
    """Load an IDX file; of other files say what layerwise reads."""
    try:
        return load_idx(path)
    except FileError as error:
        advice = advise(path)
        if advice is None and ("not an IDX file" not in str(error) or path.suffix.lower() in ("", ".gz", ".idx")):
            raise
        known = ", ".join((*TABLE_ENDINGS, *TEXT_ENDINGS, ".npy", *ARCHIVE_ENDINGS))
        hint = "" if advice is None else f" ({advice})"
        raise FileError(f"{path} is of no known format{hint}; known are {known}, IDX, and folders of images") from error


def _load_column(path: Path, as_text: bool) -> np.ndarray:
    file = TableFile(path)
    if len(file.names) != 1:
        raise FileError(
            f"{path} has the {len(file.names)} columns {list_names(file.names)}, but a file of labels needs a single "
            f"one"
        )
    with in_content_of(path):
        table = file.scan(file.names if as_text else ())
        file.warn()
        return read_labels(file, table, file.names[0], as_text)
