"""Labels as a matrix with a single 1 among zeros for each row, as networks of MATLAB and Keras take them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse


def from_one_hot(path: Path, values: Any) -> np.ndarray | None:
    """Return the numbers of classes, where labels are one-hot, and say so; None where they are anything else.

    They count from 1 in ``.mat`` files, as MATLAB's ``vec2ind`` counts them, and from 0 in others, as ``numpy.argmax``
    does. Classes stand side by side, or one below the other as MATLAB has them; where both can be, rows are samples.
    """
    if values.ndim != 2 or min(values.shape) < 2 or values.dtype.kind not in "biuf":
        return None
    if (values.nnz if sparse.issparse(values) else np.count_nonzero(values)) > max(values.shape):
        return None
    ones = sparse.csr_matrix(values)
    ones.sum_duplicates()
    ones.eliminate_zeros()
    if (ones.data != 1).any():
        return None
    by_side = {"row": ones, "column": sparse.csr_matrix(ones.T)}
    side = next((side for side, matrix in by_side.items() if (np.diff(matrix.indptr) == 1).all()), None)
    if side is None:
        return None
    matrix = by_side[side]
    first, like = (1, "MATLAB's vec2ind") if path.suffix.lower() == ".mat" else (0, "numpy.argmax")
    n_classes = matrix.shape[1]
    warnings.warn(
        f"the labels of {path}, {values.shape[0]} x {values.shape[1]}, are one-hot, and each {side} is taken as one of "
        f"the classes {first} to {first + n_classes - 1}, as {like} counts them",
        stacklevel=4,
    )
    return matrix.indices.astype(np.int64) + first
