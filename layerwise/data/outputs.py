"""Results out: columns to a table or a file of arrays, by the ending of its name."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from layerwise.atomic import atomic, naming
from layerwise.data._polars import import_polars, pl
from layerwise.data.mat_output import write_mat
from layerwise.data.workbook_output import check_sheet, check_writer, write_workbook

Columns = Mapping[str, Any]
Arrays = dict[str, np.ndarray]

# Rows that become text at once.
_BLOCK = 100_000


def check_output(path: str | PathLike[str]) -> None:
    """Refuse a file that `write_columns` could not write, before the work is done.

    Parameters
    ----------
    path : str or path-like

    Raises
    ------
    ValueError
        If the ending of its name is not known.
    ImportError
        If a package that writes this kind of file is missing.

    Examples
    --------
    >>> check_output("a.xls")
    Traceback (most recent call last):
    ...
    ValueError: a.xls must end in .csv, .tsv, .parquet, .feather, .json, .jsonl, .xlsx, .npy, .npz, .mat or .safetensors
    """
    ending = Path(path).suffix.lower()
    if ending not in _WRITERS:
        *known, last = _WRITERS
        raise ValueError(f"{path} must end in {', '.join(known)} or {last}")
    if ending in _POLARS_ONLY:
        import_polars()
    if ending == ".xlsx":
        check_writer(path)


def write_columns(
    path: str | PathLike[str], columns: Columns, *, ids: Columns | None = None, separator: str = ","
) -> None:
    """Write columns to a file of the kind that the ending of its name says.

    Parameters
    ----------
    path : str or path-like
        ``.csv``, ``.tsv``, ``.parquet`` or ``.feather`` for a table; ``.json`` for a list of records, ``.jsonl`` for
        one record a line; ``.xlsx`` for a workbook of one sheet, where text is never a formula; ``.npy`` for one array,
        ``.npz``, ``.mat`` or ``.safetensors`` for one array a column. A file that is there is replaced by the whole new
        one, or stays as it is; of a link, the one that it points to.
    columns : mapping of str to array-like of shape (n_samples,) or (n_samples, n_values)
        In a table, one of two axes becomes the columns ``name_0``, ``name_1``, ... In ``.npy`` all stand side by side
        and lose their names, and a single one of one axis stays so; text fits only if it is the single one. In
        ``.npz`` and ``.safetensors`` they stay as they are, and in ``.mat`` too, where those of one axis stand upright,
        text is a cell array, and a name that is none in MATLAB is changed, as a warning says.
    ids : mapping of str to array-like of shape (n_samples,) or None, default=None
        Columns that name the rows. They come first in a table, and are left out of ``.npy`` and ``.safetensors``.
    separator : str, default=","
        Of the values in ``.csv``.

    Raises
    ------
    ValueError
        If the ending is not known, columns differ in length, two have the same name, or the file cannot hold text, so
        much of it, or so many rows.
    ImportError
        If a package that writes this kind of file is missing.
    FileExistsError
        If there is something else than a file.
    OSError
        If the file cannot be written; it is named.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "codes.csv"
    >>> write_columns(path, {"code": np.array([[0.5, 1], [2, np.nan]])}, ids={"name": ["Ann", "Bob, jr."]})
    >>> print(path.read_text(), end="")
    name,code_0,code_1
    Ann,0.5,1.0
    "Bob, jr.",2.0,
    """
    check_output(path)
    arrays, names = _as_arrays(columns), _as_arrays(ids or {})
    if not arrays:
        raise ValueError(f"there is no column to write to {path}")
    flat = _flatten(arrays, names)  # refuses columns that do not fit together, before a file is there
    ending = Path(path).suffix.lower()
    if ending == ".xlsx":
        check_sheet(Path(path), flat)
    write = partial(_write_text, separator=separator) if ending == ".csv" else _WRITERS[ending]
    with atomic(path, overwrite=True) as staging, naming(staging):
        write(staging, arrays, names)


def write_csv(stream: IO[str], columns: Columns, *, ids: Columns | None = None, separator: str = ",") -> None:
    """Write columns as CSV to a text stream such as standard output.

    Parameters
    ----------
    stream : text stream
    columns, ids : mapping of str to array-like
        As for `write_columns`. What is missing, NaN or None, becomes an empty value.
    separator : str, default=","

    Examples
    --------
    >>> import sys
    >>> write_csv(sys.stdout, {"label": [3, 5]}, ids={"row": ["a", "b"]})
    row,label
    a,3
    b,5
    """
    flat = _flatten(_as_arrays(columns), _as_arrays(ids or {}))
    if find_spec("polars") is None:
        _write_rows(stream, flat, separator)
        return
    frame = _to_frame(flat)
    for start in range(0, max(1, len(frame)), _BLOCK):
        block = frame.slice(start, _BLOCK)
        stream.write(block.write_csv(separator=separator, include_header=start == 0))


def _write_rows(stream: IO[str], flat: Arrays, separator: str) -> None:
    # Python before 3.13 quotes a carriage return only where its own lines end with one.
    lines: Any = SimpleNamespace(write=lambda line: stream.write(line.removesuffix("\r\n") + "\n"))
    writer = csv.writer(lines, delimiter=separator, lineterminator="\r\n")
    writer.writerow(flat)
    # true and false as polars writes them
    columns = [np.where(array, "true", "false") if array.dtype == bool else array for array in flat.values()]
    writer.writerows(zip(*map(_plain, columns), strict=True))


def _as_arrays(columns: Columns) -> Arrays:
    arrays = {str(name): np.asarray(values) for name, values in columns.items()}
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or array.dtype.kind not in "biufUO":
            raise ValueError(
                f"{name!r} has shape {array.shape} and type {array.dtype}, but numbers or text of one or two axes are "
                f"needed"
            )
    return arrays


def _flatten(columns: Mapping[str, np.ndarray], ids: Mapping[str, np.ndarray]) -> Arrays:
    """Return the columns of a table: identifiers first, arrays of two axes column by column."""
    given = [*ids.items(), *columns.items()]
    if len({len(array) for _, array in given}) > 1:
        listed = ", ".join(f"{name!r} {len(array)}" for name, array in given)
        raise ValueError(f"columns must have equally many rows, but they have: {listed}")
    flat: Arrays = {}
    for name, array in given:
        parts = {name: array} if array.ndim == 1 else {f"{name}_{place}": part for place, part in enumerate(array.T)}
        twice = [part for part in parts if part in flat]
        if twice:
            raise ValueError(f"two columns are called {twice[0]!r}; give one of them another name")
        flat |= parts
    return flat


def _plain(array: np.ndarray) -> list[Any]:
    """Return a column as Python's own values; None is missing."""
    if array.dtype == np.float32 or array.dtype == np.float16:
        array = array.astype(str).astype(np.float64)  # 0.1 stays 0.1
    return [None if value != value else value for value in array.tolist()]


