"""The IDX format of MNIST: a four-byte magic number, the sizes, then the values, all big-endian."""

from __future__ import annotations

import gzip
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.data.npy import Header, map_values, read_values
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, array_bytes, check_expansion

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_GZIP_MAGIC = b"\x1f\x8b"


def load_idx(path: str | PathLike[str]) -> np.ndarray:
    """Load an array from an IDX file, compressed with gzip or not.

    Parameters
    ----------
    path : str or path-like
        The file. Whether it is compressed is read from its first bytes, not from its name.

    Returns
    -------
    array : ndarray of the shape and type that the header names
        In the byte order of the file, which is big-endian. Memory-mapped and read-only when the
        file is not compressed.

    Raises
    ------
    OSError
        If the file cannot be read.
    FileError
        If the file is not IDX, does not hold exactly what its header says, or expands to more than
        ``LAYERWISE_MAX_BYTES``. Sizes are compared with the length of the file before any memory
        is taken.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "pair.idx"
    >>> _ = path.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 2, 7, 9]))
    >>> load_idx(path).tolist()
    [7, 9]
    """
    path = Path(path)
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
    return _load_compressed(path) if compressed else _load_mapped(path)


def _load_mapped(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        header = _read_header(file, path)
    expected, actual = header.start + header.n_bytes, path.stat().st_size
    if actual != expected:
        raise FileError(_size_message(path, header, f"which takes {expected} bytes, but it has {actual}"))
    return map_values(path, header)


def _load_compressed(path: Path) -> np.ndarray:
    try:
        with gzip.open(path) as file:
            header = _read_header(file, path)
            expected = header.n_bytes
            if expected > DEFLATE_LIMIT * path.stat().st_size:
                raise FileError(_size_message(path, header, "more than its compressed bytes can hold"))
            check_expansion(path, expected, path.stat().st_size)
            array, length = read_values(file, header)
            if length != expected or file.read(1):
                found = f"{length}" if length < expected else "more"
                raise FileError(_size_message(path, header, f"which takes {expected} bytes, but it has {found}"))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FileError(f"{path} is damaged: its gzip data cannot be read ({error}); fetch it again") from error
    return array


def _read_header(file: Any, path: Path) -> Header:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise FileError(
            f"{path} is not an IDX file: its first bytes are {magic.hex(' ') or 'missing'}, but IDX begins with "
            f"00 00, an element type ({', '.join(f'{code:02x}' for code in DTYPES)}) and a rank"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise FileError(f"{path} is cut short: its header names {magic[3]} sizes and ends before them")
    dtype, shape = np.dtype(DTYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)
    return Header(shape, dtype, "C", 4 + len(sizes), array_bytes(path, shape, dtype.itemsize))


def _size_message(path: Path, header: Header, found: str) -> str:
    return f"{path} does not hold what its header says: shape {header.shape}, {found}; fetch it again"
