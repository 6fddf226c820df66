"""What a run remembers of the rows that it was trained on, and how other rows compare with them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import sparse

from layerwise.data.cycles import find_circles
from layerwise.data.rows import Rows
from layerwise.estimators._checkpointing import digest_of_rows, hash_rows
from layerwise.estimators._checks import ROW_DTYPES

# Hashes of rows that are kept, rows of how many bytes are hashed at most, and which share of rows is most of them.
_N_HASHES, _MOST_BYTES, _MOSTLY = 256, 2**28, 0.5
# Columns whose ranges are kept, at most; a value is far that lies so many times the range of the training beyond it.
_MOST_RANGES, _FAR = 2000, 10


def digest_rows(X: Any) -> str:
    """Return a text that differs where rows of any rank do, as they were read."""
    return f"{digest_of_rows(Rows(X if X.dtype in ROW_DTYPES else X.astype(np.float64))):016x}"


def sample_rows(X: Any) -> dict[str, Any] | None:
    """Return what tells later whether rows were among these: how many they are, and the lowest of their hashes.

    None of sparse rows, and of a large memory map, which would be read once more.
    """
    if sparse.issparse(X) or X.nbytes > _MOST_BYTES or not len(X):
        return None
    return {"n_rows": len(X), "hashes": [f"{value:016x}" for value in np.sort(_hash_rows(X))[:_N_HASHES]]}


def are_known(X: Any, sample: Mapping[str, Any] | None) -> bool:
    """Whether most of the rows are among those that `sample_rows` has seen; False where nothing tells."""
    if sample is None or sparse.issparse(X) or X.nbytes > _MOST_BYTES or not len(X):
        return False
    kept = np.array([int(text, 16) for text in sample["hashes"]], np.uint64)
    hashes = _hash_rows(X)
    comparable = hashes <= kept.max() if len(kept) < sample["n_rows"] else np.ones(len(hashes), bool)
    return bool(comparable.any() and np.isin(hashes[comparable], kept).mean() > _MOSTLY)


def _hash_rows(X: np.ndarray) -> np.ndarray:
    """Return a number of 64 bits for each row, the same wherever it stands and in whatever type it came."""
    values = np.ascontiguousarray(X, dtype=np.float64) + 0.0  # -0 is 0
    values[np.isnan(values)] = np.nan
    return hash_rows(torch.from_numpy(values)).numpy().view(np.uint64)


def measure_ranges(X: Any) -> list[list[float | None]] | None:
    """Return the smallest and the largest value of each column; None of bytes, sparse rows and very many values.

    Those of a sine or cosine go from -1 to 1, whatever part of the circle is there.
    """
    if sparse.issparse(X) or X.dtype == np.uint8 or X.nbytes > _MOST_BYTES or X.shape[1] > _MOST_RANGES or not len(X):
        return None
    ends = np.array([np.fmin.reduce(X, axis=0), np.fmax.reduce(X, axis=0)], dtype=np.float64)
    round_ = find_circles(X[:: 1 + X.size // 2**21].astype(np.float64))
    ends[:, round_] = np.fmin(ends[0, round_], -1.0), np.fmax(ends[1, round_], 1.0)
    return [[None if np.isnan(value) else value for value in row] for row in ends.T.tolist()]


def warn_of_far_rows(X: Any, ranges: list[list[float | None]] | None, names: Sequence[str] | None) -> None:
    """Say which columns hold values far beyond those of the training, and in how many rows."""
    if ranges is None or sparse.issparse(X) or X.nbytes > _MOST_BYTES or X.shape[1] != len(ranges):
        return
    low, high = np.array(ranges, dtype=np.float64).T
    width = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))  # of a constant its size
    far = (low - _FAR * width > X) | (high + _FAR * width < X)
    if not far.any():
        return
    columns = np.flatnonzero(far.any(axis=0))
    shown = [
        f"{repr(str(names[k]))[:65] if names else f'x_{k}'} ({_farthest(X[:, k], low[k], high[k]):g})"
        for k in columns[:5]
    ]
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    n_rows = int(far.any(axis=1).sum())
    warnings.warn(
        f"column{'s' if len(columns) > 1 else ''} {', '.join(shown)}{more} hold{'s' if len(columns) == 1 else ''} "
        f"values far beyond those of the training, in {n_rows:,} of {len(X):,} rows; what the model makes of such rows "
        f"is not to be trusted: look for wrong units, or marks that stand for missing values",
        stacklevel=3,
    )


def _farthest(values: np.ndarray, low: float, high: float) -> float:
    """Return the value that is farthest from the training's."""
    return float(values[np.nanargmax(np.maximum(low - values, values - high))])
