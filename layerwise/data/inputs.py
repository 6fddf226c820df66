"""Whatever a user has - a table, a file of arrays, a folder of images - as rows, labels and identifiers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerwise import distributed
from layerwise.data._polars import columns, import_polars, list_names, match_names, reading
from layerwise.data.archives import describe_others, is_archive, list_arrays
from layerwise.data.files import load_arranged, load_labels
from layerwise.data.image_folder import load_image_folder
from layerwise.data.image_labels import load_image_labels
from layerwise.data.scratch import MEMORY, allocate
from layerwise.data.table_encoder import MAX_CATEGORIES, TableEncoder
from layerwise.data.tables import (
    batches,
    count_rows,
    identifier_values,
    is_table,
    read_labels,
    scan_table,
    without_rows,
)
from layerwise.data.values import refuse_infinity
from layerwise.errors import FileError, in_content_of

if TYPE_CHECKING:
    import polars as pl


class Input(NamedTuple):
    """Rows, and what belongs to them.

    Attributes
    ----------
    X : ndarray, memmap or CSR matrix of shape (n_samples, n_features)
        Numbers. Bytes of images stay uint8; what is missing is NaN. Only a sparse matrix of a ``.mat`` or
        ``.npz`` file is sparse.
    y : ndarray of shape (n_samples,) or None
        Labels: numbers or text, with NaN or None for a label that is missing; true and false, and whole numbers beyond
        2**53, are objects beside None.
    ids : dict of str to ndarray of shape (n_samples,)
        The columns that name the rows.
    image_shape : tuple of int or None
        The shape that a row can be drawn in.
    encoder : TableEncoder or None
        What made the rows of a table.
    feature_names : list of str or None
        The names of the columns of ``X``, where they have some.
    layout : str or None
        How the axes of an array of three or more were read, see `load_rows`.
    shape : tuple of int or None
        Of that array.
    weights : ndarray of shape (n_samples,), float64, or None, default=None
        How often each row counts.
    """

    X: np.ndarray
    y: np.ndarray | None
    ids: dict[str, np.ndarray]
    image_shape: tuple[int, ...] | None
    encoder: TableEncoder | None
    feature_names: list[str] | None
    layout: str | None = None
    shape: tuple[int, ...] | None = None
    weights: np.ndarray | None = None

    @property
    def feature_columns(self) -> list[str] | None:
        """The column of the table that each of ``X`` was made of, where there is a table."""
        return None if self.encoder is None else self.encoder.get_feature_columns()

    def take(self, places: np.ndarray) -> Input:
        """Return the rows at these places, with what belongs to them."""
        return self._replace(
            X=self.X[places],
            y=None if self.y is None else self.y[places],
            ids={name: values[places] for name, values in self.ids.items()},
            weights=None if self.weights is None else self.weights[places],
        )

    def without_weightless(self) -> Input:
        """Return the rows whose weight is not 0, which are all where nothing weighs them.

        Raises
        ------
        ValueError
            If there are none.
        """
        if self.weights is None or self.weights.all():
            return self
        counting = np.flatnonzero(self.weights)
        if not len(counting):
            raise ValueError("the weights of all rows are 0, so no row counts")
        return self.take(counting)


def read_input(
    path: str | PathLike[str],
    *,
    labels: str | PathLike[str] | None = None,
    id: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    sample_weight: str | None = None,
    max_categories: int | None = None,
    missing: Sequence[Any] = (),
    array: str | None = None,
    layout: str | None = None,
    encoder: TableEncoder | None = None,
    image_shape: tuple[int, ...] | None = None,
    scratch: str | PathLike[str] | None = None,
    memory: int = MEMORY,
) -> Input:
    r"""Read rows, labels and identifiers from a file or folder of any kind that layerwise knows.

    Of several ranks (see `layerwise.distributed.joint`) each reads its share of the rows, a range of them, and all read
    the labels; CSV is looked through by all.

    Parameters
    ----------
    path : str or path-like
        A table with named columns (``.csv``, ``.tsv``, also with ``.gz``; ``.parquet``, ``.feather``, ``.arrow``), see
        `scan_table` and `TableEncoder`; a file of arrays (``.npy``, ``.npz``, ``.mat``, ``.safetensors``, IDX), see
        `load_rows`; or a folder of images, see `load_image_folder`. Tables are read in batches.
    labels : str, path-like or None, default=None
        A column of the table, or an array in the same file, or a file of labels, see `load_labels`. ``"class"`` takes
        the sub-folders that images are in. For a folder of images it may be a table with a column of file names (paths
        from the folder on, or names alone, with or without endings) and one of labels; a file of labels alone goes by
        the order of the images.
    id : str, sequence of str or None, default=None
        Columns of the table, or arrays in the same file, that name the rows; they are no features. Those that the
        encoder finds come after them.
    ignore : str or sequence of str, default=()
        Columns of the table to leave out.
    sample_weight : str or None, default=None
        The column of the table, or the array in the same file, that says how often each row counts; it is no feature.
    max_categories : int or None, default=None
        How many different values a column of text in the table may have; None is the default of `TableEncoder`.
    missing : sequence of str, int or float, default=()
        Values that stand for nothing in the table, in columns of text and labels too.
    array : str or None, default=None
        Which array holds the rows, if the file has several; of a struct in a ``.mat`` file also ``"name.field"``.
    layout : {"images-first", "images-last", "pixels", "windows"} or None, default=None
        Which axis of an array of three or more counts rows, see `load_rows`. With ``"pixels"``, labels may be a map of
        height x width, in the same file or in one of their own.
    encoder : TableEncoder or None, default=None
        The fitted encoder of a trained model, for a table; None learns one.
    image_shape : tuple of int or None, default=None
        (height, width), or (height, width, 3) of colour images. Images of a folder are resized to it; rows of other
        files are taken to be images of that shape.
    scratch : str, path-like or None, default=None
        A folder for a file of rows that take too much memory: a table becomes a float32 memory map there. None is a
        temporary folder.
    memory : int, default=2**32
        How many bytes of rows to keep in memory.

    Returns
    -------
    input : Input

    Raises
    ------
    OSError
        If the file or folder cannot be read, or is not there.
    FileError
        If it is damaged, holds what cannot be made numbers, or expands to more than ``LAYERWISE_MAX_BYTES``.
    ValueError
        If a column or array that is named is not there.
    ImportError
        If a package that reads this kind of file is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = path.write_text("name,age,town,ill\nAnn,31,Bern,no\nBob,?,Basel,yes\n")
    >>> people = read_input(path, id="name", labels="ill")
    >>> people.feature_names, people.y.tolist(), people.ids["name"].tolist()
    (['age', 'town=Bern'], ['no', 'yes'], ['Ann', 'Bob'])
    >>> people.X
    array([[31.,  1.],
           [nan,  0.]])
    """
    path = Path(path)
    if sample_weight is not None and str(labels) == sample_weight:
        raise ValueError(f"sample_weight={sample_weight!r} holds the labels; name another column, or another array")
    names = [id] if isinstance(id, str) else list(id or ())
    ignored = [ignore] if isinstance(ignore, str) else list(ignore)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if is_table(path) and not path.is_dir():
        _refuse(path, "a table", array=array, layout=layout)
        used = (sample_weight, max_categories, missing, encoder, scratch, memory)
        found = _read_table(path, labels, names, ignored, *used)
    elif encoder is not None:
        raise ValueError(f"{path} is no table with named columns, but the model was trained on one; give it a table")
    elif path.is_dir():
        own = {"array": array, "layout": layout, "id": id, "ignore": ignore, "sample_weight": sample_weight}
        _refuse(path, "a folder of images", **own, max_categories=max_categories, missing=missing)
        return _read_folder(path, labels, image_shape, scratch, memory)
    else:
        _refuse(path, "no table", ignore=ignore, max_categories=max_categories, missing=missing)
        found = _read_arrays(path, labels, names, sample_weight, array, layout)
    return found if image_shape is None else found._replace(image_shape=_check_shape(path, found.X, image_shape))


def _refuse(path: Path, kind: str, **parameters: Any) -> None:
    for name, value in parameters.items():
        if value:
            raise ValueError(f"{name}={value!r} cannot be used: {path} is {kind}")


def _check_shape(path: Path, X: np.ndarray, image_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(image_shape) not in (2, 3) or image_shape[2:] not in ((), (3,)) or math.prod(image_shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={tuple(image_shape)} must be (height, width) or (height, width, 3) of as many values as a "
            f"row of {path} has, {X.shape[1]}"
        )
    return tuple(image_shape)


def _share_labels(path: Path, name: str, values: np.ndarray, n_rows: int) -> np.ndarray:
    """Return the labels of this rank's rows."""
    if len(values) != n_rows:
        raise FileError(f"{path} has {n_rows} rows, but {name} has {len(values)}; each row needs one")
    return distributed.share(values)


