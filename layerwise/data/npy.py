"""The header of NumPy's ``.npy`` format, and the values after it; never a pickled object."""

from __future__ import annotations

import io
import math
import struct
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise.errors import FileError
from layerwise.limits import array_bytes

_MAGIC = b"\x93NUMPY"
# Headers of arrays of numbers take 128 bytes or some more; NumPy evaluates what stands there.
_MAX_HEADER = 4096


class Header(NamedTuple):
    """What a ``.npy`` file says of its array: also where it starts, and how many bytes it takes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    start: int
    n_bytes: int


def map_npy(path: Path) -> np.ndarray:
    """Return the array of a ``.npy`` file, memory-mapped and read-only."""
    with path.open("rb") as file:
        header = read_header(file, path)
    length = path.stat().st_size
    if header.start + header.n_bytes > length:
        raise FileError(
            f"{path} cannot be read as .npy: its header names shape {header.shape} and type {header.dtype}, which take "
            f"{header.start + header.n_bytes} bytes, but it has {length}"
        )
    return map_values(path, header)


def map_values(path: Path, header: Header) -> np.ndarray:
    """Return the values of a file, memory-mapped and read-only."""
    if header.n_bytes == 0:
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", header.start, header.shape, header.order)  # type: ignore[call-overload]


def read_header(file: Any, what: Any) -> Header:
    """Read the header that a ``.npy`` file begins with; ``what`` is the file in a message."""
    start = file.read(8)
    sizes = {1: "<H", 2: "<I"}
    if start[:6] != _MAGIC or len(start) < 8 or start[6] not in sizes:
        raise FileError(f"{what} is not a .npy file, or is of a version that holds no array of numbers")
    size = sizes[start[6]]
    field = file.read(struct.calcsize(size))
    length = struct.unpack(size, field)[0] if len(field) == struct.calcsize(size) else 0
    if not 0 < length <= _MAX_HEADER:
        raise FileError(f"{what} is not a .npy file of numbers: its header would take {length} bytes")
    shape, fortran, dtype = _parse(file.read(length), what)
    if dtype.hasobject:
        raise FileError(f"{what} holds pickled objects, which are never read; numbers are needed")
    if dtype.kind not in "biufU" or not dtype.itemsize:
        raise FileError(f"{what} holds values of type {str(dtype)[:63]}, but numbers, or text for labels, are needed")
    begin = 8 + len(field) + length
    return Header(shape, dtype, "F" if fortran else "C", begin, array_bytes(what, shape, dtype.itemsize))


def read_values(file: Any, header: Header) -> tuple[np.ndarray, int]:
    """Return an array with what a file holds of its values, and how many bytes that are."""
    array = np.empty(math.prod(header.shape), header.dtype)
    length = read_into(file, array)
    return array.reshape(header.shape, order=header.order), length  # type: ignore[call-overload]


def read_into(file: Any, array: np.ndarray) -> int:
    """Fill ``array`` from ``file`` as far as that reaches; return the number of bytes read."""
    buffer = memoryview(array.reshape(-1).view(np.uint8).data)
    length = 0
    while length < len(buffer):
        read = file.readinto(buffer[length : length + 2**20])
        if not read:
            break
        length += read
    return length


def _parse(text: bytes, what: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return shape, order and type as the text of a header names them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Python 2 wrote
            header = io.BytesIO(struct.pack("<H", len(text)) + text)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(header, max_header_size=_MAX_HEADER)
            return tuple(map(int, shape)), fortran, dtype  # of which True may be a side
    except Exception as error:
        # Whatever Python's parser and NumPy come upon in text that is not what it should be.
        reason = " ".join(str(error).split())[:200]
        raise FileError(f"{what} is not a .npy file or is damaged ({type(error).__name__}: {reason})") from error
