"""The parts of an AnnData by the names that its file has: in memory, or in a file of HDF5 or Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise.data.scratch import Room
from layerwise.data.trees import TreeFile
from layerwise.errors import FileError

# Encodings of sparse matrices, and values of one that are looked at in one go.
_SPARSE = ("csr_matrix", "csc_matrix")
_BLOCK = 2**22


class InMemory:
    """An AnnData, asked by the names that its file has."""

    def __init__(self, cells: Any):
        self._cells = cells
        if getattr(cells, "isbacked", False):
            raise ValueError("the AnnData is backed by a file; give the name of that, or adata.to_memory()")

    def columns(self) -> list[str]:
        """Return the names of the columns of obs."""
        return [str(name) for name in self._cells.obs.columns]

    def layers(self) -> list[str]:
        """Return the names of the layers."""
        return list(self._cells.layers)

    def obsms(self) -> list[str]:
        """Return the names of the arrays of obsm."""
        return list(self._cells.obsm)

    def index(self, axis: str) -> np.ndarray:
        """Return the names of the cells (``obs``), or of the genes (``var``)."""
        return np.array(getattr(self._cells, f"{axis}_names").tolist(), dtype=str)

    def column(self, name: str) -> np.ndarray:
        """Return a column of obs, with None or NaN for what is missing."""
        column = self._cells.obs[name]
        absent = column.isna().to_numpy()
        return _with_gaps(np.array(column[~absent].tolist()), absent)

    def matrix(self, place: str, room: Room) -> Any:
        """Return a matrix, such as ``layers/counts``: an array, or CSR."""
        group, _, name = place.partition("/")
        X = getattr(self._cells, group)[name] if name else self._cells.X
        if X is None:
            raise ValueError("the AnnData has no X; name a layer")
        return sparse.csr_matrix(X) if sparse.issparse(X) else np.asarray(X)


class InFile:
    """An AnnData in a file of HDF5 or Zarr."""

    def __init__(self, path: Path):
        self._path, self._file = path, TreeFile(path)
        if self._told("obs", "encoding-type") != "dataframe":
            raise FileError(
                f"{path} is no AnnData, or was written before its version 0.7; read it by anndata and write it again"
            )

    def _told(self, name: str, attribute: str) -> Any:
        return self._file.attributes.get(name, {}).get(attribute)

    def _load(self, name: str, **how: Any) -> np.ndarray:
        if name not in self._file.shapes:
            why = self._file.shapes.others.get(name, f"holds no {name}")
            raise FileError(f"{self._path} {why}")
        return self._file.load(name, **how)

    def columns(self) -> list[str]:
        """Return the names of the columns of obs."""
        return [str(name) for name in self._told("obs", "column-order") or []]

    def _members(self, group: str) -> list[str]:
        inside = [name.partition("/")[2] for name in self._file.attributes if name.startswith(f"{group}/")]
        return [name for name in inside if "/" not in name]

    def layers(self) -> list[str]:
        """Return the names of the layers."""
        return self._members("layers")

    def obsms(self) -> list[str]:
        """Return the names of the arrays of obsm."""
        return self._members("obsm")

    def index(self, axis: str) -> np.ndarray:
        """Return the names of the cells (``obs``), or of the genes (``var``)."""
        return self._column(f"{axis}/{self._told(axis, '_index')}").astype(str)

    def column(self, name: str) -> np.ndarray:
        """Return a column of obs, with None or NaN for what is missing."""
        return self._column(f"obs/{name}")

    def _column(self, place: str) -> np.ndarray:
        kind = str(self._told(place, "encoding-type"))
        if kind == "categorical":
            codes, categories = self._load(f"{place}/codes").astype(int), self._column(f"{place}/categories")
            if codes.ndim != 1 or categories.ndim != 1 or (codes >= len(categories)).any():
                raise FileError(f"{self._path} is damaged: {place} has codes beyond its categories")
            return _with_gaps(categories[codes[codes >= 0]], codes < 0)
        if kind.startswith("nullable"):
            values, mask = self._load(f"{place}/values"), self._load(f"{place}/mask").astype(bool)
            if values.shape != mask.shape:
                raise FileError(f"{self._path} is damaged: {place} has not one mark a value")
            return _with_gaps(values[~mask], mask)
        return np.asarray(self._load(place))

    def matrix(self, place: str, room: Room) -> Any:
        """Return a matrix, such as ``layers/counts``: an array, or CSR."""
        kind = self._told(place, "encoding-type")
        if kind not in _SPARSE:
            return self._load(place, room=room)
        n_rows, n_columns = (int(side) for side in self._told(place, "shape"))
        try:
            if kind == "csr_matrix":
                parts = [self._load(f"{place}/{part}", room=room) for part in ("data", "indices", "indptr")]
                matrix = sparse.csr_matrix(tuple(parts), shape=(n_rows, n_columns))
            else:
                matrix = self._turn(place, n_rows, n_columns, room)
            matrix.check_format(full_check=True)
        except (ValueError, TypeError, OverflowError, IndexError) as error:
            if isinstance(error, FileError):
                raise
            raise FileError(f"{self._path} holds a sparse matrix that is damaged ({str(error)[:200]})") from error
        return matrix

    def _turn(self, place: str, n_rows: int, n_columns: int, room: Room) -> Any:
        """Return a CSC matrix as a CSR one, some columns at a time: twice through its indices, once its values."""
        ends = self._load(f"{place}/indptr").astype(np.int64)
        n_values = self._file.shapes[f"{place}/data"][0]
        if len(ends) != n_columns + 1 or ends[0] != 0 or ends[-1] != n_values or (np.diff(ends) < 0).any():
            raise FileError(f"{self._path} holds a sparse matrix that is damaged (indptr)")
        counts = np.zeros(n_rows, np.int64)
        for start in range(0, n_values, _BLOCK):
            found = self._load(f"{place}/indices", start=start, stop=min(start + _BLOCK, n_values))
            counts += np.bincount(found, minlength=n_rows)
        free = np.concatenate([[0], np.cumsum(counts)])
        small = np.int32 if max(n_values, n_columns) < 2**31 else np.int64
        indptr, free = free.astype(small), free[:-1].copy()
        data, indices, first = None, room.allocate((n_values,), small), 0
        while first < n_columns:
            last = max(first + 1, int(np.searchsorted(ends, ends[first] + _BLOCK, side="right")) - 1)
            span = {"start": int(ends[first]), "stop": int(ends[last])}
            values, rows = self._load(f"{place}/data", **span), self._load(f"{place}/indices", **span)
            part = sparse.csc_matrix(
                (values, rows, ends[first : last + 1] - ends[first]), (n_rows, last - first)
            ).tocsr()
            n_new = np.diff(part.indptr)
            where = np.repeat(free - part.indptr[:-1], n_new) + np.arange(part.nnz)
            data = room.allocate((n_values,), values.dtype) if data is None else data
            data[where], indices[where] = part.data, part.indices + first
            free += n_new
            first = last
        data = np.zeros(0) if data is None else data
        return sparse.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))


def _with_gaps(known: np.ndarray, absent: np.ndarray) -> np.ndarray:
    """Return a column of known values, and of None, or NaN among numbers, where one is absent."""
    if not absent.any():
        return known
    numeric = known.dtype.kind in "iuf"
    column = np.full(len(absent), np.nan if numeric else None, np.float64 if numeric else object)
    column[~absent] = known
    return column
