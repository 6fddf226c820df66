"""What users pass as rows, so that what is missing in it is NaN, and what holds no numbers is refused."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from layerwise.labels import MISSING, find_missing, is_missing

_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
# Names of the types of dates, times and durations in pandas, polars and Arrow.
_DATE_TYPES = re.compile(r"(date|time|duration|period)", re.IGNORECASE)
# Those of pandas for values of any class, and for text.
_OBJECTS = re.compile(r"object|str")


def refuse_kind(values: Any, name: str) -> None:
    """Refuse what does not hold its rows, or holds them in a way that only torch knows."""
    kind = type(values).__name__
    if kind == "LazyFrame":
        raise ValueError(f"{name} is a polars LazyFrame, which holds no rows yet; pass {name}.collect()")
    if isinstance(values, (DataLoader, Dataset)):
        raise ValueError(f"{name} is a {kind}, but all rows are needed as one array, tensor, memory map or data frame")
    if kind == "AnnData":
        raise ValueError(f"{name} is an AnnData; pass its matrix, {name}.X, or one of its layers or of its obsm")
    if isinstance(values, torch.Tensor) and values.layout != torch.strided:
        raise ValueError(f"{name} is a sparse torch tensor; pass {name}.to_dense(), or a sparse matrix of SciPy")


def as_rows(X: Any, name: str = "X") -> Any:
    """Return rows with NaN for what is missing in them; anything else stays as it is.

    Parameters
    ----------
    X : array-like, sparse matrix, Tensor or data frame
        Missing are masked entries, None, ``pandas.NA`` and ``pandas.NaT``.
    name : str, default="X"
        What errors call the rows.

    Returns
    -------
    rows : the same object, or a copy

    Raises
    ------
    ValueError
        If there are dates or complex numbers, if two columns have one name, or if it is no container of rows.
    """
    refuse_kind(X, name)
    columns = frame_columns(X)
    if columns is not None:
        return _clean_frame(X, *columns, name)
    if isinstance(X, (list, tuple)):
        X = _as_array(X)
    if isinstance(X, np.ma.MaskedArray):
        X = fill_masked(X, np.nan)
    dtype = getattr(X, "dtype", None)
    if (isinstance(X, torch.Tensor) and X.is_complex()) or getattr(dtype, "kind", None) == "c":
        _refuse_complex(name)
    if not isinstance(X, np.ndarray):
        return X
    if X.dtype.names is not None:
        raise ValueError(
            f"{name} is a structured array; pass numpy.lib.recfunctions.structured_to_unstructured({name})"
        )
    if X.dtype.kind in "mM":
        _refuse_dates(name)
    if X.dtype.kind in "OT":  # T is text of any length
        return _clean_objects(X.astype(object), name)
    return X


def frame_columns(X: Any) -> tuple[list[Any], list[Any]] | None:
    """Return the names and the types of the columns of a data frame of pandas or polars, or of an Arrow table."""
    schema: Any = getattr(X, "schema", None)
    if hasattr(schema, "names") and hasattr(schema, "types"):
        return list(schema.names), list(schema.types)
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return list(X.columns), list(X.dtypes)
    return None


def placeholder_of(missing_values: Any) -> Any:
    """Return the number that stands for a missing value; None if nothing but what `is_missing` says does."""
    return None if is_missing(missing_values) else missing_values


def fill_masked(values: np.ma.MaskedArray, missing: float | None) -> np.ndarray:
    """Return the data of an array, with NaN, or None, in the place of what is masked."""
    mask = np.ma.getmaskarray(values)
    data = np.asarray(np.ma.getdata(values))
    if not mask.any():
        return data
    if data.dtype.kind not in "fc":
        data = data.astype(np.float64 if missing is not None and data.dtype.kind in "biu" else object)
    elif data.dtype.kind == "f":
        missing = np.nan
    data = data.copy()
    data[mask] = missing
    return data


def mark_missing(rows: Any, placeholder: float) -> Any:
    """Return an array or a tensor as floats with NaN in the place of a value."""
    if isinstance(rows, torch.Tensor):
        rows = rows if rows.is_floating_point() else rows.double()
        return rows.masked_fill(rows == placeholder, torch.nan)
    rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
    return np.where(rows == placeholder, rows.dtype.type(np.nan), rows)


def is_date(kind: type) -> bool:
    """Whether values of a class are dates, times or durations."""
    return kind.__name__ == "Period" or (issubclass(kind, _DATES) and kind.__name__ not in MISSING)


def _as_array(rows: list | tuple) -> Any:
    """Return nested lists as an array; as they are where scikit-learn has to say what is wrong with them."""
    try:
        if any(isinstance(row, np.ma.MaskedArray) for row in rows):
            return np.ma.stack(rows)
        return np.asarray(rows)
    except (TypeError, ValueError, RuntimeError):
        return rows


def _clean_frame(X: Any, names: list[Any], types: list[Any], name: str) -> Any:
    twice = [str(column) for column, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{name} has two columns called {twice[0]!r}; give each column a name of its own")
    words = {dtype: str(dtype) for dtype in set(types)}
    if any(word.startswith("complex") for word in words.values()):
        _refuse_complex(name)
    places = [place for place, dtype in enumerate(types) if hasattr(X, "iloc") and _OBJECTS.match(words[dtype])]
    kinds = {place: set(map(type, X.iloc[:, place].tolist())) for place in places}
    dates = [
        column
        for place, (column, dtype) in enumerate(zip(names, types, strict=True))
        if _DATE_TYPES.match(words[dtype]) or any(map(is_date, kinds.get(place, ())))
    ]
    if dates:
        _refuse_dates(name, dates, frame=True)
    gappy = [names[place] for place, found in kinds.items() if any(kind.__name__ in MISSING for kind in found)]
    if not gappy:
        return X
    X = X.astype(dict.fromkeys(gappy, object))
    return X.mask(X.isna(), np.nan)


def _clean_objects(X: np.ndarray, name: str) -> np.ndarray:
    kinds = set(map(type, X.flat))
    if any(map(is_date, kinds)):
        columns = range(X.shape[1]) if X.ndim == 2 else ()
        _refuse_dates(name, [k for k in columns if any(map(is_date, set(map(type, X[:, k]))))])
    if any(kind.__name__ in MISSING for kind in kinds):
        X = X.copy()
        X[find_missing(X)] = np.nan
    return X


def _refuse_dates(name: str, columns: list[Any] | None = None, *, frame: bool = False) -> None:
    shown = ", ".join(repr(str(column)) if frame else str(column) for column in (columns or ())[:5])
    more = f" and {len(columns) - 5} more" if columns and len(columns) > 5 else ""
    where = f" in column{'s' if columns and len(columns) > 1 else ''} {shown}{more}" if columns else ""
    ignored = [str(column) for column in columns or ()][:5]
    them = "or leave them out"
    if frame:
        them += f", for example with layerwise.data.TableEncoder(ignore={ignored}{', ...' if more else ''})"
    raise ValueError(
        f"{name} holds dates or times{where}, but numbers are needed; make numbers of them first, such as days since a "
        f"certain one, {them}"
    )


def _refuse_complex(name: str) -> None:
    raise ValueError(
        f"Complex data not supported: {name} holds complex numbers; pass real and imaginary parts as columns of their "
        f"own"
    )