def _load_labels(path: Path, labels: str | PathLike[str], kind: str, names: Sequence[str]) -> np.ndarray:
    """Load labels from a file of their own; ``names`` are the things of a ``kind`` that they could have been."""
    _check_file(path, labels, kind, names)
    return load_labels(labels)


def _check_file(path: Path, labels: str | PathLike[str], kind: str, names: Collection[str]) -> None:
    if not Path(labels).is_file():
        raise ValueError(
            f"labels={str(labels)!r} is neither a file nor {kind} of {path}, which has "
            f"{list_names(list(names)) or 'none'}{describe_others(names)}"
        )


# Tables


def _read_table(
    path: Path,
    labels: str | PathLike[str] | None,
    ids: list[str],
    ignore: list[str],
    sample_weight: str | None,
    max_categories: int | None,
    missing: Sequence[Any],
    encoder: TableEncoder | None,
    scratch: str | PathLike[str] | None,
    memory: int,
) -> Input:
    text = ignore if encoder is None else [*encoder.list_ignored(), *encoder.list_texts()]
    missing = list(missing) if encoder is None else encoder.list_missing()
    weighing = [] if sample_weight is None else [sample_weight]
    used = [] if encoder is None else encoder.feature_names_in_.tolist()
    wanted = [*ids, *ignore, *weighing, *used, *([] if labels is None else [str(labels)])]
    table = match_names(scan_table(path, text=[*ids, *text], missing=missing, as_written=True), wanted)
    there = table.collect_schema().names()
    for parameter, names in (("id", ids), ("ignore", ignore), ("sample_weight", weighing)):
        absent = [name for name in names if name not in there]
        if absent:
            raise ValueError(f"{parameter}={absent[0]!r} is no column of {path}, which has {list_names(there)}")
    own = labels is not None and str(labels) in there
    n_rows = count_rows(path, table)
    y = None
    if labels is not None and not own:
        y = _share_labels(path, "labels", _load_labels(path, labels, "a column", there), n_rows)
    start, stop = distributed.share_bounds(n_rows)
    with in_content_of(path):
        if own:
            y = _share_labels(path, "labels", read_labels(path, table, str(labels)), n_rows)
        weights = _check_weights(path, sample_weight, lambda name: _read_numbers(path, table, name), n_rows)
        whole, table = table, table.slice(start, stop - start)
        if encoder is None:
            others = {*ids, *weighing, *([str(labels)] if own else [])}
            features = whole.drop(columns(*others.difference(ignore)))
            at_most = MAX_CATEGORIES if max_categories is None else max_categories
            new = TableEncoder(ignore=tuple(ignore), max_categories=at_most, missing=tuple(missing))
            encoder = _learn(path, features, n_rows, new)
        else:
            with reading(path):
                encoder.check_columns(whole)  # batches would count their own rows
        ids = [*ids, *(name for name in encoder.list_row_names() if name in there and name not in ids)]
        X = allocate((stop - start, len(encoder.get_feature_names_out())), np.float64, memory=memory, scratch=scratch)
        named = _encode(path, table, encoder, ids, X)
        refuse_infinity(X[:, : len(encoder.numbers_)], encoder.numbers_, start)
        identifiers = {name: identifier_values(named[name]) for name in ids}
    return Input(X, y, identifiers, None, encoder, list(encoder.get_feature_names_out()), weights=weights)


