"""A table as a source of rows: its files are read once, and text is kept, in a file where it takes too much memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from layerwise import distributed
from layerwise.atomic import naming
from layerwise.data._polars import columns, count_rows, list_names, match_names, pl, reading
from layerwise.data.parts import Keep, Where
from layerwise.data.scratch import allocate
from layerwise.data.source import Input, Options, Source
from layerwise.data.table_encoder import MAX_CATEGORIES, TableEncoder
from layerwise.data.tables import TableFile, batches, identifier_values, read_labels
from layerwise.data.values import refuse_infinity
from layerwise.errors import in_content_of
from layerwise.section import Section


class _Kept(Keep):
    """What holds the rows in memory, or in files that go with it where they take too much."""

    def __init__(self, options: Options):
        self._options = options
        self.n_bytes = 0
        self.folder: Path | None = None

    def __call__(self, table: pl.LazyFrame, n_bytes: int) -> pl.LazyFrame:
        self.n_bytes += n_bytes
        if self.n_bytes <= self._options.memory // distributed.world_size():
            return table.collect(engine="streaming").lazy()
        path = self.new_file()
        with naming(path, reads=True):
            table.sink_ipc(path, compression="zstd")
        return pl.scan_ipc(path)

    def new_file(self) -> Path:
        if self.folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="layerwise-", dir=self._options.scratch))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        return self.folder / f"rows-{len(list(self.folder.iterdir()))}"


class TableSource(Source):
    """A table with named columns, in one file or several."""

    kind = "a table"
    thing = "a column"

    def __init__(self, where: Where, section: Section):
        self.file = TableFile(where, section)
        self.path, self.takes = self.file.path, self.file.takes

    @property
    def names(self) -> list[str]:
        """Of the columns, in the spelling of `options` where only that differs (NFC, NFD)."""
        there = pl.LazyFrame(schema=dict.fromkeys(self.file.names, pl.String))
        return match_names(there, self._wanted()).collect_schema().names()

    def _wanted(self) -> list[str]:
        encoder = self.options.encoder
        used = [] if encoder is None else encoder.feature_names_in_.tolist()
        return [*self.options.others, *self.options.ignore, *used]

    @cached_property
    def table(self) -> pl.LazyFrame:
        """The columns, typed; identifiers, and what is ignored or was text in training, stay text."""
        encoder, ignored = self.options.encoder, self.options.ignore
        text = list(ignored) if encoder is None else [*encoder.list_ignored(), *encoder.list_texts()]
        text += [] if self.as_written is None else [self.as_written]
        numbers = None if encoder is None else encoder.list_numbers()
        missing = self.options.missing if encoder is None else encoder.list_missing()
        own = self.names if encoder is None else encoder.feature_names_in_.tolist()
        used = {*own, *self.options.others}.difference(self.options.ids, ignored)
        kept = self._kept = _Kept(self.options)  # as long as the source
        as_text = [*self.options.ids, *text]
        table = self.file.scan(as_text, kept, missing=missing, as_written=True, used=used, numbers=numbers)
        if kept.n_bytes and kept.folder is None:  # what was typed takes less room than text
            with reading(self.path):
                table = table.collect(engine="streaming").lazy()
        return match_names(table, self._wanted())

    @cached_property
    def n_rows(self) -> int:
        """Of all ranks."""
        return count_rows(self.path, self.table)

    def column(self, name: str) -> np.ndarray:
        """Return a column of labels."""
        with in_content_of(self.path):
            return read_labels(self.file, self.table, name, name == self.as_written)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as it is."""
        with reading(self.path):
            column = self.table.select(columns(name)).collect().to_series()
            return column.cast(pl.Float64).to_numpy() if column.dtype.is_numeric() else column.to_numpy()

    def ids(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return columns that name the rows."""
        with reading(self.path):
            own = self._own().select(columns(*names)).collect()
        return {name: identifier_values(own[name]) for name in names}

    def check_named(self, parameter: str, names: Iterable[str]) -> None:
        """Refuse a name that no column has."""
        absent = [name for name in names if name not in self.names]
        if absent:
            raise ValueError(
                f"{parameter}={absent[0]!r} is no column of {self.path}, which has {list_names(self.names)}"
            )

    def _own(self) -> pl.LazyFrame:
        start, stop = distributed.share_bounds(self.n_rows)
        return self.table.slice(start, stop - start)

    def rows(self) -> Input:
        """Return the rows as numbers."""
        encoder, options = self.options.encoder, self.options
        start, stop = distributed.share_bounds(self.n_rows)
        self.file.warn()
        with in_content_of(self.path):
            learnt = encoder is None
            if encoder is None:
                encoder = self._learn()
            else:
                with reading(self.path):
                    encoder.check_columns(self.table)  # batches would count their own rows
            shape = (stop - start, len(encoder.get_feature_names_out()))
            X, place = allocate(shape, np.float64, memory=options.memory, scratch=options.scratch), 0
            needed = self._own().select(columns(*encoder.feature_names_in_))
            for batch in batches(self.path, needed, len(X)):
                if learnt:
                    encoder.check_columns(batch.lazy())
                encoder.write_rows(batch, X[place : place + len(batch)])
                place += len(batch)
            refuse_infinity(X, encoder.get_feature_columns(), start)
        ids = self.ids([name for name in encoder.list_row_names() if name in self.names and name not in options.ids])
        names = list(encoder.get_feature_names_out())
        return Input(
            *(X, None, ids, None, encoder, names),
            sheet=self.file.sheet,
            descriptions=self.file.descriptions or None,
            origin=self.file.origin,
        )

    def _learn(self) -> TableEncoder:
        """Fit an encoder, the same on all ranks, each of which looks at all rows."""
        options = self.options
        at_most = MAX_CATEGORIES if options.max_categories is None else options.max_categories
        encoder = TableEncoder(
            ignore=tuple(options.ignore),
            max_categories=at_most,
            missing=tuple(options.missing),
            date_parts=tuple(options.date_parts),
        )
        others = set(options.others).intersection(self.names).difference(options.ignore)
        features = self.table.drop(columns(*others))
        encoder.add_rows(pl.DataFrame(schema=features.collect_schema()))
        for batch in batches(self.path, features, self.n_rows):
            encoder.add_rows(batch)
        encoder.check_types()
        return encoder
