"""Rows that are computed from other rows, and what both kinds have in common."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import torch

from layerwise import distributed
from layerwise.data.rows import Rows


class MappedRows:
    """Rows that are computed from other rows, anew whenever they are asked for.

    Parameters
    ----------
    rows : Rows or MappedRows of shape (n_samples, n_inputs)
    function : callable
        Maps a block of shape (n_block, n_inputs) to one of shape (n_block, n_features), row by row.
    n_features : int

    Examples
    --------
    >>> import numpy as np
    >>> rows = MappedRows(Rows(np.ones((3, 2), dtype=np.float32)), lambda block: 2 * block, n_features=2)
    >>> [block.tolist() for _, block in rows.blocks(2)]
    [[[2.0, 2.0], [2.0, 2.0]], [[2.0, 2.0]]]
    """

    def __init__(self, rows: Rows | MappedRows, function: Callable[[torch.Tensor], torch.Tensor], *, n_features: int):
        self._rows = rows
        self._function = torch.no_grad()(function)
        self.n_features = n_features

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the blocks."""
        return self._rows.dtype

    @property
    def device(self) -> torch.device:
        """Where the blocks are."""
        return self._rows.device

    @property
    def weights(self) -> torch.Tensor | None:
        """How often each row counts; None is once."""
        return self._rows.weights

    @property
    def has_missing(self) -> bool:
        """Functions of rows leave no value missing."""
        return False

    @property
    def shards(self) -> list[slice]:
        """The ranges of rows that sums are taken over one by one."""
        return self._rows.shards

    def blocks(self, size: int, shard: slice | None = None) -> Generator[tuple[slice, torch.Tensor], None, None]:
        """Yield all rows in order, at most ``size`` at a time, as `Rows.blocks` does."""
        with closing(self._rows.blocks(size, shard)) as blocks:
            for place, block in blocks:
                yield place, self._function(block)

    def batches(self, parts: Iterable[torch.Tensor]) -> Generator[torch.Tensor, None, None]:
        """Yield the rows at one tensor of positions after the other, as `Rows.batches` does."""
        with closing(self._rows.batches(parts)) as blocks:
            for block in blocks:
                yield self._function(block)

    def take(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows at these positions as one block."""
        return self._function(self._rows.take(positions))

    def subset(self, positions: torch.Tensor) -> MappedRows:
        """Return the rows at these positions as rows."""
        return MappedRows(self._rows.subset(positions), self._function, n_features=self.n_features)


AnyRows = Rows | MappedRows


def total_weight(rows: AnyRows) -> float:
    """Return how many rows all ranks have, each as often as it counts."""
    return distributed.sum_shards([weight_of(rows, shard) for shard in rows.shards]).item()


def weight_of(rows: AnyRows, shard: slice) -> torch.Tensor:
    """Return how many rows of a range there are, each as often as it counts: shape (), float64."""
    if rows.weights is None:
        return torch.tensor(float(shard.stop - shard.start), dtype=torch.float64, device=rows.device)
    return rows.weights[shard].sum()


def order_by_content(rows: AnyRows, shard: slice | None = None) -> torch.Tensor:
    """Return all positions, or a shard's, in an order that depends on what rows hold and not on where they stand.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    >>> x[order_by_content(Rows(x))].equal(x.flip(0)[order_by_content(Rows(x.flip(0)))])
    True
    """
    shard = slice(0, len(rows)) if shard is None else shard
    # Rows that differ have other projections on a random line.
    line = torch.rand(rows.n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = line.to(rows.device)
    keys = torch.empty(shard.stop - shard.start, dtype=torch.float64, device=rows.device)
    for place, block in rows.blocks(max(1, 2**20 // max(1, rows.n_features)), shard):
        keys[place.start - shard.start : place.stop - shard.start] = block.double() @ line
    return shard.start + keys.argsort(stable=True)
