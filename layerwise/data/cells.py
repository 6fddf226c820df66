"""AnnData as a source of rows: cells with their genes, from ``.h5ad``, from Zarr, or from an object in memory."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from layerwise import distributed
from layerwise.data._polars import list_names
from layerwise.data.cell_parts import InFile, InMemory
from layerwise.data.parts import Where, find_parts
from layerwise.data.scratch import Room
from layerwise.data.source import Input, Source
from layerwise.data.trees import is_zarr, mark_of_zarr
from layerwise.errors import FileError
from layerwise.section import Section
from layerwise.urls import Place

# What names the cells, beside the columns of obs.
CELL_NAMES = "obs_names"
# Rows that are looked at in one go.
_ROWS = 4096


class AnnDataLike(Protocol):
    """What an AnnData has, which is known by it."""

    obs_names: Any
    var_names: Any
    obsm: Any
    layers: Any


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
    refused = ("ignore", "max_categories", "missing", "date_parts")

    def __init__(self, where: Where | Any, section: Section):
        self._section = section
        self._cells: Any
        if section.layer and section.obsm:
            raise ValueError(f"layer={section.layer!r} and obsm={section.obsm!r} exclude each other; name one of them")
        if is_anndata(where):
            self.path = Path("the AnnData")
            self._cells = InMemory(where)
            return
        paths = find_parts(where)
        if len(paths) > 1:
            raise ValueError(f"{paths[0]} and {len(paths) - 1} more are AnnData; make them one by anndata.concat first")
        self.path = paths[0]
        self._cells = InFile(Path(paths[0]))

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


def match_genes(source: Input, names: Sequence[str], path: Place) -> Input:
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


def _warn_of_empty(path: Place, X: Any, cells: Sequence[str] | np.ndarray, genes: Sequence[str]) -> None:
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
