"""HDF5 and Zarr: arrays in groups, read by a process of their own; a hostile file harms only that one."""

from __future__ import annotations

import json
import math
import os
import select
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from layerwise.data import _tree_reader
from layerwise.data.mat import Shapes
from layerwise.data.npy import Header, map_values
from layerwise.data.reading_process import ReadingProcess
from layerwise.data.scratch import ROOM, Room
from layerwise.errors import FileError
from layerwise.limits import array_bytes, check_expansion, max_bytes

HDF5_ENDINGS, ZARR_ENDINGS = (".h5", ".hdf5", ".h5ad"), (".zarr", ".zarr.zip")
# By which of its files a folder of Zarr is known.
_MARKS = ("zarr.json", ".zgroup", ".zarray")
# The seconds that an answer may take, and the bytes a second beyond them; and how much is taken over at once.
_SECONDS, _SPEED, _BLOCK = 60, 2**24, 2**22
_TEXTS = 2**28


def is_zarr(path: Path) -> bool:
    """Whether a path is a folder, or a ZIP file, of Zarr, by its name or what is in it."""
    if path.is_dir():
        return path.suffix.lower() == ".zarr" or any((path / name).is_file() for name in _MARKS)
    return path.name.lower().endswith(".zarr.zip")


class Paths(Shapes):
    """Names and shapes of arrays in groups, ``group/data``; a name may begin with ``/``."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(plain_name(name))

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return super().__getitem__(plain_name(name))


def plain_name(name: object) -> str:
    """Return the name of an array as it is listed."""
    return str(name).strip("/") or "/"


class _Stored(NamedTuple):
    """An array as the file describes it."""

    shape: tuple[int, ...]
    dtype: np.dtype | None
    stored: int
    chunk: int
    offset: int | None
    attributes: Mapping[str, Any]


class TreeFile(ReadingProcess):
    """An HDF5 or Zarr file that has been opened: what is in it, and the values that are asked for.

    Attributes
    ----------
    shapes : Paths
        Of the arrays of numbers and of texts.
    attributes : dict of str to dict
        What AnnData says of groups, and of arrays, by name; ``""`` is the root.
    """

    def __init__(self, path: Path):
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there")
        needed = "zarr" if is_zarr(path) else "h5py"
        extra = "cells" if path.suffix.lower() == ".h5ad" else "hdf5"
        self.no_package = f"needs {needed}, which is not installed: pip install 'layerwise[{extra}]'"
        self._size = path.stat().st_size if path.is_file() else None
        memory = _tree_reader.READER_BYTES + 3 * max_bytes()
        ours, theirs = os.pipe()
        self._stream = os.fdopen(ours, "rb", buffering=0)
        weakref.finalize(self, self._stream.close)
        timeout = _SECONDS + (self._size or 0) / _SPEED
        program, words = _tree_reader.__file__, [path.absolute(), theirs, memory]
        try:
            super().__init__(path, program, words, timeout=timeout, pass_fds=(theirs,))
        finally:
            os.close(theirs)
        listing = self.hear()
        try:
            found = json.loads(listing)
            self._arrays = {str(name): _as_stored(stored) for name, stored in found["arrays"].items()}
            others = {str(name): str(reason) for name, reason in found["others"].items()}
            groups = {str(name): dict(attributes) for name, attributes in found["groups"].items()}
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise FileError(f"{path} cannot be trusted: the process that read it did not hand back names") from error
        self.shapes = Paths({name: stored.shape for name, stored in self._arrays.items()}, others)
        self.attributes = groups | {name: stored.attributes for name, stored in self._arrays.items()}
        if any("pandas_type" in attributes for attributes in groups.values()):
            raise FileError(
                f"{path} is a table that pandas wrote (PyTables), not an array; read it with pandas.read_hdf, and save "
                f"it by its method to_parquet"
            )

    def load(self, name: str, room: Room = ROOM, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return an array, or the rows of it from ``start`` to ``stop``.

        It is mapped from the file where it lies there as it is, and otherwise read, into memory or ``room.scratch``.
        """
        name = plain_name(name)
        stored = self._arrays[name]
        stop = stop if stop is not None else (stored.shape or (1,))[0]
        shape = (stop - start, *stored.shape[1:]) if stored.shape else ()
        if stored.dtype is None:
            return self._take_text(name, start, stop, shape)
        what = f"{self.path} holds {name!r} of shape {stored.shape} and type {stored.dtype}, which"
        n_bytes = array_bytes(what, stored.shape, stored.dtype.itemsize)
        if stored.offset is not None and self._size is not None:
            if not 0 <= stored.offset <= self._size - n_bytes:
                raise FileError(f"{what} is damaged: its values would lie beyond the end of the file")
            header = Header(stored.shape, stored.dtype, "C", stored.offset, n_bytes)
            return map_values(self.path, header)[start:stop] if stored.shape else map_values(self.path, header)
        largest = max(n_bytes, stored.chunk)
        if largest > stored.stored:
            check_expansion(what, largest, stored.stored)
        values = room.allocate(shape, stored.dtype)
        self._ask(name, start, stop, stored.dtype if values.size else None)
        flat, place = values.reshape(-1), 0
        for count in _counts(values.size, _BLOCK // stored.dtype.itemsize):
            flat[place : place + count] = self._receive(count, stored.dtype)
            place += count
        return values

    def _take_text(self, name: str, start: int, stop: int, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        if not 0 <= count <= _TEXTS:
            raise FileError(f"{self.path} holds {count} texts as {name!r}, more than labels and names are")
        dtype = self._ask(name, start, stop, None)
        if dtype.kind != "U" or not 0 <= count * dtype.itemsize <= _TEXTS:
            raise FileError(f"{self.path} holds {name!r}, whose texts are longer than labels and names are")
        return self._receive(count, dtype).reshape(shape)

    def _ask(self, name: str, start: int, stop: int, expected: np.dtype | None) -> np.dtype:
        """Ask for values, and return their type."""
        try:
            answer = json.loads(self.ask([name, int(start), int(stop)]))
            if "error" in answer:
                raise FileError(f"{self.path} {answer['error']}")
            dtype = np.dtype(answer["dtype"] or "U0")
        except (LookupError, ValueError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{self.path} cannot be trusted: the process that read it gave no answer") from error
        if expected is not None and dtype != expected:
            raise FileError(f"{self.path} cannot be trusted: {name!r} is of type {dtype}, not {expected}")
        return dtype

    def _receive(self, count: int, dtype: np.dtype) -> np.ndarray:
        values = np.empty(count, dtype)
        left = values.view(np.uint8).data if values.nbytes else memoryview(b"")
        while left:
            ready, _, _ = select.select([self._stream], [], [], self.timeout)
            n_read = self._stream.readinto(left) if ready else 0
            if not n_read:
                self.hear()  # which says why, unless it has come to an end
                raise FileError(f"{self.path} is damaged: it holds fewer values than it says")
            left = left[n_read:]
        return values


def _as_stored(found: Mapping[str, Any]) -> _Stored:
    shape = tuple(map(int, found["shape"]))
    dtype = None if found["dtype"] == "text" else np.dtype(found["dtype"])
    if dtype is not None and (dtype.kind not in "biuf" or dtype.itemsize > 8):
        raise ValueError("a type is none of numbers")
    offset = None if found["offset"] is None else int(found["offset"])
    return _Stored(shape, dtype, int(found["stored"]), int(found["chunk"]), offset, dict(found["attributes"]))


def _counts(total: int, most: int) -> list[int]:
    return [min(most, total - place) for place in range(0, total, most)]


def mark_of_zarr(path: Path) -> str | None:
    """Return the kind of thing that the root of a Zarr folder or ZIP file says it is, ``"anndata"`` of cells."""
    import zipfile

    for name, inside in ((".zattrs", ()), ("zarr.json", ("attributes",))):
        try:
            if path.is_dir():
                file = path / name
                if file.is_symlink() or file.stat().st_size > 2**20:
                    continue
                found = json.loads(file.read_bytes())
            else:
                with zipfile.ZipFile(path) as archive:
                    if archive.getinfo(name).file_size > 2**20:
                        continue
                    found = json.loads(archive.read(name))
            for key in inside:
                found = found[key]
            return str(found["encoding-type"])
        except (OSError, LookupError, ValueError, TypeError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
            continue
    return None