def _read_numbers(path: Path, table: pl.LazyFrame, name: str) -> np.ndarray:
    with reading(path):
        column = table.select(columns(name)).collect().to_series()
        return column.cast(import_polars().Float64).to_numpy() if column.dtype.is_numeric() else column.to_numpy()


def _check_weights(path: Path, name: str | None, read: Callable[[str], np.ndarray], n_rows: int) -> np.ndarray | None:
    """Return how often each of this rank's rows counts; None where nothing says so."""
    if name is None:
        return None
    weights, where = read(name), f"sample_weight={name!r} of {path}"
    if weights.dtype.kind not in "iuf":
        raise ValueError(f"{where} holds {weights[:1].tolist()[0]!r:.65}, but a weight of a row is a number")
    weights = weights.astype(np.float64)
    wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if len(wrong):
        what = "nothing" if np.isnan(weights[wrong[0]]) else f"{weights[wrong[0]]:g}"
        raise ValueError(
            f"{where} holds {what} in row {wrong[0] + 1} (counted from 1), but each row needs a finite weight that is "
            f"not negative; 0 lets a row count for nothing"
        )
    return _share_labels(path, "sample_weight", weights, n_rows)


def _learn(path: Path, features: pl.LazyFrame, n_rows: int, encoder: TableEncoder) -> TableEncoder:
    """Fit an encoder, the same on all ranks, each of which looks at all rows."""
    encoder.add_rows(without_rows(features))
    for batch in batches(path, features, n_rows):
        encoder.add_rows(batch)
    encoder.check_types()
    return encoder


