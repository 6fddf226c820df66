"""Files of several arrays by name: ``.npz``, ``.mat`` and ``.safetensors``. Nothing is ever unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from layerwise.data.idx import _DEFLATE_LIMIT
from layerwise.data.mat import list_mat, load_mat

Shapes = Mapping[str, tuple[int, ...]]

# What people call rows, and labels, in the order in which they are looked for.
_ROWS = ("X", "x", "data", "features", "images")
_LABELS = ("y", "Y", "labels", "label", "target")
# A MAT file is read in another process, which is given this much room and time.
_MAT_BYTES, _MAT_SECONDS = 2**32, 600


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether the name of a file ends like that of a file of arrays."""
    return Path(path).suffix.lower() in _FORMATS


def list_arrays(path: str | PathLike[str]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays in a ``.npz``, ``.mat`` or ``.safetensors`` file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged.
    """
    return _FORMATS[Path(path).suffix.lower()][0](Path(path))


def load_array(path: str | PathLike[str], name: str) -> np.ndarray:
    """Load one array from a ``.npz``, ``.mat`` or ``.safetensors`` file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or there is no such array.
    """
    return _FORMATS[Path(path).suffix.lower()][1](Path(path), name)


def choose_rows(path: str | PathLike[str], shapes: Shapes, name: str | None) -> str:
    """Return which array holds rows: the one asked for, the only matrix, or the one that has the usual name."""
    matrices = [key for key, shape in shapes.items() if len(shape) >= 2]
    wide = [key for key in matrices if not _is_vector(shapes[key])]
    return _choose(path, shapes, name, [matrices, wide, [key for key in _ROWS if key in matrices][:1]], "array", "rows")


def choose_labels(path: str | PathLike[str], shapes: Shapes, name: str | None) -> str:
    """Return which array holds labels: the one asked for, the only vector, or the one that has the usual name."""
    vectors = [key for key, shape in shapes.items() if _is_vector(shape)]
    return _choose(path, shapes, name, [vectors, [key for key in _LABELS if key in vectors][:1]], "labels", "labels")


def describe_arrays(shapes: Shapes) -> str:
    """Return names and shapes for a message: the first 20."""
    rest = f" and {len(shapes) - 20} more" if len(shapes) > 20 else ""
    return (", ".join(f"{key[:63]!r} {shape}" for key, shape in list(shapes.items())[:20]) or "none") + rest


def _choose(
    path: str | PathLike[str], shapes: Shapes, name: str | None, guesses: list[list[str]], parameter: str, what: str
) -> str:
    if name is not None:
        if name not in shapes:
            raise ValueError(f"{path} holds no array {parameter}={name!r}; there are: {describe_arrays(shapes)}")
        return name
    for names in guesses:
        if len(names) == 1:
            return names[0]
    raise ValueError(
        f"{path} holds {len(shapes)} arrays, and {parameter} must say which of them are the {what}; there are: "
        f"{describe_arrays(shapes)}"
    )


def _is_vector(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 1 and sum(side != 1 for side in shape) <= 1


# NumPy's archives: a ZIP file of .npy files


def _list_npz(path: Path) -> dict[str, tuple[int, ...]]:
    with _npz(path) as archive:
        return {key: _npy_header(path, archive, key)[0] for key in _members(archive)}


def _load_npz(path: Path, name: str) -> np.ndarray:
    with _npz(path) as archive:
        if name not in _members(archive):
            raise ValueError(f"{path} holds no array {name!r}")
        shape, dtype, start = _npy_header(path, archive, name)
        entry = archive.getinfo(f"{name}.npy")
        expected = start + math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError(f"{path} holds {name!r} as pickled objects, which are never read; numbers are needed")
        if entry.file_size != expected or expected > _DEFLATE_LIMIT * entry.compress_size:
            raise ValueError(f"{path} holds {name!r} of shape {shape} and type {dtype}, which its bytes cannot hold")
        with archive.open(entry) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


@contextmanager
def _npz(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, MemoryError, zlib.error) as error:
        raise ValueError(f"{path} is not a .npz file, or is damaged ({str(error)[:200] or 'too large'})") from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _npy_header(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Return shape, type and the place of the first value, as the header of an array says."""
    with archive.open(f"{name}.npy") as file:
        try:
            version = np.lib.format.read_magic(file)
            read: Any = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
                version
            ]
            shape, _, dtype = read(file)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} holds {name!r}, which is not a .npy file or is damaged ({error})") from error
        return shape, dtype, file.tell()


# MATLAB


def _list_mat(path: Path) -> dict[str, tuple[int, ...]]:
    return list_mat(path, timeout=_MAT_SECONDS)


def _load_mat(path: Path, name: str) -> np.ndarray:
    """Load an array; of three or more axes MATLAB counts images along the last one, which becomes the first."""
    array = load_mat(path, name, max_bytes=_MAT_BYTES, timeout=_MAT_SECONDS)
    return np.ascontiguousarray(np.moveaxis(array, -1, 0)) if array.ndim > 2 else array


# safetensors


def _list_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    with _safetensors(path) as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no mapping


def _load_safetensors(path: Path, name: str) -> np.ndarray:
    with _safetensors(path) as file:
        return file.get_tensor(name)


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, TypeError, AttributeError) as error:  # NumPy has not all types, bfloat16 for one
        raise ValueError(
            f"{path} is not a .safetensors file, is damaged, or holds a type that NumPy has not ({error})"
        ) from error


_FORMATS: dict[str, tuple[Any, Any]] = {
    ".npz": (_list_npz, _load_npz),
    ".mat": (_list_mat, _load_mat),
    ".safetensors": (_list_safetensors, _load_safetensors),
}
ARCHIVE_ENDINGS = tuple(_FORMATS)
