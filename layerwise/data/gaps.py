"""A table as it was, with numbers in its gaps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from layerwise.data._polars import columns, match_names, pl
from layerwise.data._polars import reading as reading_of
from layerwise.data.column_types import MARKERS, Reading
from layerwise.data.tables import TableFile, drop_marks


def fill_table(
    file: TableFile,
    numbers: Mapping[str, np.ndarray],
    *,
    text: Collection[str] = (),
    readings: Mapping[str, Reading | None] = MappingProxyType({}),
    missing: Collection[Any] = (),
    dates: bool = False,
) -> dict[str, np.ndarray]:
    """Return the columns of a table that is open, in its order, with ``numbers`` of theirs where values are missing.

    Other columns stay as they are, text of workbooks too, and of CSV those named in ``text`` the text that they are.
    ``readings`` say of a column how its numbers are written, if that is not plain, and ``missing`` what else stands for
    nothing there. ``dates`` leaves dates that are not text what they are.
    """
    plain = [name for name in numbers if readings.get(name) is None]
    table = match_names(file.scan(file.names if file.loose else text, used=[], numbers=plain), numbers)
    with reading_of(file.path):
        frame = table.collect()
    known = drop_marks(frame.select(columns(*numbers)), [*missing, *MARKERS])
    filled = {name: _fill(known[name], values, readings.get(name)) for name, values in numbers.items()}
    return {name: as_array(filled.get(name, frame[name]), dates) for name in frame.columns}


def _fill(column: pl.Series, numbers: np.ndarray, reading: Reading | None) -> pl.Series:
    """Fill the gaps of a column as its other values are written: with true or false, or with decimal commas."""
    column = column.fill_nan(None) if column.dtype.is_float() else column
    if not column.null_count():
        return column
    values, known = pl.Series(numbers, dtype=pl.Float64), column.drop_nulls()
    if column.dtype.is_float():
        return column.fill_null(values.cast(column.dtype))
    if column.dtype == pl.Boolean:
        return column.fill_null(values >= 0.5)
    if reading is not None:
        written = reading.decode(values)
        return column.fill_null(written if column.dtype == pl.String else written.cast(column.dtype))
    if column.dtype != pl.String:
        return column.cast(pl.Float64).fill_null(values)
    point = "," if known.str.contains(",", literal=True).any() else "."
    return column.fill_null(values.cast(pl.String).str.replace(".", point, literal=True))


def as_array(column: pl.Series, dates: bool = False) -> np.ndarray:
    """Return numbers as they are, and others as text, None where there is none; dates as Python's own if asked to."""
    if dates and column.dtype.is_temporal():
        return np.array([*column.to_list(), ""], dtype=object)[:-1]  # NumPy would make types of its own of them
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.to_numpy()
    return np.array([None if value is None else str(value) for value in column.to_list()], dtype=object)
