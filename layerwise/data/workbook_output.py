"""Columns as a workbook: text is never a formula or a link, and numbers come back to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

# What a sheet of Excel can hold: rows (with that of the names), columns, letters of a text.
_MAX_ROWS, _MAX_COLUMNS, _MAX_TEXT = 2**20, 2**14, 2**15 - 1
# Whole numbers below this one have each a float64 of their own.
_EXACT = 2**53
_FORMATS = {date: "yyyy-mm-dd", datetime: "yyyy-mm-dd hh:mm:ss.000", time: "hh:mm:ss.000"}
_INSTEAD = "write .csv or .parquet instead"


class _Number(float):
    """A number that is written with all its digits, of which XlsxWriter leaves out the last."""

    def __format__(self, spec: str) -> str:
        return repr(float(self))


def check_writer(path: Any) -> None:
    """Refuse to write where the package that writes workbooks is missing."""
    if find_spec("xlsxwriter") is None:
        raise ImportError(
            f"{path} is a workbook, which needs XlsxWriter to be written: pip install 'layerwise[workbooks]'"
        )


def check_sheet(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Refuse columns that a sheet cannot hold."""
    n_rows = max((len(values) for values in columns.values()), default=0)
    if n_rows >= _MAX_ROWS or len(columns) > _MAX_COLUMNS:
        raise ValueError(
            f"{path.name} cannot hold {n_rows:,} rows of {len(columns):,} columns, but only {_MAX_ROWS - 1:,} of "
            f"{_MAX_COLUMNS:,}, as Excel can; {_INSTEAD}"
        )
    for name, values in columns.items():
        if len(name) > _MAX_TEXT:
            raise ValueError(f"{path.name} cannot hold a name of {len(name):,} letters, but {_MAX_TEXT:,}; {_INSTEAD}")
        if values.dtype.kind == "f" and np.isinf(values).any():
            raise ValueError(f"{path.name} cannot hold infinity, which is in column {name!r:.65}; {_INSTEAD}")
        for place, value in enumerate(values.tolist() if values.dtype.kind in "UO" else ()):
            if isinstance(value, str) and len(value) > _MAX_TEXT:
                what = f"text of {len(value):,} letters, but only of {_MAX_TEXT:,}"
            elif isinstance(value, date) and value.year < 1900:
                what = f"{value}, as dates begin in 1900"
            elif isinstance(value, float) and np.isinf(value):
                what = "infinity"
            else:
                continue
            raise ValueError(f"{path.name} cannot hold {what}: column {name!r:.65}, row {place + 1}; {_INSTEAD}")


def write_workbook(path: Path, columns: Mapping[str, list[Any]]) -> None:
    """Write columns of Python's own values to the only sheet of a new .xlsx file; None is an empty cell."""
    import xlsxwriter

    options = {"constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False}
    with path.open("wb") as file, xlsxwriter.Workbook(file, options) as book:
        book.use_zip64()
        sheet = book.add_worksheet()
        formats = {kind: book.add_format({"num_format": form}) for kind, form in _FORMATS.items()}
        for place, name in enumerate(columns):
            sheet.write_string(0, place, name)
        names = [*columns]
        as_text = {name for name, values in columns.items() if any(map(_is_too_long, values))}
        for row, values in enumerate(zip(*columns.values(), strict=True), 1):
            for place, value in enumerate(values):
                if value is None:
                    continue
                if names[place] in as_text or isinstance(value, str):
                    sheet.write_string(row, place, str(value))
                elif isinstance(value, bool):
                    sheet.write_boolean(row, place, value)
                elif isinstance(value, (int, float)):
                    sheet.write_number(row, place, _Number(value))
                elif type(value) in formats:
                    sheet.write_datetime(row, place, value, formats[type(value)])
                else:
                    sheet.write_string(row, place, str(value))


def _is_too_long(value: Any) -> bool:
    """Whether a whole number would lose digits."""
    return isinstance(value, int) and abs(value) > _EXACT
