"""The names of columns, whatever they are: numbers, dates, tuples; scikit-learn compares only those that are text."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from layerwise.estimators._intake import frame_columns

# What an estimator learns of the columns of its rows.
LEARNED = ("n_features_in_", "feature_names_in_", "column_names_")


def check_columns(estimator: BaseEstimator, X: Any, name: str = "X", *, reset: bool) -> None:
    """Learn the names of the columns of a data frame, or compare them with those of training.

    Columns that are numbered from 0, as those of a data frame made of an array, count as columns without names. Text is
    left to scikit-learn, which has ``feature_names_in_`` for it; other names become ``column_names_``, as text.

    Parameters
    ----------
    estimator : estimator
    X : array-like, sparse matrix, Tensor or data frame
    name : str, default="X"
        What errors call the rows.
    reset : bool
        Whether to learn.

    Raises
    ------
    ValueError
        If the names are others than in training, or come in another order.
    """
    if not reset:
        compare_columns(estimator, X, name)
        return
    vars(estimator).pop("column_names_", None)
    columns = frame_columns(X)
    names = [] if columns is None else [_as_text(column) for column in columns[0]]
    if not hasattr(estimator, "feature_names_in_") and names != _numbered(len(names)):
        estimator.column_names_ = np.array(names, dtype=object)


def compare_columns(estimator: BaseEstimator, X: Any, name: str = "X") -> None:
    """Refuse a data frame whose columns are not those of training, in their order."""
    columns = frame_columns(X)
    if columns is None:
        return
    names = [_as_text(column) for column in columns[0]]
    numbered = _numbered(len(names))
    seen = getattr(estimator, "feature_names_in_", getattr(estimator, "column_names_", None))
    there = numbered if seen is None else [str(column) for column in seen]
    if names == there:
        return
    place = next((k for k, pair in enumerate(zip(names, there, strict=False)) if pair[0] != pair[1]), 0)
    if sorted(names) == sorted(there):
        raise ValueError(
            f"the columns of {name} are not in the order of training: column {place} is {names[place]!r}, but was "
            f"{there[place]!r} there; bring them into that order"
        )
    if seen is not None and names != numbered:
        raise ValueError(
            f"the columns of {name} are not those of training: column {place} is {names[place]!r}, but was "
            f"{there[place]!r} there; pass the same columns in the same order"
        )
    if seen is None and not all(isinstance(column, str) for column in columns[0]):  # scikit-learn speaks of text
        warnings.warn(
            f"{name} has columns with names, such as {names[place]!r}, but {type(estimator).__name__} was fitted "
            f"without names, so that their order cannot be checked",
            UserWarning,
            stacklevel=2,
        )


def _as_text(column: Any) -> str:
    """Return a name as text: 3 and 3.0 are one name."""
    if isinstance(column, tuple):
        return f"({', '.join(map(_as_text, column))})"
    whole = isinstance(column, (float, np.floating)) and column.is_integer()
    return str(int(column)) if whole else str(column)


def _numbered(n_columns: int) -> list[str]:
    return [str(place) for place in range(n_columns)]