def as_frame(columns: Columns, ids: Columns) -> pl.DataFrame:
    """Return columns as a table, as `write_columns` writes it to a file."""
    return _to_frame(_flatten(_as_arrays(columns), _as_arrays(ids)))


def _to_frame(flat: Mapping[str, np.ndarray]) -> pl.DataFrame:
    columns = []
    for name, array in flat.items():
        text = array.dtype.kind in "UO"
        column = pl.Series(name, _plain(array) if text else np.ascontiguousarray(array), strict=not text)
        columns.append(column.fill_nan(None) if column.dtype.is_float() else column)
    return pl.DataFrame({column.name: column for column in columns})  # of a list, one without a name gets one


# One function a kind of file, with columns and identifiers


def _write_text(path: Path, columns: Arrays, ids: Arrays, separator: str = "\t") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, columns, ids=ids, separator=separator)


def _write_frame(path: Path, columns: Arrays, ids: Arrays, method: str) -> None:
    with path.open("wb") as file:  # polars takes no name that is no UTF-8
        getattr(_to_frame(_flatten(columns, ids)), method)(file)


def _records(columns: Arrays, ids: Arrays) -> Iterator[str]:
    """Yield each row as a JSON object, which has no word for infinity: that is null too."""
    flat = _flatten(columns, ids)
    finite = [np.where(np.isinf(array), np.nan, array) if array.dtype.kind == "f" else array for array in flat.values()]
    for values in zip(*map(_plain, finite), strict=True):
        yield json.dumps(dict(zip(flat, values, strict=True)), ensure_ascii=False)


def _write_json(path: Path, columns: Arrays, ids: Arrays) -> None:
    path.write_text("[" + ",\n ".join(_records(columns, ids)) + "]\n", encoding="utf-8")


def _write_jsonl(path: Path, columns: Arrays, ids: Arrays) -> None:
    path.write_text("".join(f"{record}\n" for record in _records(columns, ids)), encoding="utf-8")


def _write_xlsx(path: Path, columns: Arrays, ids: Arrays) -> None:
    write_workbook(path, {name: _plain(array) for name, array in _flatten(columns, ids).items()})


def _write_npy(path: Path, columns: Arrays, ids: Arrays) -> None:
    arrays = [_storable(array) for array in columns.values()]
    if len(arrays) > 1:
        _refuse_text(path, columns)
    with path.open("wb") as file:
        array = arrays[0] if len(arrays) == 1 else np.column_stack(arrays)
        stream: Any = SimpleNamespace(write=file.write)  # from NumPy's own writing a full disk cannot be told
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _write_npz(path: Path, columns: Arrays, ids: Arrays) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # np.savez could not name an array "file"
        for name, array in {**ids, **columns}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _storable(array), allow_pickle=False)


def _write_mat(path: Path, columns: Arrays, ids: Arrays) -> None:
    write_mat(path, {name: _storable(array) for name, array in {**ids, **columns}.items()})


def _write_safetensors(path: Path, columns: Arrays, ids: Arrays) -> None:
    from safetensors.numpy import save_file

    _refuse_text(path, columns)
    save_file({name: np.ascontiguousarray(array) for name, array in columns.items()}, path)


def _storable(array: np.ndarray) -> np.ndarray:
    """Return an array that can be stored without pickling: objects become text, and what is missing is empty."""
    if array.dtype.kind != "O":
        return array
    texts = ["" if value is None or value != value else str(value) for value in array.flat]
    return np.array(texts).reshape(array.shape)


def _refuse_text(path: Path, columns: Arrays) -> None:
    for name, array in columns.items():
        if array.dtype.kind in "UO":
            raise ValueError(
                f"{path.name} cannot hold {name!r}, which is text; write a .csv, .parquet or .npz file instead"
            )


_WRITERS: dict[str, Callable[[Path, Arrays, Arrays], None]] = {
    ".csv": _write_text,
    ".tsv": _write_text,
    ".parquet": partial(_write_frame, method="write_parquet"),
    ".feather": partial(_write_frame, method="write_ipc"),
    ".json": _write_json,
    ".jsonl": _write_jsonl,
    ".xlsx": _write_xlsx,
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".mat": _write_mat,
    ".safetensors": _write_safetensors,
}
_POLARS_ONLY = (".parquet", ".feather")
