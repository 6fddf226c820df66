"""The text format of SVMlight and LIBSVM, by scikit-learn: sparse rows ``X``, labels ``y``, queries ``qid``."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from layerwise.errors import FileError
from layerwise.limits import check_expansion, check_room

SVMLIGHT_ENDINGS = tuple(
    f"{name}{packed}" for name in (".svm", ".svmlight", ".libsvm") for packed in ("", ".gz", ".bz2")
)
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open}
_DAMAGED = (ValueError, OverflowError, IndexError, EOFError, OSError, zlib.error, MemoryError)


class Rows(NamedTuple):
    """What is in a file, by name, and whether its columns are counted from 0."""

    arrays: dict[str, Any]
    zero_based: bool


def load_svmlight(path: Path, zero_based: bool | None = None) -> Rows:
    """Load all of a file; columns count from 1 unless there is a 0 among them, or ``zero_based`` says how they do.

    Labels that are whole numbers are integers. ``qid`` is there if rows have one.
    """
    from sklearn.datasets import load_svmlight_file

    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    try:
        _check_size(path)
        X, y, qid = load_svmlight_file(str(path), dtype=np.float64, zero_based=True, query_id=True)
    except (FileError, PermissionError):
        raise
    except _DAMAGED as error:
        raise FileError(
            f"{path} cannot be read as SVMlight, one label and pairs of column:value a row ({str(error)[:200]})"
        ) from error
    lowest = X.indices.min(initial=X.shape[1])
    from_zero = lowest == 0 if zero_based is None else zero_based
    if not from_zero and X.nnz:
        if lowest == 0:
            raise FileError(f"{path} has a column 0, but zero_based=False counts from 1; leave out --no-zero-based")
        X = sparse.csr_matrix((X.data, X.indices - 1, X.indptr), shape=(X.shape[0], X.shape[1] - 1))
    check_room(f"{path} has rows of {X.shape[1]} columns, one of which", 8 * X.shape[1])
    whole = y.astype(np.int64) if np.abs(y).max(initial=0) < 2**53 else y
    arrays = {"X": X, "y": whole if (whole == y).all() else y}
    return Rows(arrays | ({"qid": qid} if len(qid) else {}), bool(from_zero))


def _check_size(path: Path) -> None:
    """Refuse what expands to too much."""
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return
    length, size = 0, path.stat().st_size
    with opener(path) as file:
        while block := file.read(2**20):
            length += len(block)
            check_expansion(path, length, size)
