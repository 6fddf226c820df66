"""The program that reads HDF5 and Zarr for `layerwise.data.trees`, in a process of its own; knows nothing of layerwise.

It says what arrays there are, as a line of JSON; then it answers each question, ``[name, start, stop]``, by a line that
says what type the values have, and hands them over by a pipe. No link is followed, no other file is opened, and of
Zarr only codecs that compress numbers or hold texts are let in: never a pickle.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Address space of the process beside what it reads: Python, NumPy, h5py and Zarr map 0.35 GiB.
READER_BYTES = 2**29
# Exit status where a package is missing.
NO_PACKAGE = 3
# The most arrays and groups that are listed, how deep they may lie, and the longest attribute or metadata in bytes.
_MAX_NAMES, _MAX_DEPTH, _MAX_META = 10_000, 16, 2**20
# Bytes that are read at once, if chunks are not larger; the most, even if they are; and those of all texts of an array.
_BLOCK, _MOST, _MAX_TEXTS = 2**24, 2**28, 2**28
# Attributes that are told: what AnnData and pandas write.
_TOLD = ("encoding-type", "_index", "column-order", "shape", "pandas_type", "h5sparse_format")
# Codecs that make nothing but numbers, or texts, of bytes.
_SOUND = {"bytes", "transpose", "crc32c", "sharding_indexed", "vlen-utf8", "gzip", "zlib", "bz2", "lzma", "blosc"}
_SOUND |= {"zstd", "lz4", "shuffle", "delta", "adler32", "crc32"}
_NUMBERS = "biuf"


class _RefusedError(Exception):
    """The file can be read, but does not hold what is wanted."""


def _main(path: str, pipe: str, memory: str) -> None:
    warnings.simplefilter("ignore")
    _limit(int(memory), int(memory))
    try:
        tree = _Zarr(Path(path)) if os.path.isdir(path) or path.lower().endswith(".zip") else _Hdf5(path)
        _say(tree.list())
        with os.fdopen(int(pipe), "wb", buffering=0) as stream:
            for line in sys.stdin:
                _answer(tree, stream, int(memory), *json.loads(line))
    except ModuleNotFoundError:
        sys.exit(NO_PACKAGE)
    except BrokenPipeError:  # nobody asks any more
        pass
    except Exception as error:
        sys.exit(_reason(error))


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "takes more memory to read than its size allows; it is damaged, or made to do harm"
    if isinstance(error, _RefusedError):
        return str(error)
    return f"is not an HDF5 or Zarr file, or is damaged ({type(error).__name__}: {str(error)[:200]!r})"


def _limit(n_bytes: int, most: int) -> None:
    """Limit the address space of this process, for now; ``most`` is for ever."""
    old = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = most if old == resource.RLIM_INFINITY else min(most, old)
    resource.setrlimit(resource.RLIMIT_AS, (min(n_bytes, most), most))


def _answer(tree: Any, stream: Any, memory: int, name: str, start: int, stop: int) -> None:
    """Hand over rows of an array; where they cannot be read, say why instead."""
    try:
        array, is_text, chunks = tree.open(name)
        band = math.prod(array.shape[1:]) * max(array.dtype.itemsize, 1)
        step = _step(chunks, band)
        largest = max(_MAX_TEXTS if is_text else 0, _BLOCK, step * band, _chunk_bytes(chunks, array.dtype))
        _limit(READER_BYTES + 3 * largest, memory)
        if is_text:
            blocks: Iterator[np.ndarray] = iter([_as_text(name, array, start, stop)])
        else:
            blocks = _blocks(array, start, stop, step)
        first = next(blocks, None)
    except Exception as error:
        _say({"error": _reason(error)})
        return
    _say({"dtype": None if first is None else first.dtype.str})
    while first is not None:
        if first.size:
            stream.write(first.reshape(-1).view(np.uint8).data)
        first = next(blocks, None)


def _step(chunks: tuple[int, ...] | None, band: int) -> int:
    """Return how many rows to read at once: whole chunks, where these are not too large."""
    rows = chunks[0] if chunks else 1
    rows *= max(1, _BLOCK // max(1, band * rows))
    return max(1, min(rows, _MOST // max(1, band)))


def _chunk_bytes(chunks: tuple[int, ...] | None, dtype: np.dtype) -> int:
    return 0 if chunks is None else math.prod(chunks) * max(dtype.itemsize, 1)


def _blocks(array: Any, start: int, stop: int, step: int) -> Iterator[np.ndarray]:
    if not array.shape:
        yield np.ascontiguousarray(array[()])
        return
    place = start
    while place < stop:
        end = min(stop, (place // step + 1) * step)
        values = np.asarray(array[place:end])
        yield np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        place = end


def _as_text(name: str, array: Any, start: int, stop: int) -> np.ndarray:
    values = np.asarray(array[start:stop] if array.shape else array[()])
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in values.ravel()]
    if 4 * len(texts) * max(map(len, texts), default=0) > _MAX_TEXTS:
        raise _RefusedError(f"holds {name!r}, whose texts are longer than labels and names are")
    return np.array(texts, dtype=str).reshape(values.shape)


def _describe(name: str, shape: Any, dtype: np.dtype | str, chunks: Any, **others: Any) -> dict[str, Any]:
    item = 8 if isinstance(dtype, str) else dtype.itemsize
    kind = dtype if isinstance(dtype, str) else dtype.newbyteorder("=").str
    chunk = 0 if chunks is None else math.prod(chunks) * item
    return {"shape": list(map(int, shape)), "dtype": kind, "chunk": chunk, **others}


class _Listed(dict):
    """What a file holds: ``arrays`` by name, ``others`` with the reason why they cannot be read, ``groups``."""

    def __init__(self) -> None:
        super().__init__(arrays={}, others={}, groups={})

    def put(self, kind: str, name: str, what: Any) -> None:
        if sum(map(len, self.values())) >= _MAX_NAMES:
            raise _RefusedError(f"holds more than {_MAX_NAMES} arrays and groups")
        self[kind][name] = what


class _Hdf5:
    def __init__(self, path: str):
        import h5py

        self._h5py = h5py
        self._file = h5py.File(path, "r", locking="best-effort")

    def list(self) -> _Listed:
        listed, seen = _Listed(), {hash(self._file.id)}
        self._walk(self._file, "", listed, seen, 0)
        return listed

    def _walk(self, group: Any, prefix: str, listed: _Listed, seen: set[int], depth: int) -> None:
        listed.put("groups", prefix.rstrip("/"), self._attributes(group))
        if depth > _MAX_DEPTH or len(group) > _MAX_NAMES:
            raise _RefusedError(f"holds groups more than {_MAX_DEPTH} deep, or of more than {_MAX_NAMES} members")
        for name in group:
            full = f"{prefix}{name}"
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                listed.put("others", full, f"holds {full!r} as a link, which is not followed")
                continue
            item = group[name]
            if isinstance(item, self._h5py.Group) and hash(item.id) not in seen:
                seen.add(hash(item.id))
                self._walk(item, f"{full}/", listed, seen, depth + 1)
            elif isinstance(item, self._h5py.Dataset):
                reason = self._refuse(item)
                if reason is None:
                    listed.put("arrays", full, self._describe(full, item))
                else:
                    listed.put("others", full, f"holds {full!r} {reason}, but an array of numbers is needed")

    def _refuse(self, item: Any) -> str | None:
        """Return why a dataset cannot be read, as the part of a sentence."""
        if item.is_virtual or item.external:
            return "as values in another file"
        try:
            dtype = item.dtype
        except TypeError:
            return "of a type that NumPy has not"
        settings = item.id.get_create_plist()
        for place in range(settings.get_nfilters()):
            code, *_, name = settings.get_filter(place)
            if not self._h5py.h5z.filter_avail(code):
                what = name.decode(errors="replace")[:63] or code
                return f"compressed by {what}, for which HDF5 has no filter here (h5repack -f GZIP=6 changes that)"
        if item.shape is None:
            return "without any value"
        if dtype.names:
            return "as a table of fields"
        sound = dtype.kind in _NUMBERS and dtype.itemsize <= 8
        return None if sound or self._h5py.check_string_dtype(dtype) is not None else f"of type {str(dtype)[:63]}"

    def _describe(self, name: str, item: Any) -> dict[str, Any]:
        is_text = self._h5py.check_string_dtype(item.dtype) is not None
        contiguous = item.id.get_create_plist().get_layout() == self._h5py.h5d.CONTIGUOUS
        offset = item.id.get_offset() if contiguous and item.dtype.isnative and item.dtype.kind in "iuf" else None
        dtype = "text" if is_text else item.dtype
        stored = int(item.id.get_storage_size())
        return _describe(
            name, item.shape, dtype, item.chunks, stored=stored, offset=offset, attributes=self._attributes(item)
        )

    def _attributes(self, item: Any) -> dict[str, Any]:
        told = {}
        for name in _TOLD:
            if name in item.attrs:
                found = item.attrs.get_id(name)
                if math.prod(found.shape or ()) * max(found.dtype.itemsize, 100) > _MAX_META:
                    raise _RefusedError(f"holds an attribute {name!r} that is too long")
                told[name] = _plain(item.attrs[name])
        return told

    def open(self, name: str) -> tuple[Any, bool, Any]:
        item = self._file[name]
        return item, self._h5py.check_string_dtype(item.dtype) is not None, item.chunks


def _plain(value: Any) -> Any:
    value = np.asarray(value)
    if value.dtype.kind in _NUMBERS:
        return value.tolist()
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in value.ravel().tolist()]
    return texts if value.ndim else texts[0]


class _Zarr:
    def __init__(self, path: Path):
        import zarr

        self._zarr = zarr
        self._files = _ZipFiles(path) if path.is_file() else _FolderFiles(path)
        self._store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else zarr.storage.LocalStore(path)
        self._known: dict[str, tuple[bool, Any, int]] = {}

    def list(self) -> _Listed:
        listed = _Listed()
        if all(self._files.meta("", name) is None for name in ("zarr.json", ".zgroup", ".zarray")):
            raise _RefusedError("is not a Zarr file: neither zarr.json nor .zgroup or .zarray is in it")
        self._walk("", listed, 0)
        return listed

    def _walk(self, prefix: str, listed: _Listed, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _RefusedError(f"holds groups more than {_MAX_DEPTH} deep")
        name = prefix.rstrip("/")
        meta = self._files.meta(prefix, "zarr.json")
        version = 2 if meta is None else 3
        if meta is None:
            meta = self._files.meta(prefix, ".zarray")
            attributes = self._files.meta(prefix, ".zattrs") or {}
        else:
            attributes = meta.get("attributes") or {}
        if (version == 2 and meta is not None) or (version == 3 and meta is not None and meta["node_type"] == "array"):
            self._put(name or "/", prefix, meta, version, attributes, listed)
            return
        listed.put("groups", name, {key: attributes[key] for key in _TOLD if key in attributes})
        for child, is_link in self._files.folders(prefix):
            if is_link:
                listed.put("others", f"{prefix}{child}", f"holds {prefix}{child!r} as a link, which is not followed")
            else:
                self._walk(f"{prefix}{child}/", listed, depth + 1)

    def _put(
        self,
        name: str,
        prefix: str,
        meta: Mapping[str, Any],
        version: int,
        attributes: Mapping[str, Any],
        listed: _Listed,
    ) -> None:
        dtype, chunks, codecs = (_read_v2 if version == 2 else _read_v3)(meta)
        unsound = sorted({codec for codec in codecs if codec.removeprefix("numcodecs.") not in _SOUND})
        stored = self._files.size(prefix)
        if dtype is None or unsound:
            how = f"coded by {unsound[0]!r:.65}, which is not read" if unsound else "of a type that is not read"
            listed.put("others", name, f"holds {name!r} {how}, but an array of numbers is needed")
        elif stored is None:
            listed.put("others", name, f"holds {name!r}, whose values are links, which are not followed")
        else:
            self._known[name] = (isinstance(dtype, str), chunks, version)
            told = {key: attributes[key] for key in _TOLD if key in attributes}
            more = {"stored": stored, "offset": None, "attributes": told}
            listed.put("arrays", name, _describe(name, meta["shape"], dtype, chunks, **more))

    def open(self, name: str) -> tuple[Any, bool, Any]:
        is_text, chunks, version = self._known[name]
        path = "" if name == "/" else name
        form: Any = version
        return self._zarr.open_array(self._store, path=path, mode="r", zarr_format=form), is_text, tuple(chunks)


def _as_dtype(text: Any) -> Any:
    """Return a type of numbers, "text", or None."""
    try:
        dtype = np.dtype(text)
    except TypeError:
        return None
    if dtype.kind in "US":
        return "text"
    return dtype if dtype.kind in _NUMBERS and dtype.itemsize <= 8 else None


def _read_v2(meta: Mapping[str, Any]) -> tuple[Any, list[int], list[str]]:
    """Return the type of an array of Zarr 2, its chunks and its codecs."""
    codecs = [codec["id"] for codec in [*(meta["filters"] or []), meta["compressor"]] if codec]
    if meta["dtype"] == "|O":
        return ("text" if "vlen-utf8" in codecs else None), meta["chunks"], codecs
    return (_as_dtype(meta["dtype"]) if isinstance(meta["dtype"], str) else None), meta["chunks"], codecs


def _read_v3(meta: Mapping[str, Any]) -> tuple[Any, list[int], list[str]]:
    """Return the type of an array of Zarr 3, its chunks and its codecs, those within shards too."""
    codecs: list[str] = []
    left = list(meta["codecs"])
    while left and len(codecs) < 100:
        codec = left.pop()
        codecs.append(codec if isinstance(codec, str) else codec["name"])
        inner = {} if isinstance(codec, str) else codec.get("configuration") or {}
        left += [*inner.get("codecs", []), *inner.get("index_codecs", [])]
    kind = meta["data_type"]
    dtype: Any = (
        "text" if kind == "string" or (isinstance(kind, dict) and kind["name"] == "fixed_length_utf32") else None
    )
    if isinstance(kind, str) and dtype is None:
        dtype = _as_dtype(kind)
    return dtype, meta["chunk_grid"]["configuration"]["chunk_shape"], codecs


class _FolderFiles:
    """The files of a folder, links apart."""

    def __init__(self, root: Path):
        self._root = root

    def meta(self, prefix: str, name: str) -> Any:
        path = self._root / prefix / name
        if path.is_symlink() or not path.is_file():
            return None
        if path.stat().st_size > _MAX_META:
            raise _RefusedError(f"holds {name} of more than {_MAX_META} bytes")
        return json.loads(path.read_bytes())

    def folders(self, prefix: str) -> list[tuple[str, bool]]:
        with os.scandir(self._root / prefix) as entries:
            return sorted((entry.name, entry.is_symlink()) for entry in entries if entry.is_dir())

    def size(self, prefix: str) -> int | None:
        """Return the bytes of an array; None where one of its files is a link."""
        total, left = 0, [self._root / prefix]
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        return None
                    if entry.is_dir():
                        left.append(Path(entry.path))
                    else:
                        total += entry.stat().st_size
        return total


class _ZipFiles:
    """The files of a ZIP file."""

    def __init__(self, path: Path):
        if os.path.getsize(path) < 2**22 and path.read_bytes().count(b"PK\x01\x02") > 10 * _MAX_NAMES:
            raise _RefusedError("holds more files than a list of names takes")
        self._archive = zipfile.ZipFile(path)
        self._entries = {entry.filename: entry for entry in self._archive.infolist()}
        for entry in self._entries.values():
            stored = entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not entry.flag_bits & 1
            if not stored or entry.file_size > 1032 * entry.compress_size + 64:
                raise _RefusedError(f"holds {entry.filename!r:.65} in a way that Zarr does not write")

    def meta(self, prefix: str, name: str) -> Any:
        entry = self._entries.get(f"{prefix}{name}")
        if entry is None:
            return None
        if entry.file_size > _MAX_META:
            raise _RefusedError(f"holds {name} of more than {_MAX_META} bytes")
        return json.loads(self._archive.read(entry))

    def folders(self, prefix: str) -> list[tuple[str, bool]]:
        inside = (name[len(prefix) :] for name in self._entries if name.startswith(prefix))
        return [(name, False) for name in sorted({path.split("/")[0] for path in inside if "/" in path})]

    def size(self, prefix: str) -> int:
        return sum(entry.compress_size for name, entry in self._entries.items() if name.startswith(prefix))


if __name__ == "__main__":
    _main(*sys.argv[1:])
