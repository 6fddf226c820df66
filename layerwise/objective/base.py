"""What all training problems have in common: parameters as one vector, weight decay, chunks and batches."""

from __future__ import annotations

import abc
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from layerwise import distributed
from layerwise.data.layout import Layout, shard_seed
from layerwise.data.mapped_rows import AnyRows, order_by_content, total_weight
from layerwise.penalties import weight_decay

# Values in the widest matrix of a chunk. On the CPU its few copies should stay in the last level of cache;
# a GPU wants long products instead. Both are heuristics, measured with benchmarks/bench_ufldl.py.
_CHUNK_VALUES = {"cpu": 3 * 2**19, "cuda": 2**26}

# Decorates what trains: callers may have switched gradients off (`torch.no_grad`, `torch.inference_mode`).
with_gradients = torch.inference_mode(False)


class ParameterVector:
    """Parameters of a module seen as one flat float64 vector.

    Parameters
    ----------
    parameters : iterable of Parameter
        In the order of the vector, each flattened row by row.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = list(parameters)

    def read(self) -> Tensor:
        """Return the vector, of shape (n_parameters,)."""
        return parameters_to_vector(self.parameters).detach().double()

    def write(self, theta: Tensor) -> None:
        """Set the parameters to those of ``theta``, rounded to their own type."""
        vector_to_parameters(theta.to(self.parameters[0].dtype, copy=True), self.parameters)

    def bind(self, theta: Tensor) -> None:
        """Make the parameters views of ``theta``, in their own type: changes of it are changes of them."""
        vector_to_parameters(theta, self.parameters)

    def views(self, theta: Tensor) -> list[Tensor]:
        """Return the pieces of ``theta`` in the shapes of the parameters, without copying."""
        pieces = theta.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]


class Objective(abc.ABC):
    """What all training problems have in common: parameters as a vector, decay, sums over ranks, the order of batches.

    Averages are over the rows of all ranks (see `layerwise.distributed`), each of which has some of them, or none. All
    ranks must call the same methods, with the same parameters; what they return is the same on each, to the bit.

    Parameters
    ----------
    parameters : iterable of Parameter
        Set to ``theta`` at every call, in this order.
    rows : Rows or MappedRows of shape (n_samples, n_features)
        Those of this rank.
    terms : sequence of str
        Names of the terms of the value that are sums over rows.
    decayed : sequence of Parameter
        Those of the parameters that decay, by ``alpha/2 |W|^2``.
    alpha : float
    seed : int
        Draws the order of batches, and noise.

    Attributes
    ----------
    vector : ParameterVector
    parts : dict of str to float
        The terms of the value by name, of the last evaluation or epoch.
    mean_activation : Tensor of shape (n_hidden,), float64, or None
    target_activation : float or None
        What the sparsity asks of them.
    n_rows_seen : int
        Rows of all ranks evaluated so far, over samples and batches too.
    """

    target_activation: float | None = None

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        rows: AnyRows,
        *,
        terms: Sequence[str],
        decayed: Sequence[nn.Parameter],
        alpha: float,
        seed: int,
    ):
        self.vector = ParameterVector(parameters)
        if alpha > torch.finfo(rows.dtype).max:
            raise ValueError(f"alpha={alpha:g} is too large for {rows.dtype}; lower it, or use dtype='float64'")
        self._terms = list(terms)
        self.alpha = alpha
        self.seed = seed
        self.parts: dict[str, float] = {}
        self.n_rows_seen = 0
        self._decays = [any(parameter is one for one in decayed) for parameter in self.vector.parameters]
        self._orders: list[Tensor] | None = None
        self._take_rows(rows)

    def _take_rows(self, rows: AnyRows) -> None:
        """Average over these rows from now on."""
        self.rows = rows
        self._layout = Layout.of(rows)
        self._total_weight = total_weight(rows)
        self._generators = [torch.Generator(rows.device) for _ in rows.shards]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the products, and of what `epoch` yields."""
        return self.rows.dtype

    @property
    def mean_activation(self) -> Tensor | None:
        """Mean activations of the hidden units, where they matter."""
        return None

    @property
    def n_rows(self) -> int:
        """Rows that the value is an average over at present."""
        return self._layout.n_rows

    @property
    def n_draws(self) -> int:
        """Rows of an epoch, on average: more than there are where weights repeat them."""
        return round(self._total_weight / self._weight_of_one)

    @property
    def _weight_of_one(self) -> float:
        """Weight of a row that comes once in an epoch: 1, unless that would be too seldom or too often."""
        mean = self._total_weight / max(1, self.n_rows)
        return 1.0 if 1 <= mean <= 10 else mean

    @abc.abstractmethod
    def __call__(self, theta: Tensor) -> tuple[float, Tensor]:
        """Return the value at ``theta`` over all rows, and the gradient of shape (n_parameters,)."""

    @abc.abstractmethod
    def value(self, theta: Tensor) -> float:
        """Return the value alone, in less time; sets ``parts`` and ``mean_activation`` too."""

    @abc.abstractmethod
    def batch(
        self, blocks: Sequence[Tensor], positions: Sequence[Tensor], n_rows: int, share: float, pieces: Sequence
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Return the terms over a batch of rows at the parameters, decay left out; write their gradient.

        Parameters
        ----------
        blocks : sequence of Tensor of shape (n_block, n_features)
            What each shard of this rank gives to the batch, perhaps nothing.
        positions : sequence of Tensor of shape (n_block,), int64
            Where these rows are.
        n_rows : int
            How many rows the batch has on all ranks together.
        share : float
            How many they are, as a share of a full batch.
        pieces : sequence of (sequence of Tensor), in the shapes of the parameters
            Filled with the gradient that each shard adds to the batch's.

        Returns
        -------
        sums : list of dict of str to Tensor
            The terms that are sums over rows, for each shard, divided by ``n_rows``.
        others : dict of str to Tensor
            The terms that depend on all rows together; their gradient is among those of the shards.
        """

    def as_dict(self) -> dict[str, Any]:
        """Return what later evaluations and reports take from earlier ones, as tensors, numbers and dicts."""
        return {"parts": self.parts, "n_rows_seen": self.n_rows_seen}

    def running(self) -> dict[str, Any]:
        """Return what batches take from those before them, to go on with on other rows: tensors and numbers."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` or `running` gave.

        Parameters
        ----------
        saved : mapping
        """
        for name, value in saved.items():
            setattr(self, name, value)

    def epoch(self, theta: Tensor, batch_size: int, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Go once through all rows in random order, batch by batch.

        The order depends on what the rows hold, not on how they are sorted. A row of weight 2 comes twice, one of
        weight 1.5 every other time; weights that are smaller than 1 on average, or larger than 10, are scaled first.
        Of each batch every shard gives its part, so that with several of them batches differ by some rows in length.

        Parameters
        ----------
        theta : Tensor of shape (n_parameters,), in ``dtype``
            Each batch is evaluated at what it holds then; change it in place between batches.
        batch_size : int
            The last batch has the rows that remain.
        number : int
            Which epoch this is; with the seed it determines order and noise.

        Yields
        ------
        value : Tensor of shape (), float64
        gradient : Tensor of shape (n_parameters,), in ``dtype``
            Averages over the rows of the batch, with the penalties. Valid until the next one is asked for.
        n_rows : int
            Rows of the batch.
        """
        self.vector.bind(theta)
        parts, sizes = self._plan(number, batch_size)
        full = min(batch_size, sum(sizes))
        totals: dict[str, Tensor] = {}
        blocks = self.rows.batches(part for batch in zip(*parts, strict=True) for part in batch)
        gradients = [torch.zeros_like(theta) for _ in parts]
        pieces = [self.vector.views(gradient) for gradient in gradients]
        for positions, n_rows in zip(zip(*parts, strict=True), sizes, strict=True):
            taken = [next(blocks) for _ in positions]
            if n_rows == 0:
                continue
            sums, others = self.batch(taken, positions, n_rows, n_rows / full, pieces)
            terms, gradient = self._sum_up(sums, gradients)
            terms |= others
            if self.alpha:
                terms["decay"] = self._add_decay(theta, gradient)
            add_up(totals, terms, float(n_rows))
            self.n_rows_seen += n_rows
            yield functools.reduce(torch.add, terms.values()), gradient, n_rows
        self._keep_parts(totals, {}, sum(sizes))

    def _plan(self, number: int, batch_size: int) -> tuple[list[tuple[Tensor, ...]], list[int]]:
        """Return which rows each shard of this rank gives to each batch, and how many rows all shards give to it."""
        orders, lengths = self._draw_orders(number)
        n_draws = sum(lengths)

        def sizes(index: int) -> Tensor:
            return _batch_sizes(lengths[index], index, len(lengths), min(batch_size, n_draws), n_draws)

        parts = [
            order.split(sizes(index).tolist()) for (index, _), order in zip(self._layout.own(), orders, strict=True)
        ]
        return parts, functools.reduce(torch.add, map(sizes, range(len(lengths)))).tolist()

    def _draw_orders(self, number: int) -> tuple[list[Tensor], list[int]]:
        """Return the positions of the rows of an epoch in each shard of this rank, and how many all shards have."""
        if self._orders is None:
            self._orders = [order_by_content(self.rows, shard) for shard in self.rows.shards]
        orders = []
        for (index, _), order, generator in zip(self._layout.own(), self._orders, self._generators, strict=True):
            seed = shard_seed(self.seed + number, index)
            if self.rows.weights is not None:
                repeats = self.rows.weights[order] / self._weight_of_one
                chance = torch.rand(repeats.shape, generator=generator.manual_seed(seed), device=order.device)
                order = order.repeat_interleave((repeats + chance).long())
            generator.manual_seed(seed)
            orders.append(order[torch.randperm(len(order), generator=generator, device=order.device)])
        if self.rows.weights is None:
            return orders, self._layout.lengths
        return orders, distributed.gather_counts([len(order) for order in orders])

    def _sum_up(self, sums: Sequence[dict[str, Tensor]], vectors: Sequence[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Add up the terms and the vectors of all shards of all ranks, in one message."""
        if distributed.world_size() * len(vectors) == 1:
            return sums[0], vectors[0]
        zero = torch.zeros((), dtype=torch.float64, device=vectors[0].device)
        columns = [torch.stack([shard.get(name, zero) for name in self._terms]) for shard in sums]
        flat = [torch.cat([vector, terms.to(vector.dtype)]) for vector, terms in zip(vectors, columns, strict=True)]
        total = distributed.sum_shards(flat)
        n_terms = len(self._terms)
        return dict(zip(self._terms, total[-n_terms:].double(), strict=True)), total[:-n_terms]

    def _keep_parts(self, sums: dict[str, Tensor], others: dict[str, Tensor], n_rows: float) -> float:
        """Keep the terms of the value, some as sums over so many rows, and return the value."""
        self.parts = {name: total.item() / n_rows for name, total in sums.items()}
        self.parts |= {name: part.item() for name, part in others.items()}
        return sum(self.parts.values())

    def _add_decay(self, theta: Tensor, gradient: Tensor | None = None) -> Tensor:
        """Return the decay, and add its gradient to that of the rest."""
        weights = [weight for weight, decays in zip(self.vector.views(theta), self._decays, strict=True) if decays]
        if gradient is not None:
            pieces = [piece for piece, decays in zip(self.vector.views(gradient), self._decays, strict=True) if decays]
            for weight, piece in zip(weights, pieces, strict=True):
                piece.add_(weight, alpha=self.alpha)
        return weight_decay(weights, self.alpha)


def add_up(totals: dict[str, Tensor], parts: dict[str, Tensor], weight: float = 1.0) -> None:
    """Add terms to their totals, in place.

    Parameters
    ----------
    totals, parts : dict of str to Tensor of shape ()
    weight : float, default=1.0
        What the terms are multiplied by.
    """
    for name, part in parts.items():
        totals[name] = totals.get(name, 0) + part * weight


def observe(rows: AnyRows, block: Tensor, place: slice | None = None) -> tuple[Tensor, Tensor | None]:
    """Return a block with 0 where values are missing, and how much its entries count in the loss.

    Parameters
    ----------
    rows : Rows or MappedRows
    block : Tensor of shape (n_block, n_features)
        Some of these rows.
    place : slice or None, default=None
        Where they are; None, for batches, leaves the weights of rows out: batches repeat rows instead.

    Returns
    -------
    filled : Tensor of shape (n_block, n_features)
    weight : Tensor of shape (n_block, n_features) or (n_block, 1), or None
        The weights of the rows, and 0 for missing values; None is 1 everywhere.
    """
    weight = None
    if rows.weights is not None and place is not None:
        weight = rows.weights[place, None].to(block.dtype)
    if not rows.has_missing:
        return block, weight
    observed = (~block.isnan()).to(block.dtype)
    return block.nan_to_num(nan=0.0), observed if weight is None else observed.mul_(weight)


def _batch_sizes(length: int, index: int, n_shards: int, batch_size: int, n_draws: int) -> Tensor:
    """Return how many rows a shard gives to each batch of an epoch: in step with all rows.

    Shards are rounded out of step with each other, so that batches have about the same length.
    """
    ends = torch.arange(0, n_draws + batch_size, batch_size).clamp(max=n_draws)
    if n_shards > 1:
        whole, rest = length * ends // n_draws, length * ends % n_draws
        ends = whole + (2 * n_shards * rest + (2 * index + 1) * n_draws >= 2 * n_shards * n_draws)
    return ends.diff()


def default_chunk_rows(rows: AnyRows, *widths: int) -> int:
    """Return how many rows a chunk of a computation with matrices of these widths should have."""
    # Layers that are not named may be wider than a narrow table.
    widest = max(rows.n_features, *widths, 256)
    return max(64, _CHUNK_VALUES["cuda" if rows.device.type == "cuda" else "cpu"] // widest)
