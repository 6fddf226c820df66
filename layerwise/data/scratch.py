"""Room for rows: in memory, or in a file where they take too much of it."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise.atomic import naming

# Rows that take more bytes than this are kept in a file.
MEMORY = 2**32


class Room(NamedTuple):
    """How many bytes of an array may lie in memory, and in which folder those that take more."""

    memory: int = MEMORY
    scratch: str | PathLike[str] | None = None

    def allocate(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array to fill, as `allocate` does."""
        return allocate(shape, dtype, memory=self.memory, scratch=self.scratch)


ROOM = Room()


def allocate(shape: tuple[int, ...], dtype: Any, *, memory: int, scratch: str | PathLike[str] | None) -> np.ndarray:
    """Return an array to fill with rows: in memory, or, of more bytes than that, in a file, where float64 is float32.

    That is a new ``.npy`` file in the folder ``scratch``, which is left there; None makes a temporary one that goes
    when the array does.

    Examples
    --------
    >>> rows = allocate((10, 3), np.float64, memory=100, scratch=None)
    >>> type(rows).__name__, rows.dtype.name
    ('memmap', 'float32')
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= memory:
        return np.empty(shape, dtype)
    folder = tempfile.mkdtemp(prefix="layerwise-") if scratch is None else str(scratch)
    handle, path = tempfile.mkstemp(prefix="rows-", suffix=".npy", dir=folder)
    os.close(handle)
    kept = np.float32 if dtype == np.float64 else dtype
    try:
        with naming(Path(path)):
            rows = np.lib.format.open_memmap(Path(path), mode="w+", dtype=kept, shape=shape)
            with open(path, "r+b") as file:  # filling a hole of a full disk would kill the process
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
    except OSError:
        shutil.rmtree(folder) if scratch is None else os.unlink(path)
        raise
    if scratch is None:
        weakref.finalize(rows, shutil.rmtree, folder, ignore_errors=True)
    return rows
