"""Files of several arrays by name: ``.npz``, ``.mat``, ``.safetensors``, HDF5, Zarr, SVMlight; never unpickled."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise.data.mat import MatFile
from layerwise.data.npy import Header, read_header, read_values
from layerwise.data.scratch import ROOM
from layerwise.data.svmlight import SVMLIGHT_ENDINGS, load_svmlight
from layerwise.data.trees import TreeFile, is_zarr
from layerwise.errors import FileError
from layerwise.limits import DEFLATE_LIMIT, array_bytes, check_expansion, check_room, max_bytes

Shapes = Mapping[str, tuple[int, ...]]

# What people call rows, and labels, in the order in which they are looked for.
_ROWS = ("X", "x", "data", "features", "images")
LABEL_NAMES = ("y", "Y", "labels", "label", "target")
# The seconds that reading a MAT file may take, and the bytes a second beyond them.
_MAT_SECONDS, _MAT_SPEED = 20, 2**23
# The largest list of names: that of 20,000 arrays in a ZIP file, and that of a safetensors file.
_ZIP_DIRECTORY, _SAFETENSORS_HEADER = 2**21, 2**22
# The arrays by which a file of scipy.sparse.save_npz is known, what its rows are called, and more bytes than the file
# of its format takes.
_SPARSE, _SPARSE_ROWS, _SMALL = frozenset({"format", "shape", "data"}), "X", 2**12
# What NumPy writes; others expand without a limit.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive(NamedTuple):
    """A file of several arrays that has been opened, once; what is sparse there loads as a CSR matrix.

    What takes too much memory is loaded into a room for it, if it is of HDF5 or Zarr. ``zero_based`` says from where a
    text of pairs column:value counts its columns.
    """

    shapes: Shapes
    load: Callable[..., Any]
    zero_based: bool | None = None


def open_archive(path: str | PathLike[str], zero_based: bool | None = None) -> Archive | None:
    """Open a file of arrays by name, None if it is another; a FileError says what is wrong."""
    path = Path(path)
    opener = _FORMATS.get(_ending(path))
    if opener is None:
        return None
    return _open_svmlight(path, zero_based) if opener is _open_svmlight else opener(path)


def is_archive(path: str | PathLike[str]) -> bool:
    """Whether a file holds arrays by name, by the ending of its own."""
    return _ending(Path(path)) in _FORMATS


def _ending(path: Path) -> str:
    if is_zarr(path):
        return ".zarr"
    return next((ending for ending in SVMLIGHT_ENDINGS if path.name.lower().endswith(ending)), path.suffix.lower())


def choose_rows(path: str | PathLike[str], shapes: Shapes, name: str | None, *, deep: bool = False) -> str:
    """Return which array holds rows: the one asked for, the only matrix, or the one that has the usual name.

    ``deep`` takes the only one of three or more axes first.
    """
    matrices = [key for key, shape in shapes.items() if len(shape) >= 2]
    wide = [key for key in matrices if not _is_vector(shapes[key])]
    cubes = [key for key in wide if deep and len(shapes[key]) > 2]
    usual = _usual(_ROWS, matrices)
    return _choose(path, shapes, name, [cubes, matrices, wide, usual], "array", "rows")


def choose_labels(
    path: str | PathLike[str], shapes: Shapes, name: str | None, grid: tuple[int, int] | None = None
) -> str:
    """Return which array holds labels: the one asked for, the only vector, or the one that has the usual name.

    With a ``grid`` a map of that shape comes first. In the end it may be the only array.
    """
    maps = [key for key, shape in shapes.items() if shape == grid]
    vectors = [key for key, shape in shapes.items() if _is_vector(shape)]
    usual = _usual(LABEL_NAMES, maps or vectors)
    return _choose(path, shapes, name, [maps, vectors, usual, list(shapes)], "labels", "labels")


def _usual(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Return what bears the first of these names, or does so within a group."""
    for name in names:
        found = [key for key in keys if key == name] or [key for key in keys if key.endswith(f"/{name}")]
        if found:
            return found
    return []


