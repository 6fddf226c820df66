"""Where the rows of this rank stand among those of all ranks, and which of them a random sample takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from layerwise import distributed
from layerwise.data.mapped_rows import AnyRows


@dataclass(frozen=True)
class Layout:
    """Where the shards of this rank stand among those of all ranks.

    The ``lengths`` are those of each shard of each rank; the one of number ``first`` is the first of this rank, whose
    ``shards`` are ranges of its own rows.

    Examples
    --------
    >>> from layerwise.data.rows import Rows
    >>> layout = Layout.of(Rows(torch.zeros(10, 2)))
    >>> layout.n_rows, layout.draw(3, seed=0).tolist()
    (10, [1, 4, 7])
    """

    lengths: list[int]
    first: int
    shards: list[slice]

    @classmethod
    def of(cls, rows: AnyRows) -> Layout:
        """Ask all ranks how many rows they have."""
        lengths = distributed.gather_counts([shard.stop - shard.start for shard in rows.shards])
        return cls(lengths, distributed.rank() * len(rows.shards), rows.shards)

    @property
    def n_rows(self) -> int:
        """Rows of all ranks."""
        return sum(self.lengths)

    def own(self) -> Iterator[tuple[int, slice]]:
        """Yield the number of each shard of this rank among those of all, and its rows."""
        return enumerate(self.shards, self.first)

    def start(self, place: slice) -> int:
        """Return where a block of this rank stands among the rows of all."""
        return sum(self.lengths[: self.first]) + place.start

    def draw(self, n_rows: int, seed: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return the positions, in order, of a random sample of ``n_rows`` of all ranks, as far as they are here.

        Each shard gives rows in proportion to its length. A sample of half as many rows or less is inside this one;
        another device draws others.
        """
        generator, n_all = torch.Generator(device), max(1, self.n_rows)
        n_rows = min(n_rows, n_all)
        positions = []
        for index, shard in self.own():
            before, length = sum(self.lengths[:index]), self.lengths[index]
            n_here = n_rows * (before + length) // n_all - n_rows * before // n_all
            generator.manual_seed(shard_seed(seed, index))
            order = torch.randperm(length, generator=generator, device=device)
            positions.append(shard.start + order[:n_here].sort().values)
        return torch.cat(positions)


def shard_seed(seed: int, index: int) -> int:
    """Return the seed of what is drawn for a shard of this number; that of the first is the seed itself."""
    return seed + 1_000_003 * index
