"""AnnData as a source of rows: cells with their genes, from ``.h5ad``, from Zarr, or from an object in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise import distributed
from layerwise.data._polars import list_names
from layerwise.data.parts import Where, find_parts
from layerwise.data.scratch import Room
from layerwise.data.source import Input, Source
from layerwise.data.trees import TreeFile, is_zarr, mark_of_zarr
from layerwise.errors import FileError
from layerwise.section import Section

# What names the cells, beside the columns of obs.
CELL_NAMES = "obs_names"
_SPARSE: dict[str, Any] = {"csr_matrix": sparse.csr_matrix, "csc_matrix": sparse.csc_matrix}
# Values of a sparse matrix, or rows, that are looked at in one go.
_BLOCK, _ROWS = 2**22, 4096


def is_anndata(where: Any) -> bool:
    """Whether this is an AnnData in memory."""
    return all(hasattr(where, name) for name in ("obs_names", "var_names", "obsm", "layers"))


def is_cells(path: Path) -> bool:
    """Whether a file or folder holds an AnnData."""
    return path.suffix.lower() == ".h5ad" or (is_zarr(path) and mark_of_zarr(path) == "anndata")


class CellsSource(Source):
    """Cells by genes: ``X``, a layer, or an array of ``obsm``; columns of ``obs`` belong to the rows."""

    kind = "an AnnData, of which layer and obsm name a part"
    thing = "a column of obs"
    takes = ("layer", "obsm")
    refused = ("ignore", "max_categories", "missing")

    def __init__(self, where: Where | Any, section: Section):
        self._section = section
        self._cells: Any
        if section.layer and section.obsm:
            raise ValueError(f"layer={section.layer!r} and obsm={section.obsm!r} exclude each other; name one of them")
        if is_anndata(where):
            self.path = Path("the AnnData")
            self._cells = _InMemory(where)
            return
        paths = find_parts(where)
        if len(paths) > 1:
            raise ValueError(f"{paths[0]} and {len(paths) - 1} more are AnnData; make them one by anndata.concat first")
        self.path = paths[0]
        self._cells = _InFile(paths[0])

    @property
    def names(self) -> list[str]:
        """Of the columns of obs, and what names the cells."""
        return [*self._cells.columns(), CELL_NAMES]

    @cached_property
    def _cell_names(self) -> np.ndarray:
        return self._cells.index("obs")

    @property
    def n_rows(self) -> int:
        """Of all ranks."""
        return len(self._cell_names)

    def rows(self) -> Input:
        """Return the rows, a CSR matrix where they are sparse."""
        kind, name = next(((kind, name) for kind, name in self._section.given().items()), ("X", None))
        known = {"X": [], "layer": self._cells.layers(), "obsm": self._cells.obsms()}[kind]
        if name is not None and name not in known:
            there = list_names(known) or "none"
            raise ValueError(f"{kind}={name!r} is not in {self.path}, of which {kind} may be: {there}")
        place = {"X": "X", "layer": f"layers/{name}", "obsm": f"obsm/{name}"}[kind]
        X = self._cells.matrix(place, Room(self.options.memory, self.options.scratch))
        genes = [f"{name}_{k}" for k in range(X.shape[1])] if kind == "obsm" else self._cells.index("var").tolist()
        if X.ndim != 2 or X.shape != (self.n_rows, len(genes)) or not len(genes):
            raise FileError(
                f"{self.path} is damaged: {place} has shape {X.shape}, but there are {self.n_rows} cells and "
                f"{len(genes)} genes"
            )
        if X.dtype.kind not in "biuf":
            raise FileError(f"{self.path} holds {place} of type {X.dtype}, but numbers are needed")
        if kind != "obsm":
            _warn_of_empty(self.path, X, self._cell_names, genes)
        names = self.share(CELL_NAMES, self._cell_names)
        return Input(distributed.share(X), None, {CELL_NAMES: names}, None, None, genes)

    def column(self, name: str) -> np.ndarray:
        """Return a column of obs, with None or NaN for what is missing."""
        if name == CELL_NAMES:
            return self._cell_names
        if name not in self.names:
            raise ValueError(f"{self.path} has no column {name!r} in obs, which has {list_names(self.names)}")
        return self._cells.column(name)


def match_genes(source: Input, names: Sequence[str], path: Path) -> Input:
    """Return rows with the genes of the training in their order, by name.

    Raises
    ------
    ValueError
        If one is not there, or there twice.
    """
    own = source.feature_names or []
    if own == list(names):
        return source
    places = {name: place for place, name in enumerate(own)}
    absent = [name for name in names if name not in places]
    if len(places) < len(own):
        raise ValueError(f"{path} has two genes of one name; adata.var_names_make_unique() tells them apart")
    if absent:
        what = f"lacks {len(absent)} of the {len(names):,} genes of the training, such as {absent[0]!r}"
        raise ValueError(f"{path} {what}; a model takes the genes that it was trained on")
    warnings.warn(f"the {len(names):,} genes of the training are taken from {path} by name", stacklevel=3)
    return source._replace(X=source.X[:, [places[name] for name in names]], feature_names=list(names))


def _warn_of_empty(path: Path, X: Any, cells: Sequence[str] | np.ndarray, genes: Sequence[str]) -> None:
    """Say which cells have no counts, and which genes no cell has."""
    seen, empty = np.zeros(X.shape[1], bool), []
    for start in range(0, X.shape[0], _ROWS):
        block = X[start : start + _ROWS]
        block = block != 0
        if sparse.issparse(block):
            seen[block.indices] = True
            filled = np.diff(block.indptr) > 0
        else:
            seen |= block.any(axis=0)
            filled = block.any(axis=1)
        empty += (start + np.flatnonzero(~filled)).tolist()
    unseen = np.flatnonzero(~seen).tolist()
    for places, names, kind, what in ((empty, cells, "cell", "without counts"), (unseen, genes, "gene", "in no cell")):
        if places:
            several = "s" if len(places) > 1 else ""
            more = f" and {len(places) - 3:,} more" if len(places) > 3 else ""
            shown = ", ".join(repr(str(names[place]))[:65] for place in places[:3])
            warnings.warn(
                f"{path} holds {len(places):,} {kind}{several} {what}: {shown}{more}; all zeros stay zeros",
                stacklevel=4,
            )


class _InMemory:
    """An AnnData, asked by the names that its file has."""

    def __init__(self, cells: Any):
        self._cells = cells
        if getattr(cells, "isbacked", False):
            raise ValueError("the AnnData is backed by a file; give the name of that, or adata.to_memory()")

    def columns(self) -> list[str]:
        return [str(name) for name in self._cells.obs.columns]

    def layers(self) -> list[str]:
        return list(self._cells.layers)

    def obsms(self) -> list[str]:
        return list(self._cells.obsm)

    def index(self, axis: str) -> np.ndarray:
        return np.array(getattr(self._cells, f"{axis}_names").tolist(), dtype=str)

    def column(self, name: str) -> np.ndarray:
        column = self._cells.obs[name]
        absent = column.isna().to_numpy()
        return _with_gaps(np.array(column[~absent].tolist()), absent)

    def matrix(self, place: str, room: Room) -> Any:
        group, _, name = place.partition("/")
        X = getattr(self._cells, group)[name] if name else self._cells.X
        if X is None:
            raise ValueError("the AnnData has no X; name a layer")
        return sparse.csr_matrix(X) if sparse.issparse(X) else np.asarray(X)


class _InFile:
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
        return [str(name) for name in self._told("obs", "column-order") or []]

    def _members(self, group: str) -> list[str]:
        inside = [name.partition("/")[2] for name in self._file.attributes if name.startswith(f"{group}/")]
        return [name for name in inside if "/" not in name]

    def layers(self) -> list[str]:
        return self._members("layers")

    def obsms(self) -> list[str]:
        return self._members("obsm")

    def index(self, axis: str) -> np.ndarray:
        return self._column(f"{axis}/{self._told(axis, '_index')}").astype(str)

    def column(self, name: str) -> np.ndarray:
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
