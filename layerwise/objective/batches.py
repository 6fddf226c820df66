"""Which rows make which batch of an epoch: in random order, as often as they count, in step on all shards and ranks."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from layerwise import distributed
from layerwise.data.layout import Layout, shard_seed
from layerwise.data.mapped_rows import AnyRows, order_by_content


class Batches:
    """Draws the batches of every epoch.

    Parameters
    ----------
    rows : Rows or MappedRows
        Those of this rank.
    layout : Layout
        Where they stand among those of all ranks.
    total_weight : float
        Of the rows of all ranks.
    seed : int
        Draws the order, and how often a row comes whose weight is no whole number.
    """

    def __init__(self, rows: AnyRows, layout: Layout, total_weight: float, seed: int):
        self._rows, self._layout, self._total_weight, self._seed = rows, layout, total_weight, seed
        self._orders: list[Tensor] | None = None

    @property
    def n_draws(self) -> int:
        """Rows of an epoch, on average: more than there are where weights repeat them."""
        return round(self._total_weight / self._weight_of_one)

    @property
    def _weight_of_one(self) -> float:
        """Weight of a row that comes once in an epoch: 1, unless that would be too seldom or too often."""
        mean = self._total_weight / max(1, self._layout.n_rows)
        return 1.0 if 1 <= mean <= 10 else mean

    def plan(
        self, number: int, batch_size: int, generators: Sequence[torch.Generator]
    ) -> tuple[list[tuple[Tensor, ...]], list[int]]:
        """Return which rows each shard of this rank gives to each batch of an epoch, and how many all shards give.

        Parameters
        ----------
        number : int
            Of the epoch.
        batch_size : int
        generators : sequence of Generator
            One a shard of this rank; seeded here.

        Returns
        -------
        parts : list of tuple of Tensor
            The positions of the rows, for each shard and each batch.
        sizes : list of int
        """
        orders, lengths = self._draw_orders(number, generators)
        n_draws = sum(lengths)

        def sizes(index: int) -> Tensor:
            return _batch_sizes(lengths[index], index, len(lengths), min(batch_size, n_draws), n_draws)

        parts = [
            order.split(sizes(index).tolist()) for (index, _), order in zip(self._layout.own(), orders, strict=True)
        ]
        return parts, functools.reduce(torch.add, map(sizes, range(len(lengths)))).tolist()

    def _draw_orders(self, number: int, generators: Sequence[torch.Generator]) -> tuple[list[Tensor], list[int]]:
        """Return the positions of the rows of an epoch in each shard of this rank, and how many all shards have."""
        if self._orders is None:
            self._orders = [order_by_content(self._rows, shard) for shard in self._rows.shards]
        orders = []
        for (index, _), order, generator in zip(self._layout.own(), self._orders, generators, strict=True):
            seed = shard_seed(self._seed + number, index)
            if self._rows.weights is not None:
                repeats = self._rows.weights[order] / self._weight_of_one
                chance = torch.rand(repeats.shape, generator=generator.manual_seed(seed), device=order.device)
                order = order.repeat_interleave((repeats + chance).long())
            generator.manual_seed(seed)
            orders.append(order[torch.randperm(len(order), generator=generator, device=order.device)])
        if self._rows.weights is None:
            return orders, self._layout.lengths
        return orders, distributed.gather_counts([len(order) for order in orders])


def _batch_sizes(length: int, index: int, n_shards: int, batch_size: int, n_draws: int) -> Tensor:
    """Return how many rows a shard gives to each batch of an epoch: in step with all rows.

    Shards are rounded out of step with each other, so that batches have about the same length.
    """
    ends = torch.arange(0, n_draws + batch_size, batch_size).clamp(max=n_draws)
    if n_shards > 1:
        whole, rest = length * ends // n_draws, length * ends % n_draws
        ends = whole + (2 * n_shards * rest + (2 * index + 1) * n_draws >= 2 * n_shards * n_draws)
    return ends.diff()
