"""Whatever a user has - a table, a file of arrays, a folder of images - as rows, labels and identifiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, cast

import numpy as np

from layerwise.data.array_source import ArraySource
from layerwise.data.cells import AnnDataLike, CellsSource, is_anndata, is_cells
from layerwise.data.image_source import ImageSource
from layerwise.data.parts import Where, find_parts
from layerwise.data.scratch import MEMORY
from layerwise.data.source import Input, Options, Source
from layerwise.data.table_encoder import TableEncoder
from layerwise.data.table_source import TableSource
from layerwise.data.tables import TableFile, find_tables, find_workbooks, is_table
from layerwise.data.trees import is_zarr
from layerwise.section import WHOLE, Layout, Section
from layerwise.urls import Place, Url, is_url

__all__ = ["Input", "Source", "open_source", "read", "read_input"]


def open_source(where: Where | AnnDataLike, section: Section = WHOLE) -> Source:
    """Open a file or folder of any kind, several files, or a pattern of them; rows are read when asked for.

    A kind that is new is a class like `TableSource`, and a line here; a format of tables, or of arrays, a row in
    `layerwise.data.tables`, or in `layerwise.data.archives`.
    """
    if is_anndata(where):
        return _check_section(CellsSource(where, section), section)
    where = cast(Where, where)
    paths = find_parts(where)
    kinds = [_choose_kind(path) for path in paths]
    other = next((path for path, kind in zip(paths, kinds, strict=True) if kind is not kinds[0]), None)
    if other is not None:
        raise ValueError(f"{other} is not of the kind of {paths[0]}; several files are parts of one table or array")
    return _check_section(kinds[0](where, section), section)


def _check_section(source: Source, section: Section) -> Source:
    _refuse_others(source, {name: value for name, value in section.given().items() if name not in source.takes})
    return source


def _refuse_others(source: Source, given: Mapping[str, Any]) -> None:
    """Refuse parameters that are given and mean nothing to this source."""
    for name, value in given.items():
        if value:
            but = ", not a workbook" if name == "sheet" else ""
            raise ValueError(f"{name}={value!r} cannot be used: {source.path} is {source.kind}{but}")


def is_tabular(where: Where) -> bool:
    """Whether all of it is a table."""
    return all(_choose_kind(path) is TableSource for path in find_parts(where))


def find_separator(where: Where) -> str:
    """Return what separates the values of a table of text, and would those of anything else."""
    if is_url(where) or not is_tabular(where) or find_workbooks(where):
        return ","
    return TableFile(where).separator or ","


def _choose_kind(path: Place) -> type[Source]:
    if isinstance(path, Url):
        return TableSource
    if is_cells(path):
        return CellsSource
    if is_zarr(path):
        return ArraySource
    if path.is_dir():
        return TableSource if find_tables(path) else ImageSource
    return TableSource if is_table(path) else ArraySource


def read(
    path: Where | Source | AnnDataLike,
    *,
    labels: str | PathLike[str] | None = None,
    ids: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] = (),
    sample_weight: str | None = None,
    max_categories: int | None = None,
    missing: Sequence[Any] = (),
    date_parts: str | Sequence[str] = (),
    array: str | None = None,
    layout: Layout | None = None,
    transpose: bool | None = None,
    sheet: str | int | None = None,
    encoding: str | None = None,
    value_labels: bool | None = None,
    zero_based: bool | None = None,
    layer: str | None = None,
    obsm: str | None = None,
    query: str | None = None,
    table: str | None = None,
    encoder: TableEncoder | None = None,
    image_shape: tuple[int, ...] | None = None,
    scratch: str | PathLike[str] | None = None,
    memory: int = MEMORY,
) -> Input:
    r"""Read rows, labels and identifiers from files or a folder of any kind that layerwise knows.

    It is what the command line does with its data. Of several ranks (see `layerwise.distributed.joint`) each reads its
    share of the rows, a range of them, and all read the labels; CSV is looked through by all.

    Parameters
    ----------
    path : str, path-like, sequence of those, or AnnData
        A table with named columns (``.csv``, ``.tsv``, also with ``.gz``; ``.parquet``, ``.feather``, ``.arrow``;
        ``.jsonl``, ``.json``, ``.arff``; a sheet of a workbook, ``.xlsx``, ``.xls``, ``.ods``; of SPSS, Stata and SAS
        ``.sav``, ``.zsav``, ``.por``, ``.dta``, ``.sas7bdat``, ``.xpt``), see
        `layerwise.data.scan_table` and `layerwise.data.TableEncoder`; a file of arrays (``.npy``, ``.npz``, ``.mat``,
        ``.safetensors``, HDF5 ``.h5`` and ``.hdf5``, Zarr, IDX; ``.svm``, ``.svmlight``, ``.libsvm``, whose labels are
        the array ``y``), see `layerwise.data.load_rows`; cells by genes (AnnData: ``.h5ad``, Zarr, or the object in
        memory), whose ``obs`` has the labels and ``obs_names`` the identifiers; plain text (``.txt``, ``.dat``), which
        is a table if its first line names columns, and an array if it is numbers; or a folder of images, see
        `layerwise.data.load_image_folder`. Several tables or arrays, with the same columns, follow each other as one:
        a list, a pattern such as ``"part-*.csv"`` (sorted by name), or a folder of tables, as Spark and Dask write. Or
        the address of a database, as text: ``"postgresql://user@host/db"``, ``"sqlite:///file.db"``,
        ``"duckdb:///file.duckdb"`` (four slashes before a path from the root), of which ``query`` or ``table`` gives
        the rows; ``$NAME`` in it is an environment variable.
    labels : str, path-like or None, default=None
        A column of the table, or of ``obs``, or an array in the same file, or a file of labels, see
        `layerwise.data.load_labels`.
        ``"class"`` takes the sub-folders that images are in. For a folder of images it may be a table with a column of
        file names (paths from the folder on, or names alone, with or without endings) and one of labels; a file of
        labels alone goes by the order of the images.
    ids : str, sequence of str or None, default=None
        Columns of the table, or arrays in the same file, that name the rows; they are no features. Those that the
        encoder finds come after them.
    ignore : str or sequence of str, default=()
        Columns of the table to leave out.
    sample_weight : str or None, default=None
        The column of the table, or the array in the same file, that says how often each row counts; it is no feature.
    max_categories : int or None, default=None
        How many different values a column of text in the table may have; None is the default of the encoder.
    missing : sequence of str, int or float, default=()
        Values that stand for nothing in the table, in columns of text and labels too.
    date_parts : {"year", "week", "day"} or sequence of these, default=()
        Periods whose sine and cosine stand beside the days of every column of dates in the table, see
        `layerwise.data.TableEncoder`.
    array : str or None, default=None
        Which array holds the rows, if the file has several; of a struct in a ``.mat`` file also ``"name.field"``, of a
        group in HDF5 and Zarr ``"/group/name"``.
    layout : {"images-first", "images-last", "pixels", "windows"} or None, default=None
        Which axis of an array of three or more counts rows, see `layerwise.data.load_rows`. With ``"pixels"``,
        labels may be a map of height x width, in the same file or in one of their own.
    transpose : bool or None, default=None
        Whether a file of arrays holds a matrix of features x samples, as MATLAB's ``trainAutoencoder`` takes it: its
        columns become the rows.
    sheet : str, int or None, default=None
        Which sheet of a workbook holds the rows: its name, or its number from 1; None takes the first visible one with
        values.
    encoding : str or None, default=None
        How the text of a file of SPSS, Stata or SAS is encoded, such as ``"latin1"``, if the file does not say so
        itself.
    value_labels : bool or None, default=None
        Whether columns of those files all of whose values have labels become text of those labels. None is True; False
        keeps the numbers.
    zero_based : bool or None, default=None
        Whether the columns of a file of SVMlight or LIBSVM count from 0. None is from 1 unless there is a column 0.
    layer, obsm : str or None, default=None
        Which layer of an AnnData, or which array of its ``obsm``, holds the rows, such as ``"counts"`` or ``"X_pca"``;
        None is its ``X``.
    query : str or None, default=None
        Of a database, the SELECT whose rows are wanted. It is run in a transaction that may only read. Without ORDER BY
        its rows may come in another order the next time.
    table : str or None, default=None
        Of a database, the table, or the view, whose rows are all wanted, by name or by ``"schema.name"``: in the order
        of its primary key, if it has one.
    encoder : TableEncoder or None, default=None
        The fitted encoder of a trained model, for a table; None learns one.
    image_shape : tuple of int or None, default=None
        (height, width), or (height, width, 3) of colour images. Images of a folder are resized to it; rows of other
        files are taken to be images of that shape.
    scratch : str, path-like or None, default=None
        A folder for what takes too much memory: a table becomes a float32 memory map there, and the text of CSV a
        compressed file that goes when it has been read. None is a temporary folder.
    memory : int, default=2**32
        How many bytes of rows, and of text, to keep in memory.

    Returns
    -------
    found : layerwise.data.Input
        Rows ``X`` as estimators take them, labels ``y``, identifiers ``ids``, the names of the columns
        ``feature_names``, and of a table the ``encoder`` that made numbers of it.

    Raises
    ------
    OSError
        If the file or folder cannot be read, or is not there.
    FileError
        If it is damaged, holds what cannot be made numbers, or expands to more than ``LAYERWISE_MAX_BYTES``; if a
        database refuses the query.
    ValueError
        If a column or array that is named is not there.
    ImportError
        If a package that reads this kind of file is missing.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
    >>> _ = path.write_text("name,age,town,ill\nAnn,31,Bern,no\nBob,?,Basel,yes\n")
    >>> people = read(path, ids="name", labels="ill")
    >>> people.feature_names, people.y.tolist(), people.ids["name"].tolist()
    (['age', 'town=Bern'], ['no', 'yes'], ['Ann', 'Bob'])
    >>> people.X
    array([[31.,  1.],
           [nan,  0.]])
    """
    if sample_weight is not None and str(labels) == sample_weight:
        raise ValueError(f"sample_weight={sample_weight!r} holds the labels; name another column, or another array")
    sheet = None if sheet is None else str(sheet)
    section = Section(
        array, layout, transpose, sheet, encoding, value_labels, zero_based, layer, obsm, query=query, table=table
    )
    if isinstance(path, Source) and section.given():
        raise ValueError(f"{path.path} is open already; name a part of it when it is opened")
    source = path if isinstance(path, Source) else open_source(path, section)
    named, ignored = _as_list(ids or ()), _as_list(ignore)
    weighing = [] if sample_weight is None else [sample_weight]
    if encoder is not None and not isinstance(source, TableSource):
        raise ValueError(
            f"{source.path} is no table with named columns, but the model was trained on one; give it a table"
        )
    given: dict[str, Any] = {"id": ids, "ignore": ignore, "sample_weight": sample_weight}
    given |= {"max_categories": max_categories, "missing": missing, "date_parts": date_parts}
    _refuse_others(source, {name: value for name, value in given.items() if name in source.refused})
    others = [*named, *weighing, *([] if labels is None else [str(labels)])]
    source.options = Options(
        *(named, ignored, others, max_categories, missing, _as_list(date_parts)),
        *(encoder, image_shape, scratch, memory),
    )
    if isinstance(source, TableSource):
        for parameter, wanted in (("id", named), ("ignore", ignored), ("sample_weight", weighing)):
            source.check_named(parameter, wanted)
    y = None if labels is None else source.labels(labels)
    weights = None if sample_weight is None else source.weights(sample_weight)
    found = source.rows()
    own = isinstance(source, TableSource) and str(labels) in source.names
    found = found._replace(
        y=y, ids=source.ids(named) | found.ids, weights=weights, label_name=str(labels) if own else None
    )
    if image_shape is None or isinstance(source, ImageSource):
        return found
    return found._replace(image_shape=_check_shape(source.path, found.X, image_shape))


def read_input(path: Where, *, id: str | Sequence[str] | None = None, **options: Any) -> Input:
    """Read rows as `layerwise.read` does, under its earlier name.

    Parameters
    ----------
    path : str, path-like, or sequence of those
        As for `layerwise.read`.
    id : str, sequence of str or None, default=None
        Its ``ids``.
    **options : dict
        Its other parameters.

    Returns
    -------
    found : Input
    """
    return read(path, ids=id, **options)


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _check_shape(path: Place, X: np.ndarray, image_shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(image_shape) not in (2, 3) or image_shape[2:] not in ((), (3,)) or math.prod(image_shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={tuple(image_shape)} must be (height, width) or (height, width, 3) of as many values as a "
            f"row of {path} has, {X.shape[1]}"
        )
    return tuple(image_shape)