def describe_arrays(shapes: Shapes) -> str:
    """Return names and shapes for a message: the first 20."""
    rest = f" and {len(shapes) - 20} more" if len(shapes) > 20 else ""
    listed = ", ".join(f"{key[:63]!r} {shape}" for key, shape in list(shapes.items())[:20])
    return f"{listed or 'none'}{rest}{describe_others(shapes)}"


def describe_others(shapes: Any) -> str:
    """Return why what else is in a file cannot be read, for a message."""
    others = list(getattr(shapes, "others", {}).values())
    return f" (it also {'; it '.join(others[:3])}{' ...' if len(others) > 3 else ''})" if others else ""


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
    raise FileError(
        f"{path} holds {len(shapes)} arrays, and {parameter} must say which of them are the {what}; there are: "
        f"{describe_arrays(shapes)}"
    )


def _is_vector(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 1 and sum(side != 1 for side in shape) <= 1


# NumPy's archives: a ZIP file of .npy files


def _list_npz(path: Path) -> dict[str, tuple[int, ...]]:
    with _npz(path) as archive:
        if _SPARSE.issubset(_members(archive)):
            return {_SPARSE_ROWS: _sparse_shape(path, archive)}
        return {key: _npy_header(path, archive, key).shape for key in _members(archive)}


def _load_npz(path: Path, name: str) -> Any:
    with _npz(path) as archive:
        if _SPARSE.issubset(_members(archive)):
            return _load_sparse(path, archive)
        return _load_member(path, archive, name)


def _load_member(path: Path, archive: zipfile.ZipFile, name: str) -> np.ndarray:
    if name not in _members(archive):
        raise ValueError(f"{path} holds no array {name!r}")
    header = _npy_header(path, archive, name)
    entry = archive.getinfo(f"{name}.npy")
    what = f"{path} holds {name!r} of shape {header.shape} and type {header.dtype}, which"
    expected = header.start + header.n_bytes
    if entry.file_size != expected or expected > DEFLATE_LIMIT * entry.compress_size:
        raise FileError(f"{what} its bytes cannot hold")
    check_expansion(what, header.n_bytes, entry.compress_size)
    with archive.open(entry) as file:
        file.read(header.start)
        values, length = read_values(file, header)
    if length != header.n_bytes:
        raise FileError(f"{what} its bytes cannot hold")
    return values


def _sparse_shape(path: Path, archive: zipfile.ZipFile) -> tuple[int, int]:
    shape = _load_member(path, archive, "shape")
    if shape.dtype.kind not in "iu" or shape.shape != (2,) or (shape < 0).any():
        raise FileError(f"{path} holds a sparse matrix, but its shape is not two whole numbers")
    return int(shape[0]), int(shape[1])


def _load_sparse(path: Path, archive: zipfile.ZipFile) -> Any:
    """Return the CSR matrix of a file of `scipy.sparse.save_npz`."""
    from scipy import sparse

    shape = _sparse_shape(path, archive)
    entry = archive.getinfo("format.npy")
    kind = archive.read(entry)[-3:] if entry.file_size < _SMALL else b""
    parts = {b"csr": ("indices", "indptr"), b"csc": ("indices", "indptr"), b"coo": ("row", "col")}.get(kind)
    if parts is None:
        raise FileError(f"{path} holds a sparse matrix that is not CSR, CSC or COO; save it by its method tocsr()")
    data, first, second = (_load_member(path, archive, name) for name in ("data", *parts))
    check_room(f"{path} holds a sparse matrix of shape {shape}, which", 8 * shape[0])
    try:
        if kind == b"coo":
            return sparse.coo_matrix((data, (first, second)), shape).tocsr()
        matrix = (sparse.csr_matrix if kind == b"csr" else sparse.csc_matrix)((data, first, second), shape)
        matrix.check_format(full_check=True)
        return matrix.tocsr()
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise FileError(f"{path} holds a sparse matrix that is damaged ({str(error)[:200]})") from error


def check_directory(path: Path, things: str) -> None:
    """Refuse a ZIP file with more names than any of its kind has."""
    with path.open("rb") as file:
        # Python would read the list of names before we could count them. Where it stands, only this knows.
        directory = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if directory and directory[5] > _ZIP_DIRECTORY:
        raise FileError(f"{path} holds more {things} than fit into a list of {_ZIP_DIRECTORY} bytes")


@contextmanager
def _npz(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        check_directory(path, "arrays")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (FileError, FileNotFoundError, PermissionError):
        raise
    except (
        *(zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError),
        *(RuntimeError, MemoryError, OverflowError, struct.error, UnicodeDecodeError),
    ) as error:
        raise FileError(f"{path} is not a .npz file, or is damaged ({str(error)[:200] or 'too large'})") from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _npy_header(path: Path, archive: zipfile.ZipFile, name: str) -> Header:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _COMPRESSIONS:
        raise FileError(f"{path} holds {name!r} compressed in a way that NumPy does not; save it by numpy.savez")
    with archive.open(entry) as file:
        return read_header(file, f"{path} holds {name!r}, which")


# MATLAB


def _open_mat(path: Path) -> Archive:
    seconds = _MAT_SECONDS + (path.stat().st_size / _MAT_SPEED if path.is_file() else 0)
    file = MatFile(path, max_bytes=max_bytes(), timeout=seconds)
    return Archive(file.shapes, lambda name, room=ROOM: file.load(name))


# safetensors


def check_safetensors(path: Path) -> None:
    """Refuse a safetensors file whose header is longer than the file, or than names and shapes ever are."""
    with path.open("rb") as file:
        field = file.read(8)
    length = int.from_bytes(field, "little")
    if len(field) < 8 or length > min(_SAFETENSORS_HEADER, path.stat().st_size - 8):
        raise FileError(f"{path} is not a .safetensors file, or is damaged: its header would take {length} bytes")


def _list_safetensors(path: Path) -> dict[str, tuple[int, ...]]:
    with _safetensors(path) as file:
        return {key: _safetensors_shape(path, file, key) for key in file.keys()}  # noqa: SIM118 - no mapping


def _load_safetensors(path: Path, name: str) -> np.ndarray:
    with _safetensors(path) as file:
        _safetensors_shape(path, file, name)
        return file.get_tensor(name)


def _safetensors_shape(path: Path, file: Any, name: str) -> tuple[int, ...]:
    shape = tuple(file.get_slice(name).get_shape())
    array_bytes(f"{path} holds {name!r}, which", shape, 8)
    return shape


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there, or is not a file")
    check_safetensors(path)
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except FileError:
        raise
    except (SafetensorError, TypeError, AttributeError, ValueError) as error:  # NumPy has not bfloat16, for one
        raise FileError(
            f"{path} is not a .safetensors file, is damaged, or holds a type that NumPy has not ({error})"
        ) from error


# SVMlight and LIBSVM


def _open_svmlight(path: Path, zero_based: bool | None = None) -> Archive:
    arrays, counted = load_svmlight(path, zero_based)
    shapes = {name: values.shape for name, values in arrays.items()}
    return Archive(shapes, lambda name, room=ROOM: arrays[name], counted)


# HDF5 and Zarr


def _open_tree(path: Path) -> Archive:
    file = TreeFile(path)
    return Archive(file.shapes, file.load)


_FORMATS: dict[str, Callable[[Path], Archive]] = {
    ".npz": lambda path: Archive(_list_npz(path), lambda name, room=ROOM: _load_npz(path, name)),
    ".mat": _open_mat,
    **dict.fromkeys(SVMLIGHT_ENDINGS, _open_svmlight),
    ".safetensors": lambda path: Archive(
        _list_safetensors(path), lambda name, room=ROOM: _load_safetensors(path, name)
    ),
    **dict.fromkeys((".h5", ".hdf5", ".zarr"), _open_tree),
}
ARCHIVE_ENDINGS = tuple(_FORMATS)
