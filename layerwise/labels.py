"""Which rows have a label, and which values are missing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

# Classes of pandas and NumPy that stand for a value that is missing; pandas need not be installed.
MISSING = ("NAType", "NaTType", "MaskedConstant")
# Classes of which None alone is missing.
_NEVER = {str, bool, int, type(None)}


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, ``pandas.NA``, NaT or the masked constant of NumPy."""
    if value is None or type(value).__name__ in MISSING:
        return True
    return isinstance(value, (float, np.floating, np.datetime64, np.timedelta64, Decimal)) and bool(value != value)


def find_missing(values: np.ndarray) -> np.ndarray:
    """Return a mask, of the shape of the values, of those that are missing."""
    if values.dtype.kind == "O":
        if set(map(type, values.flat)) <= _NEVER:
            return np.array([value is None for value in values.flat], dtype=bool).reshape(values.shape)
        return np.array([is_missing(value) for value in values.flat], dtype=bool).reshape(values.shape)
    return np.asarray(values != values) if values.dtype.kind in "fcmM" else np.zeros(values.shape, dtype=bool)


def has_label(y: np.ndarray, unlabeled: Any = None) -> np.ndarray:
    """Return a mask of the rows that have a label: none of theirs is missing or, if it is not None, ``unlabeled``."""
    return ~_in_rows(find_missing(y)) & find_labelled(y, unlabeled)


def find_labelled(y: np.ndarray, unlabeled: Any) -> np.ndarray:
    """Return a mask of shape (n_samples,): the rows without the label ``unlabeled``, or all rows if that is None.

    NaN stands for NaN, None, ``pandas.NA`` and NaT, and so do ``pandas.NA`` and NaT.
    """
    if unlabeled is None:
        return np.ones(len(y), dtype=bool)
    if np.ndim(unlabeled) != 0:
        raise ValueError(f"unlabeled={unlabeled!r} must be one value, which stands in y where there is no label")
    if is_missing(unlabeled):
        return ~_in_rows(find_missing(y))
    if y.dtype.kind == "O":
        y = y.copy()
        y[find_missing(y)] = None  # pandas.NA is not even unlike another value
        return ~_in_rows(y == unlabeled)
    text = y.dtype.kind in "US"
    return ~_in_rows(y == unlabeled if text is isinstance(unlabeled, (str, bytes)) else np.zeros(y.shape, dtype=bool))


def _in_rows(found: Any) -> np.ndarray:
    found = np.asarray(found, dtype=bool)
    return found if found.ndim == 1 else found.any(axis=1)
