"""Files of arrays as a source of rows."""

from __future__ import annotations

from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from layerwise import distributed
from layerwise.data.axes import Arranged
from layerwise.data.files import ArrayFile, load_labels
from layerwise.data.parts import Where, find_parts, name_parts
from layerwise.data.scratch import Room, allocate
from layerwise.data.source import Input, Source
from layerwise.errors import FileError
from layerwise.section import Section


class ArraySource(Source):
    """An array in a file, or in several whose rows follow each other."""

    kind = "no table"
    takes: tuple[str, ...] = ("array", "layout", "transpose")
    refused = ("ignore", "max_categories", "missing", "date_parts")

    def __init__(self, where: Where, section: Section):
        self._section = section
        paths = find_parts(where)
        self.path = name_parts(where, paths)
        self._files = [ArrayFile(Path(path), section.zero_based) for path in paths]
        self._zero_based = self._files[0].zero_based
        if self._zero_based is not None:
            self.takes = (*self.takes, "zero_based")
        odd = next((file.path for file in self._files if file.zero_based != self._zero_based), None)
        if odd is not None:
            raise FileError(
                f"{odd} and {self._files[0].path} do not count their columns alike, from 0 and from 1; say how by "
                f"--zero-based (zero_based=True)"
            )

    @property
    def names(self) -> Any:
        """Of the arrays, with their shapes in the first file."""
        return self._files[0].shapes

    @cached_property
    def _arranged(self) -> list[Arranged]:
        chosen = self._section
        room = Room(self.options.memory, self.options.scratch)
        how = chosen.array, chosen.layout, bool(chosen.transpose)
        found = [file.rows(*how, room=room) for file in self._files]
        for file, part in zip(self._files, found, strict=True):
            width, first = part.X.shape[1], found[0].X.shape[1]
            if width != first:
                raise FileError(
                    f"{file.path} has rows of {width} values, but {self._files[0].path} of {first}; the parts of one "
                    f"array need the same columns"
                )
        return found

    @property
    def n_rows(self) -> int:
        """Of all ranks."""
        return sum(part.X.shape[0] for part in self._arranged)

    def rows(self) -> Input:
        """Return the rows, in the type of the file; of several files in one that holds the values of all."""
        first = self._arranged[0]
        if len(self._arranged) == 1:
            found = Input(
                distributed.share(first.X), None, {}, first.image_shape, None, None, first.layout, first.shape
            )
            return found._replace(zero_based=self._zero_based)
        same = {part.image_shape for part in self._arranged} == {first.image_shape}
        found = Input(self._join(), None, {}, first.image_shape if same else None, None, None, first.layout)
        return found._replace(zero_based=self._zero_based)

    def hint_at_transpose(self, *, n_rows: int | None = None, n_features: int | None = None) -> str:
        """Return the end of a message, where so many rows or features are wanted and a transposed matrix has them."""
        first = self._arranged[0]
        if len(self._arranged) > 1 or first.layout is not None or (n_features, n_rows) == (None, None):
            return ""
        if first.X.shape != (n_features or first.X.shape[0], n_rows or first.X.shape[1]):
            return ""
        if self._section.transpose:
            return "; it fits if it is read as it is: --no-transpose (transpose=False)"
        what = "columns" if n_features is None else "rows"
        return f"; its {what} are as many: add --transpose (transpose=True) if it is features x samples"

    def _join(self) -> Any:
        """Return the rows of this rank, of all files."""
        start, stop = distributed.share_bounds(self.n_rows)
        parts, place = [], 0
        for X in (part.X for part in self._arranged):
            parts.append(X[max(start - place, 0) : max(stop - place, 0)])
            place += X.shape[0]
        if any(map(sparse.issparse, parts)):
            return sparse.vstack(parts, format="csr")
        dtype: Any = np.result_type(*(part.dtype for part in parts))
        shape = (stop - start, parts[0].shape[1])
        joined, place = allocate(shape, dtype, memory=self.options.memory, scratch=self.options.scratch), 0
        for part in parts:
            joined[place : place + len(part)] = part
            place += len(part)
        return joined

    def column(self, name: str) -> np.ndarray:
        """Return an array of labels."""
        pairs = zip(self._files, self._arranged, strict=True)
        return np.concatenate([file.labels(name, part.grid) for file, part in pairs])

    def load_file(self, path: str | PathLike[str]) -> np.ndarray:
        """Load labels from a file of their own; of pixels they may be a map."""
        grid = self._arranged[0].grid if len(self._files) == 1 else None
        return load_labels(path, grid=grid, as_text=str(path) == self.as_written)
