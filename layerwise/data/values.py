"""What is told of the values in rows: gaps, infinity, columns that only count the rows or never change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from layerwise import distributed
from layerwise.data.naming import name_columns

# Values that are looked at in one go.
_BLOCK = 2**22
# Fewer rows than this do not tell what a column is: a heuristic choice.
_FEW_ROWS = 10


def describe_missing(X: Any, feature_names: Sequence[str] | None = None) -> str | None:
    """Say in a sentence which columns have missing values, on any rank.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        NaN is missing.
    feature_names : sequence of str or None, default=None
        Names of the columns; None numbers them from 0. What bears the same name is one column.

    Returns
    -------
    sentence : str or None
        None if nothing is missing. Names the first five of the columns.

    Examples
    --------
    >>> describe_missing(np.array([[1, np.nan], [2, 3]]), ["age", "size"])
    '1 of 2 columns has missing values: size (1 of 2 rows)'
    """
    if X.dtype.kind != "f":
        return None
    n_rows, n_columns = X.shape
    counts = np.zeros(n_columns, int)
    if sparse.issparse(X):
        counts += np.bincount(X.indices[np.isnan(X.data)], minlength=n_columns)
    else:
        for _, rows in _blocks(X):
            counts += np.isnan(rows).sum(axis=0)
    n_rows, *counts = np.reshape(distributed.gather_counts([n_rows, *counts]), (-1, 1 + n_columns)).sum(axis=0)
    names = [f"column {place}" for place in range(n_columns)] if feature_names is None else feature_names
    gaps = {name: count for name, count in zip(names, counts, strict=True) if count}
    if not gaps:
        return None
    n_columns = len(dict.fromkeys(names))
    listed = [f"{name} ({count} of {n_rows} rows)" for name, count in gaps.items()][:5]
    rest = f" and {len(gaps) - 5} more" if len(gaps) > 5 else ""
    have = "has" if len(gaps) == 1 else "have"
    return f"{len(gaps)} of {n_columns} columns {have} missing values: {', '.join(listed)}{rest}"


def refuse_infinity(X: np.ndarray, names: Sequence[str], start: int) -> None:
    """Refuse infinite numbers in columns of these names, by row of the table, whose row ``start`` is the first."""
    for place, block in _blocks(X):
        rows, found = np.nonzero(np.isinf(block))
        if len(rows):
            raise ValueError(
                f"column {names[found[0]]!r} holds infinity in row {start + place + rows[0] + 1} (counted from 1, "
                f"below the names); put a number in its place, or leave it empty"
            )


# What people write where a number is missing.
_CODES = (-9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)


def describe_odd_columns(X: np.ndarray, names: Sequence[str], amounts: Collection[str] = ()) -> list[str]:
    """Say which columns seem to tell rows apart only, and which tell nothing; of several processes none.

    Features of the same name are one column. ``amounts`` are columns that were written as such, dates or numbers with
    units, and do not tell rows apart.
    """
    if len(X) < _FEW_ROWS or distributed.world_size() > 1:
        return []
    rising, constant = _find_odd_columns(X)
    varying = {*amounts, *(names[int(place)] for place in np.flatnonzero(~rising))}
    counters = [name for name in dict.fromkeys(names) if name not in varying]
    varying = {names[int(place)] for place in np.flatnonzero(~constant)}
    same, lines = [name for name in dict.fromkeys(names) if name not in varying], []
    if counters:
        have, advice = ("has", "if it only tells rows apart, give it with --id")
        if len(counters) > 1:
            have, advice = ("have", "if they only tell rows apart, give them with --id")
        lines.append(f"{name_columns(counters)} {have} another whole number in every row: {advice}")
    if same:
        lines.append(f"{name_columns(same)} {'tells' if len(same) == 1 else 'tell'} nothing: all values are the same")
    return lines


def describe_codes(columns: Mapping[str, np.ndarray]) -> str | None:
    """Say which columns hold a number such as -999, far from all others, which may be no value; None without such."""
    found = []
    for name, column in columns.items():
        known = column[~np.isnan(column)]
        ends = {known.min(), known.max()} if len(known) else set()
        for code in filter(ends.__contains__, _CODES):  # what is far from all others is the lowest or the highest
            count = np.count_nonzero(known == code)
            if not 1 < count < len(known):
                continue
            others = known[known != code]
            if abs(code - np.median(others)) > 3 * np.ptp(others):
                found.append(f"{name!r:.65} ({code:g} in {count} of {len(column)} rows)")
    if not found:
        return None
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return (
        f"{', '.join(found[:5])}{more}: such numbers, far from all others, may stand for missing values; if they do, "
        f"name them with --missing"
    )


def _find_odd_columns(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which columns are whole numbers that rise from each row to the next, and which never change."""
    rising = constant = np.ones(X.shape[1], bool)
    for start, block in _blocks(X):
        rows = X[start - 1 : start + len(block)] if start else block
        rising = rising & (np.diff(rows, axis=0) > 0).all(axis=0) & (rows == np.floor(rows)).all(axis=0)
        constant = constant & (rows == X[0]).all(axis=0)
        if not (rising | constant).any():
            break
    return rising, constant


def _blocks(X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Give the rows in blocks that take little memory, each with the place of its first row."""
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        yield start, X[start : start + step]