def _encode(path: Path, table: pl.LazyFrame, encoder: TableEncoder, kept: list[str], X: np.ndarray) -> pl.DataFrame:
    """Fill ``X`` with the encoded rows; return the columns that are kept as they are."""
    needed = columns(*dict.fromkeys([*kept, *encoder.feature_names_in_]))
    named, start = [without_rows(table.select(columns(*kept)))], 0
    for batch in batches(path, table.select(needed), len(X)):
        X[start : start + len(batch)] = encoder.transform(batch)
        named.append(batch.select(columns(*kept)))
        start += len(batch)
    return import_polars().concat(named)


# Arrays and images


def _read_arrays(
    path: Path,
    labels: str | PathLike[str] | None,
    ids: list[str],
    sample_weight: str | None,
    array: str | None,
    layout: str | None,
) -> Input:
    found = load_arranged(path, array, layout)
    shapes = list_arrays(path) if is_archive(path) and (labels is not None or ids) else {}
    n_rows, grid, y = found.X.shape[0], found.grid, None
    if labels is not None:
        if str(labels) in shapes:
            y = load_labels(path, str(labels), grid=grid)
        else:
            _check_file(path, labels, "an array", shapes)
            y = load_labels(labels, grid=grid)
        y = _share_labels(path, "labels", y, n_rows)
    names = {name: _share_labels(path, name, load_labels(path, name, grid=grid), n_rows) for name in ids}
    weights = _check_weights(path, sample_weight, lambda name: load_labels(path, name, grid=grid), n_rows)
    X = distributed.share(found.X)
    return Input(X, y, names, found.image_shape, None, None, found.layout, found.shape, weights)


def _read_folder(
    path: Path,
    labels: str | PathLike[str] | None,
    image_shape: tuple[int, ...] | None,
    scratch: str | PathLike[str] | None,
    memory: int,
) -> Input:
    images = load_image_folder(path, image_shape, memory=memory, scratch=scratch)
    y = None
    if str(labels) == "class":
        y = images.classes
        outside = [file for file, name in zip(images.files, y, strict=True) if name is None]
        if outside:
            raise ValueError(f"labels='class' needs every image in a sub-folder of {path}, but {outside[0]} is in none")
        deeper = [file for file in images.files if file.count("/") > 1]
        if deeper:
            warnings.warn(
                f"the class of an image is the folder right below {path}: {len(deeper)} of {len(images.files)} images "
                f"lie deeper, such as {deeper[0]}, whose class is {deeper[0].split('/')[0]!r}",
                stacklevel=3,
            )
    elif labels is not None:
        _check_file(path, labels, "a label", ["class"])
        y = distributed.share(load_image_labels(Path(labels), path, images.all_files))
    return Input(images.X, y, {"file": images.files}, images.image_shape, None, None)
